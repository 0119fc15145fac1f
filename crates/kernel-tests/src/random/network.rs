//! Random networks: one to five hosts in a line, a star, a ring or on one wire, with addresses and routes.

use std::collections::VecDeque;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use natpath_model::Family;

use super::dice::Dice;

/// A network in the making.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The families that are in use.
    pub(super) families: Vec<Family>,
    /// The hosts.
    pub(super) hosts: Vec<Host>,
    /// The wires, each with the hosts and links on it.
    pub(super) wires: Vec<Vec<(usize, usize)>>,
}

/// A host in the making.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) links: Vec<Link>,
    /// Lines of the scenario that are no rules.
    pub(super) lines: Vec<String>,
    /// Whether it has several wires, so that packets may cross it.
    pub(super) is_router: bool,
}

/// An interface.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) wire: usize,
    pub(super) addresses: Vec<(IpAddr, u8)>,
}

/// The ports that servers listen on.
pub(super) const SERVER_PORTS: [u16; 6] = [80, 81, 443, 8080, 53, 5001];

/// The shape of a network: the hosts on each wire.
fn shape(dice: &mut Dice) -> Vec<Vec<usize>> {
    let line = |hosts: usize| (1..hosts).map(|host| vec![host - 1, host]).collect::<Vec<_>>();
    match dice.weighted(&[(4, 0), (16, 1), (40, 2), (16, 3), (14, 4), (10, 5)]) {
        0 => vec![vec![0], vec![0]],
        1 => line(2),
        2 => line(dice.number(3, 5)),
        3 => (1..dice.number(3, 5)).map(|leaf| vec![0, leaf]).collect(),
        4 => {
            let ring = dice.number(3, 4);
            let mut wires: Vec<_> = (0..ring).map(|host| vec![host, (host + 1) % ring]).collect();
            wires.push(vec![0, ring]);
            wires
        }
        // A router between a wire with several and one with another.
        _ => vec![(0..dice.number(3, 4)).collect(), vec![0, 4]],
    }
}

/// Makes a network without rules.
pub(super) fn plan(dice: &mut Dice) -> Plan {
    let families = match dice.weighted(&[(60, 0), (25, 1), (15, 2)]) {
        0 => vec![Family::Ip4],
        1 => vec![Family::Ip6],
        _ => Family::ALL.to_vec(),
    };
    let shape = shape(dice);
    let mut numbers: Vec<usize> = shape.iter().flatten().copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut plan = Plan { families, hosts: Vec::new(), wires: Vec::new() };
    for number in 0..numbers.len() {
        let name = format!("h{}", number + 1);
        let (links, lines) = (Vec::new(), Vec::new());
        plan.hosts.push(Host { name, links, lines, is_router: false });
    }
    for (wire, hosts) in shape.iter().enumerate() {
        let mut ends = Vec::new();
        for host in hosts.iter().filter_map(|host| numbers.iter().position(|number| number == host)) {
            let link = plan.link(dice, host, wire);
            ends.push((host, plan.hosts[host].links.len()));
            plan.hosts[host].links.push(link);
        }
        plan.wires.push(ends);
    }
    for host in &mut plan.hosts {
        host.is_router = host.links.len() > 1;
    }
    for host in 0..plan.hosts.len() {
        let mut lines = plan.routes(dice, host);
        lines.extend(sysctls(dice, &plan, host));
        lines.extend(policy(dice, &plan, host));
        lines.extend(listeners(dice, &plan, host));
        plan.hosts[host].lines = lines;
    }
    plan
}

/// An address of a wire.
pub(super) fn on_wire(family: Family, wire: usize, last: u16) -> IpAddr {
    let wire = u8::try_from(wire + 1).unwrap_or(u8::MAX);
    match family {
        Family::Ip4 => Ipv4Addr::new(10, 0, wire, u8::try_from(last).unwrap_or(u8::MAX)).into(),
        Family::Ip6 => Ipv6Addr::new(0xfd00, 0, 0, u16::from(wire), 0, 0, 0, last).into(),
    }
}

/// The network of a wire.
pub(super) fn net_of(family: Family, wire: usize) -> String {
    match family {
        Family::Ip4 => format!("10.0.{}.0/24", wire + 1),
        Family::Ip6 => format!("fd00:0:0:{:x}::/64", wire + 1),
    }
}

