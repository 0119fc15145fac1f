//! `stale-conntrack`: an entry that was there before the flow decides where it goes, and the rules would
//! decide otherwise. A translation is decided once for each entry (nf_nat_core.c, `nf_nat_inet_fn`).

use natpath_model::{Family, Manip, Protocol, Tuple, Zone};

use super::{Evidence, shown};
use crate::nat::Stale;
use crate::trace::Finding;

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    evidence.run.env.stale.iter().map(|stale| finding(evidence, stale)).collect()
}

fn finding(evidence: &Evidence<'_, '_>, stale: &Stale) -> Finding {
    let name = evidence.name(stale.host);
    let goes = match stale.translates {
        true => format!("still sends this connection to {}", shown(&stale.to, Manip::Dst)),
        false => "still leaves this connection untranslated".to_owned(),
    };
    let would = match &stale.rule {
        Some((rule, after)) => {
            format!("{} sends new ones to {}", evidence.place(stale.host, *rule), shown(after, Manip::Dst))
        }
        None => "no rule translates new ones".to_owned(),
    };
    Finding {
        code: "stale-conntrack",
        host: stale.host,
        headline: format!("an entry that was there before {goes} on {name}, while {would}"),
        help: "delete the entry, or wait until it has timed out".to_owned(),
        rules: stale.rule.iter().map(|(rule, _)| *rule).collect(),
        fix: (stale.zone == Zone::default()).then(|| delete(&stale.original)).flatten(),
    }
}

/// The command that deletes an entry.
fn delete(original: &Tuple) -> Option<String> {
    let Tuple { protocol, src, dst, .. } = original;
    if src.port.drawn.is_some() || dst.port.drawn.is_some() {
        return None;
    }
    let family = match original.family() {
        Family::Ip4 => "",
        Family::Ip6 => " -f ipv6",
    };
    let ports = if protocol.has_ports() {
        format!(" --sport {} --dport {}", src.port, dst.port)
    } else if *protocol == Protocol::ICMP {
        format!(" --icmp-id {}", src.port)
    } else {
        String::new()
    };
    Some(format!("conntrack -D{family} -p {protocol} -s {} -d {}{ports}", src.address, dst.address))
}
