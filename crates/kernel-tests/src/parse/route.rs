//! Reads the words of `ip route add` and `ip rule add`.

use std::net::IpAddr;

use ipnet::IpNet;
use natpath_model::{
    Diagnostic, Family, InterfaceName, Link, NextHop, PolicyAction, PolicyRule, Protocol, Route, RouteType,
    Scope, table_id,
};

use super::Line;

/// `route [-6] [TYPE] PREFIX [KEY VALUE]...`, with what `ip` and the kernel add to it.
pub(super) fn route(line: &Line<'_>, links: &[Link]) -> Result<Route, Diagnostic> {
    let mut at = 1;
    let mut family = None;
    if line.word(at, "a route")? == "-6" {
        family = Some(Family::Ip6);
        at += 1;
    }
    let kind = match RouteType::from_name(line.word(at, "a prefix")?) {
        Some(kind) => {
            at += 1;
            kind
        }
        None => RouteType::Unicast,
    };
    let destination_at = at;
    at += 1;
    let mut table = None;
    let mut metric = None;
    let mut scope = None;
    let (mut tos, mut mtu, mut prefer_source) = (0, None, None::<IpAddr>);
    let mut hops = vec![hop()];
    let mut several = false;
    while at < line.words.len() {
        let key = line.words[at].1;
        at += 1;
        let last = hops.len() - 1;
        match key {
            "via" => {
                if matches!(line.word(at, "a router")?, "inet" | "inet6") {
                    at += 1;
                }
                hops[last].gateway = Some(line.value(at, "a router's address")?);
            }
            "dev" => hops[last].link = Some(line.interface(at)?),
            "weight" => hops[last].weight = line.value(at, "a weight")?,
            "onlink" => {
                hops[last].on_link = true;
                continue;
            }
            "nexthop" => {
                if several {
                    hops.push(hop());
                }
                several = true;
                continue;
            }
            "table" => table = Some(table_number(line, at)?),
            "src" => prefer_source = Some(line.value(at, "a source address")?),
            "metric" | "preference" => metric = Some(line.value(at, "a metric")?),
            "tos" | "dsfield" => tos = number(line, at)?,
            "mtu" => mtu = Some(line.value(at, "an mtu")?),
            "scope" => scope = Some(scope_named(line, at)?),
            _ => return Err(line.error(at - 1, format!("unknown word \"{key}\" of a route"))),
        }
        at += 1;
    }
    let hinted = hops.iter().find_map(|hop| hop.gateway).or(prefer_source).map(Family::of);
    let destination = prefix(line, destination_at, family.or(hinted).unwrap_or(Family::Ip4))?;
    let family = Family::of(destination.addr());
    for hop in &mut hops {
        if hop.link.is_none() {
            hop.link = hop.gateway.and_then(|gateway| link_of(links, gateway));
        }
        if hop.link.is_none() && kind == RouteType::Local {
            hop.link = Some(InterfaceName::LO);
        }
        if kind == RouteType::Unicast && hop.link.is_none() {
            return Err(line.error(destination_at, "the route names no interface and its router is on none"));
        }
    }
    let has_hops = matches!(
        kind,
        RouteType::Unicast
            | RouteType::Local
            | RouteType::Broadcast
            | RouteType::Anycast
            | RouteType::Multicast
    );
    let by_router = hops.iter().any(|hop| hop.gateway.is_some());
    let of_local = matches!(kind, RouteType::Local | RouteType::Broadcast | RouteType::Anycast);
    // iproute2, iproute_modify(): what a kind of route has where no word says otherwise.
    let default_scope = match (family, kind) {
        (Family::Ip6, _) => Scope::GLOBAL,
        (_, RouteType::Local) => Scope::HOST,
        (_, RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast) => Scope::LINK,
        (_, RouteType::Unicast) if !by_router => Scope::LINK,
        _ => Scope::GLOBAL,
    };
    Ok(Route {
        destination,
        table: table.unwrap_or(if of_local { table_id::LOCAL } else { table_id::MAIN }),
        kind,
        tos,
        // IPv6: ip6_route_info_create(), IP6_RT_PRIO_USER.
        metric: metric.unwrap_or(if family == Family::Ip6 { 1024 } else { 0 }),
        prefer_source,
        scope: scope.unwrap_or(default_scope),
        next_hops: if has_hops { hops } else { Vec::new() },
        mtu,
        line: line.number,
    })
}