/// An address that is nobody's and on no wire.
pub(super) fn virtual_address(family: Family, last: u16) -> IpAddr {
    match family {
        Family::Ip4 => Ipv4Addr::new(10, 96, 0, u8::try_from(last).unwrap_or(u8::MAX)).into(),
        Family::Ip6 => Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, last).into(),
    }
}

fn option(family: Family) -> &'static str {
    match family {
        Family::Ip4 => "",
        Family::Ip6 => "-6 ",
    }
}

impl Plan {
    fn link(&self, dice: &mut Dice, host: usize, wire: usize) -> Link {
        let number = u16::try_from(host + 1).unwrap_or(1);
        let mut addresses = Vec::new();
        for family in self.families.iter().copied() {
            let length = if family == Family::Ip4 { 24 } else { 64 };
            addresses.push((on_wire(family, wire, number), length));
            if dice.percent(15) {
                addresses.push((on_wire(family, wire, 100 + number), length));
            }
        }
        Link { name: format!("eth{}", self.hosts[host].links.len()), wire, addresses }
    }

    /// All addresses of a host in a family.
    pub(super) fn addresses(&self, host: usize, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        let links = self.hosts[host].links.iter();
        let all = links.flat_map(|link| &link.addresses).map(|(address, _)| *address);
        all.filter(move |address| Family::of(*address) == family)
    }

    /// The address by which a host's neighbour on a wire is reached.
    fn address_on(&self, host: usize, wire: usize, family: Family) -> Option<IpAddr> {
        let link = self.hosts[host].links.iter().find(|link| link.wire == wire)?;
        link.addresses.iter().map(|(address, _)| *address).find(|address| Family::of(*address) == family)
    }

    /// For each wire, the neighbour and wire by which a host reaches it.
    fn ways(&self, from: usize) -> Vec<Option<(usize, usize)>> {
        let mut ways: Vec<Option<(usize, usize)>> = vec![None; self.wires.len()];
        let own: Vec<usize> = self.hosts[from].links.iter().map(|link| link.wire).collect();
        let mut queue = VecDeque::new();
        for wire in &own {
            for (host, _) in self.wires[*wire].iter().filter(|(host, _)| *host != from) {
                queue.push_back((*host, (*host, *wire)));
            }
        }
        let mut known = vec![from];
        while let Some((host, way)) = queue.pop_front() {
            if known.contains(&host) {
                continue;
            }
            known.push(host);
            for link in &self.hosts[host].links {
                if !own.contains(&link.wire) && ways[link.wire].is_none() {
                    ways[link.wire] = Some(way);
                }
                queue.extend(self.wires[link.wire].iter().map(|(next, _)| (*next, way)));
            }
        }
        ways
    }

    fn routes(&self, dice: &mut Dice, host: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let ways = self.ways(host);
        for family in self.families.iter().copied() {
            let via = |way: &(usize, usize)| self.address_on(way.0, way.1, family);
            let any = ways.iter().flatten().next().copied().or_else(|| {
                let wire = self.hosts[host].links.first()?.wire;
                self.wires[wire].iter().find(|(other, _)| *other != host).map(|(other, _)| (*other, wire))
            });
            if let Some(gateway) = any.as_ref().and_then(via)
                && (!self.hosts[host].is_router || dice.percent(30))
            {
                lines.push(format!("route {}default via {gateway}", option(family)));
                if !self.hosts[host].is_router && dice.percent(90) {
                    continue;
                }
            }
            for (wire, way) in ways.iter().enumerate() {
                let Some(gateway) = way.as_ref().and_then(via) else { continue };
                if !dice.percent(4) {
                    lines.push(format!("route {}{} via {gateway}", option(family), net_of(family, wire)));
                }
            }
            if dice.percent(8) {
                let kind = dice.word(&["blackhole", "unreachable", "prohibit"]);
                let net = if family == Family::Ip4 { "10.96.0.0/16" } else { "fd00:96::/32" };
                lines.push(format!("route {}{kind} {net}", option(family)));
            }
            if dice.percent(5) {
                let address = virtual_address(family, u16::try_from(dice.number(1, 3)).unwrap_or(1));
                lines.push(format!("route {}local {address} dev lo", option(family)));
            }
        }
        lines
    }

