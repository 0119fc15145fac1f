//! Runs one flow from its first packet to its last, and says what became of it.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use natpath_model::{Direction, Endpoint, Flow, Port, Protocol};

use crate::choice::Choices;
use crate::endpoint::{Role, SocketKey, SocketState};
use crate::packet::{Packet, TcpFlags, Transport, icmp};
use crate::run::{Beyond, Journey, Run, Sender, State};
use crate::state::Env;
use crate::trace::{
    Broken, Drawn, End, Entry, FlowPacket, Header, HostId, IcmpError, Outcome, PathResult, Place, Reply, Why,
};
use crate::world::{End as WireEnd, World};

/// The bytes of data a flow sends where it does not say.
const DATA: u16 = 8;

/// The most data of one TCP segment: the default for IPv4.
const MAX_SEGMENT: u16 = 536;

/// What one run of a flow gave.
#[derive(Debug)]
pub(crate) struct FlowRun {
    pub(crate) sent: Header,
    pub(crate) result: PathResult,
    pub(crate) journeys: Vec<Journey>,
    /// The journey of the first answer.
    pub(crate) reply: Option<usize>,
    pub(crate) state: State,
    pub(crate) env: Env,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'f> {
    pub(crate) flow: &'f Flow,
    pub(crate) sender: Sender,
    /// A single frame in place of the flow's packets, and the interfaces it comes from and goes to.
    pub(crate) frame: Option<(WireEnd, WireEnd, Packet)>,
}

/// Runs a flow once.
pub(crate) fn run(
    world: &World<'_>,
    start: &Start<'_>,
    state: State,
    choices: Choices,
    beyond: Beyond,
) -> FlowRun {
    let sequence = state.sequence;
    let flow = start.flow;
    let mut run = Run::new(world, flow, start.sender, state, choices, beyond);
    let client = match start.frame {
        None => begin(&mut run),
        Some((from, to, packet)) => {
            run.inject(from, to, packet);
            let Header { protocol, src, dst } = packet.header();
            SocketKey { node: run.sender_node().into(), protocol, local: src, remote: dst }
        }
    };
    run.settle();
    if flow.protocol == Protocol::TCP && start.frame.is_none() {
        exchange(&mut run, client);
    }
    conclude(run, client, sequence)
}

/// Opens the client's socket and sends the first packet.
fn begin(run: &mut Run<'_, '_>) -> SocketKey {
    let flow = run.flow;
    let family = flow.family();
    let node = run.sender_node();
    let src = flow.src.or_else(|| choose_source(run)).unwrap_or(family.unspecified());
    let packet = first_packet(flow, src);
    let header = packet.header();
    let client =
        SocketKey { node: node.into(), protocol: header.protocol, local: header.src, remote: header.dst };
    let transparent = run.client_is_transparent();
    run.state.sockets.open(client, transparent);
    match run.sender {
        Sender::Host(_) => {
            // The kernel chooses the source again from the same route, so an unsettled one stays unsettled.
            let packet = Packet { src: flow.src.unwrap_or(family.unspecified()), ..packet };
            run.send(node, packet, Role::First, transparent, None);
        }
        Sender::Outside { .. } => {
            run.send_in(packet, Role::First);
        }
    }
    client
}

/// The source address that the first packet will get.
fn choose_source(run: &Run<'_, '_>) -> Option<std::net::IpAddr> {
    let Sender::Host(host) = run.sender else { return None };
    let flow = run.flow;
    let packet = first_packet(flow, flow.family().unspecified());
    let key = crate::fib::OutputKey {
        dst: flow.dst,
        src: None,
        any_source: false,
        bound: flow.bound,
        mark: flow.mark,
        tos: packet.tos & 0x1e,
        protocol: flow.protocol,
        ports: packet.ports(),
        uid: flow.uid,
        hop: 0,
    };
    run.world.host(host).route_output(&key, &mut |_| {}).ok().map(|route| route.src)
}

fn first_packet(flow: &Flow, src: std::net::IpAddr) -> Packet {
    let src_port = Port::new(flow.src_port.unwrap_or(Flow::EPHEMERAL));
    let dst_port = Port::new(flow.dst_port);
    let protocol = flow.protocol;
    let transport = if protocol == Protocol::TCP {
        Transport::Tcp { src: src_port, dst: dst_port, flags: TcpFlags::SYN }
    } else if protocol.has_ports() {
        Transport::Ports { protocol, src: src_port, dst: dst_port }
    } else if protocol.is_icmp() {
        Transport::Query { kind: icmp::echo_request(flow.family()), code: 0, id: Port::new(flow.icmp_id) }
    } else {
        Transport::Other(protocol)
    };
    let mut packet = Packet::new(src, flow.dst, transport);
    packet.ttl = flow.ttl.unwrap_or(64);
    packet.tos = flow.dscp << 2;
    packet.dont_fragment = flow.dont_fragment || protocol == Protocol::TCP;
    packet.data = if protocol == Protocol::TCP { 0 } else { flow.size.unwrap_or(DATA) };
    packet
}

