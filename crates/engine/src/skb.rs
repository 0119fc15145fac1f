//! A packet on its way through a host, with what the kernel remembers beside its bytes (`struct sk_buff`).

use std::net::IpAddr;

use natpath_model::{Mac, RuleRef};

use crate::conntrack::Tracked;
use crate::host::LinkId;
use crate::packet::Packet;
use crate::tproxy::Assigned;
use crate::trace::{Outcome, Why};

/// A packet and its metadata.
#[derive(Debug, Clone, Copy)]
pub struct Skb {
    /// The packet.
    pub packet: Packet,
    /// The mark.
    pub mark: u32,
    /// Its connection.
    pub tracked: Tracked,
    /// The link it came in by.
    pub in_link: Option<LinkId>,
    /// The link it is routed to.
    pub out_link: Option<LinkId>,
    /// The router or destination it is routed to, once it is.
    pub next_hop: Option<IpAddr>,
    /// The socket's bound link, for a packet made here.
    pub bound: Option<LinkId>,
    /// The socket that sends it, for a packet made here.
    pub sender: Option<SendingSocket>,
    /// The socket that TPROXY gave it to.
    pub assigned: Option<Assigned>,
    /// The hardware source address of the frame it came in.
    pub src_mac: Option<Mac>,
    /// The ports of the bridge that shows the frame to the hooks, if one does.
    pub physdev: Option<PhysDev>,
}

/// What rules and routes can ask of the socket that sends a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingSocket {
    /// The user it belongs to.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Whether it may have an address that the host lacks.
    pub transparent: Transparent,
    /// Whether it is the client's of the flow.
    pub of_client: bool,
}

/// Whether a socket may have an address that its host lacks (`IP_TRANSPARENT`), and whether that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transparent {
    /// It is.
    Known(bool),
    /// It is not.
    Assumed(bool),
}

impl Transparent {
    /// Whether it may.
    #[must_use]
    pub fn holds(self) -> bool {
        match self {
            Self::Known(holds) | Self::Assumed(holds) => holds,
        }
    }
}

/// The ports of a bridge that a frame crosses, as br_netfilter notes them (`struct nf_bridge_info`). A packet
/// keeps them while it is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhysDev {
    /// The port it came in by.
    pub in_port: BridgePort,
    /// The port it leaves by; `None` before FORWARD, and where it does not leave bridged.
    pub out_port: Option<BridgePort>,
}

/// A port of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgePort {
    /// This one.
    Known(LinkId),
    /// One that nothing tells.
    Unknown,
}

impl From<Option<LinkId>> for BridgePort {
    fn from(port: Option<LinkId>) -> Self {
        port.map_or(Self::Unknown, Self::Known)
    }
}

impl Skb {
    /// A packet without metadata.
    #[must_use]
    pub fn new(packet: Packet) -> Self {
        Self {
            packet,
            mark: 0,
            tracked: Tracked::No,
            in_link: None,
            out_link: None,
            next_hop: None,
            bound: None,
            sender: None,
            assigned: None,
            src_mac: None,
            physdev: None,
        }
    }
}

/// What became of a packet in a host.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// The host's own stack takes it.
    Deliver(Skb),
    /// It leaves by a link towards a next hop.
    Transmit {
        /// The packet.
        skb: Skb,
        /// The link.
        link: LinkId,
        /// The router, or the destination itself.
        next_hop: IpAddr,
        /// Whether the next hop is a router.
        via_gateway: bool,
    },
    /// It ended.
    Ended(Skb, Reason),
}

/// Why a packet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// In a word.
    pub outcome: Outcome,
    /// The cause, where the outcome leaves it open.
    pub why: Option<Why>,
    /// The rule that decided.
    pub rule: Option<RuleRef>,
}

impl Reason {
    /// Dropped in silence.
    #[must_use]
    pub fn dropped(why: Why) -> Self {
        Self { outcome: Outcome::Dropped, why: Some(why), rule: None }
    }

    /// An outcome that says it all.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, why: None, rule: None }
    }
}

/// A packet that the host makes about another: an ICMP error, a reset.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// The packet; its source is settled later if `src` is `None`.
    pub packet: Packet,
    /// The source address, if it is not to be chosen by route.
    pub src: Option<IpAddr>,
    /// Whether the source may be an address the host lacks.
    pub any_source: bool,
    /// The connection of the packet it is about.
    pub tracked: Tracked,
    /// The mark.
    pub mark: u32,
    /// The port of a bridge by which it goes straight back to the sender, past all hooks.
    pub straight: Option<BridgePort>,
}
