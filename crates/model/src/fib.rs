//! Links, addresses, routes, policy rules and neighbours, as iproute2 lists them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{Family, Mac};
use crate::value::InterfaceName;

/// The numbers of the tables that have names by default (iproute2, `rt_tables`).
pub mod table_id {
    /// Unspecified.
    pub const UNSPEC: u32 = 0;
    /// `default`.
    pub const DEFAULT: u32 = 253;
    /// `main`.
    pub const MAIN: u32 = 254;
    /// `local`.
    pub const LOCAL: u32 = 255;
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number, `ifindex`.
    pub index: u32,
    /// Its name.
    pub name: InterfaceName,
    /// What `ip -d link` calls its kind (`veth`, `bridge`, `vxlan`, `wireguard`), if it has one.
    pub kind: Option<String>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// The ifindex of the other end, for a veth.
    pub peer_index: Option<u32>,
    /// The number this namespace has given to the other end's namespace.
    pub peer_namespace: Option<i32>,
    /// The bridge, bond or VRF it belongs to.
    pub master: Option<InterfaceName>,
    /// What `ip -d link` says of its kind.
    pub detail: LinkDetail,
    /// Its addresses, in the order of `ip addr`.
    pub addresses: Vec<Address>,
}

/// What is particular to some kinds of links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkDetail {
    /// A bridge's port: whether frames may leave by the port they came in by.
    pub hairpin: Option<bool>,
    /// A bridge's port: whether frames between it and other such ports are dropped.
    pub isolated: bool,
    /// A bridge's port: whether it is in a state in which it does not forward.
    pub blocked: bool,
    /// A bridge: whether it shows its frames to the hooks of IPv4 and of IPv6, whatever
    /// `net.bridge.bridge-nf-call-iptables` says.
    pub calls: [bool; 2],
    /// A tunnel's number (VNI).
    pub tunnel_id: Option<u32>,
    /// A tunnel's own outer address.
    pub tunnel_local: Option<IpAddr>,
    /// The outer address of a tunnel's other end.
    pub tunnel_remote: Option<IpAddr>,
}

/// A hardware address that a bridge has learned or was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// The address.
    pub mac: Mac,
    /// The port behind which it is.
    pub port: InterfaceName,
    /// Whether it is the host's own.
    pub own: bool,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub local: IpAddr,
    /// The length of the subnet's prefix.
    pub prefix_length: u8,
    /// The other end's address, on a point-to-point link.
    pub peer: Option<IpAddr>,
    /// The broadcast address, if one is set.
    pub broadcast: Option<IpAddr>,
    /// How far the address is valid.
    pub scope: Scope,
    /// IPv4: another address of the same subnet came first.
    pub secondary: bool,
    /// IPv6: not for new connections.
    pub deprecated: bool,
    /// IPv6: duplicate address detection has not ended, so the address is not usable.
    pub tentative: bool,
    /// No connected route was made for it.
    pub no_prefix_route: bool,
}

impl Address {
    /// A usable address of global scope.
    #[must_use]
    pub fn new(local: IpAddr, prefix_length: u8) -> Self {
        Self {
            local,
            prefix_length,
            peer: None,
            broadcast: None,
            scope: Scope::GLOBAL,
            secondary: false,
            deprecated: false,
            tentative: false,
            no_prefix_route: false,
        }
    }

    /// The subnet: that of the peer on a point-to-point link.
    #[must_use]
    pub fn subnet(&self) -> Option<IpNet> {
        IpNet::new(self.peer.unwrap_or(self.local), self.prefix_length).ok().map(|net| net.trunc())
    }
}

/// How far an address or route reaches (linux/rtnetlink.h, `enum rt_scope_t`): a greater number is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(pub u8);

impl Scope {
    /// Everywhere (`global`).
    pub const GLOBAL: Self = Self(0);
    /// This site.
    pub const SITE: Self = Self(200);
    /// This link.
    pub const LINK: Self = Self(253);
    /// This host.
    pub const HOST: Self = Self(254);
    /// Nowhere.
    pub const NOWHERE: Self = Self(255);
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destinations it covers.
    pub destination: IpNet,
    /// The table it is in.
    pub table: u32,
    /// What happens to packets for it.
    pub kind: RouteType,
    /// The type-of-service value it is restricted to; 0 for all.
    pub tos: u8,
    /// The metric; the lowest wins among equal prefixes.
    pub metric: u32,
    /// The source address suggested to local senders (`src`).
    pub prefer_source: Option<IpAddr>,
    /// The scope.
    pub scope: Scope,
    /// Where it leads; several for a multipath route, none for blackhole and its like.
    pub next_hops: Vec<NextHop>,
    /// A largest packet size of its own.
    pub mtu: Option<u32>,
    /// The line of the file it was read from, from 1; 0 if it was derived from an address.
    pub line: u32,
}

