//! A firewall that lets connections begin and does not let their answers pass.

use natpath_model::{Backend, CtStates, Direction, RuleRef};

use crate::finding::Evidence;
use crate::trace::{ChainEnd, FlowPacket, Hint, Outcome, Step, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let broken = evidence.run.result.broken.as_ref()?;
    let end = &broken.end;
    let stopped = matches!(end.outcome, Outcome::Dropped | Outcome::Rejected)
        && matches!(end.why, Some(Why::Rule | Why::Policy));
    let is_answer = matches!(broken.packet, FlowPacket::Answer | FlowPacket::ServerData);
    let (host, hook, table, chain, chain_end) = evidence.last_chain().filter(|_| stopped && is_answer)?;
    let (_, hop) = evidence.failed_hops().last()?;
    // Without connection tracking on this host its answers can only be told by address and port.
    let tracked = hop.steps.iter().any(|step| {
        matches!(
            step,
            Step::Conntrack { state: CtStates::ESTABLISHED, direction: Some(Direction::Reply), .. }
        )
    });
    let untracked = !hop.steps.iter().any(|step| matches!(step, Step::Conntrack { .. }));
    if !tracked && !untracked {
        return None;
    }
    let ruleset = &evidence.world.host(host).snapshot.ruleset;
    let name = evidence.table(host, table);
    if ruleset.tables[table as usize].backend == Backend::Nft {
        return None;
    }
    let by = match chain_end {
        ChainEnd::Rule(rule) => evidence.place(host, rule),
        ChainEnd::PolicyDrop | ChainEnd::PolicyAccept => {
            format!("the policy of {name} {}", hook.chain_name())
        }
    };
    let first = RuleRef { table, chain, rule: 0 };
    Some(Hint {
        host,
        headline: format!(
            "the request passed {name} {}, and its answer is stopped by {by}: no rule before that accepts answers",
            hook.chain_name()
        ),
        help: "accept what belongs to a known connection".to_owned(),
        rules: match chain_end {
            ChainEnd::Rule(rule) => vec![rule],
            ChainEnd::PolicyDrop | ChainEnd::PolicyAccept => Vec::new(),
        },
        fix: evidence.command(host, first, "-I", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
    })
}
