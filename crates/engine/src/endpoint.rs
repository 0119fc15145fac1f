//! The two scripted endpoints: what a client's and a server's stack do with the packets that reach them.
//!
//! They hold just enough TCP for a flow to be a whole connection: a handshake, data each way, acknowledged
//! at once, the close, and resets for what fits no socket (RFC 9293, 3.10.7). Nobody lingers in TIME-WAIT.

use std::collections::BTreeMap;
use std::net::IpAddr;

use natpath_model::{Endpoint, Protocol};

use crate::errors::reset_for;
use crate::packet::{Numbers, Packet, TcpFlags, Transport, icmp};
use crate::skb::Transparent;
use crate::trace::{FlowPacket, HostId, Place};

/// Who holds a socket.
pub(crate) type Node = Place;

/// How far the initial sequence numbers of one flow are from those of the next.
const SEQUENCE_STEP: u32 = 100_000;

/// The open sockets of all nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sockets {
    open: BTreeMap<SocketKey, Socket>,
    /// The initial sequence number of the next client; its server's is half a step further.
    sequence: u32,
}

/// A socket's addresses. A UDP or ICMP client's remote is what it sends to; it takes answers from anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketKey {
    pub(crate) node: NodeKey,
    pub(crate) protocol: Protocol,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
}

/// A node in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeKey {
    Host(u32),
    Assumed(IpAddr),
}

impl From<Node> for NodeKey {
    fn from(node: Node) -> Self {
        match node {
            Place::Host(id) => Self::Host(id.0),
            Place::Assumed(address) => Self::Assumed(address),
        }
    }
}

impl From<NodeKey> for Node {
    fn from(key: NodeKey) -> Self {
        match key {
            NodeKey::Host(id) => Self::Host(HostId(id)),
            NodeKey::Assumed(address) => Self::Assumed(address),
        }
    }
}

/// A socket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Socket {
    pub(crate) state: SocketState,
    /// Whether data has come in.
    pub(crate) received: bool,
    /// Whether it may have an address that its host lacks.
    pub(crate) transparent: Transparent,
    /// The number after the last byte sent (`SND.NXT`).
    sent: u32,
    /// The number after the last byte that was acknowledged (`SND.UNA`).
    acknowledged: u32,
    /// The number that is expected next (`RCV.NXT`).
    expected: u32,
    /// What came in before its turn: first number, and the number after the last.
    ahead: Option<(u32, u32)>,
}

/// How far a socket's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SocketState {
    /// A TCP client waits for its SYN-ACK, or another client for its answer.
    Waiting,
    /// A TCP server waits for the handshake's ACK.
    SynReceived,
    /// TCP is established, or the answer is here.
    Open,
    /// The other side has closed.
    Closing,
    /// It was reset.
    Reset,
}

impl Socket {
    fn new(state: SocketState, sequence: u32, transparent: Transparent) -> Self {
        let sent = sequence.wrapping_add(1);
        Self { state, received: false, transparent, sent, acknowledged: sequence, expected: 0, ahead: None }
    }

    /// Whether all that was sent is acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged == self.sent
    }

    /// The numbers of the next segment.
    fn numbers(&self) -> Numbers {
        Numbers { seq: self.sent, ack: self.expected }
    }

    /// Takes the bytes of a segment in, and what waited for them.
    fn take(&mut self, packet: &Packet) {
        let (from, to) = (packet.numbers().seq, packet.seq_end());
        if is_before(self.expected, from) {
            let (first, last) = self.ahead.unwrap_or((from, to));
            let first = if is_before(from, first) { from } else { first };
            self.ahead = Some((first, if is_before(last, to) { to } else { last }));
            return;
        }
        if is_before(self.expected, to) {
            self.expected = to;
            self.received |= packet.data > 0;
        }
        if let Some((_, last)) = self.ahead.filter(|(first, _)| !is_before(self.expected, *first)) {
            self.ahead = None;
            self.expected = if is_before(self.expected, last) { last } else { self.expected };
        }
    }
}

/// Whether a sequence number comes before another, modulo 2^32.
fn is_before(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() < 0
}

/// The part a packet plays in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first packet.
    First,
    /// One that the flow needs.
    Needed(FlowPacket),
    /// An acknowledgement of data, a reset, an ICMP error: nothing waits for it.
    Other,
}

