//! What acts on packets beside netfilter: enough to name it where it can matter.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::hook::Hook;
use crate::net::Protocol;
use crate::value::InterfaceName;

/// Something that acts on packets and that natpath does not model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bypass {
    /// What.
    pub kind: BypassKind,
    /// The file it was listed in.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
}

/// The kinds of what acts on packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BypassKind {
    /// A virtual service of IPVS.
    VirtualService {
        /// The protocol.
        protocol: Protocol,
        /// The address.
        address: IpAddr,
        /// The port; 0 for all.
        port: u16,
        /// The real servers that are given connections: those with a weight.
        servers: u32,
    },
    /// A virtual service of IPVS for packets with a mark.
    VirtualMark(u32),
    /// An IPsec policy that transforms packets or drops them.
    Policy {
        /// Where it acts: INPUT, FORWARD or, for packets that leave, POSTROUTING.
        hook: Hook,
        /// The sources.
        src: IpNet,
        /// The destinations.
        dst: IpNet,
        /// The protocol, if it is for one.
        protocol: Option<Protocol>,
        /// The source port, if it is for one.
        src_port: Option<u16>,
        /// The destination port, if it is for one.
        dst_port: Option<u16>,
        /// The interface, if it is for one.
        link: Option<InterfaceName>,
    },
    /// A filter of traffic control.
    Filter {
        /// The device; `None` where it is not said.
        link: Option<InterfaceName>,
        /// Whether it sees packets that come in; `None` where it is not said.
        incoming: Option<bool>,
    },
    /// A WireGuard device: its peers' allowed addresses decide.
    WireGuard {
        /// The device.
        link: InterfaceName,
    },
}

impl BypassKind {
    /// What users call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::VirtualService { .. } | Self::VirtualMark(_) => "IPVS",
            Self::Policy { .. } => "an IPsec policy",
            Self::Filter { .. } => "a tc filter",
            Self::WireGuard { .. } => "WireGuard",
        }
    }
}
