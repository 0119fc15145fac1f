//! A mark for routing that is set in table nat: only a connection's first packet meets those rules, so the
//! later ones go another way.

use natpath_model::{ChainKind, ChainType, InterfaceName, RuleRef};

use crate::finding::Evidence;
use crate::trace::{Effect, FlowPacket, Hint, Hop, HostId, Step};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let broken = evidence.run.result.broken.as_ref()?;
    if !matches!(broken.packet, FlowPacket::HandshakeAck | FlowPacket::ClientData) {
        return None;
    }
    let (host, rule, mark) = marked(evidence)?;
    let here = |(at, hop): (HostId, &Hop)| (at == host).then_some(hop.out_interface);
    let (first, later) = (evidence.hops().find_map(here)?, evidence.failed_hops().find_map(here)?);
    if first == later {
        return None;
    }
    let by = |interface: Option<InterfaceName>| {
        interface.map_or("to itself".to_owned(), |interface| format!("by {interface}"))
    };
    Some(Hint {
        host,
        headline: format!(
            "{} sets mark {mark:#x} in table nat, which only a connection's first packet meets: that left {}, the \
             later ones leave {}",
            evidence.place(host, rule),
            by(first),
            by(later)
        ),
        help: "set the mark in table mangle, or keep it with CONNMARK".to_owned(),
        rules: vec![rule],
        fix: None,
    })
}

/// The nat rule that marked the first packet.
fn marked(evidence: &Evidence<'_, '_>) -> Option<(HostId, RuleRef, u32)> {
    let is_nat = |host: HostId, rule: RuleRef| {
        let table = &evidence.world.host(host).snapshot.ruleset.tables[rule.table as usize];
        table
            .chains
            .iter()
            .any(|chain| matches!(chain.kind, ChainKind::Base { chain_type: ChainType::Nat, .. }))
    };
    evidence.hops().find_map(|(host, hop)| {
        hop.steps.iter().find_map(|step| match step {
            Step::Rule { rule, effect: Effect::Mark(from, to), .. } if from != to && is_nat(host, *rule) => {
                Some((host, *rule, *to))
            }
            _ => None,
        })
    })
}
