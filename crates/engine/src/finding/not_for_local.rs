//! `not-for-local`: a DNAT rule in PREROUTING without a twin in OUTPUT, so that the host itself can't use it:
//! what is made on a host passes OUTPUT, and PREROUTING only when its destination is decided.

use natpath_model::{Family, Hook, Manip};

use super::{Evidence, shown};
use crate::trace::{Finding, NotReached};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    if evidence.run.result.works {
        return None;
    }
    let unreached =
        evidence.run.env.noted.unreached.iter().find(|unreached| unreached.why == NotReached::MadeHere)?;
    let (host, rule) = (unreached.host, unreached.second);
    let name = evidence.name(host);
    let place = evidence.place(host, rule);
    let asked = shown(&unreached.before, Manip::Dst);
    // From a loopback address nothing leaves the host without more than this rule (route.c,
    // `__mkroute_output`, route_localnet).
    let stays = |to: std::net::IpAddr| !unreached.before.src.address.is_loopback() || to.is_loopback();
    let leaves = unreached.meant.is_some_and(|meant| !stays(meant.dst.address));
    let help = match leaves {
        true => "give OUTPUT the same rule, and ask at an address of the host that is none of loopback",
        false => "give OUTPUT the same rule",
    };
    let meant = unreached.meant.filter(|_| !unreached.by_chance && !leaves);
    let fix = meant.map(|meant| {
        let program = evidence.program(host, rule.table);
        let protocol = unreached.before.protocol;
        let (port, to) = if protocol.has_ports() {
            (format!(" --dport {}", unreached.before.dst.port), meant.dst.to_string())
        } else {
            (String::new(), meant.dst.address.to_string())
        };
        let width = Family::of(unreached.before.dst.address).bits();
        let address = unreached.before.dst.address;
        let chain = Hook::Output.chain_name();
        format!("{program} -t nat -A {chain} -d {address}/{width} -p {protocol}{port} -j DNAT --to-destination {to}")
    });
    Some(Finding {
        code: "not-for-local",
        host,
        headline: format!(
            "{place} translates {asked} in PREROUTING only, and connections made on {name} itself pass OUTPUT instead"
        ),
        help: help.to_owned(),
        rules: vec![rule],
        fix,
    })
}
