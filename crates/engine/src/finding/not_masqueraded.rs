//! `not-masqueraded`: a private source leaves by an interface whose own address is public. Whoever gets the
//! packet can't answer.

use natpath_model::{Family, Scope};

use super::{Evidence, is_private};
use crate::trace::{Finding, Outcome, Place};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
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
