//! Plain words for what the engine has numbers and types for.

use std::net::IpAddr;

use natpath_engine::trace::{Outcome, RouteStep};
use natpath_model::{Backend, CtStates, RouteType, Table, table_id};

/// What an ICMP error says (IANA "ICMP Parameters" and "ICMPv6 Parameters").
pub(crate) fn icmp_error(from: IpAddr, kind: u8, code: u8) -> &'static str {
    match (from.is_ipv6(), kind, code) {
        (false, 3, 0 | 6) => "network unreachable",
        (false, 3, 1 | 7) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (false, 3, 9) => "network prohibited",
        (false, 3, 10) => "host prohibited",
        (false, 3, 13) | (true, 1, 1) => "administratively prohibited",
        (false, 11, _) | (true, 3, _) => "time exceeded",
        (true, 1, 0) => "no route to destination",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route to destination",
        (true, 2, _) => "packet too big",
        (false, 3, _) | (true, 1, _) => "destination unreachable",
        _ => "an ICMP error",
    }
}

/// How a packet ended, where no other line says it.
pub(crate) fn ended(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::NoListener => "nobody listens",
        Outcome::Dropped => "dropped",
        Outcome::Rejected => "rejected",
        Outcome::NoRoute => "no route",
        Outcome::NoNeighbor => "nobody on the link owns the address",
        Outcome::TtlExceeded => "time to live exceeded",
        Outcome::TooBig => "too big for the link",
        Outcome::LocalError => "the send fails",
        Outcome::Left => "leaves the recorded hosts",
        Outcome::Undecided => "undecided",
    }
}

/// A route that was looked up, on one line.
pub(crate) fn route(step: &RouteStep) -> String {
    let destination = step.destination;
    let Some(found) = &step.found else { return format!("no route to {destination}") };
    let mut text = match found.kind {
        RouteType::Local => return format!("{destination} is an address of this host"),
        RouteType::Unicast => destination.to_string(),
        kind => format!("{} {destination}", kind.name()),
    };
    if let Some(gateway) = found.gateway {
        text += &format!(" via {gateway}");
    }
    if let Some(interface) = found.interface {
        text += &format!(" dev {interface}");
    }
    let prefix = if found.prefix.prefix_len() == 0 { "default".to_owned() } else { found.prefix.to_string() };
    text += &format!("  ({}, {prefix})", table_name(found.table));
    text
}

fn table_name(table: u32) -> String {
    match table {
        table_id::MAIN => "main".to_owned(),
        table_id::LOCAL => "local".to_owned(),
        table_id::DEFAULT => "default table".to_owned(),
        table => format!("table {table}"),
    }
}

/// A table as iptables or nft users call it.
pub(crate) fn table(table: &Table) -> String {
    match table.backend {
        Backend::Iptables => table.name.clone(),
        Backend::IptablesLegacy => format!("legacy {}", table.name),
        Backend::Nft => format!("{} {}", table.family, table.name),
    }
}

/// The states of a packet: `ESTABLISHED`, `NEW`.
pub(crate) fn states(state: CtStates) -> String {
    let names: Vec<_> =
        CtStates::NAMES.iter().filter(|(_, bit)| state.0 & bit.0 != 0).map(|(name, _)| *name).collect();
    names.join(",")
}

/// A probability as a reader says it.
pub(crate) fn percent(probability: f64) -> String {
    let percent = probability * 100.0;
    if percent > 0.0 && percent < 0.1 {
        return "<0.1 %".to_owned();
    }
    let text = format!("{percent:.1}");
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// A count with its noun.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_short() {
        for (probability, expected) in
            [(1.0, "100 %"), (0.5, "50 %"), (1.0 / 3.0, "33.3 %"), (0.00001, "<0.1 %"), (0.0, "0 %")]
        {
            assert_eq!(percent(probability), expected);
        }
    }
}
