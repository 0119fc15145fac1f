//! One run of one flow: packets in flight over the hosts of a network until nothing moves any more.
//!
//! Each packet is a [`Journey`] of hops. A packet that answers another, or is an error about it, is a
//! journey of its own that names its cause.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use natpath_model::{Flow, InterfaceName, Mac};

use crate::choice::{Choices, Settled};
use crate::endpoint::{Role, SocketKey, Sockets};
use crate::fib::OutputKey;
use crate::host::LinkId;
use crate::packet::{Packet, TcpFlags, icmp};
use crate::pass::{Pass, Sent};
use crate::skb::{Fate, Made, Reason, SendingSocket, Skb, Transparent};
use crate::state::{Env, HostState};
use crate::trace::{Assumption, At, End, FlowPacket, Header, Hop, HostId, Outcome, Place, Step, Why};
use crate::wire;
use crate::world::{End as WireEnd, Station, Unrecorded, World};

mod lan;
mod stack;

/// Everything that changes, over all hosts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct State {
    pub(crate) hosts: Vec<HostState>,
    pub(crate) sockets: Sockets,
    /// The connections of flows that have a name, as long as they are open.
    pub(crate) connections: BTreeMap<String, Connection>,
    pub(crate) now: crate::time::Instant,
    pub(crate) drawn: Vec<crate::trace::Drawn>,
    pub(crate) sequence: u64,
    /// What the connections lean on: constructs of unknown effect that may have marked them.
    pub(crate) leans: BTreeSet<Assumption>,
    /// What chance has settled for good.
    pub(crate) settled: Settled,
}

impl State {
    /// Whether both are the same but for what chance has settled for good.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let Self { hosts, sockets, connections, now, drawn, sequence, leans, settled: _ } = self;
        (now, sequence, drawn, leans) == (&other.now, &other.sequence, &other.drawn, &other.leans)
            && *sockets == other.sockets
            && *connections == other.connections
            && *hosts == other.hosts
    }
}

/// A connection that is open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Connection {
    /// The client's socket.
    pub(crate) client: SocketKey,
    /// The server's, if the connection has reached one.
    pub(crate) server: Option<SocketKey>,
    /// Whether the socket by which the server has answered may have an address that its host lacks.
    pub(crate) server_transparent: Transparent,
    /// The hosts nobody recorded that it has to do with.
    outside: Vec<Outside>,
}

/// A packet's way.
#[derive(Debug, Clone)]
pub(crate) struct Journey {
    pub(crate) role: Role,
    /// The packet it answers or is about.
    pub(crate) cause: Option<usize>,
    pub(crate) hops: Vec<Hop>,
    pub(crate) end: Option<End>,
    /// The header it was sent with.
    pub(crate) sent: Header,
    /// Whether the socket that sent it may have an address that its host lacks.
    transparent: Transparent,
    /// The packet as it was at its end, or is now.
    pub(crate) packet: Packet,
    /// The bridge it has come to last, and who sent the frame.
    came: Option<(WireEnd, Station)>,
}

/// Where a flow's sender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A recorded host.
    Host(HostId),
    /// Somebody behind an interface of a recorded host.
    Outside { address: IpAddr, enters: WireEnd },
}

/// The most packets one flow may cause; a loop of forwarding is ended by the time to live long before.
const MAX_EVENTS: usize = 100_000;

/// What is to happen next.
#[derive(Debug)]
enum Event {
    /// A frame comes in by a link.
    Frame { journey: usize, at: WireEnd, frame: Frame },
    /// A host sends what it made on its own.
    Made { journey: usize, host: HostId, made: Made },
    /// A node's stack sends.
    Send { journey: usize, node: Place, packet: Packet },
}

/// A packet between two interfaces.
#[derive(Debug, Clone, Copy)]
struct Frame {
    packet: Packet,
    mark: u32,
    src_mac: Option<Mac>,
    from: Station,
    to: Station,
}

