//! The model's routes, rules and addresses in the words of `ip`.

use std::fmt::Write;
use std::net::IpAddr;

use natpath_model::{
    Address, Connection, Endpoint, Family, InterfaceName, PolicyAction, PolicyRule, Route, RouteType, Scope,
    Status, TcpState, Tuple, ZoneDirection,
};

/// `address add` for an address of a link. Duplicate address detection is off.
pub(crate) fn address(link: InterfaceName, address: &Address) -> String {
    let mut words = format!("address add {}", address.local);
    if let Some(peer) = address.peer {
        let _ = write!(words, " peer {peer}");
    }
    let _ = write!(words, "/{} dev {link}", address.prefix_length);
    match address.local {
        IpAddr::V4(_) => {
            if let Some(broadcast) = address.broadcast {
                let _ = write!(words, " broadcast {broadcast}");
            }
            let _ = write!(words, " scope {}", address.scope.0);
        }
        IpAddr::V6(_) => words.push_str(" nodad"),
    }
    if address.deprecated {
        words.push_str(" preferred_lft 0");
    }
    if address.no_prefix_route {
        words.push_str(" noprefixroute");
    }
    words
}

/// `route add` for a route.
pub(crate) fn route(route: &Route) -> String {
    let mut words = format!("route add {} {} table {}", route.kind.name(), route.destination, route.table);
    if route.tos != 0 {
        let _ = write!(words, " tos {:#x}", route.tos);
    }
    if route.metric != 0 {
        let _ = write!(words, " metric {}", route.metric);
    }
    if let Some(source) = route.prefer_source {
        let _ = write!(words, " src {source}");
    }
    let family = Family::of(route.destination.addr());
    if family == Family::Ip4 && has_scope(route.kind) {
        let _ = write!(words, " scope {}", scope(route.scope));
    }
    if let Some(mtu) = route.mtu {
        let _ = write!(words, " mtu {mtu}");
    }
    let several = route.next_hops.len() > 1;
    for hop in &route.next_hops {
        if several {
            words.push_str(" nexthop");
        }
        if let Some(gateway) = hop.gateway {
            let other = if Family::of(gateway) == family { "" } else { " inet6" };
            let _ = write!(words, " via{other} {gateway}");
        }
        if let Some(link) = hop.link {
            let _ = write!(words, " dev {link}");
        }
        if several {
            let _ = write!(words, " weight {}", hop.weight.max(1));
        }
        if hop.on_link {
            words.push_str(" onlink");
        }
    }
    words
}

/// The kernel wants a scope where packets go on; for the others `ip` knows the only one there is.
fn has_scope(kind: RouteType) -> bool {
    matches!(kind, RouteType::Unicast)
}

fn scope(scope: Scope) -> String {
    scope.0.to_string()
}

/// `rule add` for a policy rule; `None` for what natpath does not model.
pub(crate) fn policy_rule(rule: &PolicyRule) -> Option<String> {
    if rule.opaque.is_some() {
        return None;
    }
    let mut words = String::from("rule add");
    if rule.inverted {
        words.push_str(" not");
    }
    match rule.src {
        Some(src) => {
            let _ = write!(words, " from {src}");
        }
        None => {
            let _ = write!(words, " from {}/0", rule.family.unspecified());
        }
    }
    if let Some(dst) = rule.dst {
        let _ = write!(words, " to {dst}");
    }
    if let Some(interface) = rule.in_interface {
        let _ = write!(words, " iif {interface}");
    }
    if let Some(interface) = rule.out_interface {
        let _ = write!(words, " oif {interface}");
    }
    if let Some((value, mask)) = rule.mark {
        let _ = write!(words, " fwmark {value:#x}/{mask:#x}");
    }
    if let Some(tos) = rule.tos {
        let _ = write!(words, " tos {tos:#x}");
    }
    if let Some(protocol) = rule.protocol {
        let _ = write!(words, " ipproto {protocol}");
    }
    if let Some((low, high)) = rule.src_ports {
        let _ = write!(words, " sport {low}-{high}");
    }
    if let Some((low, high)) = rule.dst_ports {
        let _ = write!(words, " dport {low}-{high}");
    }
    if let Some((low, high)) = rule.uids {
        let _ = write!(words, " uidrange {low}-{high}");
    }
    let _ = write!(words, " priority {}", rule.priority);
    match rule.action {
        PolicyAction::Table(table) => {
            let _ = write!(words, " table {table}");
            if let Some(length) = rule.suppress_prefix_length {
                let _ = write!(words, " suppress_prefixlength {length}");
            }
        }
        PolicyAction::Goto(target) => {
            let _ = write!(words, " goto {target}");
        }
        PolicyAction::Nop => words.push_str(" nop"),
        PolicyAction::Blackhole => words.push_str(" blackhole"),
        PolicyAction::Unreachable => words.push_str(" unreachable"),
        PolicyAction::Prohibit => words.push_str(" prohibit"),
    }
    Some(words)
}

/// `conntrack -I` for a connection. The kernel is told of a translation as such, and of the tuples without it.
pub(crate) fn connection(connection: &Connection) -> String {
    let Connection { original, reply, status, .. } = connection;
    let mut words = format!("-I -p {}", original.protocol);
    let _ = write!(words, " -s {} -d {}", original.src.address, original.dst.address);
    let _ = write!(words, " -r {} -q {}", original.dst.address, original.src.address);
    if original.protocol.has_ports() {
        let (src, dst) = (original.src.port, original.dst.port);
        let _ = write!(words, " --sport {src} --dport {dst} --reply-port-src {dst} --reply-port-dst {src}");
    } else if original.protocol.is_icmp() {
        let Tuple { icmp: (kind, code), src, .. } = original;
        let _ = write!(words, " --icmp-type {kind} --icmp-code {code} --icmp-id {}", src.port);
    }
    let end = |end: Endpoint| {
        if original.protocol.has_ports() { end.to_string() } else { end.address.to_string() }
    };
    // A translation to the address it has is what an entry gets that no rule translates.
    let _ = write!(words, " --dst-nat {} --src-nat {}", end(reply.src), end(reply.dst));
    if let Some((name, _)) = TcpState::NAMES.iter().find(|(_, state)| *state == connection.tcp)
        && connection.tcp != TcpState::None
    {
        let _ = write!(words, " --state {name}");
    }
    let bits: Vec<&str> = [("SEEN_REPLY", Status::SEEN_REPLY), ("ASSURED", Status::ASSURED)]
        .into_iter()
        .filter(|(_, bit)| status.has(*bit))
        .map(|(name, _)| name)
        .collect();
    if !bits.is_empty() {
        let _ = write!(words, " -u {}", bits.join(","));
    }
    let zone = connection.zone.0;
    match connection.zone_direction {
        _ if zone == 0 => {}
        ZoneDirection::Both => {
            let _ = write!(words, " -w {zone}");
        }
        ZoneDirection::Original => {
            let _ = write!(words, " --orig-zone {zone}");
        }
        ZoneDirection::Reply => {
            let _ = write!(words, " --reply-zone {zone}");
        }
    }
    let _ = write!(words, " -m {} -t {}", connection.mark, connection.timeout.unwrap_or(600));
    words
}
