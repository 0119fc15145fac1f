//! `reply-bypasses`: the answer does not come back through the host that translated the request, so nothing
//! translates it back.

use natpath_model::{Family, Manip};

use super::evidence::recorded;
use super::{Evidence, Translation, shown};
use crate::run::Sender;
use crate::trace::{Broken, Finding, FlowPacket, Hop, Outcome, Place, Step, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    if let Some(finding) = to_itself(evidence) {
        return Some(finding);
    }
    let broken = evidence.run.result.broken.as_ref()?;
    if broken.packet != FlowPacket::Answer || broken.end.outcome == Outcome::Undecided {
        return None;
    }
    if let Some(finding) = to_nobody(evidence, broken) {
        return Some(finding);
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
    if bypassed.is_none()
        && let Some(finding) = across_a_bridge(evidence, broken, &translations)
    {
        return Some(finding);
    }
    let translation = bypassed?;
    if broken.end.why != Some(Why::WrongSource) && broken.end.outcome == Outcome::Delivered {
        return None;
    }
    let name = evidence.name(translation.host);
    let translated = translation.hook.manip() == Some(Manip::Dst);
    let (headline, help, fix) = if translated {
        let headline = format!(
            "the answer does not come back through {name}, which translated the request: its source stays {}",
            shown(&broken.end.header, Manip::Src)
        );
        let help = format!(
            "masquerade the request on {name}, so that the server answers to it, or route the server's answers \
             through it"
        );
        (headline, help, Some(masquerade(evidence, translation)))
    } else {
        let address = translation.after.src.address;
        let headline = format!(
            "the answer does not come back through {name}, which gave the request the source {address} and alone \
             knows the client behind it"
        );
        (headline, format!("route answers to {address} through {name}"), None)
    };
    let (host, rules) = (translation.host, vec![translation.rule]);
    Some(Finding { code: "reply-bypasses", host, headline, help, rules, fix })
}

/// An answer to the address that a rule gave as source, and that the translating host does not have.
fn to_nobody(evidence: &Evidence<'_, '_>, broken: &Broken) -> Option<Finding> {
    let address = broken.end.header.dst.address;
    let mut translations = evidence.translations(Manip::Src).into_iter();
    let translation = translations.find(|translation| {
        broken.end.outcome == Outcome::NoNeighbor && translation.after.src.address == address
    })?;
    let (host, name) = (translation.host, evidence.name(translation.host));
    let interface = evidence.hops().find(|(at, _)| *at == host).and_then(|(_, hop)| hop.out_interface)?;
    let place = evidence.place(host, translation.rule);
    let width = Family::of(address).bits();
    Some(Finding {
        code: "reply-bypasses",
        host,
        headline: format!(
            "{place} gives the packet the source {address}, which {name} does not have: nobody answers for it, so \
             answers do not come back"
        ),
        help: format!("give {name} the address, or have {place} use one that it has"),
        rules: vec![translation.rule],
        fix: Some(format!("ip addr add {address}/{width} dev {interface}")),
    })
}

/// A host that asks for its own public address gets its packet back with its own source and drops it: the
/// answer would not pass the translating host either.
fn to_itself(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    let Place::Host(at) = end.at.host else { return None };
    let src = end.header.src.address;
    if end.why != Some(Why::MartianSource) || src.is_loopback() || !evidence.world.host(at).fib.is_local(src)
    {
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
            src
        ),
        help: format!("masquerade the request on {name}, so that it comes back from {name}"),
        rules: vec![translation.rule],
        fix: Some(masquerade(evidence, &translation)),
    })
}

/// An answer that does pass the translating host, but as a frame of one of its bridges, which shows it to no
/// hook (br_netfilter_hooks.c, `br_nf_pre_routing`).
fn across_a_bridge(
    evidence: &Evidence<'_, '_>,
    broken: &Broken,
    translations: &[Translation],
) -> Option<Finding> {
    if broken.end.why != Some(Why::WrongSource) {
        return None;
    }
    let of_bridge = |hop: &Hop| {
        let is_bridged = hop.steps.iter().any(|step| matches!(step, Step::Bridged { stopped: None, .. }));
        let is_quiet = !hop.steps.iter().any(|step| matches!(step, Step::Chain { .. }));
        hop.in_interface.filter(|_| is_bridged && is_quiet)
    };
    let (translation, bridge) = translations.iter().find_map(|translation| {
        let mut hops = recorded(&broken.hops).filter(|(host, _)| *host == translation.host);
        Some((translation, hops.find_map(|(_, hop)| of_bridge(hop))?))
    })?;
    let host = evidence.world.host(translation.host);
    let family = Family::of(broken.end.header.src.address);
    if host.calls_hooks(family, host.link_named(bridge)?) {
        return None;
    }
    let key = match family {
        Family::Ip4 => "bridge-nf-call-iptables",
        Family::Ip6 => "bridge-nf-call-ip6tables",
    };
    Some(Finding {
        code: "reply-bypasses",
        host: translation.host,
        headline: format!(
            "the answer crosses {bridge} as a frame, without coming up to {}: with {key} 0 nothing translates it back, \
             and its source stays {}",
            evidence.name(translation.host),
            shown(&broken.end.header, Manip::Src)
        ),
        help: "show the rules what crosses bridges, or masquerade the request, so that the answer comes up to the host"
            .to_owned(),
        rules: vec![translation.rule],
        fix: Some(format!("sysctl -w net.bridge.{key}=1")),
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