/// What a stack does with a packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reaction {
    /// Whether a socket or responder took it.
    pub(crate) taken: bool,
    /// What it sends in turn.
    pub(crate) answer: Option<Answer>,
    /// Whether it answers "port unreachable".
    pub(crate) unreachable: bool,
}

/// A packet that a stack sends because of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    pub(crate) packet: Packet,
    pub(crate) role: Role,
    /// Whether the socket it comes from may have an address that its host lacks.
    pub(crate) transparent: Transparent,
}

/// The socket for connections and datagrams that no other socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// There is none.
    Nobody,
    /// It takes what has no socket of its own.
    Listens(Transparent),
    /// TPROXY has given it the packet, so that it takes it also where another socket would.
    Assigned(Transparent),
}

impl Listener {
    fn transparent(self) -> Transparent {
        match self {
            Self::Nobody => Transparent::Known(false),
            Self::Listens(transparent) | Self::Assigned(transparent) => transparent,
        }
    }
}

impl Reaction {
    const TAKEN: Self = Self { taken: true, answer: None, unreachable: false };
    const REFUSED: Self = Self { taken: false, answer: None, unreachable: false };

    fn answer(packet: Packet, role: Role, transparent: Transparent) -> Self {
        Self { answer: Some(Answer { packet, role, transparent }), ..Self::TAKEN }
    }
}

impl Sockets {
    /// Makes the numbers of a flow's connections follow those of all flows before it.
    pub(crate) fn begin_flow(&mut self, number: u32) {
        self.sequence = number.wrapping_mul(SEQUENCE_STEP);
    }

    /// Opens a client's socket.
    pub(crate) fn open(&mut self, key: SocketKey, transparent: Transparent) {
        // The other end of an earlier connection with the same addresses has long forgotten it.
        let mirrored = |other: &SocketKey| {
            other.protocol == key.protocol && other.local == key.remote && other.remote == key.local
        };
        self.open.retain(|other, _| !mirrored(other));
        self.open.insert(key, Socket::new(SocketState::Waiting, self.sequence, transparent));
    }

    pub(crate) fn get(&self, key: &SocketKey) -> Option<&Socket> {
        self.open.get(key)
    }

    pub(crate) fn close(&mut self, key: &SocketKey) {
        self.open.remove(key);
    }

