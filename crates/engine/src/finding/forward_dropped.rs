//! `forward-dropped`: the translated packet is then dropped or rejected by a filter rule or a policy, which
//! sees the new destination (nat runs at -100, filter at 0).

use natpath_model::{Field, Hook, Manip, RuleRef};

use super::evidence::last_chain;
use super::{Evidence, passes, rule_text, shown};
use crate::near_miss::NearMiss;
use crate::trace::{ChainEnd, Finding, HostId, Outcome, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    let by_filter = matches!(end.outcome, Outcome::Dropped | Outcome::Rejected)
        && matches!(end.why, Some(Why::Rule | Why::Policy));
    if !by_filter {
        return None;
    }
    let (host, hop) = evidence.hops().last()?;
    let translation =
        evidence.translations(Manip::Dst).into_iter().rfind(|translation| translation.host == host)?;
    // The last chain of the hop is the one that ended it.
    let (hook, table, chain_id, chain_end) = last_chain(hop)?;
    if !matches!(hook, Hook::Forward | Hook::Input) {
        return None;
    }
    let ruleset = &evidence.world.host(host).snapshot.ruleset;
    let chain = &ruleset.chain(table, chain_id).name;
    let target = shown(&end.header, Manip::Dst);
    let mut rules = vec![translation.rule];
    if let ChainEnd::Rule(rule) = chain_end {
        rules.push(rule);
    }
    let name = evidence.table(host, table);
    let does = if end.outcome == Outcome::Rejected { "rejected" } else { "dropped" };
    let by = match chain_end {
        ChainEnd::Rule(rule) => format!("in {name} {chain} by {}", evidence.place(host, rule)),
        ChainEnd::PolicyDrop | ChainEnd::PolicyAccept => format!("by the policy of {name} {chain}"),
    };
    let first = evidence.place(host, translation.rule);
    let mut headline = format!("{first} translates the packet to {target}, and it is {does} {by}");
    let (mut help, mut fix) = (format!("accept {target} in {name} {chain}"), None);
    if let Some((miss, asked)) = meant_for_it(evidence, host, hook) {
        let place = evidence.place(host, miss.rule);
        headline += &format!("; {place} would accept it but for {asked}, the destination before translation");
        help = format!("have {place} ask for {target}, or for the connection's original destination");
        fix = evidence.replacement(miss);
        rules.push(miss.rule);
    } else {
        headline += match chain_end {
            ChainEnd::Rule(rule) if asks_of_original(evidence, host, rule) => "",
            ChainEnd::Rule(_) => ", which sees the new destination",
            ChainEnd::PolicyDrop | ChainEnd::PolicyAccept => {
                ", for no rule there accepts the new destination"
            }
        };
    }
    let accept = || {
        let at = RuleRef { table, chain: chain_id, rule: 0 };
        let conditions = rule_text::conditions(&end.header, &[Manip::Dst], Some(Manip::Dst));
        evidence.command(host, at, "-I", &format!("{conditions} -j ACCEPT"))
    };
    fix = fix.or_else(accept);
    Some(Finding { code: "forward-dropped", host, headline, help, rules, fix })
}

/// A rule that would have let the packet pass before it was translated.
fn meant_for_it<'e>(evidence: &Evidence<'e, '_>, host: HostId, hook: Hook) -> Option<(&'e NearMiss, String)> {
    let header = &evidence.run.result.end.header;
    evidence.run.env.noted.near_misses.iter().find_map(|miss| {
        let is_of_it = miss.host == host && miss.hook == hook && miss.header == *header;
        let accepts = passes(evidence.rule(host, miss.rule)) == Some(true);
        Some((miss, evidence.asked(miss).filter(|_| is_of_it && accepts)?))
    })
}

/// Whether the rule that stopped the packet knows of its translation.
fn asks_of_original(evidence: &Evidence<'_, '_>, host: HostId, rule: RuleRef) -> bool {
    evidence.rule(host, rule).matches.iter().any(|condition| {
        matches!(rule_text::field(condition), Some(Field::CtAddress(..) | Field::CtPort(..)))
    })
}
