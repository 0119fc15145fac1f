//! `untracked`: NOTRACK on a path that a NAT rule needs. NAT is tied to conntrack entries; a packet without
//! one meets no nat rule (nf_nat_core.c, `nf_nat_inet_fn`).

use natpath_model::Bind;

use super::Evidence;
use crate::trace::{Finding, NotReached, Place};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    if is_meant_for_a_program(evidence) {
        return found;
    }
    for unreached in
        evidence.run.env.noted.unreached.iter().filter(|unreached| unreached.why == NotReached::NotTracked)
    {
        let exempting = evidence.exempting_rule(unreached.host);
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

/// Whether a program took the packet that listens on just the address it was sent to: it is exempt to get there
/// (NodeLocal DNSCache).
fn is_meant_for_a_program(evidence: &Evidence<'_, '_>) -> bool {
    let end = &evidence.run.result.end;
    let Place::Host(host) = end.at.host else { return false };
    let asked = evidence.first().sent;
    evidence.run.result.works
        && end.header == asked
        && evidence.world.host(host).snapshot.sockets.iter().any(|socket| {
            socket.protocol == asked.protocol
                && socket.bind == Bind::Address(asked.dst.address)
                && socket.port == asked.dst.port.value
        })
}
