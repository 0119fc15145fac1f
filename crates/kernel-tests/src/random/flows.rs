//! Random flows: between hosts, to virtual addresses, from a host to itself, with few ports so that they clash.

use std::net::IpAddr;

use natpath_model::Family;

use super::dice::Dice;
use super::network::{Plan, SERVER_PORTS, on_wire, virtual_address};

/// The ports that clients send from.
pub(super) const CLIENT_PORTS: [u16; 5] = [4000, 4001, 4002, 600, 300];

/// The lines of a scenario's flows.
pub(super) fn of_plan(dice: &mut Dice, plan: &Plan, rules: &[String]) -> Vec<String> {
    // What rules name is what flows should be for.
    let named: Vec<(IpAddr, Option<u16>)> = rules.iter().flat_map(|text| destinations(text)).collect();
    let mut used: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    let wanted = dice.number(4, 9);
    while lines.len() < wanted {
        let Some(line) = flow(dice, plan, &named) else { continue };
        // A socket can't be bound twice to the same ends.
        let key: String = line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        if line.starts_with("flow tcp") && used.contains(&key) {
            continue;
        }
        used.push(key);
        lines.push(line);
    }
    lines
}

fn flow(dice: &mut Dice, plan: &Plan, named: &[(IpAddr, Option<u16>)]) -> Option<String> {
    let host = dice.number(0, plan.hosts.len() - 1);
    let family = *dice.of(&plan.families);
    let (dst, port) = destination(dice, plan, host, family, named);
    let protocol = dice.weighted(&[(45, "tcp"), (37, "udp"), (18, "icmp")]);
    let own: Vec<_> = plan.addresses(host, family).collect();
    let loopback = family.loopback();
    let src = if dst == loopback && dice.percent(80) { loopback } else { *dice.of(&own) };
    if dst == loopback && src != loopback && family == Family::Ip6 {
        return None;
    }
    let src_port = *dice.of(&CLIENT_PORTS);
    // A socket that connects to itself.
    if (src, src_port) == (dst, port) {
        return None;
    }
    let name = &plan.hosts[host].name;
    let end = |address: IpAddr, port: u16| match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    };
    let mut line = if protocol == "icmp" {
        let word = if family == Family::Ip4 { "icmp" } else { "icmpv6" };
        format!("flow {word} {src} {dst} icmp-id={} from={name}", dice.number(1, 3))
    } else {
        format!("flow {protocol} {} {} from={name}", end(src, src_port), end(dst, port))
    };
    if dice.percent(5) {
        line.push_str(&format!(" ttl={}", dice.number(1, 3)));
    }
    if dice.percent(5) {
        line.push_str(&format!(" mark=0x{:x}", dice.number(1, 3)));
    }
    if dice.percent(5) {
        line.push_str(" uid=7 gid=9");
    }
    if dice.percent(5) {
        line.push_str(dice.word(&[" dscp=8", " dscp=46"]));
    }
    if protocol != "tcp" && dice.percent(4) {
        line.push_str(" size=600");
    }
    Some(line)
}

fn destination(
    dice: &mut Dice,
    plan: &Plan,
    host: usize,
    family: Family,
    named: &[(IpAddr, Option<u16>)],
) -> (IpAddr, u16) {
    let port = *dice.of(&SERVER_PORTS);
    let of_family: Vec<_> = named.iter().filter(|(address, _)| Family::of(*address) == family).collect();
    if !of_family.is_empty() && dice.percent(55) {
        let (address, own) = dice.of(&of_family);
        return (*address, own.filter(|_| dice.percent(85)).unwrap_or(port));
    }
    let other = dice.number(0, plan.hosts.len() - 1);
    let address = match dice.number(0, 19) {
        0..=13 => plan
            .addresses(other, family)
            .nth(dice.number(0, 1))
            .or_else(|| plan.addresses(other, family).next()),
        14 => plan.addresses(host, family).next(),
        15 => Some(family.loopback()),
        16 => Some(on_wire(family, dice.number(0, plan.wires.len() - 1), 77)),
        _ => None,
    };
    let last = [1, 2, 3][dice.number(0, 2)];
    (address.unwrap_or_else(|| virtual_address(family, last)), port)
}

/// The single addresses, with ports, that rules of a host wait for.
fn destinations(rules: &str) -> Vec<(IpAddr, Option<u16>)> {
    let mut found = Vec::new();
    for line in rules.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |key: &str| {
            let at = words.iter().position(|word| *word == key)?;
            let negated = at > 0 && words[at - 1] == "!";
            words.get(at + 1).copied().filter(|_| !negated)
        };
        let Some(address) = after("-d").and_then(|word| word.parse().ok()) else { continue };
        let port =
            after("--dport").and_then(|word| word.split(':').next()).and_then(|word| word.parse().ok());
        found.push((address, port));
    }
    found
}