/// A run.
pub(crate) struct Run<'w, 'a> {
    pub(crate) world: &'w World<'a>,
    pub(crate) flow: &'w Flow,
    pub(crate) sender: Sender,
    pub(crate) state: State,
    pub(crate) env: Env,
    pub(crate) journeys: Vec<Journey>,
    queue: VecDeque<Event>,
    /// Hosts nobody recorded that packets have reached.
    outside: Vec<Outside>,
    /// Whether what lies beyond a router that nobody recorded answers.
    beyond: Beyond,
}

/// What lies beyond the recorded network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// It answers.
    Answers,
    /// It does not: nobody there has the address that is asked, or knows the way back.
    IsSilent,
}

/// A host nobody recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outside {
    address: IpAddr,
    /// The station by which it is reached: its own, or its router's.
    station: Unrecorded,
    /// The recorded interface that its own packets go to if they are not for its subnet.
    gateway: WireEnd,
}

impl<'w, 'a> Run<'w, 'a> {
    pub(crate) fn new(
        world: &'w World<'a>,
        flow: &'w Flow,
        sender: Sender,
        state: State,
        choices: Choices,
        beyond: Beyond,
    ) -> Self {
        let env = Env {
            now: state.now,
            choices: choices.settled(state.settled.clone()),
            drawn: state.drawn.clone(),
            sequence: state.sequence,
            began: state.sequence,
            assumptions: state.leans.clone(),
            ..Env::default()
        };
        let outside = match sender {
            Sender::Host(_) => Vec::new(),
            Sender::Outside { address, enters } => {
                let given = flow.enters.as_ref().and_then(|(_, name)| world.host(enters.0).link_named(*name));
                let port = given.filter(|port| *port != enters.1).or_else(|| world.port_of(enters, address));
                let station = Unrecorded { address, at: enters, port, router: false };
                vec![Outside { address, station, gateway: enters }]
            }
        };
        let (journeys, queue) = (Vec::new(), VecDeque::new());
        Self { world, flow, sender, state, env, journeys, queue, outside, beyond }
    }

    /// The hosts nobody recorded that a connection has to do with are where they were.
    pub(crate) fn resume(&mut self, connection: &Connection) {
        self.outside.clone_from(&connection.outside);
    }

    /// Notes a connection that stays open under its flow's name.
    pub(crate) fn keep_open(&mut self, id: &str, client: SocketKey, server: Option<SocketKey>) {
        let is_answer = |journey: &&Journey| journey.role == Role::Needed(FlowPacket::Answer);
        let answer = self.journeys.iter().find(is_answer);
        let server_transparent = answer.map_or(Transparent::Known(false), |answer| answer.transparent);
        let connection = Connection { client, server, server_transparent, outside: self.outside.clone() };
        self.state.connections.insert(id.to_owned(), connection);
    }

    /// Begins and ends the journey of a packet that its sender's system call refuses.
    pub(crate) fn refuse_to_send(&mut self, node: Place, header: Header, errno: &'static str) -> usize {
        let at = At { host: node, interface: None };
        let why = Some(Why::Errno(errno));
        let steps = vec![Step::Ended { outcome: Outcome::LocalError, why }];
        let hop = Hop { host: node, in_interface: None, out_interface: None, steps };
        let end = Some(End { outcome: Outcome::LocalError, why, rule: None, at, header });
        let transport = crate::packet::Transport::Other(header.protocol);
        let packet = Packet::new(header.src.address, header.dst.address, transport);
        let role = Role::First;
        self.journeys.push(Journey {
            role,
            cause: None,
            hops: vec![hop],
            end,
            sent: header,
            transparent: Transparent::Known(false),
            packet,
            came: None,
        });
        self.journeys.len() - 1
    }

