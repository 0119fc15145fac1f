//! `forward-dropped`: the translated packet is then dropped or rejected by a filter rule or a policy, which
//! sees the new destination (nat runs at -100, filter at 0).

use natpath_model::{Hook, Manip};

use super::{Evidence, shown};
use crate::trace::{ChainEnd, Finding, Outcome, Step, Why};

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
    let (hook, table, chain, chain_end) = hop.steps.iter().rev().find_map(|step| match step {
        Step::Chain { hook, table, chain, end, .. } => Some((*hook, *table, *chain, *end)),
        _ => None,
    })?;
    if !matches!(hook, Hook::Forward | Hook::Input) {
        return None;
    }
    let ruleset = &evidence.world.host(host).snapshot.ruleset;
    let chain = &ruleset.chain(table, chain).name;
    let by = match chain_end {
        ChainEnd::Rule(rule) => format!("by {}", evidence.place(host, rule)),
        ChainEnd::PolicyDrop | ChainEnd::PolicyAccept => {
            format!("by the policy of {} {chain}", ruleset.tables[table as usize].name)
        }
    };
    let target = shown(&end.header, Manip::Dst);
    let mut rules = vec![translation.rule];
    if let ChainEnd::Rule(rule) = chain_end {
        rules.push(rule);
    }
    let port = if end.header.protocol.has_ports() {
        format!(" --dport {}", end.header.dst.port)
    } else {
        String::new()
    };
    let program = evidence.program(host, table);
    let table = &ruleset.tables[table as usize].name;
    Some(Finding {
        code: "forward-dropped",
        host,
        headline: format!(
            "the packet is translated to {target} and then {} in {table} {chain} {by}, which sees the new destination",
            if end.outcome == Outcome::Rejected { "rejected" } else { "dropped" }
        ),
        help: format!("accept {target} in {table} {chain}"),
        rules,
        fix: Some(format!(
            "{program} -t {table} -I {chain} 1 -d {} -p {}{port} -j ACCEPT",
            end.header.dst.address, end.header.protocol
        )),
    })
}
