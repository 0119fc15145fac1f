//! The forwarding information base: policy rules lead to tables, tables hold routes, the longest prefix
//! wins. Follows fib_rules.c, fib_trie.c and ip6_fib.c of Linux 6.18.

mod address;
mod input;
mod output;

pub(crate) use address::{first_address, first_primary_address, local_on, masquerade_address, source_v6};
pub(crate) use input::{InputError, InputRoute};
pub(crate) use output::{OutputError, OutputKey, OutputRoute};

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use natpath_model::value::Value;
use natpath_model::{
    Family, InterfaceName, NextHop, PolicyAction, PolicyRule, Port, Protocol, Route, RouteType, Scope,
    Snapshot, net, table_id,
};

/// What a route is looked up for (`struct flowi`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowKey {
    pub(crate) dst: IpAddr,
    pub(crate) src: IpAddr,
    /// The interface it came in by; lo for packets made here.
    pub(crate) in_interface: InterfaceName,
    /// The interface it must leave by, if any.
    pub(crate) out_interface: Option<InterfaceName>,
    pub(crate) mark: u32,
    pub(crate) tos: u8,
    pub(crate) protocol: Protocol,
    pub(crate) ports: Option<(Port, Port)>,
    pub(crate) uid: Option<u32>,
}

/// A route that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) route: &'a Route,
    pub(crate) next_hop: Option<&'a NextHop>,
    /// The preference of the policy rule that led to its table.
    pub(crate) rule: u32,
}

impl<'a> Found<'a> {
    /// The next hops of a multipath route that can be used, with their weights; empty for any other route.
    pub(crate) fn choices(&self) -> Vec<f64> {
        let usable: Vec<f64> = self.usable().map(|hop| f64::from(hop.weight.max(1))).collect();
        let total: f64 = usable.iter().sum();
        if usable.len() < 2 { Vec::new() } else { usable.iter().map(|weight| weight / total).collect() }
    }

    /// The same route by another of its next hops.
    pub(crate) fn with_hop(self, hop: usize) -> Self {
        match self.usable().nth(hop) {
            Some(next_hop) if !self.choices().is_empty() => Self { next_hop: Some(next_hop), ..self },
            _ => self,
        }
    }

    fn usable(&self) -> impl Iterator<Item = &'a NextHop> + use<'a> {
        self.route.next_hops.iter().filter(|hop| !hop.dead)
    }
}

/// Why no usable route was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// None covers the destination.
    NoRoute,
    /// A blackhole route or rule.
    Blackhole,
    /// An unreachable route.
    Unreachable,
    /// A prohibit route or rule.
    Prohibit,
}

/// A host's routes, by family and table.
#[derive(Debug)]
pub(crate) struct Fib<'a> {
    tables: HashMap<(Family, u32), Table<'a>>,
    rules: [Vec<&'a PolicyRule>; 2],
    /// Whether IPv4 has the boot-time policy rules only. Then the kernel keeps tables local and main in one
    /// trie, and the longest prefix of both wins (fib_trie.c, `fib_trie_unmerge`).
    merged: bool,
}

/// Routes of one table by prefix length, the longest first, then by masked destination.
#[derive(Debug, Default)]
struct Table<'a> {
    lengths: BTreeMap<std::cmp::Reverse<u8>, HashMap<Value, Vec<&'a Route>>>,
}

impl<'a> Table<'a> {
    fn insert(&mut self, route: &'a Route) {
        let length = route.destination.prefix_len();
        let routes = self.lengths.entry(std::cmp::Reverse(length)).or_default();
        let same = routes.entry(net::bits(route.destination.network())).or_default();
        same.push(route);
    }

    /// Among equal prefixes: the nearer table first (a merged trie sorts by table, descending), then TOS,
    /// then metric, then age.
    fn sort(&mut self) {
        for routes in self.lengths.values_mut().flat_map(HashMap::values_mut) {
            routes.sort_by_key(|route| {
                (std::cmp::Reverse(route.table), std::cmp::Reverse(route.tos), route.metric)
            });
        }
    }

    /// The routes that cover an address, the best first.
    fn covering(&self, address: IpAddr) -> impl Iterator<Item = &'a Route> {
        let bits = net::bits(address);
        let width = Family::of(address).bits();
        self.lengths.iter().flat_map(move |(length, routes)| {
            let host_bits = u32::from(width - length.0);
            let masked = if host_bits == 128 { 0 } else { bits >> host_bits << host_bits };
            routes.get(&masked).into_iter().flatten().copied()
        })
    }
}

