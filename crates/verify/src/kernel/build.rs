//! Builds a network in namespaces: wires, parameters, addresses, routes, neighbours, rules.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use natpath_model::{Family, Link, Mac, Network, SegmentEnd, Snapshot};

use super::namespace::{Namespace, command};
use super::{rules, sysctl, words};

/// A network that runs.
#[derive(Debug)]
pub struct World {
    /// A namespace for each host, in the order of the network's hosts.
    pub hosts: Vec<Namespace>,
    /// What of the network could not be set up.
    pub missing: Vec<String>,
    /// Bridges and the far ends of loose wires live here.
    nobody: Namespace,
    /// The names of those.
    far: Vec<String>,
}

impl World {
    /// Builds a network.
    ///
    /// # Errors
    /// If namespaces are not permitted, or the kernel refuses a part of the network.
    pub fn build(network: &Network) -> Result<Self> {
        check(network)?;
        let nobody = Namespace::new()?;
        let hosts = network.hosts.iter().map(|_| Namespace::new()).collect::<Result<Vec<_>>>()?;
        let mut world = Self { hosts, missing: Vec::new(), nobody, far: Vec::new() };
        world.far = world.wire(network).context("the wires")?;
        let mut missing = Vec::new();
        // Who answers for another has to be asked.
        let proxies = network.hosts.iter().flat_map(|host| &host.neighbours).any(|neighbour| neighbour.proxy);
        for (host, namespace) in network.hosts.iter().zip(&world.hosts) {
            let neighbours = neighbours(network, host);
            missing.extend(
                namespace
                    .run(|| furnish(host, &neighbours, proxies))
                    .with_context(|| format!("host {}", host.name))?,
            );
            let forwarding = forwarding(network, host);
            if !forwarding.is_empty() {
                namespace
                    .command("bridge", &["-batch", "-"], &forwarding)
                    .with_context(|| format!("the bridges of {}", host.name))?;
            }
        }
        world.settle(network)?;
        for (host, namespace) in network.hosts.iter().zip(&world.hosts) {
            rules::load(namespace, host).with_context(|| format!("the rules of {}", host.name))?;
            for connection in &host.connections {
                let words = words::connection(connection);
                let words: Vec<&str> = words.split_whitespace().collect();
                namespace
                    .command("conntrack", &words, "")
                    .with_context(|| format!("the connections of {}", host.name))?;
            }
        }
        Ok(Self { missing, ..world })
    }

    /// Makes all interfaces, each in its host, joined as the segments say; gives back what nobody has.
    fn wire(&self, network: &Network) -> Result<Vec<String>> {
        let mut pieces = Vec::new();
        let mut far = Vec::new();
        let mut wired = Vec::new();
        for segment in &network.segments {
            wired.extend(&segment.ends);
            pieces.push(self.segment(network, &segment.ends, &mut far)?);
        }
        for (place, host) in network.hosts.iter().enumerate() {
            for link in host.links.iter().filter(|link| !link.loopback) {
                let end = SegmentEnd { host: host.name.clone(), interface: link.name };
                if is_bridge(link) {
                    pieces.push(Piece { ends: vec![(place, link.index)], words: self.bridge(place, link) });
                } else if !wired.contains(&&end) {
                    pieces.push(self.segment(network, std::slice::from_ref(&end), &mut far)?);
                }
            }
        }
        let batch: String = in_order(pieces).into_iter().map(|piece| piece.words).collect();
        self.nobody.run(|| {
            sysctl::quiet(&[]);
            sysctl::hide_bridges();
            command("ip", &["-batch", "-"], &batch)
        })?;
        Ok(far)
    }

