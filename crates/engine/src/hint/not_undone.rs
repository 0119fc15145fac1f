//! An answer that passes the host that translated the request, and is not known there as an answer: it is of
//! another zone, exempt from tracking, or INVALID.

use natpath_model::{CtStates, Direction, Manip};

use crate::finding::Evidence;
use crate::trace::{Hint, Hop, Step, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let broken = evidence.run.result.broken.as_ref()?;
    if broken.end.why != Some(Why::WrongSource) {
        return None;
    }
    let translation = evidence.translations(Manip::Dst).into_iter().find_map(|translation| {
        let mut hops = evidence.failed_hops().filter(|(host, _)| *host == translation.host);
        hops.find_map(|(_, hop)| taken_for(hop)).map(|state| (translation, state))
    });
    let (translation, state) = translation?;
    let (host, name) = (translation.host, evidence.name(translation.host));
    let entries = &evidence.run.result.conntrack;
    let zone = entries.iter().find(|entry| entry.host == host && entry.zone.0 != 0).map(|entry| entry.zone.0);
    let exempting = evidence.exempting_rule(host).filter(|_| state == CtStates::UNTRACKED);
    let (reason, help) = match (zone, exempting) {
        (_, Some(rule)) => (
            format!("is exempt from connection tracking there by {}", evidence.place(host, rule)),
            "take the answers that NAT needs out of the NOTRACK rule",
        ),
        (Some(zone), None) => (
            format!("is looked up in another zone than {zone}, in which the connection is known"),
            "give answers the same zone, or give the zone to the original direction only (--zone-orig)",
        ),
        (None, None) => ("is not known there as one".to_owned(), "let both directions be tracked"),
    };
    Some(Hint {
        host,
        headline: format!(
            "the answer passes {name}, which translated the request, but {reason}: it is not translated back"
        ),
        help: help.to_owned(),
        rules: exempting.into_iter().collect(),
        fix: None,
    })
}

/// What an answer was taken for that is none to connection tracking.
fn taken_for(hop: &Hop) -> Option<CtStates> {
    hop.steps.iter().find_map(|step| match step {
        Step::Conntrack { state, direction, .. } if *direction != Some(Direction::Reply) => Some(*state),
        _ => None,
    })
}