    /// The node the sender is.
    pub(crate) fn sender_node(&self) -> Place {
        match self.sender {
            Sender::Host(id) => Place::Host(id),
            Sender::Outside { address, .. } => Place::Assumed(address),
        }
    }

    /// Begins a journey of a packet that a node's stack sends, from a socket that is transparent or not.
    pub(crate) fn send(
        &mut self,
        node: Place,
        packet: Packet,
        role: Role,
        transparent: Transparent,
        cause: Option<usize>,
    ) -> usize {
        let journey = self.begin(packet, role, cause);
        self.journeys[journey].transparent = transparent;
        self.queue.push_back(Event::Send { journey, node, packet });
        journey
    }

    /// Begins a journey of a frame that is put on an interface's wire for another interface.
    pub(crate) fn inject(&mut self, from: WireEnd, to: WireEnd, packet: Packet) -> usize {
        let journey = self.begin(packet, Role::First, None);
        let (from, to) = (from, Station::End(to));
        let frame = Frame { packet, mark: 0, src_mac: None, from: Station::End(from), to };
        self.put(journey, from, frame);
        journey
    }

    /// Begins a journey of a packet that the sender outside sends.
    pub(crate) fn send_in(&mut self, packet: Packet, role: Role) -> usize {
        let journey = self.begin(packet, role, None);
        if let Some(sender) = self.outside.first().copied() {
            self.emit(journey, &sender, packet, self.flow.src_mac, self.flow.enters.is_some());
        }
        journey
    }

    fn begin(&mut self, packet: Packet, role: Role, cause: Option<usize>) -> usize {
        let sent = packet.header();
        let transparent = Transparent::Known(false);
        let hops = Vec::new();
        self.journeys.push(Journey { role, cause, hops, end: None, sent, transparent, packet, came: None });
        self.journeys.len() - 1
    }

