//! `nat-loop`: translation or routing returns to itself.

use natpath_model::Manip;

use super::{Evidence, shown};
use crate::trace::{Finding, NotReached, Outcome};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    found.extend(routing(evidence));
    for unreached in &evidence.run.env.noted.unreached {
        let (NotReached::TranslatedBy(first), None) = (unreached.why, unreached.meant) else { continue };
        if evidence.translated_again(unreached) {
            continue;
        }
        let finding = Finding {
            code: "nat-loop",
            host: unreached.host,
            headline: format!(
                "{} and {} translate {} back to where it began",
                evidence.place(unreached.host, first),
                evidence.place(unreached.host, unreached.second),
                shown(&unreached.before, Manip::Dst)
            ),
            help: "no single rule can mean this: decide which of them is wanted".to_owned(),
            rules: vec![first, unreached.second],
            fix: None,
        };
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

fn routing(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    if end.outcome != Outcome::TtlExceeded {
        return None;
    }
    let hops: Vec<_> = evidence.hops().collect();
    let (host, hop) = hops.last()?;
    let same =
        |(other, before): &&(_, &crate::trace::Hop)| other == host && before.in_interface == hop.in_interface;
    if hops[..hops.len() - 1].iter().filter(same).count() == 0 {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for (host, _) in hops.iter().rev() {
        let name = evidence.name(*host);
        if names.contains(&name) {
            break;
        }
        names.push(name);
    }
    names.reverse();
    Some(Finding {
        code: "nat-loop",
        host: *host,
        headline: format!(
            "the packet goes round between {} until its time to live runs out",
            names.join(" and ")
        ),
        help: format!("one of them needs a route for {} that leads out of the loop", end.header.dst.address),
        rules: Vec::new(),
        fix: None,
    })
}