    /// The words for a wire between two interfaces, or several on a bridge that is nobody's, or one and nobody.
    fn segment(&self, network: &Network, ends: &[SegmentEnd], far: &mut Vec<String>) -> Result<Piece> {
        let mut words = String::new();
        let mut places = Vec::new();
        for end in ends {
            places.push(place(network, end)?);
        }
        if let [one, other] = ends {
            let (one, other) = (self.end(network, one)?, self.end(network, other)?);
            let _ = writeln!(words, "link add {one} type veth peer {other}");
            return Ok(Piece { ends: places, words });
        }
        let mut name = |kind: &str| {
            far.push(format!("{kind}{}", far.len() + 1));
            far.last().cloned().unwrap_or_default()
        };
        let bridge = (ends.len() > 1).then(|| name("br"));
        if let Some(bridge) = &bridge {
            let _ = writeln!(
                words,
                "link add {bridge} type bridge mcast_snooping 0 nf_call_iptables 0 nf_call_ip6tables 0"
            );
            let _ = writeln!(words, "link set {bridge} up");
        }
        for end in ends {
            let far = name("far");
            let _ = writeln!(words, "link add {} type veth peer name {far}", self.end(network, end)?);
            if let Some(bridge) = &bridge {
                let _ = writeln!(words, "link set {far} master {bridge}");
                // A port in hairpin mode sends back what the wire would then learn from it.
                let _ = writeln!(words, "link set {far} type bridge_slave learning off");
            }
            let _ = writeln!(words, "link set {far} up");
        }
        Ok(Piece { ends: places, words })
    }

    /// The words for a bridge of a host.
    fn bridge(&self, host: usize, link: &Link) -> String {
        let mac = link.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
        let [call4, call6] = link.detail.calls.map(u8::from);
        format!(
            "link add name {} index {}{mac} mtu {} netns {} type bridge mcast_snooping 0 forward_delay 0 \
             nf_call_iptables {call4} nf_call_ip6tables {call6}\n",
            link.name,
            link.index,
            link.mtu,
            self.hosts[host].path()
        )
    }

    /// Waits until every interface sends. A wire is up before the kernel has run the work that lets packets
    /// into it; asking for a single link runs that work (rtnetlink.c, `rtnl_getlink`).
    fn settle(&self, network: &Network) -> Result<()> {
        let far = self.far.clone();
        let own = network
            .hosts
            .iter()
            .map(|host| host.links.iter().filter(|link| link.up).map(|link| link.name.to_string()).collect());
        let all: Vec<(&Namespace, Vec<String>)> =
            self.hosts.iter().zip(own).chain([(&self.nobody, far)]).collect();
        // A bridge hears of its ports first, and its own work comes after that.
        let rounds = if network.hosts.iter().any(|host| host.links.iter().any(is_bridge)) { 3 } else { 1 };
        for (namespace, names) in std::iter::repeat_n(&all, rounds).flatten() {
            let batch: String = names.iter().map(|name| format!("link show dev {name}\n")).collect();
            namespace.command("ip", &["-batch", "-"], &batch).context("an interface does not come up")?;
        }
        Ok(())
    }

    /// An interface in the words of `ip link add`.
    fn end(&self, network: &Network, end: &SegmentEnd) -> Result<String> {
        let (host, link) = find(network, end)?;
        let namespace = &self.hosts[host];
        let mac = link.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
        Ok(format!(
            "name {} index {}{mac} mtu {} netns {}",
            link.name,
            link.index,
            link.mtu,
            namespace.path()
        ))
    }
}

/// A wire with its interfaces, or a bridge.
struct Piece {
    /// The hosts that have them, and their numbers.
    ends: Vec<(usize, u32)>,
    /// What makes it, for `ip -batch`.
    words: String,
}

/// Puts pieces in an order in which each host gets its interfaces by their numbers, where there is one: the
/// kernel goes through interfaces in the order in which it got them (dev.c, `list_netdevice`).
fn in_order(mut pieces: Vec<Piece>) -> Vec<Piece> {
    let mut ordered = Vec::with_capacity(pieces.len());
    while !pieces.is_empty() {
        let mut next: BTreeMap<usize, u32> = BTreeMap::new();
        for (host, index) in pieces.iter().flat_map(|piece| piece.ends.iter().copied()) {
            let lowest = next.entry(host).or_insert(index);
            *lowest = index.min(*lowest);
        }
        let is_next = |piece: &Piece| piece.ends.iter().all(|(host, index)| next.get(host) == Some(index));
        ordered.push(pieces.remove(pieces.iter().position(is_next).unwrap_or(0)));
    }
    ordered
}