    /// Moves packets until none is in flight.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.queue.pop_front() else { return };
            match event {
                Event::Frame { journey, at, frame } => match self.world.bridge_of(at) {
                    Some(bridge) => {
                        let port = Some(at.1).filter(|port| *port != bridge);
                        self.cross(journey, (at.0, bridge), port, frame);
                    }
                    None => self.receive(journey, at, &frame),
                },
                Event::Made { journey, host, made } => {
                    let (fate, steps, caused) = self.pass(host, |pass| pass.send_made(&made));
                    self.follow(journey, host, None, fate, steps, caused);
                }
                Event::Send { journey, node, packet } => match node {
                    Place::Host(host) => self.send_from_host(journey, host, packet),
                    Place::Assumed(address) => self.send_from_outside(journey, address, packet),
                },
            }
        }
        self.queue.clear();
    }

    fn pass<T>(
        &mut self,
        host: HostId,
        act: impl FnOnce(&mut Pass<'_, 'a, Vec<Step>>) -> T,
    ) -> (T, Vec<Step>, Caused) {
        let mut steps = Vec::new();
        let index = host.0 as usize;
        let mut pass =
            Pass::new(self.world.host(host), &mut self.state.hosts[index], &mut self.env, &mut steps);
        let result = act(&mut pass);
        let caused = Caused { made: std::mem::take(&mut pass.made), sent: std::mem::take(&mut pass.sent) };
        (result, steps, caused)
    }

    fn receive(&mut self, journey: usize, at: WireEnd, frame: &Frame) {
        let skb = Skb { mark: frame.mark, src_mac: frame.src_mac, ..Skb::new(frame.packet) };
        let (fate, steps, made) = self.pass(at.0, |pass| pass.receive(skb, at.1));
        self.follow(journey, at.0, Some(at.1), fate, steps, made);
    }

    /// A host's stack sends: the flow's own first packet with all the flow asks for, others plainly.
    fn send_from_host(&mut self, journey: usize, host: HostId, mut packet: Packet) {
        let transparent = self.journeys[journey].transparent;
        let by_client = self.sender == Sender::Host(host) && self.is_of_client(&packet);
        if by_client && packet.tcp_flags().is_some_and(|flags| !flags.has(TcpFlags::RST)) {
            // Acknowledgements have what the socket was told, too; resets are nobody's.
            packet.ttl = self.flow.ttl.unwrap_or(packet.ttl);
            packet.tos = self.flow.dscp << 2;
        }
        let bound = self.flow.bound.filter(|_| by_client);
        let mark = if by_client { self.flow.mark } else { 0 };
        let uid = self.flow.uid.filter(|_| by_client);
        let unspecified = packet.src.is_unspecified();
        let key = OutputKey {
            dst: packet.dst,
            src: (!unspecified).then_some(packet.src),
            any_source: transparent.holds(),
            bound,
            mark,
            tos: packet.tos & 0x1e,
            protocol: packet.protocol(),
            ports: packet.ports(),
            uid,
            hop: 0,
        };
        let gid = self.flow.gid.filter(|_| by_client);
        let (fate, steps, made) = self.pass(host, |pass| {
            let mut skb = Skb::new(packet);
            skb.mark = mark;
            skb.bound = bound.and_then(|name| pass.host.link_named(name));
            let (uid, gid) = (uid.unwrap_or(0), gid.unwrap_or(0));
            skb.sender = Some(SendingSocket { uid, gid, transparent, of_client: by_client });
            match pass.route_output(&key) {
                Ok(route) => {
                    skb.packet.src = route.src;
                    pass.send(skb, &route, 0)
                }
                Err(error) => pass.unsendable(skb, error),
            }
        });
        let fate = match fate {
            Fate::Ended(skb, reason) if by_client => Fate::Ended(skb, as_heard(&skb, reason)),
            other => other,
        };
        self.follow(journey, host, None, fate, steps, made);
    }

    /// Whether a packet is one that the flow's client sends, and not its server on the same host.
    fn is_of_client(&self, packet: &Packet) -> bool {
        let (header, flow) = (packet.header(), self.flow);
        let ports = (header.src.port.value, header.dst.port.value);
        packet.dst == flow.dst
            && if packet.ports().is_some() {
                ports == (flow.src_port.unwrap_or(Flow::EPHEMERAL), flow.dst_port)
            } else {
                packet.icmp().is_none_or(|(kind, _)| kind == icmp::echo_request(packet.family()))
            }
    }

    /// Takes note of what a host did with a packet, and goes on from there.
    fn follow(
        &mut self,
        journey: usize,
        host: HostId,
        in_link: Option<LinkId>,
        fate: Fate,
        mut steps: Vec<Step>,
        caused: Caused,
    ) {
        let name = |link: LinkId| self.world.link((host, link)).name;
        let in_interface = in_link.map(name);
        let out_interface = match &fate {
            Fate::Transmit { link, .. } => Some(name(*link)),
            Fate::Deliver(_) | Fate::Ended(..) => None,
        };
        let mut reaction = None;
        if let Fate::Deliver(skb) = &fate {
            let (step, answer) = self.give_to_stack(journey, host, skb);
            steps.push(step);
            reaction = Some(answer);
        }
        self.journeys[journey].hops.push(Hop { host: Place::Host(host), in_interface, out_interface, steps });
        self.cause(journey, host, caused);
        match fate {
            Fate::Deliver(skb) => {
                if let Some(reaction) = reaction {
                    self.delivered(journey, host, &skb, reaction);
                }
            }
            Fate::Transmit { skb, link, next_hop, via_gateway } => {
                self.journeys[journey].packet = skb.packet;
                self.transmit(journey, (host, link), &skb, next_hop, via_gateway);
            }
            Fate::Ended(skb, reason) => {
                self.journeys[journey].packet = skb.packet;
                let interface = skb.in_link.map(|link| self.world.link((host, link)).name);
                self.end_at(journey, host, interface, &skb.packet, reason);
            }
        }
    }

    /// Begins the journeys of what a host made because of a packet.
    fn cause(&mut self, journey: usize, host: HostId, caused: Caused) {
        for sent in caused.sent {
            let begun = self.begin(sent.made.packet, Role::Other, Some(journey));
            self.follow(begun, host, None, sent.fate, sent.observer, Caused::default());
        }
        for made in caused.made {
            let begun = self.begin(made.packet, Role::Other, Some(journey));
            if made.straight.is_some()
                && let Some((bridge, sender)) = self.journeys[journey].came
            {
                self.answer_straight(begun, bridge, sender, &made);
                continue;
            }
            self.queue.push_back(Event::Made { journey: begun, host, made });
        }
    }

    fn end_at(
        &mut self,
        journey: usize,
        host: HostId,
        interface: Option<InterfaceName>,
        packet: &Packet,
        reason: Reason,
    ) {
        let end = End {
            outcome: reason.outcome,
            why: reason.why,
            rule: reason.rule.map(|rule| (host, rule)),
            at: At { host: Place::Host(host), interface },
            header: packet.header(),
        };
        self.finish(journey, end);
    }

    fn finish(&mut self, journey: usize, end: End) {
        self.journeys[journey].end.get_or_insert(end);
    }

    /// Those nobody recorded who had a part in the flow.
    pub(crate) fn unrecorded(&self) -> Vec<crate::trace::Unrecorded> {
        self.outside.iter().map(|outside| self.placed(outside)).collect()
    }

    fn placed(&self, outside: &Outside) -> crate::trace::Unrecorded {
        let Outside { address, station, gateway } = *outside;
        let host = station.at.0;
        let name = |link: LinkId| self.world.link((host, link)).name;
        let router = match self.sender {
            _ if station.router => Some(station.address),
            // Answers to a sender outside go to whom the routes name.
            Sender::Outside { address: sender, .. } if sender == address => {
                let way = self.world.host(gateway.0).way_to(address, 0);
                way.filter(|(link, hop)| *link == gateway.1 && *hop != address).map(|(_, hop)| hop)
            }
            Sender::Outside { .. } | Sender::Host(_) => None,
        };
        let (interface, port) = (name(station.at.1), station.port.map(name));
        crate::trace::Unrecorded { address, host, interface, port, router }
    }

    /// The state after the run, ready for the next flow.
    pub(crate) fn into_state(mut self) -> (State, Env, Vec<Journey>) {
        self.forget_closed();
        let Self { mut state, env, journeys, .. } = self;
        for host in &mut state.hosts {
            host.conntrack.sweep(env.now);
        }
        state.now = env.now;
        state.drawn.clone_from(&env.drawn);
        state.sequence = env.sequence;
        state.settled = env.choices.clone().into_settled();
        (state, env, journeys)
    }
}

/// What a host sent of its own because of a packet.
#[derive(Debug, Default)]
struct Caused {
    made: Vec<Made>,
    sent: Vec<Sent<Vec<Step>>>,
}

/// What the sender's own system call says of a packet that ended in OUTPUT or POSTROUTING: a datagram's
/// `sendto` returns EPERM (netfilter.c, `NF_DROP_GETERR`), while TCP tries again in silence.
fn as_heard(skb: &Skb, reason: Reason) -> Reason {
    let never_left = skb.in_link.is_none();
    let is_tcp = skb.packet.tcp_flags().is_some();
    match (reason.outcome, reason.why) {
        (Outcome::Dropped, Some(Why::Rule | Why::Policy | Why::NoPorts)) if never_left && !is_tcp => {
            Reason { outcome: Outcome::LocalError, why: Some(Why::Errno("EPERM")), ..reason }
        }
        _ => reason,
    }
}

/// A packet as the receiver reads it: it crosses the wire as bytes, with checksums.
fn on_the_wire(packet: Packet) -> Packet {
    wire::cross(&packet)
}
