//! Plain words for what the engine has numbers and types for.

use std::net::IpAddr;

use natpath_engine::trace::{Outcome, RouteStep, Why};
use natpath_model::{Backend, CtStates, InterfaceName, RouteType, Table, table_id};

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
pub(crate) fn ended(outcome: Outcome, why: Option<Why>) -> String {
    let words = match (outcome, why) {
        (Outcome::Dropped, Some(why)) => dropped(why),
        (Outcome::LocalError, Some(Why::Errno("EMSGSIZE"))) => "too big for the link, the send fails",
        (Outcome::LocalError, Some(Why::Errno("EADDRNOTAVAIL"))) => "no address to send from",
        (Outcome::LocalError, Some(why)) => return format!("the send fails with {}", why.word()),
        (Outcome::Delivered, _) => "delivered",
        (Outcome::NoListener, _) => "nobody listens",
        (Outcome::Dropped, None) => "dropped",
        (Outcome::Rejected, _) => "rejected",
        (Outcome::NoRoute, _) => "no route",
        (Outcome::NoNeighbor, _) => "nobody on the link owns the address",
        (Outcome::TtlExceeded, _) => "its time to live runs out here",
        (Outcome::TooBig, _) => "too big for the next link, and not to be fragmented",
        (Outcome::LocalError, None) => "the send fails",
        (Outcome::Left, _) => "leaves the recorded hosts",
        (Outcome::Undecided, _) => "undecided from here on",
    };
    words.to_owned()
}

fn dropped(why: Why) -> &'static str {
    match why {
        Why::Rule => "a rule drops it",
        Why::Policy => "a chain's policy drops it",
        Why::RpFilter => "dropped by rp_filter",
        Why::MartianSource => "dropped: a source that can't be",
        Why::MartianDestination => "dropped: no packet may go there",
        Why::NoForwarding => "dropped: this host does not forward",
        Why::NoPorts => "dropped: no port is free for the translation",
        Why::RedirectNoAddress => "dropped: the interface has no address to translate to",
        Why::Invalid => "dropped: the packet is faulty",
        // The kernel's rule for masquerade: the route changed under the connection.
        Why::RouteType => "dropped: the connection was masqueraded for another interface",
        Why::WrongSource => "dropped: nobody asked this source",
        Why::Errno(_) => "dropped",
    }
}

/// What the check of a packet's addresses found.
pub(crate) fn source_check(why: Why, came_in: Option<InterfaceName>) -> String {
    match (why, came_in) {
        (Why::RpFilter, Some(interface)) => {
            format!("dropped by rp_filter: the way back is not by {interface}")
        }
        (Why::MartianSource, Some(interface)) => {
            format!("dropped: a packet with this source can't come in by {interface}")
        }
        (Why::MartianSource, None) => "refused: nothing may leave here with this source".to_owned(),
        (Why::MartianDestination, Some(interface)) => {
            format!("dropped: nothing that comes in by {interface} may go there")
        }
        (why, _) => dropped(why).to_owned(),
    }
}

/// A route that was looked up, on one line.
pub(crate) fn route(step: &RouteStep) -> String {
    let destination = step.destination;
    let Some(found) = &step.found else { return format!("no route to {destination}") };
    let prefix = if found.prefix.prefix_len() == 0 { "default".to_owned() } else { found.prefix.to_string() };
    let place = format!("({}, {prefix})", table_name(found.table));
    let mut text = match found.kind {
        RouteType::Local => return format!("{destination} is an address of this host"),
        RouteType::Unicast => destination.to_string(),
        RouteType::Blackhole => return format!("{destination}: a blackhole route discards it  {place}"),
        RouteType::Unreachable => return format!("{destination}: an unreachable route  {place}"),
        RouteType::Prohibit => return format!("{destination}: a prohibit route refuses it  {place}"),
        kind => format!("{} {destination}", kind.name()),
    };
    if let Some(gateway) = found.gateway {
        text += &format!(" via {gateway}");
    }
    if let Some(interface) = found.interface {
        text += &format!(" dev {interface}");
    }
    format!("{text}  {place}")
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

/// `a, b and c`.
pub(crate) fn listed(words: &[impl AsRef<str>]) -> String {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => String::new(),
    }
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
