//! The nouns of connection tracking: tuples, directions, zones, states and status bits.

use std::fmt;
use std::net::IpAddr;

use crate::net::{Endpoint, Family, Protocol};

/// Which way a packet goes within its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The way of the connection's first packet.
    Original,
    /// The other way.
    Reply,
}

impl Direction {
    /// The other direction.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// What a connection's packets of one direction have in common
/// (linux/netfilter/nf_conntrack_tuple.h, `struct nf_conntrack_tuple`).
///
/// For ICMP both ports hold the query's identifier, and `icmp` its type and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// The protocol.
    pub protocol: Protocol,
    /// Where packets come from.
    pub src: Endpoint,
    /// Where they go.
    pub dst: Endpoint,
    /// ICMP type and code; `(0, 0)` for other protocols.
    pub icmp: (u8, u8),
}

impl Tuple {
    /// A tuple of a protocol with ports.
    #[must_use]
    pub fn new(protocol: Protocol, src: Endpoint, dst: Endpoint) -> Self {
        Self { protocol, src, dst, icmp: (0, 0) }
    }

    /// The family of its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.src.address)
    }

    /// The tuple of an answer; `None` for an ICMP type that has none
    /// (nf_conntrack_core.c, `nf_ct_invert_tuple`).
    #[must_use]
    pub fn invert(&self) -> Option<Self> {
        let icmp = if self.protocol.is_icmp() {
            (invert_icmp_type(self.protocol, self.icmp.0)?, self.icmp.1)
        } else {
            self.icmp
        };
        Some(Self { protocol: self.protocol, src: self.dst, dst: self.src, icmp })
    }
}

/// The ICMP type that answers a query, or that is answered by this reply.
#[must_use]
pub fn invert_icmp_type(protocol: Protocol, kind: u8) -> Option<u8> {
    // RFC 792, 950 and 1256 for ICMP; RFC 4443 and 4620 for ICMPv6.
    const PAIRS: [(Protocol, u8, u8); 6] = [
        (Protocol::ICMP, 8, 0),
        (Protocol::ICMP, 13, 14),
        (Protocol::ICMP, 15, 16),
        (Protocol::ICMP, 17, 18),
        (Protocol::ICMPV6, 128, 129),
        (Protocol::ICMPV6, 139, 140),
    ];
    PAIRS.into_iter().find_map(|(known, query, reply)| {
        if known != protocol {
            None
        } else if kind == query {
            Some(reply)
        } else if kind == reply {
            Some(query)
        } else {
            None
        }
    })
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol.is_icmp() {
            let (src, dst) = (self.src.address, self.dst.address);
            write!(f, "{} {src} → {dst} id {}", self.protocol, self.src.port)
        } else if self.protocol.has_ports() {
            write!(f, "{} {} → {}", self.protocol, self.src, self.dst)
        } else {
            write!(f, "{} {} → {}", self.protocol, self.src.address, self.dst.address)
        }
    }
}

/// A conntrack zone: entries of different zones do not see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Zone(pub u16);

/// The directions of an entry that live in its zone; the others live in zone 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum ZoneDirection {
    /// Both.
    #[default]
    Both,
    /// The original direction only (`--zone-orig`).
    Original,
    /// The reply direction only (`--zone-reply`).
    Reply,
}

/// The states that `--ctstate` and `ct state` can name, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CtStates(pub u16);

impl CtStates {
    /// No entry can be made for the packet.
    pub const INVALID: Self = Self(1);
    /// Of a connection that has been seen in both directions.
    pub const ESTABLISHED: Self = Self(2);
    /// A new connection that belongs to another, or an ICMP error about one.
    pub const RELATED: Self = Self(4);
    /// Of a connection that has not been seen in both directions.
    pub const NEW: Self = Self(8);
    /// Exempt from tracking.
    pub const UNTRACKED: Self = Self(64);
    /// The entry's source is translated (iptables only).
    pub const SNAT: Self = Self(128);
    /// The entry's destination is translated (iptables only).
    pub const DNAT: Self = Self(256);

