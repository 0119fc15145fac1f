//! `untracked`: NOTRACK on a path that a NAT rule needs. NAT is tied to conntrack entries; a packet without
//! one meets no nat rule (nf_nat_core.c, `nf_nat_inet_fn`).

use natpath_model::RuleRef;

use super::Evidence;
use crate::trace::{Effect, Finding, HostId, NotReached, Step};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for unreached in
        evidence.run.env.unreached.iter().filter(|unreached| unreached.why == NotReached::NotTracked)
    {
        let exempting = exempting_rule(evidence, unreached.host);
        let by = exempting
            .map_or_else(String::new, |rule| format!(" by {}", evidence.place(unreached.host, rule)));
        let finding = Finding {
            code: "untracked",
            host: unreached.host,
            headline: format!(
                "the packet is exempt from connection tracking{by}, so {} can't translate it",
                evidence.place(unreached.host, unreached.second)
            ),
            help: "take the connections that NAT needs out of the NOTRACK rule".to_owned(),
            rules: exempting.into_iter().chain([unreached.second]).collect(),
            fix: None,
        };
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

fn exempting_rule(evidence: &Evidence<'_, '_>, host: HostId) -> Option<RuleRef> {
    evidence.run.journeys.iter().flat_map(|journey| super::recorded(&journey.hops)).find_map(|(at, hop)| {
        let steps = hop.steps.iter().filter(|_| at == host);
        steps
            .filter_map(|step| match step {
                Step::Rule { rule, effect: Effect::Notrack, .. } => Some(*rule),
                _ => None,
            })
            .next()
    })
}
