//! `reply-bypasses`: the answer does not come back through the host that translated the request, so nothing
//! translates it back.

use natpath_model::Manip;

use super::{Evidence, Translation, recorded, shown};
use crate::run::Sender;
use crate::trace::{Broken, Finding, FlowPacket, Outcome, Place, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    if let Some(finding) = to_itself(evidence) {
        return Some(finding);
    }
    let broken = evidence.run.result.broken.as_ref()?;
    if broken.packet != FlowPacket::Answer {
        return None;
    }
    let mut translations = evidence.translations(Manip::Dst);
    translations.extend(evidence.translations(Manip::Src));
    let bypassed = translations
        .iter()
        .find(|translation| !recorded(&broken.hops).any(|(host, _)| host == translation.host));
    let by_other_link = leaves_by_another_link(evidence, broken);
    if by_other_link {
        let host = evidence.hops().next().map(|(host, _)| host)?;
        return Some(Finding {
            code: "reply-bypasses",
            host,
            headline: "the answer leaves by another interface than the request came in by".to_owned(),
            help: "route answers back the way the request came, with a policy rule and CONNMARK, or masquerade it"
                .to_owned(),
            rules: Vec::new(),
            fix: None,
        });
    }
    let translation = bypassed?;
    if broken.end.why != Some(Why::WrongSource) && broken.end.outcome == Outcome::Delivered {
        return None;
    }
    let name = evidence.name(translation.host);
    Some(Finding {
        code: "reply-bypasses",
        host: translation.host,
        headline: format!(
            "the answer does not come back through {name}, which translated the request: its source stays {}",
            shown(&broken.end.header, Manip::Src)
        ),
        help: format!(
            "masquerade the request on {name}, so that the server answers to it, or route the server's answers \
             through it"
        ),
        rules: vec![translation.rule],
        fix: Some(masquerade(evidence, translation)),
    })
}

/// A host that asks for its own public address gets its packet back with its own source and drops it: the
/// answer would not pass the translating host either.
fn to_itself(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    let Place::Host(at) = end.at.host else { return None };
    if end.why != Some(Why::MartianSource) || !evidence.world.host(at).fib.is_local(end.header.src.address) {
        return None;
    }
    let translation = evidence.translations(Manip::Dst).pop().filter(|translation| translation.host != at)?;
    let (name, itself) = (evidence.name(translation.host), evidence.name(at));
    Some(Finding {
        code: "reply-bypasses",
        host: translation.host,
        headline: format!(
            "{name} sends the packet back to {itself}, which asked: it comes with {itself}'s own source {} and is \
             dropped",
            end.header.src.address
        ),
        help: format!("masquerade the request on {name}, so that it comes back from {name}"),
        rules: vec![translation.rule],
        fix: Some(masquerade(evidence, &translation)),
    })
}

/// One command that has the server answer to the translating host.
fn masquerade(evidence: &Evidence<'_, '_>, translation: &Translation) -> String {
    let program = evidence.program(translation.host, translation.rule.table);
    let header = &translation.after;
    let port =
        if header.protocol.has_ports() { format!(" --dport {}", header.dst.port) } else { String::new() };
    format!(
        "{program} -t nat -A POSTROUTING -s {} -d {} -p {}{port} -j MASQUERADE",
        header.src.address, header.dst.address, header.protocol
    )
}

/// Whether the answer to a sender outside leaves by an interface the request did not come in by.
fn leaves_by_another_link(evidence: &Evidence<'_, '_>, broken: &Broken) -> bool {
    match evidence.sender {
        Sender::Outside { address, .. } => {
            broken.end.outcome == Outcome::Left && broken.end.header.dst.address == address
        }
        Sender::Host(_) => false,
    }
}
