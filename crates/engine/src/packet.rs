//! A packet as the engine carries it: a header struct that is cheap to copy. [`crate::wire`] turns it into
//! bytes and back.

use std::net::IpAddr;

use natpath_model::{Endpoint, Family, Manip, Port, Protocol, Tuple};

use crate::trace::Header;

/// An IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Whether routers may not fragment it (always so in IPv6).
    pub dont_fragment: bool,
    /// The transport header.
    pub transport: Transport,
    /// Bytes of data behind the transport header.
    pub data: u16,
    /// Whether the transport checksum is wrong.
    pub bad_checksum: bool,
}

/// A transport header, as far as a path can depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Source port.
        src: Port,
        /// Destination port.
        dst: Port,
        /// Flags.
        flags: TcpFlags,
        /// Sequence and acknowledgement number.
        numbers: Numbers,
    },
    /// Another protocol with ports: UDP, SCTP, DCCP, UDP-Lite.
    Ports {
        /// Which.
        protocol: Protocol,
        /// Source port.
        src: Port,
        /// Destination port.
        dst: Port,
    },
    /// An ICMP query or its reply.
    Query {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier.
        id: Port,
    },
    /// An ICMP error or redirect with the header it is about.
    Error {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The second word: the MTU of a "too big", else 0.
        info: u32,
        /// The packet it is about.
        quoted: Quoted,
    },
    /// Anything else.
    Other(Protocol),
}

/// The numbers of a TCP segment (RFC 9293, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// The number of its first byte.
    pub seq: u32,
    /// The number that it expects next from the other side, where ACK is set.
    pub ack: u32,
}

/// The header that an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Its addresses, protocol and ports.
    pub tuple: Tuple,
    /// Its time to live.
    pub ttl: u8,
    /// Its TCP flags.
    pub flags: TcpFlags,
    /// Its bytes of data.
    pub data: u16,
}

/// The flags byte of a TCP header (RFC 9293, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: Self = Self(1);
    /// SYN.
    pub const SYN: Self = Self(2);
    /// RST.
    pub const RST: Self = Self(4);
    /// PSH.
    pub const PSH: Self = Self(8);
    /// ACK.
    pub const ACK: Self = Self(16);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether a packet with these begins a connection: of SYN, ACK, FIN and RST it has SYN only.
    #[must_use]
    pub const fn begin(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::FIN.0 | Self::RST.0) == Self::SYN.0
    }
}

/// ICMP types and codes that the engine makes or reads (RFC 792, RFC 4443).
pub mod icmp {
    use natpath_model::Family;

    /// Echo request.
    #[must_use]
    pub fn echo_request(family: Family) -> u8 {
        match family {
            Family::Ip4 => 8,
            Family::Ip6 => 128,
        }
    }

    /// Echo reply.
    #[must_use]
    pub fn echo_reply(family: Family) -> u8 {
        match family {
            Family::Ip4 => 0,
            Family::Ip6 => 129,
        }
    }

    /// Destination unreachable.
    #[must_use]
    pub fn unreachable(family: Family) -> u8 {
        match family {
            Family::Ip4 => 3,
            Family::Ip6 => 1,
        }
    }

    /// No route to the destination.
    #[must_use]
    pub fn no_route(family: Family) -> (u8, u8) {
        (unreachable(family), 0)
    }

    /// The destination's neighbour, or the host, can't be reached.
    #[must_use]
    pub fn host_unreachable(family: Family) -> (u8, u8) {
        match family {
            Family::Ip4 => (3, 1),
            Family::Ip6 => (1, 3),
        }
    }

    /// Forbidden by an administrator.
    #[must_use]
    pub fn prohibited(family: Family) -> (u8, u8) {
        match family {
            Family::Ip4 => (3, 13),
            Family::Ip6 => (1, 1),
        }
    }

    /// Nobody listens on the port.
    #[must_use]
    pub fn port_unreachable(family: Family) -> (u8, u8) {
        match family {
            Family::Ip4 => (3, 3),
            Family::Ip6 => (1, 4),
        }
    }

    /// The time to live ran out in transit.
    #[must_use]
    pub fn ttl_exceeded(family: Family) -> (u8, u8) {
        match family {
            Family::Ip4 => (11, 0),
            Family::Ip6 => (3, 0),
        }
    }

    /// Larger than the next link takes.
    #[must_use]
    pub fn too_big(family: Family) -> (u8, u8) {
        match family {
            Family::Ip4 => (3, 4),
            Family::Ip6 => (2, 0),
        }
    }

    /// Redirect to a better router for a host.
    #[must_use]
    pub fn redirect(family: Family) -> (u8, u8) {
        match family {
            Family::Ip4 => (5, 1),
            Family::Ip6 => (137, 0),
        }
    }
}

