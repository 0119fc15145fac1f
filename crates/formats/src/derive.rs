//! What the kernel derives from addresses: the connected, local and broadcast routes.

use ipnet::IpNet;
use natpath_model::{Address, Family, InterfaceName, Link, NextHop, Route, RouteType, Scope, table_id};

/// The metric of IPv6 routes that the kernel makes (linux/ipv6_route.h, `IP6_RT_PRIO_ADDRCONF`).
const IP6_METRIC: u32 = 256;

/// The routes that the kernel makes for the addresses of links that are up.
///
/// IPv6 subnet-router anycast routes are left out: they exist only while the link forwards.
#[must_use]
pub fn routes(links: &[Link], family: Family) -> Vec<Route> {
    let mut routes = Vec::new();
    for link in links.iter().filter(|link| link.up) {
        let own = || link.addresses.iter().filter(|address| Family::of(address.local) == family);
        for address in own() {
            match family {
                Family::Ip4 => ip4(&mut routes, link, address),
                Family::Ip6 => ip6(&mut routes, link, address),
            }
        }
        if family == Family::Ip6 && !link.loopback && own().next().is_some() {
            let multicast = IpNet::new(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
            let route = Route { metric: IP6_METRIC, ..route(multicast, link.name, RouteType::Multicast) };
            routes.push(route);
        }
    }
    routes
}

/// fib_frontend.c, `fib_add_ifaddr`.
fn ip4(routes: &mut Vec<Route>, link: &Link, address: &Address) {
    let Some(subnet) = address.subnet() else { return };
    // A secondary address prefers the first address of its subnet.
    let primary = if address.secondary {
        let first = |other: &&Address| !other.secondary && other.subnet() == Some(subnet);
        link.addresses.iter().find(first).map_or(address.local, |first| first.local)
    } else {
        address.local
    };
    let base = |destination: IpNet, kind: RouteType| {
        let scope = if kind == RouteType::Local { Scope::HOST } else { Scope::LINK };
        Route { prefer_source: Some(primary), scope, ..route(Ok(destination), link.name, kind) }
    };
    push(routes, base(IpNet::from(address.local), RouteType::Local));
    let own_subnet = !address.secondary && subnet != IpNet::from(address.local) && !in_zeronet(subnet);
    if own_subnet && !address.no_prefix_route {
        let kind = if link.loopback { RouteType::Local } else { RouteType::Unicast };
        push(routes, base(subnet, kind));
    }
    let limited = IpNet::from(std::net::IpAddr::V4(std::net::Ipv4Addr::BROADCAST));
    if let Some(broadcast) = address.broadcast.map(IpNet::from).filter(|broadcast| *broadcast != limited) {
        push(routes, base(broadcast, RouteType::Broadcast));
    }
    if own_subnet && subnet.prefix_len() < 31 {
        push(routes, base(IpNet::from(subnet.broadcast()), RouteType::Broadcast));
    }
}

/// `ipv4_is_zeronet`: whether the subnet's address is 0.0.0.0.
fn in_zeronet(subnet: IpNet) -> bool {
    matches!(subnet, IpNet::V4(net) if net.network().is_unspecified())
}

/// addrconf.c, `inet6_addr_add` and `addrconf_prefix_route`.
fn ip6(routes: &mut Vec<Route>, link: &Link, address: &Address) {
    if !address.tentative {
        push(routes, route(Ok(IpNet::from(address.local)), link.name, RouteType::Local));
    }
    if address.no_prefix_route || address.local.is_loopback() {
        return;
    }
    let peer = address.peer.map(|_| IpNet::from(address.local));
    for destination in peer.into_iter().chain(address.subnet()) {
        let made = route(Ok(destination), link.name, RouteType::Unicast);
        push(routes, Route { metric: IP6_METRIC, ..made });
    }
}

/// A route over one link, in the table of its kind.
fn route(destination: Result<IpNet, ipnet::PrefixLenError>, link: InterfaceName, kind: RouteType) -> Route {
    let table = if kind == RouteType::Unicast { table_id::MAIN } else { table_id::LOCAL };
    Route {
        destination: destination.unwrap_or_default(),
        table,
        kind,
        tos: 0,
        metric: 0,
        prefer_source: None,
        scope: Scope::GLOBAL,
        next_hops: vec![NextHop { gateway: None, link: Some(link), weight: 1, dead: false, on_link: false }],
        mtu: None,
        line: 0,
    }
}

/// Adds a route, unless the same address has already made it.
fn push(routes: &mut Vec<Route>, route: Route) {
    // One address makes at most four.
    if !routes.iter().rev().take(4).any(|made| *made == route) {
        routes.push(route);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ip_json::{addr, route};

    /// One line a route, as far as `ip route` tells.
    fn lines(routes: &[Route]) -> BTreeSet<String> {
        routes.iter().map(|route| format!("{:?}", Route { line: 0, ..route.clone() })).collect()
    }

    #[test]
    fn derived_routes_are_those_of_the_kernel() {
        let text = include_str!("../tests/data/derive/addr.json");
        let (links, _) = addr::parse(text, "addr.json").expect("links");
        let text = include_str!("../tests/data/derive/route.json");
        let (listed, _) = route::parse(text, "route.json", Family::Ip4).expect("routes");
        for family in Family::ALL {
            let listed: Vec<_> =
                listed.iter().filter(|route| route::family_of(route) == family).cloned().collect();
            let derived = lines(&routes(&links, family));
            let listed = lines(&listed);
            assert_eq!(derived.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "not listed");
            assert_eq!(listed.difference(&derived).collect::<Vec<_>>(), Vec::<&String>::new(), "not derived");
        }
    }

    #[test]
    fn links_that_are_down_have_no_routes() {
        let text = r#"[{"ifindex":2,"ifname":"eth0","flags":[],"addr_info":[{"local":"192.0.2.1","prefixlen":24}]}]"#;
        let (links, _) = addr::parse(text, "addr.json").expect("links");
        assert_eq!(routes(&links, Family::Ip4), []);
    }
}
