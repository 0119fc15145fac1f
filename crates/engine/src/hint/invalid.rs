//! A rule that stops INVALID packets, on a host that has not seen the answer they belong to.

use natpath_model::CtStates;

use crate::finding::{Evidence, rule_text};
use crate::trace::{FlowPacket, Hint, Place, Step};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let broken = evidence.run.result.broken.as_ref()?;
    let (host, rule) = broken.end.rule?;
    let (at, hop) = evidence.failed_hops().last()?;
    let is_invalid =
        hop.steps.iter().any(|step| matches!(step, Step::Conntrack { state: CtStates::INVALID, .. }));
    let asks = rule_text::option(evidence.text(host, rule), &["--ctstate", "--state"]);
    if at != host || !is_invalid || !asks.is_some_and(|asks| asks.contains("INVALID")) {
        return None;
    }
    let answered_past = matches!(broken.packet, FlowPacket::HandshakeAck | FlowPacket::ClientData)
        && !evidence.answer_hops().any(|hop| hop.host == Place::Host(host));
    let name = evidence.name(host);
    let (reason, help) = if answered_past {
        (
            format!("{name} has not seen the answer, which went another way"),
            format!("have both directions pass {name}, or do not stop INVALID packets there"),
        )
    } else {
        (
            format!("{name} has not seen the connection begin"),
            format!("have the whole connection pass {name}"),
        )
    };
    Some(Hint {
        host,
        headline: format!("{} stops it as INVALID: {reason}", evidence.place(host, rule)),
        help,
        rules: vec![rule],
        fix: None,
    })
}