impl Packet {
    /// A packet with nothing special about it.
    #[must_use]
    pub fn new(src: IpAddr, dst: IpAddr, transport: Transport) -> Self {
        Self { src, dst, ttl: 64, tos: 0, dont_fragment: false, transport, data: 0, bad_checksum: false }
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.dst)
    }

    /// The protocol.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.transport {
            Transport::Tcp { .. } => Protocol::TCP,
            Transport::Ports { protocol, .. } | Transport::Other(protocol) => protocol,
            Transport::Query { .. } | Transport::Error { .. } => self.family().icmp(),
        }
    }

    /// Source and destination port, where the protocol has ports.
    #[must_use]
    pub fn ports(&self) -> Option<(Port, Port)> {
        match self.transport {
            Transport::Tcp { src, dst, .. } | Transport::Ports { src, dst, .. } => Some((src, dst)),
            Transport::Query { .. } | Transport::Error { .. } | Transport::Other(_) => None,
        }
    }

    /// The TCP flags.
    #[must_use]
    pub fn tcp_flags(&self) -> Option<TcpFlags> {
        match self.transport {
            Transport::Tcp { flags, .. } => Some(flags),
            _ => None,
        }
    }

    /// The numbers of a TCP segment; zeros for other protocols.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        match self.transport {
            Transport::Tcp { numbers, .. } => numbers,
            _ => Numbers::default(),
        }
    }

    /// The sequence number that follows a TCP segment: SYN and FIN count as a byte each.
    #[must_use]
    pub fn seq_end(&self) -> u32 {
        let flags = self.tcp_flags().unwrap_or_default();
        let counted = u32::from(flags.has(TcpFlags::SYN)) + u32::from(flags.has(TcpFlags::FIN));
        self.numbers().seq.wrapping_add(u32::from(self.data)).wrapping_add(counted)
    }

    /// ICMP type and code.
    #[must_use]
    pub fn icmp(&self) -> Option<(u8, u8)> {
        match self.transport {
            Transport::Query { kind, code, .. } | Transport::Error { kind, code, .. } => Some((kind, code)),
            _ => None,
        }
    }

    /// What an ICMP error is about.
    #[must_use]
    pub fn quoted(&self) -> Option<Quoted> {
        match self.transport {
            Transport::Error { quoted, .. } => Some(quoted),
            _ => None,
        }
    }

    /// The tuple that connection tracking files it under; an ICMP error has none of its own.
    #[must_use]
    pub fn tuple(&self) -> Option<Tuple> {
        let of = |src: Port, dst: Port, icmp| Tuple {
            protocol: self.protocol(),
            src: Endpoint::new(self.src, src),
            dst: Endpoint::new(self.dst, dst),
            icmp,
        };
        match self.transport {
            Transport::Tcp { src, dst, .. } | Transport::Ports { src, dst, .. } => Some(of(src, dst, (0, 0))),
            Transport::Query { kind, code, id } => Some(of(id, id, (kind, code))),
            Transport::Other(_) => Some(of(Port::default(), Port::default(), (0, 0))),
            Transport::Error { .. } => None,
        }
    }

    /// Addresses and ports for display.
    #[must_use]
    pub fn header(&self) -> Header {
        let (src, dst) = match self.transport {
            Transport::Query { id, .. } => (id, id),
            _ => self.ports().unwrap_or_default(),
        };
        Header {
            protocol: self.protocol(),
            src: Endpoint::new(self.src, src),
            dst: Endpoint::new(self.dst, dst),
        }
    }

    /// Writes one half of a tuple into the header (nf_nat_proto.c, `nf_nat_manip_pkt`).
    pub fn rewrite(&mut self, manip: Manip, to: Endpoint) {
        match manip {
            Manip::Src => self.src = to.address,
            Manip::Dst => self.dst = to.address,
        }
        match &mut self.transport {
            Transport::Tcp { src, dst, .. } | Transport::Ports { src, dst, .. } => match manip {
                Manip::Src => *src = to.port,
                Manip::Dst => *dst = to.port,
            },
            Transport::Query { id, .. } => *id = to.port,
            Transport::Error { .. } | Transport::Other(_) => {}
        }
    }

    /// The header as an ICMP error about this packet quotes it.
    #[must_use]
    pub fn quote(&self) -> Option<Quoted> {
        Some(Quoted {
            tuple: self.tuple()?,
            ttl: self.ttl,
            flags: self.tcp_flags().unwrap_or_default(),
            data: self.data,
        })
    }

    /// The length of the transport header in bytes.
    #[must_use]
    pub fn transport_length(&self) -> u16 {
        match self.transport {
            Transport::Tcp { .. } => 20,
            Transport::Ports { protocol: Protocol::SCTP, .. } => 12,
            Transport::Ports { .. } | Transport::Query { .. } => 8,
            Transport::Error { quoted, .. } => 8 + quoted_length(self.family(), quoted),
            Transport::Other(_) => 0,
        }
    }

    /// The total length in bytes, IP header included.
    #[must_use]
    pub fn length(&self) -> u32 {
        let ip = match self.family() {
            Family::Ip4 => 20,
            Family::Ip6 => 40,
        };
        ip + u32::from(self.transport_length()) + u32::from(self.data)
    }
}

/// The bytes of the quoted packet, which the kernel cuts so that the error fits in 576 bytes for IPv4 and
/// in 1280 for IPv6 (RFC 1812, 4.3.2.3; RFC 4443, 2.4).
fn quoted_length(family: Family, quoted: Quoted) -> u16 {
    let transport = if quoted.tuple.protocol == Protocol::TCP { 20 } else { 8 };
    match family {
        Family::Ip4 => (20 + transport + quoted.data).min(576 - 28),
        Family::Ip6 => (40 + transport + quoted.data).min(1280 - 48),
    }
}