/// One next hop of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// The router; `None` where the destination itself is on the link.
    pub gateway: Option<IpAddr>,
    /// The link.
    pub link: Option<InterfaceName>,
    /// Its share among the next hops.
    pub weight: u32,
    /// Whether it can't be used (link down or dead).
    pub dead: bool,
    /// Whether the gateway is reached without a route of its own.
    pub on_link: bool,
}

/// What a route does with packets (linux/rtnetlink.h, `enum rtn_type`; the numbers are the kernel's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RouteType {
    /// No such address (address type matches only).
    Unspec = 0,
    /// Sends them on.
    Unicast = 1,
    /// This host takes them.
    Local = 2,
    /// Broadcast of a link.
    Broadcast = 3,
    /// Anycast.
    Anycast = 4,
    /// Multicast.
    Multicast = 5,
    /// Drops them in silence.
    Blackhole = 6,
    /// Answers "host unreachable".
    Unreachable = 7,
    /// Answers "administratively prohibited".
    Prohibit = 8,
    /// The lookup goes on in the next policy rule.
    Throw = 9,
}

impl RouteType {
    const NAMES: [(Self, &'static str); 10] = [
        (Self::Unspec, "unspec"),
        (Self::Unicast, "unicast"),
        (Self::Local, "local"),
        (Self::Broadcast, "broadcast"),
        (Self::Anycast, "anycast"),
        (Self::Multicast, "multicast"),
        (Self::Blackhole, "blackhole"),
        (Self::Unreachable, "unreachable"),
        (Self::Prohibit, "prohibit"),
        (Self::Throw, "throw"),
    ];

    /// The type that iproute2 calls so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// iproute2's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }
}

/// A policy routing rule (`ip rule`). All conditions that are given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// Its preference; lower is earlier.
    pub priority: u32,
    /// The family.
    pub family: Family,
    /// Whether the conditions on addresses, mark, TOS and interface are inverted as a whole (`not`).
    pub inverted: bool,
    /// The source.
    pub src: Option<IpNet>,
    /// The destination.
    pub dst: Option<IpNet>,
    /// The in-interface; `lo` means packets made here.
    pub in_interface: Option<InterfaceName>,
    /// The interface the socket is bound to.
    pub out_interface: Option<InterfaceName>,
    /// Mark and mask: `mark & mask == value`.
    pub mark: Option<(u32, u32)>,
    /// Type of service.
    pub tos: Option<u8>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Source ports.
    pub src_ports: Option<(u16, u16)>,
    /// Destination ports.
    pub dst_ports: Option<(u16, u16)>,
    /// User ids of the sending socket.
    pub uids: Option<(u32, u32)>,
    /// Ignores routes whose prefix is this long or shorter.
    pub suppress_prefix_length: Option<u8>,
    /// What it does.
    pub action: PolicyAction,
    /// A condition that natpath does not model, in iproute2's words.
    pub opaque: Option<String>,
}

impl PolicyRule {
    /// A rule without conditions.
    #[must_use]
    pub fn all(family: Family, priority: u32, action: PolicyAction) -> Self {
        Self {
            priority,
            family,
            inverted: false,
            src: None,
            dst: None,
            in_interface: None,
            out_interface: None,
            mark: None,
            tos: None,
            protocol: None,
            src_ports: None,
            dst_ports: None,
            uids: None,
            suppress_prefix_length: None,
            action,
            opaque: None,
        }
    }

    /// The rules that exist at boot (ip-rule(8)): local, main and, for IPv4, default.
    #[must_use]
    pub fn defaults(family: Family) -> Vec<Self> {
        let mut rules = vec![
            Self::all(family, 0, PolicyAction::Table(table_id::LOCAL)),
            Self::all(family, 32766, PolicyAction::Table(table_id::MAIN)),
        ];
        if family == Family::Ip4 {
            rules.push(Self::all(family, 32767, PolicyAction::Table(table_id::DEFAULT)));
        }
        rules
    }

    /// Whether this is one of the rules that exist at boot.
    #[must_use]
    pub fn is_default(&self) -> bool {
        Self::defaults(self.family).contains(self)
    }
}

/// What a policy rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyAction {
    /// Looks in a table; if that has no answer, the next rule is tried.
    Table(u32),
    /// Goes on at the rule with this preference.
    Goto(u32),
    /// Does nothing.
    Nop,
    /// Drops in silence.
    Blackhole,
    /// "Host unreachable".
    Unreachable,
    /// "Administratively prohibited".
    Prohibit,
}

/// An entry of the neighbour table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The neighbour's address.
    pub address: IpAddr,
    /// The link.
    pub link: InterfaceName,
    /// Its hardware address, if known.
    pub mac: Option<Mac>,
    /// Whether resolution has failed.
    pub failed: bool,
    /// Whether it was set by hand.
    pub permanent: bool,
    /// Whether the host answers for it on the link (`ip neigh add proxy`).
    pub proxy: bool,
}