/// `rule [-6] WORDS`; put among the others by its preference.
pub(super) fn policy_rule(line: &Line<'_>, rules: &mut Vec<PolicyRule>) -> Result<(), Diagnostic> {
    let mut family = None;
    let mut priority = None;
    let mut rule = PolicyRule::all(Family::Ip4, 0, PolicyAction::Table(table_id::MAIN));
    let mut at = 1;
    line.word(at, "a rule")?;
    while at < line.words.len() {
        let key = line.words[at].1;
        at += 1;
        match key {
            "-6" => {
                family = Some(Family::Ip6);
                continue;
            }
            "not" => {
                rule.inverted = true;
                continue;
            }
            "nop" | "blackhole" | "unreachable" | "prohibit" => {
                rule.action = match key {
                    "nop" => PolicyAction::Nop,
                    "blackhole" => PolicyAction::Blackhole,
                    "unreachable" => PolicyAction::Unreachable,
                    _ => PolicyAction::Prohibit,
                };
                continue;
            }
            "from" | "to" => {
                if !matches!(line.word(at, "a prefix")?, "all" | "any") {
                    let net = prefix(line, at, family.unwrap_or(Family::Ip4))?;
                    family = Some(Family::of(net.addr()));
                    let side = if key == "from" { &mut rule.src } else { &mut rule.dst };
                    *side = Some(net);
                }
            }
            "iif" | "dev" => rule.in_interface = Some(line.interface(at)?),
            "oif" => rule.out_interface = Some(line.interface(at)?),
            "fwmark" => {
                let word = line.word(at, "a mark")?;
                let (mark, mask) = word.split_once('/').unwrap_or((word, "0xffffffff"));
                let fault = || line.error(at, format!("expected MARK[/MASK], found \"{word}\""));
                rule.mark =
                    Some((read_number(mark).ok_or_else(fault)?, read_number(mask).ok_or_else(fault)?));
            }
            "tos" | "dsfield" => rule.tos = Some(number(line, at)?),
            "ipproto" => rule.protocol = Some(line.value::<Protocol>(at, "a protocol")?.0),
            "sport" => rule.src_ports = Some(range(line, at)?),
            "dport" => rule.dst_ports = Some(range(line, at)?),
            "uidrange" => rule.uids = Some(range(line, at)?),
            "priority" | "pref" | "order" => priority = Some(line.value(at, "a preference")?),
            "table" | "lookup" => rule.action = PolicyAction::Table(table_number(line, at)?),
            "suppress_prefixlength" => rule.suppress_prefix_length = Some(line.value(at, "a length")?),
            "goto" => rule.action = PolicyAction::Goto(line.value(at, "a preference")?),
            _ => return Err(line.error(at - 1, format!("unknown word \"{key}\" of a rule"))),
        }
        at += 1;
    }
    rule.family = family.unwrap_or(Family::Ip4);
    // fib_rules.c, fib_default_rule_pref(): just before the second.
    let second = rules.iter().filter(|other| other.family == rule.family).nth(1);
    rule.priority = priority.unwrap_or(second.map_or(0, |second| second.priority.saturating_sub(1)));
    let place = rules.partition_point(|other| other.priority <= rule.priority);
    rules.insert(place, rule);
    Ok(())
}

fn hop() -> NextHop {
    NextHop { gateway: None, link: None, weight: 1, dead: false, on_link: false }
}

fn link_of(links: &[Link], gateway: IpAddr) -> Option<InterfaceName> {
    let owns = |link: &&Link| {
        link.addresses.iter().any(|address| address.subnet().is_some_and(|net| net.contains(&gateway)))
    };
    links.iter().filter(|link| !link.loopback).find(owns).map(|link| link.name)
}

fn prefix(line: &Line<'_>, index: usize, family: Family) -> Result<IpNet, Diagnostic> {
    let word = line.word(index, "a prefix")?;
    let read = if word == "default" {
        IpNet::new(family.unspecified(), 0).ok()
    } else if let Ok(address) = word.parse::<IpAddr>() {
        Some(IpNet::from(address))
    } else {
        word.parse().ok()
    };
    read.ok_or_else(|| line.error(index, format!("expected a prefix like 10.0.0.0/8, found \"{word}\"")))
}

fn table_number(line: &Line<'_>, index: usize) -> Result<u32, Diagnostic> {
    Ok(match line.word(index, "a table")? {
        "main" => table_id::MAIN,
        "local" => table_id::LOCAL,
        "default" => table_id::DEFAULT,
        _ => line.value(index, "a table's number")?,
    })
}

fn scope_named(line: &Line<'_>, index: usize) -> Result<Scope, Diagnostic> {
    Ok(match line.word(index, "a scope")? {
        "global" => Scope::GLOBAL,
        "site" => Scope::SITE,
        "link" => Scope::LINK,
        "host" => Scope::HOST,
        _ => Scope(line.value(index, "a scope")?),
    })
}

fn range<T: std::str::FromStr + Copy>(line: &Line<'_>, index: usize) -> Result<(T, T), Diagnostic> {
    let word = line.word(index, "a range")?;
    let (low, high) = word.split_once('-').unwrap_or((word, word));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) => Ok((low, high)),
        _ => Err(line.error(index, format!("expected N or N-M, found \"{word}\""))),
    }
}

fn number<T: TryFrom<u32>>(line: &Line<'_>, index: usize) -> Result<T, Diagnostic> {
    let word = line.word(index, "a number")?;
    read_number(word)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| line.error(index, format!("expected a number, found \"{word}\"")))
}

fn read_number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}