/// TCP after the handshake: data from the client, then from the server that got it.
fn exchange(run: &mut Run<'_, '_>, client: SocketKey) {
    let is_open = |run: &Run<'_, '_>, key: &SocketKey| {
        run.state.sockets.get(key).is_some_and(|socket| socket.state == SocketState::Open)
    };
    if !is_open(run, &client) {
        // An attempt that failed leaves no socket behind.
        run.state.sockets.close(&client);
        return;
    }
    // A stream is cut to what every path takes (RFC 9293, 3.7.1).
    let size = run.flow.size.unwrap_or(DATA).min(MAX_SEGMENT);
    let data = |src: Endpoint, dst: Endpoint| {
        let flags = TcpFlags::PSH.with(TcpFlags::ACK);
        let transport = Transport::Tcp { src: src.port, dst: dst.port, flags };
        let mut packet = Packet::new(src.address, dst.address, transport);
        packet.dont_fragment = true;
        packet.data = size;
        packet
    };
    let mut packet = data(client.local, client.remote);
    packet.ttl = run.flow.ttl.unwrap_or(64);
    packet.tos = run.flow.dscp << 2;
    let node = run.sender_node();
    let transparent = run.client_is_transparent();
    let journey = match run.sender {
        Sender::Host(_) => run.send(node, packet, Role::Needed(FlowPacket::ClientData), transparent, None),
        Sender::Outside { .. } => run.send_in(packet, Role::Needed(FlowPacket::ClientData)),
    };
    run.settle();
    // The server answers on the socket that got the data.
    let Some(end) = &run.journeys[journey].end else { return };
    if !is_taken(end.outcome) {
        return;
    }
    let (node, header) = (server_node(end), end.header);
    let server = run.state.sockets.find(node, Protocol::TCP, header.dst, header.src);
    let Some(server) = server.filter(|socket| socket.received && socket.state == SocketState::Open) else {
        return;
    };
    let packet = data(header.dst, header.src);
    run.send(node, packet, Role::Needed(FlowPacket::ServerData), server.transparent, Some(journey));
    run.settle();
}

/// Whoever took a packet; beyond a router that is the destination itself.
fn server_node(end: &End) -> Place {
    if end.outcome == Outcome::Left { Place::Assumed(end.header.dst.address) } else { end.at.host }
}

fn is_taken(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Delivered | Outcome::Left)
}

/// Says what became of the flow, and closes the socket of a client that goes away with its answer.
fn conclude(mut run: Run<'_, '_>, client: SocketKey, sequence: u64) -> FlowRun {
    let world = run.world;
    let flow = run.flow;
    let sent = Header { protocol: client.protocol, src: client.local, dst: client.remote };
    let sender = run.sender_node();
    let answered = run.state.sockets.get(&client).is_some_and(|socket| socket.state == SocketState::Open);
    if flow.protocol != Protocol::TCP {
        run.state.sockets.close(&client);
    }
    let (state, env, journeys) = run.into_state();
    let end = ended(&journeys[0]);
    let reply = journeys.iter().position(|journey| journey.cause == Some(0) && !is_redirect(journey));
    let taken = is_taken(end.outcome);
    let broken = taken.then(|| first_failure(&journeys, sender, client, flow)).flatten();
    let works = taken && broken.is_none() && answered && is_complete(flow, &journeys);
    let mut result = PathResult {
        end,
        reply: reply.map(|index| reply_of(&journeys[index])),
        works,
        broken,
        conntrack: new_entries(world, &state, sequence),
        drawn: BTreeMap::new(),
    };
    result.drawn = drawn_in(&result, &env.drawn);
    FlowRun { sent, result, journeys, reply, state, env }
}

/// Whether all the packets that a working flow needs were sent at all.
fn is_complete(flow: &Flow, journeys: &[Journey]) -> bool {
    flow.protocol != Protocol::TCP
        || journeys.iter().any(|journey| journey.role == Role::Needed(FlowPacket::ServerData))
}

