//! One run of one flow: packets in flight over the hosts of a network until nothing moves any more.
//!
//! Each packet is a [`Journey`] of hops. A packet that answers another, or is an error about it, is a
//! journey of its own that names its cause.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use natpath_model::{Flow, InterfaceName, Item, Mac};

use crate::choice::{Choices, Settled};
use crate::conntrack::Tracked;
use crate::endpoint::{Role, SocketKey, Sockets};
use crate::fib::OutputKey;
use crate::host::LinkId;
use crate::packet::{Packet, icmp};
use crate::pass::{Pass, Sent};
use crate::skb::{Fate, Made, Reason, Skb};
use crate::state::{Env, HostState};
use crate::trace::{Assumption, At, End, Header, Hop, HostId, Outcome, Place, Step, Why};
use crate::wire;
use crate::world::{End as WireEnd, Station, Unrecorded, World};

mod lan;

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
    /// What chance has settled for good.
    pub(crate) settled: Settled,
}

impl State {
    /// Whether both are the same but for what chance has settled for good.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let Self { hosts, sockets, connections, now, drawn, sequence, settled: _ } = self;
        (now, sequence, drawn) == (&other.now, &other.sequence, &other.drawn)
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
    ) -> Self {
        let env = Env {
            now: state.now,
            choices: choices.settled(state.settled.clone()),
            drawn: state.drawn.clone(),
            sequence: state.sequence,
            begun: state.sequence,
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
        Self { world, flow, sender, state, env, journeys: Vec::new(), queue: VecDeque::new(), outside }
    }

    /// The hosts nobody recorded that a connection has to do with are where they were.
    pub(crate) fn resume(&mut self, connection: &Connection) {
        self.outside.clone_from(&connection.outside);
    }

    /// Notes a connection that stays open under its flow's name.
    pub(crate) fn keep_open(&mut self, id: &str, client: SocketKey, server: Option<SocketKey>) {
        let connection = Connection { client, server, outside: self.outside.clone() };
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

    /// Begins a journey of a packet that a node's stack sends.
    pub(crate) fn send(&mut self, node: Place, packet: Packet, role: Role, cause: Option<usize>) -> usize {
        let journey = self.begin(packet, role, cause);
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
        self.journeys.push(Journey { role, cause, hops: Vec::new(), end: None, sent, packet, came: None });
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
    fn send_from_host(&mut self, journey: usize, host: HostId, packet: Packet) {
        let by_client = self.sender == Sender::Host(host) && packet.dst == self.flow.dst;
        let bound = self.flow.bound.filter(|_| by_client);
        let mark = if by_client { self.flow.mark } else { 0 };
        let uid = self.flow.uid.filter(|_| by_client);
        let unspecified = packet.src.is_unspecified();
        let key = OutputKey {
            dst: packet.dst,
            src: (!unspecified).then_some(packet.src),
            any_source: by_client && self.flow.from.is_some(),
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
            skb.owner = Some((uid.unwrap_or(0), gid.unwrap_or(0)));
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
            let (step, answer) = self.give_to_stack(host, skb);
            steps.push(step);
            reaction = Some(answer);
        }
        self.journeys[journey].hops.push(Hop { host: Place::Host(host), in_interface, out_interface, steps });
        self.cause(journey, host, caused);
        match fate {
            Fate::Deliver(skb) => self.delivered(journey, host, &skb, reaction.unwrap_or_default()),
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

    /// Asks a host's stack what it does with a packet.
    fn give_to_stack(&mut self, host: HostId, skb: &Skb) -> (Step, StackAnswer) {
        let (listening, process) = self.listens(host, skb);
        let reaction = self.state.sockets.deliver(Place::Host(host), &skb.packet, listening);
        (Step::Socket { listening: reaction.taken, process }, StackAnswer { reaction: Some(reaction) })
    }

    /// Whether somebody on the host takes packets for this destination, and which program.
    fn listens(&mut self, host: HostId, skb: &Skb) -> (bool, Option<String>) {
        let snapshot = self.world.host(host).snapshot;
        let packet = &skb.packet;
        let header = packet.header();
        let Some((_, port)) = packet.ports() else { return (true, None) };
        let is_first =
            packet.tcp_flags().is_none_or(|flags| flags.0 & 0x17 == crate::packet::TcpFlags::SYN.0);
        if !snapshot.given.has(Item::Sockets) {
            let known =
                self.state.sockets.find(Place::Host(host), header.protocol, header.dst, header.src).is_some();
            if is_first && !known && !self.is_own_client(host, &header) {
                let name = snapshot.name.clone();
                self.env.assumptions.insert(Assumption::Missing { host: name, item: Item::Sockets });
            }
            return (is_first, None);
        }
        let in_name = skb.in_link.map(|link| self.world.link((host, link)).name);
        let candidates = snapshot.sockets.iter().filter(|socket| {
            socket.protocol == header.protocol
                && socket.bind.takes(packet.dst)
                && (socket.interface.is_none() || socket.interface == in_name)
        });
        for socket in candidates {
            let ports = natpath_model::IntervalSet::single(socket.port.into());
            if self.env.compare(port, &ports) {
                return (true, socket.process.clone());
            }
        }
        (false, None)
    }

    fn is_own_client(&self, host: HostId, header: &Header) -> bool {
        self.sender == Sender::Host(host) && Some(header.dst.address) == self.flow.src
    }

    fn delivered(&mut self, journey: usize, host: HostId, skb: &Skb, answer: StackAnswer) {
        self.journeys[journey].packet = skb.packet;
        let Some(reaction) = answer.reaction else { return };
        let reason = if reaction.taken {
            Reason::of(Outcome::Delivered)
        } else if skb.packet.bad_checksum {
            Reason::dropped(Why::Invalid)
        } else {
            Reason::of(Outcome::NoListener)
        };
        let interface = skb.in_link.map(|link| self.world.link((host, link)).name);
        self.end_at(journey, host, interface, &skb.packet, reason);
        if let Some((packet, role)) = reaction.answer {
            self.send(Place::Host(host), packet, role, Some(journey));
        }
        if reaction.unreachable {
            // __udp4_lib_rcv: the packet has let go of its connection by now.
            let skb = Skb { tracked: Tracked::No, ..*skb };
            let error = icmp::port_unreachable(skb.packet.family());
            let ((), _, made) = self.pass(host, |pass| pass.send_error(&skb, error, 0, true));
            self.cause(journey, host, made);
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

    fn react_outside(&mut self, journey: usize, address: IpAddr, packet: Packet) {
        let place = Place::Assumed(address);
        let reaction = self.state.sockets.deliver(place, &packet, true);
        if let Some((answer, role)) = reaction.answer {
            self.send(place, answer, role, Some(journey));
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

    /// The state after the run, ready for the next flow.
    pub(crate) fn into_state(self) -> (State, Env, Vec<Journey>) {
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

/// What a stack did, if a packet was given to one.
#[derive(Debug, Clone, Copy, Default)]
struct StackAnswer {
    reaction: Option<crate::endpoint::Reaction>,
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