impl<'a> Fib<'a> {
    /// Sorts a host's routes.
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let of = |family| {
            let mut rules: Vec<_> =
                snapshot.policy_rules.iter().filter(|rule| rule.family == family).collect();
            rules.sort_by_key(|rule| rule.priority);
            rules
        };
        let rules = Family::ALL.map(of);
        let merged = rules[0].iter().all(|rule| rule.is_default());
        let mut tables: HashMap<_, Table<'_>> = HashMap::new();
        for route in &snapshot.routes {
            let family = Family::of(route.destination.addr());
            let table = if merged && family == Family::Ip4 && route.table == table_id::LOCAL {
                table_id::MAIN
            } else {
                route.table
            };
            tables.entry((family, table)).or_default().insert(route);
        }
        tables.values_mut().for_each(Table::sort);
        Self { tables, rules, merged }
    }

    /// Whether the family has policy rules other than those at boot.
    pub(crate) fn has_custom_rules(&self, family: Family) -> bool {
        match family {
            Family::Ip4 => !self.merged,
            Family::Ip6 => !self.rules[1].iter().all(|rule| rule.is_default()),
        }
    }

    /// Finds the route for a key (`fib_lookup`, `fib6_rule_lookup`).
    pub(crate) fn lookup(&self, key: &FlowKey) -> Result<Found<'a>, Failed> {
        self.lookup_or_why(key).map_err(|(failed, _)| failed)
    }

    /// Finds the route for a key, or the route that is an error.
    pub(crate) fn lookup_or_why(&self, key: &FlowKey) -> Result<Found<'a>, (Failed, Option<Found<'a>>)> {
        let family = Family::of(key.dst);
        let rules = &self.rules[family as usize];
        let mut index = 0;
        while let Some(rule) = rules.get(index) {
            index += 1;
            if !selects(rule, key) {
                continue;
            }
            match rule.action {
                PolicyAction::Table(table) => match self.in_table(family, table, rule, key) {
                    TableAnswer::Found(found) => return Ok(found),
                    TableAnswer::Failed(failed, by) => return Err((failed, Some(by))),
                    TableAnswer::Nothing => {}
                },
                PolicyAction::Goto(priority) => {
                    index = rules.partition_point(|other| other.priority < priority).max(index);
                }
                PolicyAction::Nop => {}
                PolicyAction::Blackhole => return Err((Failed::Blackhole, None)),
                // fib4_rule_action: an unreachable rule, unlike a route, says "network unreachable".
                PolicyAction::Unreachable => return Err((Failed::NoRoute, None)),
                PolicyAction::Prohibit => return Err((Failed::Prohibit, None)),
            }
        }
        Err((Failed::NoRoute, None))
    }

    fn in_table(&self, family: Family, table: u32, rule: &PolicyRule, key: &FlowKey) -> TableAnswer<'a> {
        let table = if family == Family::Ip4 && self.merged && table == table_id::LOCAL {
            table_id::MAIN
        } else {
            table
        };
        let Some(table) = self.tables.get(&(family, table)) else { return TableAnswer::Nothing };
        for route in table.covering(key.dst) {
            if route.tos != 0 && route.tos != key.tos {
                continue;
            }
            let failed = match route.kind {
                RouteType::Throw => return TableAnswer::Nothing,
                RouteType::Blackhole => Some(Failed::Blackhole),
                RouteType::Unreachable => Some(Failed::Unreachable),
                RouteType::Prohibit => Some(Failed::Prohibit),
                _ => None,
            };
            if let Some(failed) = failed {
                let by = Found { route, next_hop: None, rule: rule_of(route, rule, self.merged) };
                return TableAnswer::Failed(failed, by);
            }
            let fits =
                |hop: &&NextHop| !hop.dead && (key.out_interface.is_none() || hop.link == key.out_interface);
            let next_hop = route.next_hops.iter().find(fits);
            if next_hop.is_none() && !route.next_hops.is_empty() {
                continue;
            }
            if rule.suppress_prefix_length.is_some_and(|length| route.destination.prefix_len() <= length) {
                return TableAnswer::Nothing;
            }
            return TableAnswer::Found(Found { route, next_hop, rule: rule_of(route, rule, self.merged) });
        }
        TableAnswer::Nothing
    }

    /// What kind of address this is to the host (`inet_addr_type`), seen from one interface if given.
    pub(crate) fn address_type(&self, address: IpAddr, interface: Option<InterfaceName>) -> RouteType {
        match address {
            IpAddr::V4(v4) if v4.is_unspecified() || v4.is_broadcast() => return RouteType::Broadcast,
            _ if address.is_multicast() => return RouteType::Multicast,
            IpAddr::V6(v6) if v6.is_unspecified() => return RouteType::Unspec,
            _ => {}
        }
        let family = Family::of(address);
        let name = if family == Family::Ip4 && self.merged { table_id::MAIN } else { table_id::LOCAL };
        let Some(table) = self.tables.get(&(family, name)) else { return RouteType::Unicast };
        // In a merged trie the longest prefix answers, and a route of main is unicast to this question. A route
        // that is an error is no answer.
        let is_error = |kind| {
            matches!(
                kind,
                RouteType::Blackhole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw
            )
        };
        match table.covering(address).next() {
            Some(route) if is_error(route.kind) => RouteType::Unicast,
            Some(route) if interface.is_none() || route.next_hops.iter().any(|hop| hop.link == interface) => {
                route.kind
            }
            _ => RouteType::Unicast,
        }
    }

    /// The kind of address a rule is told. To IPv6 an address without a route is unreachable, where IPv4 looks at
    /// table local only (xt_addrtype.c, `match_lookup_rt6`; nft_fib_ipv6.c, `__nft_fib6_eval_type`).
    pub(crate) fn address_type_for_rules(
        &self,
        address: IpAddr,
        interface: Option<InterfaceName>,
    ) -> RouteType {
        let kind = self.address_type(address, interface);
        if kind != RouteType::Unicast || address.is_ipv4() {
            return kind;
        }
        let key = FlowKey {
            dst: address,
            src: Ipv6Addr::UNSPECIFIED.into(),
            in_interface: InterfaceName::LO,
            out_interface: interface,
            mark: 0,
            tos: 0,
            protocol: Protocol(0),
            ports: None,
            uid: None,
        };
        if self.lookup(&key).is_ok() { kind } else { RouteType::Unreachable }
    }

    /// Whether the host takes packets for this address.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.address_type(address, None) == RouteType::Local
    }
}

