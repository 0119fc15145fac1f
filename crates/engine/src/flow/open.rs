//! A flow from its first packet to its last: handshake or question, data, answers.

use natpath_model::{Flow, Port, Protocol};

use super::result::{self, Facts};
use super::{DATA, FlowRun, is_taken, sent_bytes, server_node};
use crate::endpoint::{Role, SocketKey, SocketState};
use crate::packet::{Numbers, Packet, TcpFlags, Transport, icmp};
use crate::run::{Journey, Run, Sender};
use crate::trace::{Broken, FlowPacket, Header, Outcome, Place, Why};
use crate::world::End as WireEnd;

/// Sends all packets of a flow.
pub(super) fn run(mut run: Run<'_, '_>, number: u32) -> FlowRun {
    let known: Vec<SocketKey> = run.state.sockets.keys().copied().collect();
    run.state.sockets.begin_flow(number);
    let client = begin(&mut run);
    run.settle();
    let mut server = None;
    if run.flow.protocol == Protocol::TCP {
        server = exchange(&mut run, client);
    }
    conclude(run, client, server, &known)
}

/// Sends a single frame.
pub(super) fn inject(mut run: Run<'_, '_>, from: WireEnd, to: WireEnd, packet: Packet) -> FlowRun {
    let known: Vec<SocketKey> = run.state.sockets.keys().copied().collect();
    run.inject(from, to, packet);
    run.settle();
    let Header { protocol, src, dst } = packet.header();
    let client = SocketKey { node: run.sender_node().into(), protocol, local: src, remote: dst };
    conclude(run, client, None, &known)
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
    run.forget_closed();
    let mut packet = packet;
    if let Transport::Tcp { .. } = packet.transport {
        packet.transport = run.state.sockets.syn(&client);
    }
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
        Transport::Tcp { src: src_port, dst: dst_port, flags: TcpFlags::SYN, numbers: Numbers::default() }
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

/// TCP after the handshake: data from the client, then from the server that got it. The server's socket.
fn exchange(run: &mut Run<'_, '_>, client: SocketKey) -> Option<SocketKey> {
    let is_open = |run: &Run<'_, '_>, key: &SocketKey| {
        run.state.sockets.get(key).is_some_and(|socket| socket.state == SocketState::Open)
    };
    if !is_open(run, &client) {
        // An attempt that failed leaves no socket behind.
        run.state.sockets.close(&client);
        return None;
    }
    let size = sent_bytes(run.flow);
    let mut packet = run.state.sockets.send(&client, TcpFlags::PSH, size)?;
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
    let end = run.journeys[journey].end.as_ref().filter(|end| is_taken(end.outcome))?;
    let (node, header) = (server_node(end), end.header);
    let server =
        SocketKey { node: node.into(), protocol: Protocol::TCP, local: header.dst, remote: header.src };
    let socket = run.state.sockets.get(&server);
    let socket = socket.filter(|socket| socket.received && socket.state == SocketState::Open)?;
    let transparent = socket.transparent;
    let packet = run.state.sockets.send(&server, TcpFlags::PSH, size)?;
    run.send(node, packet, Role::Needed(FlowPacket::ServerData), transparent, Some(journey));
    run.settle();
    Some(server)
}

/// Says what became of the flow. What failed leaves no connection behind.
fn conclude(
    mut run: Run<'_, '_>,
    client: SocketKey,
    server: Option<SocketKey>,
    known: &[SocketKey],
) -> FlowRun {
    let (flow, sequence) = (run.flow, run.state.sequence);
    let sent = Header { protocol: client.protocol, src: client.local, dst: client.remote };
    let sender = run.sender_node();
    let answered = run.state.sockets.get(&client).is_some_and(|socket| socket.state == SocketState::Open);
    let end = result::ended(&run.journeys[0]);
    let taken = is_taken(end.outcome);
    let broken = taken.then(|| first_failure(&run.journeys, sender, client, flow)).flatten();
    let works = taken && broken.is_none() && answered && is_complete(flow, &run.journeys);
    if let Some(id) = &flow.id {
        run.state.connections.remove(id);
    }
    match (&flow.id, flow.protocol == Protocol::TCP) {
        (_, true) if !works => run.state.sockets.close_others_than(known),
        (Some(id), true) => run.keep_open(id, client, server),
        (Some(id), false) => {
            let answers = || {
                let (local, remote) = (end.header.dst, end.header.src);
                SocketKey { node: server_node(&end).into(), protocol: client.protocol, local, remote }
            };
            run.keep_open(id, client, taken.then(answers));
        }
        (None, true) => {}
        (None, false) => run.state.sockets.close(&client),
    }
    let reply = result::first_answer(&run.journeys);
    result::conclude(run, Facts { sent, reply, works, broken, sequence })
}

/// Whether all the packets that a working flow needs were sent at all.
fn is_complete(flow: &Flow, journeys: &[Journey]) -> bool {
    flow.protocol != Protocol::TCP
        || journeys.iter().any(|journey| journey.role == Role::Needed(FlowPacket::ServerData))
}

/// The first packet after the first that does not arrive as the connection's.
fn first_failure(journeys: &[Journey], sender: Place, client: SocketKey, flow: &Flow) -> Option<Broken> {
    let needed =
        |wanted: FlowPacket| journeys.iter().find(move |journey| journey.role == Role::Needed(wanted));
    for packet in
        [FlowPacket::Answer, FlowPacket::HandshakeAck, FlowPacket::ClientData, FlowPacket::ServerData]
    {
        let Some(journey) = needed(packet) else { continue };
        let mut end = result::ended(journey);
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
