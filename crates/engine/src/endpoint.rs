//! The two scripted endpoints: what a client's and a server's stack do with the packets that reach them.
//!
//! They hold just enough TCP for a flow to be a whole connection: a handshake, data each way, acknowledged
//! at once, and resets for what fits no socket (RFC 9293, 3.10.7).

use std::collections::BTreeMap;
use std::net::IpAddr;

use natpath_model::{Endpoint, Protocol};

use crate::packet::{Packet, TcpFlags, Transport, icmp};
use crate::skb::Transparent;
use crate::trace::{FlowPacket, Place};

/// Who holds a socket.
pub(crate) type Node = Place;

/// The open sockets of all nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sockets {
    open: BTreeMap<SocketKey, Socket>,
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

/// A socket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Socket {
    pub(crate) state: SocketState,
    /// Whether data has come in.
    pub(crate) received: bool,
    /// Whether it may have an address that its host lacks.
    pub(crate) transparent: Transparent,
}

/// How far a socket's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketState {
    /// A TCP client waits for its SYN-ACK, or another client for its answer.
    Waiting,
    /// A TCP server waits for the handshake's ACK.
    SynReceived,
    /// TCP is established, or the answer is here.
    Open,
    /// It was reset.
    Reset,
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
    /// Opens a client's socket.
    pub(crate) fn open(&mut self, key: SocketKey, transparent: Transparent) {
        // The other end of an earlier connection with the same addresses has long forgotten it.
        let mirrored = |other: &SocketKey| {
            other.protocol == key.protocol && other.local == key.remote && other.remote == key.local
        };
        self.open.retain(|other, _| !mirrored(other));
        self.open.insert(key, Socket { state: SocketState::Waiting, received: false, transparent });
    }

    pub(crate) fn get(&self, key: &SocketKey) -> Option<&Socket> {
        self.open.get(key)
    }

    pub(crate) fn close(&mut self, key: &SocketKey) {
        self.open.remove(key);
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
                let state = SocketState::SynReceived;
                self.open.insert(key, Socket { state, received: false, transparent });
                let answer = segment(packet, TcpFlags::SYN.with(TcpFlags::ACK));
                return Reaction::answer(answer, Role::Needed(FlowPacket::Answer), transparent);
            }
            return refuse(packet, flags, transparent);
        };
        let transparent = socket.transparent;
        if flags.has(TcpFlags::RST) {
            socket.state = SocketState::Reset;
            return Reaction::TAKEN;
        }
        match socket.state {
            SocketState::Waiting if flags.has(TcpFlags::SYN.with(TcpFlags::ACK)) => {
                socket.state = SocketState::Open;
                let answer = segment(packet, TcpFlags::ACK);
                Reaction::answer(answer, Role::Needed(FlowPacket::HandshakeAck), transparent)
            }
            SocketState::Waiting | SocketState::Reset => refuse(packet, flags, transparent),
            SocketState::SynReceived | SocketState::Open => {
                if flags.has(TcpFlags::ACK) && !flags.has(TcpFlags::SYN) {
                    socket.state = SocketState::Open;
                }
                if packet.data == 0 {
                    return Reaction::TAKEN;
                }
                socket.received = true;
                Reaction::answer(segment(packet, TcpFlags::ACK), Role::Other, transparent)
            }
        }
    }

    fn deliver_datagram(
        &mut self,
        key: SocketKey,
        packet: &Packet,
        listener: Listener,
        asks: bool,
    ) -> Reaction {
        // A client's socket takes datagrams from anybody.
        let of_client = |(other, _): &(&SocketKey, &mut Socket)| {
            other.node == key.node && other.protocol == key.protocol && other.local == key.local
        };
        if !matches!(listener, Listener::Assigned(_))
            && let Some((_, socket)) = self.open.iter_mut().find(of_client)
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
            if let Some((_, socket)) = self.open.iter_mut().find(of_client) {
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

/// A segment back to the sender of another.
fn segment(packet: &Packet, flags: TcpFlags) -> Packet {
    let mut answer = *packet;
    (answer.src, answer.dst) = (packet.dst, packet.src);
    answer.data = 0;
    if let Transport::Tcp { src, dst, flags: old } = &mut answer.transport {
        std::mem::swap(src, dst);
        *old = flags;
    }
    fresh(answer)
}

/// What a stack does with a segment that fits no socket.
fn refuse(packet: &Packet, flags: TcpFlags, transparent: Transparent) -> Reaction {
    if flags.has(TcpFlags::RST) {
        return Reaction::REFUSED;
    }
    let answer = if flags.has(TcpFlags::ACK) { TcpFlags::RST } else { TcpFlags::RST.with(TcpFlags::ACK) };
    // tcp_v4_send_reset: with the type of service of what it answers.
    let reset = Packet { tos: packet.tos, ..segment(packet, answer) };
    Reaction { answer: Some(Answer { packet: reset, role: Role::Other, transparent }), ..Reaction::REFUSED }
}

/// A packet as a stack sends it: with a time to live of its own.
fn fresh(packet: Packet) -> Packet {
    Packet { ttl: 64, tos: 0, ..packet }
}