    /// The lines of the scenario, with these rules for each host.
    pub(super) fn text(&self, rules: &[String], flows: &[String]) -> String {
        let mut text = String::new();
        for (host, rules) in self.hosts.iter().zip(rules) {
            let _ = writeln!(text, "host {}", host.name);
            for link in &host.links {
                let _ = write!(text, "  link {}", link.name);
                for (address, length) in &link.addresses {
                    let _ = write!(text, " {address}/{length}");
                }
                text.push('\n');
            }
            for line in &host.lines {
                let _ = writeln!(text, "  {line}");
            }
            text.push_str(rules);
        }
        for ends in &self.wires {
            if ends.len() < 2 {
                continue;
            }
            text.push_str("segment");
            for (host, link) in ends {
                let host = &self.hosts[*host];
                let _ = write!(text, " {}:{}", host.name, host.links[*link].name);
            }
            text.push('\n');
        }
        for flow in flows {
            let _ = writeln!(text, "{flow}");
        }
        text
    }
}

fn sysctls(dice: &mut Dice, plan: &Plan, host: usize) -> Vec<String> {
    let own = &plan.hosts[host];
    let mut lines = Vec::new();
    for family in &plan.families {
        let key = match family {
            Family::Ip4 => "net.ipv4.ip_forward",
            Family::Ip6 => "net.ipv6.conf.all.forwarding",
        };
        if own.is_router && !dice.percent(4) || dice.percent(10) {
            lines.push(format!("sysctl {key}=1"));
        }
    }
    if plan.families.contains(&Family::Ip4) {
        // Redirects come again in times that double from 20 milliseconds on (route.c, `ip_rt_send_redirect`).
        let names = own.links.iter().map(|link| link.name.as_str()).chain(["all"]);
        lines.extend(names.map(|name| format!("sysctl net.ipv4.conf.{name}.send_redirects=0")));
        let link = dice.of(&own.links).name.clone();
        let mut maybe = |percent: u32, line: String| lines.extend(dice.percent(percent).then_some(line));
        maybe(8, "sysctl net.ipv4.conf.all.rp_filter=1".to_owned());
        maybe(5, format!("sysctl net.ipv4.conf.{link}.rp_filter=2"));
        maybe(12, "sysctl net.ipv4.conf.all.route_localnet=1".to_owned());
        maybe(4, format!("sysctl net.ipv4.conf.{link}.accept_local=1"));
        maybe(3, format!("sysctl net.ipv4.conf.{link}.forwarding=0"));
        maybe(3, "sysctl net.ipv4.conf.all.src_valid_mark=1".to_owned());
    }
    lines
}

/// Marks that lead to tables of their own, and other policy rules.
fn policy(dice: &mut Dice, plan: &Plan, host: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if !dice.percent(if plan.hosts[host].is_router { 30 } else { 8 }) {
        return lines;
    }
    for family in plan.families.iter().copied() {
        let six = option(family);
        let link = dice.of(&plan.hosts[host].links);
        let neighbour = plan.wires[link.wire].iter().find(|(other, _)| *other != host);
        let gateway = neighbour.and_then(|(other, _)| plan.address_on(*other, link.wire, family));
        let rule = match dice.number(0, 6) {
            0 => format!("fwmark 0x{:x} table 100", dice.number(1, 3)),
            1 => "fwmark 0x2/0x2 table 100".to_owned(),
            2 => format!("from {} table 100", net_of(family, dice.number(0, plan.wires.len() - 1))),
            3 => format!("to {} table 100", virtual_address(family, 1)),
            4 => format!("iif {} table 100", link.name),
            5 => format!("ipproto {} dport 80-81 table 100", dice.word(&["tcp", "udp"])),
            _ => format!("fwmark 0x{:x} {}", dice.number(1, 3), dice.word(&["unreachable", "blackhole"])),
        };
        lines.push(format!("rule {six}{rule} priority {}", 100 + dice.number(0, 9)));
        let Some(gateway) = gateway else { continue };
        if dice.percent(80) {
            lines.push(format!("route {six}default via {gateway} table 100"));
        }
    }
    lines
}

fn listeners(dice: &mut Dice, plan: &Plan, host: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for protocol in ["tcp", "udp"] {
        for port in SERVER_PORTS {
            if !dice.percent(62) {
                continue;
            }
            let family = *dice.of(&plan.families);
            let address = match dice.number(0, 9) {
                0 => plan.addresses(host, family).next().map(|address| match address {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("[{address}]"),
                }),
                1 => Some(if family == Family::Ip4 { "0.0.0.0".to_owned() } else { "[::]".to_owned() }),
                _ => None,
            };
            lines.push(format!("listen {protocol} {}:{port}", address.unwrap_or_else(|| "*".to_owned())));
        }
    }
    lines
}
