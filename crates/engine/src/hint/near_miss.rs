//! Rules that nearly applied, where it would have made a difference: one that would have dropped a packet that
//! passed, or let pass one that was dropped.

use natpath_model::{CtStates, Hook, Manip, Statement};

use crate::finding::{Evidence, passes, rule_text, shown};
use crate::near_miss::{MissCause, NearMiss};
use crate::trace::{Hint, Outcome};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Hint> {
    let mut found: Vec<Hint> = Vec::new();
    for miss in &evidence.run.env.noted.near_misses {
        let rule = evidence.rule(miss.host, miss.rule);
        let stopped = evidence.stopped_at(miss.host, miss.hook, &miss.header);
        let hint = match (&miss.cause, passes(rule)) {
            (MissCause::BeforeTranslation { .. }, Some(false)) if !stopped => {
                let rejects =
                    rule.statements.iter().any(|statement| matches!(statement, Statement::Reject(_)));
                of_translation(evidence, miss, if rejects { "reject" } else { "drop" })
            }
            // Of the first packet a finding tells: forward-dropped.
            (MissCause::BeforeTranslation { side: Manip::Src, .. }, Some(true)) if stopped => {
                of_translation(evidence, miss, "accept")
            }
            (MissCause::State { is, .. }, Some(true)) if stopped => of_state(evidence, miss, *is),
            _ => None,
        };
        let hint = hint.filter(|hint| !found.iter().any(|known| known.rules == hint.rules));
        found.extend(hint);
    }
    found
}

fn of_translation(evidence: &Evidence<'_, '_>, miss: &NearMiss, does: &str) -> Option<Hint> {
    let MissCause::BeforeTranslation { side, .. } = miss.cause else { return None };
    let place = evidence.place(miss.host, miss.rule);
    let asked = evidence.asked(miss)?;
    let (table, chain) = (evidence.table(miss.host, miss.rule.table), miss.hook.chain_name());
    let (end, sees) = match side {
        Manip::Dst => ("destination before translation", shown(&miss.header, Manip::Dst)),
        Manip::Src => ("source that the client is to see", shown(&miss.header, Manip::Src)),
    };
    Some(Hint {
        host: miss.host,
        headline: format!(
            "{place} would {does} it but for {asked}: that is the {end}, and {table} {chain} sees {sees}"
        ),
        help: format!("ask for what {table} {chain} sees, or for the connection's original destination"),
        rules: vec![miss.rule],
        fix: evidence.replacement(miss),
    })
}

fn of_state(evidence: &Evidence<'_, '_>, miss: &NearMiss, is: CtStates) -> Option<Hint> {
    let place = evidence.place(miss.host, miss.rule);
    let asked = rule_text::option(evidence.text(miss.host, miss.rule), &["--ctstate", "--state"])?;
    let exempting = evidence.exempting_rule(miss.host).filter(|_| is == CtStates::UNTRACKED);
    let (reason, help, fix) = if is == CtStates::UNTRACKED {
        let by = exempting.map_or(String::new(), |rule| format!(" by {}", evidence.place(miss.host, rule)));
        let (side, port) = answered_from(evidence, miss);
        let conditions = rule_text::conditions(&miss.header, &[side], port);
        let added = format!("{conditions} -m conntrack --ctstate UNTRACKED -j ACCEPT");
        (
            format!("the packet is UNTRACKED, exempt from connection tracking{by}"),
            "accept untracked packets as well",
            evidence.command(miss.host, miss.rule, "-I", &added),
        )
    } else {
        let reason = "the packet is INVALID, of no connection whose first packet passed here".to_owned();
        (reason, "route both directions of the connection through this host", None)
    };
    Some(Hint {
        host: miss.host,
        headline: format!("{place} would accept it but for {asked}: {reason}"),
        help: help.to_owned(),
        rules: [Some(miss.rule), exempting].into_iter().flatten().collect(),
        fix,
    })
}

/// The side of a packet that tells the service: of an answer its source.
fn answered_from(evidence: &Evidence<'_, '_>, miss: &NearMiss) -> (Manip, Option<Manip>) {
    let is_answer = evidence.run.journeys[0].sent != miss.header
        && miss.hook != Hook::Prerouting
        && evidence.run.result.end.outcome == Outcome::Delivered;
    let side = if is_answer { Manip::Src } else { Manip::Dst };
    (side, Some(side))
}
