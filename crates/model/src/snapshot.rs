//! What was recorded of a host, and of a network of hosts.

use std::collections::BTreeSet;

use crate::bypass::Bypass;
use crate::conntrack::Connection;
use crate::diagnostic::Diagnostic;
use crate::fib::{Forwarding, Link, Neighbour, PolicyRule, Route};
use crate::hook::HookEntry;
use crate::net::Family;
use crate::origin::{FileId, Origin, SourceFile};
use crate::ruleset::Ruleset;
use crate::set::IpSets;
use crate::socket::Socket;
use crate::sysctl::Sysctls;
use crate::value::InterfaceName;

/// Several hosts and the wires between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The hosts, ordered by name.
    pub hosts: Vec<Snapshot>,
    /// The segments of topology.json; what it does not name is joined by addresses.
    pub segments: Vec<Segment>,
    /// What was noticed about files that belong to no host.
    pub diagnostics: Vec<Diagnostic>,
}

impl Network {
    /// The host of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Snapshot> {
        self.hosts.iter().find(|host| host.name == name)
    }
}

/// Interfaces that share a wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The ends.
    pub ends: Vec<SegmentEnd>,
}

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SegmentEnd {
    /// The host's name.
    pub host: String,
    /// The interface.
    pub interface: InterfaceName,
}

/// One host, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Its interfaces with their addresses, in the order of `ip addr`.
    pub links: Vec<Link>,
    /// Its routes, all tables of both families.
    pub routes: Vec<Route>,
    /// Its policy rules of both families, by preference.
    pub policy_rules: Vec<PolicyRule>,
    /// Its neighbour table.
    pub neighbours: Vec<Neighbour>,
    /// The hardware addresses that its bridges know.
    pub forwarding: Vec<Forwarding>,
    /// What acts on its packets beside netfilter.
    pub bypasses: Vec<Bypass>,
    /// Its connections.
    pub connections: Vec<Connection>,
    /// Its rules.
    pub ruleset: Ruleset,
    /// What runs at its hooks, in order, if that was listed.
    pub hooks: Vec<HookEntry>,
    /// Its kernel parameters.
    pub sysctls: Sysctls,
    /// Its listening sockets.
    pub sockets: Vec<Socket>,
    /// Its ipsets.
    pub sets: IpSets,
    /// When it was recorded, in seconds since 1970, if that was recorded.
    pub date: Option<u64>,
    /// Whether it has IPsec policies, as far as they were listed.
    pub ipsec: bool,
    /// The items that were listed; the others hold what natpath assumes in their place.
    pub given: Given,
    /// The files that were read, with their text.
    pub files: Vec<SourceFile>,
    /// What was noticed about them.
    pub diagnostics: Vec<Diagnostic>,
}

impl Snapshot {
    /// The file with this number.
    ///
    /// # Panics
    /// If the number is of another snapshot.
    #[must_use]
    pub fn file(&self, file: FileId) -> &SourceFile {
        &self.files[usize::from(file.0)]
    }

    /// The text at a place; empty if the place is not in this snapshot.
    #[must_use]
    pub fn text(&self, origin: &Origin) -> &str {
        self.files
            .get(usize::from(origin.file.0))
            .and_then(|file| file.text.get(origin.span.start as usize..origin.span.end as usize))
            .unwrap_or("")
    }

    /// The interface of this name.
    #[must_use]
    pub fn link(&self, name: InterfaceName) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }
}

/// Which parts of a [`Snapshot`] were listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    items: BTreeSet<Item>,
}

impl Given {
    /// Notes that an item was listed.
    pub fn insert(&mut self, item: Item) {
        self.items.insert(item);
    }

    /// Whether an item was listed.
    #[must_use]
    pub fn has(&self, item: Item) -> bool {
        self.items.contains(&item)
    }
}

/// A part of a [`Snapshot`] that a file may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// `addr.json`.
    Links,
    /// `route.json` or `route6.json`.
    Routes(Family),
    /// `rule.json` or `rule6.json`.
    PolicyRules(Family),
    /// `neigh.json`.
    Neighbours,
    /// `bridge-link.json`.
    BridgePorts,
    /// `bridge-fdb.json`.
    Forwarding,
    /// `conntrack`.
    Connections,
    /// `sysctl`.
    Sysctls,
    /// `sockets` or `listen`.
    Sockets,
    /// Any file of rules for the family.
    Rules(Family),
    /// `ipset`.
    Sets,
    /// `date`.
    Date,
}

impl Item {
    /// The file a user would add to give the item.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Links => "addr.json",
            Self::Routes(Family::Ip4) => "route.json",
            Self::Routes(Family::Ip6) => "route6.json",
            Self::PolicyRules(Family::Ip4) => "rule.json",
            Self::PolicyRules(Family::Ip6) => "rule6.json",
            Self::Neighbours => "neigh.json",
            Self::BridgePorts => "bridge-link.json",
            Self::Forwarding => "bridge-fdb.json",
            Self::Connections => "conntrack",
            Self::Sysctls => "sysctl",
            Self::Sockets => "sockets",
            Self::Rules(Family::Ip4) => "iptables-save",
            Self::Rules(Family::Ip6) => "ip6tables-save",
            Self::Sets => "ipset",
            Self::Date => "date",
        }
    }
}
