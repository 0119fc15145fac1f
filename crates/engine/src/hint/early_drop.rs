//! A rule that drops a packet before any translation, so that none of the rules that would let it pass is
//! asked: those of table raw, and of mangle PREROUTING.

use natpath_model::{ChainKind, Hook, Manip, Priority};

use crate::finding::{Evidence, rule_text};
use crate::trace::{Hint, Outcome, Why};

/// The chain in which Docker's users are to put their rules.
const DOCKER_USER: &str = "DOCKER-USER";

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let end = &evidence.run.result.end;
    let (host, rule) = end.rule.filter(|_| end.outcome == Outcome::Dropped && end.why == Some(Why::Rule))?;
    let ruleset = &evidence.world.host(host).snapshot.ruleset;
    let table = &ruleset.tables[rule.table as usize];
    let is_early = |kind: &ChainKind| matches!(kind, ChainKind::Base { hook: Hook::Prerouting, priority, .. } if *priority < Priority::NAT_DST);
    if !table.chains.iter().any(|chain| is_early(&chain.kind)) || table.name == "filter" {
        return None;
    }
    let (hook, ..) = evidence.last_chain()?;
    if hook != Hook::Prerouting {
        return None;
    }
    let (name, place) = (&table.name, evidence.place(host, rule));
    let user = ruleset.tables.iter().any(|table| table.chain_id(DOCKER_USER).is_some());
    let allowed = if user { "DOCKER-USER and other chains" } else { "the rules there" };
    let conditions = rule_text::conditions(&end.header, &[Manip::Src, Manip::Dst], Some(Manip::Dst));
    Some(Hint {
        host,
        headline: format!(
            "{place} drops it in table {name}, which comes before nat and filter: what {allowed} allow is not asked"
        ),
        help: format!("make the exception in table {name}, before that rule"),
        rules: vec![rule],
        fix: Some(evidence.command(host, rule, "-I", &format!("{conditions} -j ACCEPT"))),
    })
}