fn find<'n>(network: &'n Network, end: &SegmentEnd) -> Result<(usize, &'n Link)> {
    let host = network
        .hosts
        .iter()
        .position(|host| host.name == end.host)
        .with_context(|| format!("a segment names the host {}, which is not there", end.host))?;
    let link = network.hosts[host]
        .link(end.interface)
        .with_context(|| format!("a segment names {}:{}, which is not there", end.host, end.interface))?;
    Ok((host, link))
}

fn place(network: &Network, end: &SegmentEnd) -> Result<(usize, u32)> {
    find(network, end).map(|(host, link)| (host, link.index))
}

/// Gives the calling thread's namespace all that a host has but its rules.
fn furnish(host: &Snapshot, neighbours: &[(IpAddr, Mac, &Link)], proxies: bool) -> Result<Vec<String>> {
    let mut batch = String::new();
    bridges(host, &mut batch);
    ip(&[], &batch)?;
    let interfaces: Vec<_> = host.links.iter().map(|link| link.name).collect();
    sysctl::quiet(&interfaces);
    if !proxies {
        sysctl::solicit_nobody(&interfaces);
    }
    let mut missing = sysctl::apply(&host.sysctls);

    let mut batch = String::new();
    for link in host.links.iter().filter(|link| link.up) {
        let _ = writeln!(batch, "link set {} up", link.name);
    }
    for link in &host.links {
        // `ip addr` lists IPv6 addresses of one scope newest first.
        let (old, new): (Vec<_>, Vec<_>) = link.addresses.iter().partition(|address| address.local.is_ipv4());
        for address in old.into_iter().chain(new.into_iter().rev()) {
            if !is_automatic(link, address.local) {
                let _ = writeln!(batch, "{}", words::address(link.name, address));
            }
        }
    }
    let derived: Vec<_> = Family::ALL
        .into_iter()
        .flat_map(|family| natpath_formats::derive::routes(&host.links, family))
        .collect();
    // A gateway must be reachable before a route may name it, and `ip` lists the default route first.
    let mut listed: Vec<_> = host.routes.iter().filter(|route| route.line != 0).collect();
    listed.sort_by_key(|route| route.next_hops.iter().any(|hop| hop.gateway.is_some()));
    for route in listed {
        let same = |other: &natpath_model::Route| {
            other.destination == route.destination
                && other.table == route.table
                && other.kind == route.kind
                && other.next_hops.first().map(|hop| (hop.link, hop.gateway))
                    == route.next_hops.first().map(|hop| (hop.link, hop.gateway))
        };
        if !derived.iter().any(same) {
            let _ = writeln!(batch, "{}", words::route(route));
        }
    }
    let mut batch6 = String::new();
    for rule in host.policy_rules.iter().filter(|rule| !rule.is_default()) {
        match words::policy_rule(rule) {
            Some(words) => {
                let batch = if rule.family == Family::Ip6 { &mut batch6 } else { &mut batch };
                let _ = writeln!(batch, "{words}");
            }
            None => missing.push(format!("{}: a policy rule that is not modelled", host.name)),
        }
    }
    for proxied in host.neighbours.iter().filter(|neighbour| neighbour.proxy) {
        let _ = writeln!(batch, "neigh add proxy {} dev {}", proxied.address, proxied.link);
    }
    for (address, mac, link) in neighbours {
        let _ = writeln!(batch, "neigh replace {address} lladdr {mac} dev {} nud permanent", link.name);
    }
    ip(&[], &batch)?;
    if !batch6.is_empty() {
        ip(&["-6"], &batch6)?;
    }
    Ok(missing)
}

/// Gives a host's bridges their ports. No frame is flooded: each bridge knows who is where.
fn bridges(host: &Snapshot, batch: &mut String) {
    for port in host.links.iter() {
        let Some(master) = port.master else { continue };
        let on = |set: bool| if set { "on" } else { "off" };
        let _ = writeln!(batch, "link set {} master {master}", port.name);
        let _ = writeln!(
            batch,
            "link set {} type bridge_slave hairpin {} isolated {}",
            port.name,
            on(port.detail.hairpin == Some(true)),
            on(port.detail.isolated)
        );
    }
}