    /// The sockets there are.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SocketKey> {
        self.open.keys()
    }

    /// Closes the sockets that a failed attempt has opened, but for those whose handshake is not over: they
    /// wait.
    pub(crate) fn close_others_than(&mut self, known: &[SocketKey]) {
        self.open.retain(|key, socket| known.contains(key) || socket.state == SocketState::SynReceived);
    }

    /// The header of the first segment that a client's socket sends.
    pub(crate) fn syn(&self, key: &SocketKey) -> Transport {
        let seq = self.open.get(key).map_or(0, |socket| socket.acknowledged);
        header(key, TcpFlags::SYN, Numbers { seq, ack: 0 })
    }

    /// Makes a client that has its answer wait for another.
    pub(crate) fn wait_again(&mut self, key: &SocketKey) {
        if let Some(socket) = self.open.get_mut(key) {
            socket.state = SocketState::Waiting;
        }
    }

    /// A segment of an open socket: data, or the end of it.
    pub(crate) fn send(&mut self, key: &SocketKey, flags: TcpFlags, data: u16) -> Option<Packet> {
        let socket = self.open.get_mut(key)?;
        if !matches!(socket.state, SocketState::Open | SocketState::Closing) {
            return None;
        }
        let transport = header(key, flags.with(TcpFlags::ACK), socket.numbers());
        let mut packet = Packet::new(key.local.address, key.remote.address, transport);
        (packet.dont_fragment, packet.data) = (true, data);
        if !flags.has(TcpFlags::RST) {
            socket.sent = packet.seq_end();
        }
        Some(packet)
    }

    /// What an open socket sends again: all that the other side has not got, up to what came before its turn.
    pub(crate) fn send_again(&self, key: &SocketKey, peer: &SocketKey) -> Option<Packet> {
        let socket = self.open.get(key)?;
        let (missing, _) = self.open.get(peer)?.ahead?;
        let numbers = Numbers { seq: socket.acknowledged, ack: socket.expected };
        let transport = header(key, TcpFlags::PSH.with(TcpFlags::ACK), numbers);
        let mut packet = Packet::new(key.local.address, key.remote.address, transport);
        packet.dont_fragment = true;
        packet.data =
            u16::try_from(missing.wrapping_sub(socket.acknowledged)).ok().filter(|data| *data > 0)?;
        Some(packet)
    }

    /// The server's socket that has received data last opened by a client's packet with this header.
    pub(crate) fn find(
        &self,
        node: Node,
        protocol: Protocol,
        local: Endpoint,
        remote: Endpoint,
    ) -> Option<&Socket> {
        self.open.get(&SocketKey { node: node.into(), protocol, local, remote })
    }

    /// Gives a packet to a node's stack. `listener`: the server's socket for its destination; `asks`: whether
    /// a server answers it, as it does not answer answers.
    pub(crate) fn deliver(
        &mut self,
        node: Node,
        packet: &Packet,
        listener: Listener,
        asks: bool,
    ) -> Reaction {
        if packet.bad_checksum {
            return Reaction::REFUSED;
        }
        let header = packet.header();
        let key =
            SocketKey { node: node.into(), protocol: header.protocol, local: header.dst, remote: header.src };
        match packet.transport {
            Transport::Tcp { flags, .. } => self.deliver_tcp(key, packet, flags, listener),
            Transport::Ports { .. } => self.deliver_datagram(key, packet, listener, asks),
            Transport::Query { kind, .. } => self.deliver_query(key, packet, kind),
            Transport::Error { .. } => Reaction::TAKEN,
            Transport::Other(_) => Reaction { taken: listener != Listener::Nobody, ..Reaction::REFUSED },
        }
    }

    fn deliver_tcp(
        &mut self,
        key: SocketKey,
        packet: &Packet,
        flags: TcpFlags,
        listener: Listener,
    ) -> Reaction {
        let own = self.open.get_mut(&key).filter(|_| !matches!(listener, Listener::Assigned(_)));
        let Some(socket) = own else {
            let transparent = listener.transparent();
            let is_syn = flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK) && !flags.has(TcpFlags::RST);
            if listener != Listener::Nobody && is_syn {
                let sequence = self.sequence.wrapping_add(SEQUENCE_STEP / 2);
                let mut socket = Socket::new(SocketState::SynReceived, sequence, transparent);
                socket.expected = packet.seq_end();
                self.open.insert(key, socket);
                let numbers = Numbers { seq: sequence, ack: socket.expected };
                let answer = segment(packet, TcpFlags::SYN.with(TcpFlags::ACK), numbers);
                return Reaction::answer(answer, Role::Needed(FlowPacket::Answer), transparent);
            }
            return refuse(packet, transparent);
        };
        match socket.state {
            SocketState::Waiting => deliver_to_waiting(socket, packet, flags),
            SocketState::SynReceived | SocketState::Open | SocketState::Closing => {
                deliver_to_open(socket, packet, flags)
            }
            SocketState::Reset => refuse(packet, socket.transparent),
        }
    }

    fn deliver_datagram(
        &mut self,
        key: SocketKey,
        packet: &Packet,
        listener: Listener,
        asks: bool,
    ) -> Reaction {
        // A client's socket takes datagrams from anybody; of several the one that waits.
        let of_client = |(other, _): &(&SocketKey, &mut Socket)| {
            other.node == key.node && other.protocol == key.protocol && other.local == key.local
        };
        if !matches!(listener, Listener::Assigned(_))
            && let Some((_, socket)) =
                self.open.iter_mut().filter(of_client).min_by_key(|(_, other)| other.state)
        {
            socket.state = SocketState::Open;
            return Reaction::TAKEN;
        }
        if listener == Listener::Nobody {
            return Reaction { unreachable: true, ..Reaction::REFUSED };
        }
        if !asks {
            return Reaction::TAKEN;
        }
        let mut answer = *packet;
        (answer.src, answer.dst) = (packet.dst, packet.src);
        if let Transport::Ports { src, dst, .. } = &mut answer.transport {
            std::mem::swap(src, dst);
        }
        Reaction::answer(fresh(answer), Role::Needed(FlowPacket::Answer), listener.transparent())
    }

    fn deliver_query(&mut self, key: SocketKey, packet: &Packet, kind: u8) -> Reaction {
        let family = packet.family();
        if kind != icmp::echo_request(family) {
            let of_client = |(other, _): &(&SocketKey, &mut Socket)| {
                other.node == key.node && other.protocol == key.protocol && other.local == key.local
            };
            if let Some((_, socket)) =
                self.open.iter_mut().filter(of_client).min_by_key(|(_, other)| other.state)
            {
                socket.state = SocketState::Open;
            }
            return Reaction::TAKEN;
        }
        let mut answer = *packet;
        (answer.src, answer.dst) = (packet.dst, packet.src);
        if let Transport::Query { kind, .. } = &mut answer.transport {
            *kind = icmp::echo_reply(family);
        }
        // icmp_reply: with the type of service of the request.
        let answer = Packet { ttl: 64, ..answer };
        Reaction::answer(answer, Role::Needed(FlowPacket::Answer), Transparent::Known(false))
    }
}