/// The end of a journey; one that the bound on events cut short never came to one.
fn ended(journey: &Journey) -> End {
    journey.end.clone().unwrap_or_else(|| End {
        outcome: Outcome::Undecided,
        why: None,
        rule: None,
        at: crate::trace::At {
            host: journey.hops.last().map_or(Place::Host(HostId(0)), |hop| hop.host),
            interface: None,
        },
        header: journey.packet.header(),
    })
}

fn is_redirect(journey: &Journey) -> bool {
    journey.packet.icmp() == Some(icmp::redirect(journey.packet.family()))
}

/// The first packet after the first that does not arrive as the connection's.
fn first_failure(journeys: &[Journey], sender: Place, client: SocketKey, flow: &Flow) -> Option<Broken> {
    let needed =
        |wanted: FlowPacket| journeys.iter().find(move |journey| journey.role == Role::Needed(wanted));
    for packet in
        [FlowPacket::Answer, FlowPacket::HandshakeAck, FlowPacket::ClientData, FlowPacket::ServerData]
    {
        let Some(journey) = needed(packet) else { continue };
        let mut end = ended(journey);
        let to_client = matches!(packet, FlowPacket::Answer | FlowPacket::ServerData);
        let arrived = if to_client {
            let right = end.header.src == client.remote
                || flow.protocol.is_icmp() && end.header.src.address == flow.dst;
            if end.at.host == sender
                && matches!(end.outcome, Outcome::Delivered | Outcome::NoListener)
                && !right
            {
                end.outcome = Outcome::Delivered;
                end.why = Some(Why::WrongSource);
            }
            end.at.host == sender && end.outcome == Outcome::Delivered && end.why.is_none()
        } else {
            is_taken(end.outcome)
        };
        if !arrived {
            return Some(Broken { packet, end, hops: journey.hops.clone() });
        }
    }
    None
}

fn reply_of(journey: &Journey) -> Reply {
    let mut end = ended(journey);
    // The sender's host took it, whether or not a socket was there for it.
    if end.outcome == Outcome::NoListener {
        end.outcome = Outcome::Delivered;
    }
    let packet = &journey.packet;
    let icmp = match packet.transport {
        Transport::Error { kind, code, quoted, .. } => {
            Some(IcmpError { kind, code, from: packet.src, about: quoted.tuple.into() })
        }
        _ => None,
    };
    let reset = packet.tcp_flags().is_some_and(|flags| flags.has(TcpFlags::RST));
    Reply { end, icmp, reset }
}

/// The entries that were confirmed during the flow and still live, in the order of the path.
fn new_entries(world: &World<'_>, state: &State, sequence: u64) -> Vec<Entry> {
    let mut entries: Vec<(u64, Entry)> = Vec::new();
    for host in &world.hosts {
        for (_, entry) in state.hosts[host.id.0 as usize].conntrack.confirmed() {
            if entry.sequence > sequence {
                entries.push((
                    entry.sequence,
                    Entry {
                        host: host.id,
                        zone: entry.zone,
                        zone_direction: entry.zone_direction,
                        original: *entry.tuple(Direction::Original),
                        reply: *entry.tuple(Direction::Reply),
                        status: entry.status,
                        mark: entry.mark,
                    },
                ));
            }
        }
    }
    entries.sort_by_key(|(sequence, _)| *sequence);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// The drawn ports by number.
pub(crate) fn all_drawn(drawn: &[Drawn]) -> BTreeMap<NonZeroU16, Drawn> {
    (1u16..).filter_map(NonZeroU16::new).zip(drawn.iter().copied()).collect()
}

/// The intervals of the drawn ports that a result names.
fn drawn_in(result: &PathResult, drawn: &[Drawn]) -> BTreeMap<NonZeroU16, Drawn> {
    let mut ports: Vec<Port> = Vec::new();
    let mut header = |header: &Header| ports.extend([header.src.port, header.dst.port]);
    header(&result.end.header);
    if let Some(reply) = &result.reply {
        header(&reply.end.header);
        if let Some(icmp) = &reply.icmp {
            header(&icmp.about);
        }
    }
    if let Some(broken) = &result.broken {
        header(&broken.end.header);
    }
    for entry in &result.conntrack {
        header(&entry.original.into());
        header(&entry.reply.into());
    }
    ports
        .into_iter()
        .filter_map(|port| port.drawn)
        .filter_map(|number| Some((number, *drawn.get(usize::from(number.get()) - 1)?)))
        .collect()
}