/// In a merged trie the rule for table main answers for local routes; a reader wants the one for local.
fn rule_of(route: &Route, rule: &PolicyRule, merged: bool) -> u32 {
    if merged && route.table == table_id::MAIN && rule.priority == 0 { 32766 } else { rule.priority }
}

enum TableAnswer<'a> {
    Found(Found<'a>),
    Failed(Failed, Found<'a>),
    Nothing,
}

/// Whether a policy rule applies (`fib_rule_match` and its family's `match`).
fn selects(rule: &PolicyRule, key: &FlowKey) -> bool {
    let port_in = |range: Option<(u16, u16)>, port: Option<Port>| {
        range.is_none_or(|(low, high)| port.is_some_and(|port| (low..=high).contains(&port.value)))
    };
    let matches = rule.in_interface.is_none_or(|name| name == key.in_interface)
        && rule.out_interface.is_none_or(|name| Some(name) == key.out_interface)
        && rule.mark.is_none_or(|(value, mask)| (value ^ key.mark) & mask == 0)
        && rule.uids.is_none_or(|(low, high)| key.uid.is_some_and(|uid| (low..=high).contains(&uid)))
        && rule.src.is_none_or(|net| net.contains(&key.src))
        && rule.dst.is_none_or(|net| net.contains(&key.dst))
        && rule.tos.is_none_or(|tos| tos == 0 || tos == key.tos)
        && rule.protocol.is_none_or(|protocol| protocol == key.protocol.0)
        && port_in(rule.src_ports, key.ports.map(|ports| ports.0))
        && port_in(rule.dst_ports, key.ports.map(|ports| ports.1));
    matches != rule.inverted
}

/// Whether an address of this scope may be used to reach as far as the other.
fn reaches(address: Scope, wanted: Scope) -> bool {
    address.0 <= wanted.0
}
