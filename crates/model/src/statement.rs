//! What a rule does when it applies.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::conntrack::{Zone, ZoneDirection};
use crate::hook::Manip;
use crate::matching::Opaque;
use crate::net::Family;
use crate::ruleset::ChainId;

/// One action of a rule, in order of execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Ends the rule, the chain or the packet.
    Verdict(Verdict),
    /// Answers the sender with an error and drops the packet.
    Reject(RejectWith),
    /// Writes a log line; the packet goes on.
    Log {
        /// The text before the line.
        prefix: String,
    },
    /// Sets the packet's mark to `(mark & !clear) ^ xor`.
    Mark {
        /// The bits that are cleared first.
        clear: u32,
        /// The bits that are then flipped.
        xor: u32,
    },
    /// Copies or sets the entry's mark.
    Connmark(ConnmarkOp),
    /// Exempts the packet from connection tracking.
    Notrack,
    /// Chooses how the packet's entry will be made.
    Ct(CtTemplate),
    /// Sets up a translation; ends the chain where it was set up.
    Nat(Nat),
    /// Sets the type of service to `(tos & !clear) ^ xor`.
    Tos {
        /// The bits that are cleared first.
        clear: u8,
        /// The bits that are then flipped.
        xor: u8,
    },
    /// Changes the time to live or hop limit.
    Ttl(TtlChange),
    /// Adds to a set or removes from it.
    Set(SetChange),
    /// Gives the packet to a local socket, whatever its destination.
    Tproxy(Tproxy),
    /// Has an effect that no path depends on (a counter object, a queue length hint); the packet goes on.
    Inert {
        /// The construct in the tool's words.
        construct: String,
    },
    /// A construct that is carried verbatim because its effect is not known.
    Opaque(Opaque),
}

/// Where evaluation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The packet passes this base chain.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the calling chain, or to the policy of a base chain.
    Return,
    /// Into a chain, and back here when it ends.
    Jump(ChainId),
    /// Into a chain; when it ends, evaluation goes on where this chain was called.
    Goto(ChainId),
}

/// The error that a REJECT sends (linux/netfilter_ipv4/ipt_REJECT.h and its IPv6 sister).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectWith {
    /// An ICMP or ICMPv6 destination unreachable, with this type and code.
    Icmp {
        /// The ICMP type: 3, or 1 for ICMPv6 (4 and others do not occur).
        kind: u8,
        /// The code.
        code: u8,
    },
    /// A TCP reset.
    TcpReset,
}

/// An operation between the packet's mark and its entry's (xt_connmark.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnmarkOp {
    /// Entry mark becomes `(mark & !clear) ^ xor`.
    Set {
        /// The bits that are cleared first.
        clear: u32,
        /// The bits that are then flipped.
        xor: u32,
    },
    /// Entry mark becomes `(entry & !entry_mask) ^ (packet & packet_mask)`.
    Save {
        /// `--nfmask`.
        packet_mask: u32,
        /// `--ctmask`.
        entry_mask: u32,
    },
    /// Packet mark becomes `(packet & !packet_mask) ^ (entry & entry_mask)`.
    Restore {
        /// `--nfmask`.
        packet_mask: u32,
        /// `--ctmask`.
        entry_mask: u32,
    },
}

/// A change of the time to live (xt_HL.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TtlChange {
    /// To this value.
    Set(u8),
    /// Up, to 255 at the most.
    Increase(u8),
    /// Down, to 0 at the least.
    Decrease(u8),
}

impl TtlChange {
    /// The time to live after the change.
    #[must_use]
    pub fn apply(self, ttl: u8) -> u8 {
        match self {
            Self::Set(value) => value,
            Self::Increase(by) => ttl.saturating_add(by),
            Self::Decrease(by) => ttl.saturating_sub(by),
        }
    }
}

/// A change of a set (xt_set.c, `set_target_v3`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetChange {
    /// The set's name.
    pub set: String,
    /// The packet's side for each part of the element.
    pub sides: Vec<Manip>,
    /// Whether the element is removed rather than added.
    pub remove: bool,
    /// `--exist`: an element that is there already gets the new timeout.
    pub exist: bool,
    /// The seconds the element stays; `None` for the set's default.
    pub timeout: Option<u32>,
}