    /// iptables' words for the bits.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("INVALID", Self::INVALID),
        ("NEW", Self::NEW),
        ("RELATED", Self::RELATED),
        ("ESTABLISHED", Self::ESTABLISHED),
        ("UNTRACKED", Self::UNTRACKED),
        ("SNAT", Self::SNAT),
        ("DNAT", Self::DNAT),
    ];

    /// The union.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Status bits of an entry (linux/netfilter/nf_conntrack_common.h, `enum ip_conntrack_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status(pub u32);

impl Status {
    /// It was expected by a helper.
    pub const EXPECTED: Self = Self(1);
    /// Packets went both ways.
    pub const SEEN_REPLY: Self = Self(1 << 1);
    /// It is not dropped early when the table is full.
    pub const ASSURED: Self = Self(1 << 2);
    /// It is in the table.
    pub const CONFIRMED: Self = Self(1 << 3);
    /// Its source is translated.
    pub const SRC_NAT: Self = Self(1 << 4);
    /// Its destination is translated.
    pub const DST_NAT: Self = Self(1 << 5);
    /// Its source translation has been decided, if only that there is none.
    pub const SRC_NAT_DONE: Self = Self(1 << 7);
    /// Its destination translation has been decided.
    pub const DST_NAT_DONE: Self = Self(1 << 8);
    /// It is being deleted.
    pub const DYING: Self = Self(1 << 9);

    /// iptables' words for the bits that `--ctstatus` can name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("EXPECTED", Self::EXPECTED),
        ("SEEN_REPLY", Self::SEEN_REPLY),
        ("ASSURED", Self::ASSURED),
        ("CONFIRMED", Self::CONFIRMED),
    ];

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets all bits of `other`.
    pub fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The state of a tracked TCP connection (`enum tcp_conntrack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TcpState {
    /// Not TCP, or nothing seen yet.
    #[default]
    None,
    /// A SYN was seen.
    SynSent,
    /// A SYN from the other side was seen, too (simultaneous open).
    SynSent2,
    /// The SYN-ACK was seen.
    SynRecv,
    /// The handshake is over, or was not seen.
    Established,
    /// One side has closed.
    FinWait,
    /// The close was acknowledged.
    CloseWait,
    /// The other side has closed, too.
    LastAck,
    /// Both have closed.
    TimeWait,
    /// A reset was seen.
    Close,
}

impl TcpState {
    /// The states by the names that conntrack(8) prints.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("NONE", Self::None),
        ("SYN_SENT", Self::SynSent),
        ("SYN_RECV", Self::SynRecv),
        ("ESTABLISHED", Self::Established),
        ("FIN_WAIT", Self::FinWait),
        ("CLOSE_WAIT", Self::CloseWait),
        ("LAST_ACK", Self::LastAck),
        ("TIME_WAIT", Self::TimeWait),
        ("CLOSE", Self::Close),
        ("SYN_SENT2", Self::SynSent2),
    ];

    /// The state that conntrack(8) calls so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, state)| *state)
    }
}

/// An entry of a host's conntrack table, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The tuple of packets in the original direction.
    pub original: Tuple,
    /// The tuple of replies.
    pub reply: Tuple,
    /// Its zone.
    pub zone: Zone,
    /// The directions that live in that zone.
    pub zone_direction: ZoneDirection,
    /// Its status, as far as it was printed or follows from the tuples.
    pub status: Status,
    /// Its mark.
    pub mark: u32,
    /// The seconds it has left; `None` for one that a flowtable keeps.
    pub timeout: Option<u64>,
    /// The state of a TCP connection.
    pub tcp: TcpState,
    /// The line it stands in, from 1.
    pub line: u32,
}

/// Whether an address is one that no host has: unspecified, multicast or the IPv4 broadcast.
#[must_use]
pub fn is_not_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_unspecified() || address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unspecified() || address.is_multicast(),
    }
}
