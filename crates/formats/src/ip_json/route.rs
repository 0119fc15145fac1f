//! `ip -j route show table all`: routes.

use std::collections::HashSet;
use std::net::IpAddr;

use natpath_model::{Diagnostic, Family, InterfaceName, NextHop, Route, RouteType, Scope, table_id};
use serde::Deserialize;

use super::words::{Word, interface, prefix, scope, table, tos};
use super::{Row, each, rows};

/// The metric of an IPv6 route for which none is listed (linux/ipv6_route.h, `IP6_RT_PRIO_USER`).
const IP6_METRIC: u32 = 1024;

#[derive(Deserialize)]
struct RouteRow {
    #[serde(rename = "type")]
    kind: Option<String>,
    dst: String,
    gateway: Option<IpAddr>,
    via: Option<Via>,
    dev: Option<String>,
    table: Option<Word>,
    scope: Option<Word>,
    prefsrc: Option<IpAddr>,
    metric: Option<u32>,
    tos: Option<Word>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    nexthops: Vec<HopRow>,
    #[serde(default)]
    metrics: Vec<Metrics>,
}

/// A gateway of the other family.
#[derive(Deserialize, Clone, Copy)]
struct Via {
    host: IpAddr,
}

#[derive(Deserialize)]
struct HopRow {
    gateway: Option<IpAddr>,
    via: Option<Via>,
    dev: Option<String>,
    weight: Option<u32>,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Deserialize)]
struct Metrics {
    mtu: Option<u32>,
}

/// Reads routes in listed order. `family` is that of `default`, where nothing else in the row tells; rows of
/// the other family are read too, see [`family_of`].
///
/// # Errors
/// If the text is not a JSON list.
pub fn parse(
    text: &str,
    file_name: &str,
    family: Family,
) -> Result<(Vec<Route>, Vec<Diagnostic>), Diagnostic> {
    each(text, file_name, |row| read_row(row, file_name, family))
}

/// Reads the IPv4 routes of a list that may hold those of both families, given the list of the IPv6 routes:
/// `ip -j route show table all` lists both, and not every IPv6 row tells that it is one.
///
/// # Errors
/// If the text is not a JSON list.
pub fn parse_ip4(
    text: &str,
    file_name: &str,
    ip6: &str,
) -> Result<(Vec<Route>, Vec<Diagnostic>), Diagnostic> {
    let compact = |text: &str| text.split_whitespace().collect::<String>();
    let known: HashSet<String> =
        rows(ip6, file_name).unwrap_or_default().iter().map(|row| compact(row.text)).collect();
    let (routes, diagnostics) = each(text, file_name, |row| {
        if known.contains(&compact(row.text)) {
            return Ok(None);
        }
        read_row(row, file_name, Family::Ip4).map(Some)
    })?;
    let own = routes.into_iter().flatten().filter(|route| family_of(route) == Family::Ip4);
    Ok((own.collect(), diagnostics))
}

fn read_row(row: &Row<'_>, file_name: &str, family: Family) -> Result<Route, Diagnostic> {
    let read: RouteRow = row.read(file_name)?;
    // `pref` is printed for IPv6 only.
    let ip6 = row.text.contains("\"pref\"") || read.gateway.is_some_and(|gateway| gateway.is_ipv6());
    route(row, &read, file_name, if ip6 { Family::Ip6 } else { family })
}

/// The family of a route.
#[must_use]
pub fn family_of(route: &Route) -> Family {
    Family::of(route.destination.addr())
}

fn route(row: &Row<'_>, read: &RouteRow, file_name: &str, family: Family) -> Result<Route, Diagnostic> {
    let fault = |what: &str, found: &str| {
        let message = format!("expected {what}, found `{found}`");
        row.fault(file_name, message, "is this the output of `ip -j route show table all`?")
    };
    let destination =
        prefix(&read.dst, None, family).ok_or_else(|| fault("a destination prefix", &read.dst))?;
    let kind = match &read.kind {
        None => RouteType::Unicast,
        Some(name) => RouteType::from_name(name).ok_or_else(|| fault("a type of route", name))?,
    };
    let scope = match &read.scope {
        None => Scope::GLOBAL,
        Some(word) => scope(word).ok_or_else(|| fault("a scope", &format!("{word:?}")))?,
    };
    let tos = match &read.tos {
        None => 0,
        Some(word) => tos(word).ok_or_else(|| fault("a type of service", &format!("{word:?}")))?,
    };
    let device = |name: &Option<String>| -> Result<Option<InterfaceName>, Diagnostic> {
        name.as_deref()
            .map(|name| interface(name).ok_or_else(|| fault("an interface name", name)))
            .transpose()
    };
    let mut next_hops = Vec::new();
    for hop in &read.nexthops {
        let gateway = hop.gateway.or(hop.via.map(|via| via.host));
        next_hops.push(next_hop(gateway, device(&hop.dev)?, hop.weight.unwrap_or(1), &hop.flags));
    }
    let gateway = read.gateway.or(read.via.map(|via| via.host));
    if next_hops.is_empty() && (gateway.is_some() || read.dev.is_some()) {
        next_hops.push(next_hop(gateway, device(&read.dev)?, 1, &read.flags));
    }
    let ip6 = Family::of(destination.addr()) == Family::Ip6;
    Ok(Route {
        destination,
        table: read.table.as_ref().map_or(table_id::MAIN, table),
        kind,
        tos,
        metric: read.metric.unwrap_or(if ip6 { IP6_METRIC } else { 0 }),
        prefer_source: read.prefsrc,
        scope,
        next_hops,
        mtu: read.metrics.iter().find_map(|metrics| metrics.mtu),
        line: row.line,
    })
}

fn next_hop(gateway: Option<IpAddr>, link: Option<InterfaceName>, weight: u32, flags: &[String]) -> NextHop {
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    // `linkdown` alone does not exclude a next hop (ip-sysctl, ignore_routes_with_linkdown is 0).
    NextHop { gateway, link, weight, dead: has("dead"), on_link: has("onlink") }
}