/// The socket that a TPROXY target looks for, and the mark that the packet gets with it (xt_TPROXY.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tproxy {
    /// `--on-ip`; `None` for an address of the interface that the packet came by.
    pub address: Option<IpAddr>,
    /// `--on-port`; 0 for the packet's own.
    pub port: u16,
    /// The bits of the mark that are cleared first.
    pub clear: u32,
    /// The bits that are then flipped.
    pub xor: u32,
}

/// What a CT target asks of the entry (xt_CT.c).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CtTemplate {
    /// The zone, and the directions of the entry that live in it.
    pub zone: Option<(Zone, ZoneDirection)>,
    /// The helper's name.
    pub helper: Option<String>,
}

/// A translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nat {
    /// Destination to a range.
    Dnat(NatRange),
    /// Source to a range.
    Snat(NatRange),
    /// Source to an address of the out-interface (nf_nat_masquerade.c); the range has no addresses.
    Masquerade(NatRange),
    /// Destination to this host (nf_nat_redirect.c); the range has no addresses.
    Redirect(NatRange),
    /// The network part is replaced, host bits are kept (xt_NETMAP.c); the side follows the hook.
    Netmap(IpNet),
}

impl Nat {
    /// The side that is changed; `None` where the hook decides.
    #[must_use]
    pub fn manip(&self) -> Option<Manip> {
        match self {
            Self::Dnat(_) | Self::Redirect(_) => Some(Manip::Dst),
            Self::Snat(_) | Self::Masquerade(_) => Some(Manip::Src),
            Self::Netmap(_) => None,
        }
    }
}

/// The addresses and ports a translation may choose from (nf_nat.h, `struct nf_nat_range2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NatRange {
    /// First and last address, in that order; `None`: the address stays or is found otherwise.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The ports; `None`: the port stays if it can.
    pub ports: Option<PortRange>,
    /// `--random` or `--random-fully`: the port is always drawn. The kernel treats both alike since 4.x
    /// (nf_nat.h, `NF_NAT_RANGE_PROTO_RANDOM_ALL`).
    pub random: bool,
    /// `--persistent`: the destination has no part in choosing the address.
    pub persistent: bool,
}

/// A range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub min: u16,
    /// The highest port, not below `min`.
    pub max: u16,
    /// The original port that maps to `min`, others following in step; `None` where they don't.
    pub base: Option<u16>,
}

/// The ICMP code names that iptables and nft use, with family, type and code.
pub const REJECT_NAMES: [(Family, &str, u8, u8); 15] = [
    (Family::Ip4, "icmp-net-unreachable", 3, 0),
    (Family::Ip4, "icmp-host-unreachable", 3, 1),
    (Family::Ip4, "icmp-proto-unreachable", 3, 2),
    (Family::Ip4, "icmp-port-unreachable", 3, 3),
    (Family::Ip4, "icmp-net-prohibited", 3, 9),
    (Family::Ip4, "icmp-host-prohibited", 3, 10),
    (Family::Ip4, "icmp-admin-prohibited", 3, 13),
    (Family::Ip6, "icmp6-no-route", 1, 0),
    (Family::Ip6, "icmp6-adm-prohibited", 1, 1),
    (Family::Ip6, "icmp6-addr-unreachable", 1, 3),
    (Family::Ip6, "icmp6-port-unreachable", 1, 4),
    (Family::Ip6, "icmp6-policy-fail", 1, 5),
    (Family::Ip6, "icmp6-reject-route", 1, 6),
    (Family::Ip4, "tcp-reset", 0, 0),
    (Family::Ip6, "tcp-reset", 0, 0),
];

impl fmt::Display for NatRange {
    /// iptables' way: `10.0.0.1-10.0.0.9:80-82/9000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((first, last)) = self.addresses {
            let bracket = first.is_ipv6() && self.ports.is_some();
            if bracket {
                f.write_str("[")?;
            }
            write!(f, "{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
            if bracket {
                f.write_str("]")?;
            }
        }
        if let Some(ports) = self.ports {
            write!(f, ":{}", ports.min)?;
            if ports.max != ports.min {
                write!(f, "-{}", ports.max)?;
            }
            if let Some(base) = ports.base {
                write!(f, "/{base}")?;
            }
        }
        Ok(())
    }
}