/// A segment to a client that waits for its connection (RFC 9293, 3.10.7.3).
fn deliver_to_waiting(socket: &mut Socket, packet: &Packet, flags: TcpFlags) -> Reaction {
    let numbers = packet.numbers();
    let acknowledges = flags.has(TcpFlags::ACK) && numbers.ack == socket.sent;
    if flags.has(TcpFlags::RST) {
        if acknowledges {
            socket.state = SocketState::Reset;
        }
        return Reaction::TAKEN;
    }
    if !flags.has(TcpFlags::SYN) || !acknowledges {
        return refuse(packet, socket.transparent);
    }
    socket.state = SocketState::Open;
    (socket.acknowledged, socket.expected) = (numbers.ack, packet.seq_end());
    let answer = segment(packet, TcpFlags::ACK, socket.numbers());
    Reaction::answer(answer, Role::Needed(FlowPacket::HandshakeAck), socket.transparent)
}

/// A segment of an open connection, or of one whose handshake ends (RFC 9293, 3.10.7.4).
fn deliver_to_open(socket: &mut Socket, packet: &Packet, flags: TcpFlags) -> Reaction {
    let numbers = packet.numbers();
    if flags.has(TcpFlags::RST) {
        // Exactly what is expected, or it is asked back (RFC 5961, 3).
        if numbers.seq == socket.expected {
            socket.state = SocketState::Reset;
            return Reaction::TAKEN;
        }
        let answer = segment(packet, TcpFlags::ACK, socket.numbers());
        return Reaction::answer(answer, Role::Other, socket.transparent);
    }
    if flags.has(TcpFlags::SYN) {
        return Reaction::TAKEN;
    }
    if flags.has(TcpFlags::ACK) && !is_before(socket.sent, numbers.ack) {
        if socket.state == SocketState::SynReceived {
            socket.state = SocketState::Open;
        }
        if is_before(socket.acknowledged, numbers.ack) {
            socket.acknowledged = numbers.ack;
        }
    }
    if packet.data == 0 && !flags.has(TcpFlags::FIN) {
        return Reaction::TAKEN;
    }
    socket.take(packet);
    if flags.has(TcpFlags::FIN) && socket.expected == packet.seq_end() {
        socket.state = SocketState::Closing;
    }
    Reaction::answer(segment(packet, TcpFlags::ACK, socket.numbers()), Role::Other, socket.transparent)
}

fn header(key: &SocketKey, flags: TcpFlags, numbers: Numbers) -> Transport {
    Transport::Tcp { src: key.local.port, dst: key.remote.port, flags, numbers }
}

/// A segment back to the sender of another.
fn segment(packet: &Packet, flags: TcpFlags, numbers: Numbers) -> Packet {
    let mut answer = *packet;
    (answer.src, answer.dst) = (packet.dst, packet.src);
    answer.data = 0;
    if let Transport::Tcp { src, dst, .. } = packet.transport {
        answer.transport = Transport::Tcp { src: dst, dst: src, flags, numbers };
    }
    fresh(answer)
}

/// What a stack does with a segment that fits no socket.
fn refuse(packet: &Packet, transparent: Transparent) -> Reaction {
    let Some(transport) = reset_for(packet) else { return Reaction::REFUSED };
    let mut reset = Packet { src: packet.dst, dst: packet.src, transport, data: 0, ..*packet };
    // tcp_v4_send_reset: with the type of service of what it answers.
    reset = Packet { tos: packet.tos, ..fresh(reset) };
    Reaction { answer: Some(Answer { packet: reset, role: Role::Other, transparent }), ..Reaction::REFUSED }
}

/// A packet as a stack sends it: with a time to live of its own.
fn fresh(packet: Packet) -> Packet {
    Packet { ttl: 64, tos: 0, ..packet }
}