fn is_bridge(link: &Link) -> bool {
    link.kind.as_deref() == Some("bridge")
}

/// The addresses that the kernel gives lo by itself.
fn is_automatic(link: &Link, address: IpAddr) -> bool {
    link.loopback
        && (address == IpAddr::from([127, 0, 0, 1]) || address == IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))
}

/// Every address that another interface has within reach of a host's frames, so that no neighbour is looked
/// for; and what the host's own table says.
fn neighbours<'a>(network: &Network, host: &'a Snapshot) -> Vec<(IpAddr, Mac, &'a Link)> {
    let mut found = BTreeMap::new();
    for link in host.links.iter().filter(|link| link.master.is_none()) {
        let doors = host.links.iter().filter(|door| door.name == link.name || door.master == Some(link.name));
        for there in doors.flat_map(|door| beyond(network, host, door)) {
            let Some(mac) = there.mac else { continue };
            for address in &there.addresses {
                found.insert((address.local, link.index), (mac, link));
            }
        }
    }
    for neighbour in host.neighbours.iter().filter(|neighbour| neighbour.permanent) {
        if let (Some(mac), Some(link)) = (neighbour.mac, host.link(neighbour.link)) {
            found.insert((neighbour.address, link.index), (mac, link));
        }
    }
    found.into_iter().map(|((address, _), (mac, link))| (address, mac, link)).collect()
}

/// The interfaces that hear a frame which leaves by this one: those on its wire, and what their bridges
/// pass it on to.
fn beyond<'n>(network: &'n Network, host: &Snapshot, door: &Link) -> Vec<&'n Link> {
    let is_door = |end: &SegmentEnd| end.host == host.name && end.interface == door.name;
    let mut found = Vec::new();
    let segments = network.segments.iter().filter(|segment| segment.ends.iter().any(is_door));
    for end in segments.flat_map(|segment| &segment.ends).filter(|end| !is_door(end)) {
        let Some(there) = network.host(&end.host) else { continue };
        let Some(link) = there.link(end.interface) else { continue };
        match link.master.and_then(|master| there.link(master)) {
            None => found.push(link),
            Some(bridge) => {
                found.push(bridge);
                let others =
                    there.links.iter().filter(|port| port.master == link.master && port.name != link.name);
                found.extend(others.flat_map(|port| beyond(network, there, port)));
            }
        }
    }
    found
}

/// `bridge fdb replace` for all that is behind a host's ports.
fn forwarding(network: &Network, host: &Snapshot) -> String {
    let mut batch = String::new();
    for port in host.links.iter().filter(|link| link.master.is_some()) {
        for mac in beyond(network, host, port).into_iter().filter_map(|there| there.mac) {
            let _ = writeln!(batch, "fdb replace {mac} dev {} master static", port.name);
        }
    }
    batch
}

/// Runs a batch of `ip`. What the kernel made by itself and a list of routes repeats is no fault.
fn ip(options: &[&str], batch: &str) -> Result<()> {
    let Err(error) = command("ip", &[options, &["-force", "-batch", "-"]].concat(), batch) else {
        return Ok(());
    };
    let text = format!("{error:#}");
    let mut faults = String::new();
    let mut message = "";
    for line in text.lines() {
        let Some(number) = line.strip_prefix("Command failed -:") else {
            message = line;
            continue;
        };
        let words = number.parse().ok().and_then(|number: usize| batch.lines().nth(number.checked_sub(1)?));
        let words = words.unwrap_or("");
        if !(message.ends_with("File exists") && words.starts_with("route add")) {
            let _ = write!(faults, "\n  ip {words}: {message}");
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.trim_start()) }
}

/// Refuses what the builder can't make.
fn check(network: &Network) -> Result<()> {
    for host in &network.hosts {
        for link in &host.links {
            let kind = link.kind.as_deref().unwrap_or("");
            if !matches!(kind, "" | "veth" | "dummy" | "bridge") {
                bail!("{}:{} is of a kind that is not built: {kind}", host.name, link.name);
            }
        }
    }
    Ok(())
}
