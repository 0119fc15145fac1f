//! `not-masqueraded`: a private source leaves by an interface whose own address is public. Whoever gets the
//! packet can't answer. Nor can whoever gets one from a loopback address.

use natpath_model::{Family, Manip, Scope};

use super::{Evidence, is_private};
use crate::trace::{Finding, Outcome, Place, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    to_outside(evidence).or_else(|| from_loopback(evidence))
}

fn to_outside(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    if end.outcome != Outcome::Left || !is_private(end.header.src.address) {
        return None;
    }
    let (Place::Host(host), Some(interface)) = (end.at.host, end.at.interface) else { return None };
    let snapshot = evidence.world.host(host).snapshot;
    let family = Family::of(end.header.src.address);
    let own = snapshot
        .link(interface)?
        .addresses
        .iter()
        .find(|address| Family::of(address.local) == family && address.scope == Scope::GLOBAL)?;
    if is_private(own.local) {
        return None;
    }
    let program = match family {
        Family::Ip4 => "iptables",
        Family::Ip6 => "ip6tables",
    };
    let src = end.header.src.address;
    Some(Finding {
        code: "not-masqueraded",
        host,
        headline: format!(
            "{src} is a private address and leaves {interface} untranslated: no answer comes back"
        ),
        help: format!("translate what leaves {interface} to its own address {}", own.local),
        rules: Vec::new(),
        fix: Some(format!("{program} -t nat -A POSTROUTING -s {src} -o {interface} -j MASQUERADE")),
    })
}

/// A packet that a host sends to another from its loopback address: it is dropped where it comes in
/// (route.c, `ip_route_input_slow`; ip6_input.c, `ip6_rcv_core`).
fn from_loopback(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    let src = end.header.src.address;
    if end.why != Some(Why::MartianSource) || !src.is_loopback() {
        return None;
    }
    let (host, hop) = evidence.hops().next()?;
    let (Place::Host(at), Some(interface)) = (end.at.host, hop.out_interface) else { return None };
    let translation =
        evidence.translations(Manip::Dst).pop().filter(|made| made.host == host && at != host)?;
    let program = evidence.program(host, translation.rule.table);
    let (help, fix) = match Family::of(src) {
        Family::Ip4 => (
            format!("masquerade what leaves {interface} with a loopback address"),
            Some(format!("{program} -t nat -A POSTROUTING -s 127.0.0.0/8 -o {interface} -j MASQUERADE")),
        ),
        // ip6_rcv_core drops what comes in for ::1 again, so answers could not be translated back.
        Family::Ip6 => ("ask for another address of the host than ::1".to_owned(), None),
    };
    Some(Finding {
        code: "not-masqueraded",
        host,
        headline: format!(
            "the packet is translated and leaves {interface} with source {src}, which {} and any other host takes \
             for its own and drops",
            evidence.name(at)
        ),
        help,
        rules: vec![translation.rule],
        fix,
    })
}
