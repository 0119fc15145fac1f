//! `taken`: two owners for one address, port and protocol. The one that is asked first takes the connection:
//! another table's rules, the address of a Service that IPVS serves, a program that listens on the address.

use natpath_model::{Backend, ChainKind, InterfaceName, Manip, RuleRef, Socket};

use super::evidence::is_nat;
use super::{Evidence, Translation, shown};
use crate::nat::Rival;
use crate::trace::{Effect, Finding, Header, HostId, Step};

/// The interface on which kube-proxy keeps the addresses that IPVS serves.
const KUBE_IPVS: &str = "kube-ipvs0";
/// Programs that listen on a port only to hold it for the rules that they or their likes have written.
const PLACEHOLDERS: [&str; 4] = ["docker-proxy", "kube-proxy", "conmon", "rootlessport"];

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for rival in &evidence.run.env.noted.rivals {
        let finding = by_another_table(evidence, rival);
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    if let Some((translation, asked)) = first_translation(evidence) {
        found.extend(from_ipvs(evidence, &translation, &asked));
        found.extend(from_listener(evidence, &translation, &asked));
    }
    found
}

fn by_another_table(evidence: &Evidence<'_, '_>, rival: &Rival) -> Finding {
    let Rival { host, first, second, before, after, tied } = rival;
    let asked = shown(before, Manip::Dst);
    let tables = &evidence.world.host(*host).snapshot.ruleset.tables;
    let is_legacy = |rule: RuleRef| tables[rule.table as usize].backend == Backend::IptablesLegacy;
    let mut owners = [(*first, *after), (second.rule, second.after)];
    let mut order = "the first is asked first";
    if *tied {
        owners.sort_by_key(|(rule, _)| !is_legacy(*rule));
        order = "both are asked at one priority, the one loaded last first, and no file tells which that is";
    }
    let [here, there] = owners.map(|(rule, header)| {
        format!("{} sends it to {}", evidence.place(*host, rule), shown(&header, Manip::Dst))
    });
    let rules = owners.map(|(rule, _)| rule).to_vec();
    let mut help = "delete the rules that nobody keeps up to date".to_owned();
    if let Some(legacy) = rules.iter().find(|rule| is_legacy(**rule)) {
        let program = evidence.program(*host, legacy.table);
        help += &format!("; `{program} -t nat -F` deletes all of {program}'s");
    }
    let headline = format!("{asked} has two owners: {here}, {there}; {order}");
    Finding { code: "taken", host: *host, headline, help, rules, fix: None }
}

/// The first translation of the packet's destination on the first host that made one, and the header it had
/// there before.
fn first_translation(evidence: &Evidence<'_, '_>) -> Option<(Translation, Header)> {
    let translation = evidence.translations(Manip::Dst).into_iter().next()?;
    let before = evidence.hops().find_map(|(host, hop)| {
        hop.steps.iter().find_map(|step| match step {
            Step::Rule { rule, effect, before, .. }
                if is_nat(*effect) && host == translation.host && *rule == translation.rule =>
            {
                Some(*before)
            }
            _ => None,
        })
    })?;
    Some((translation, before))
}

/// An address that is local because IPVS serves it (kube-proxy, `pkg/proxy/ipvs`).
fn from_ipvs(evidence: &Evidence<'_, '_>, translation: &Translation, asked: &Header) -> Option<Finding> {
    let (host, rule) = (translation.host, translation.rule);
    let world_host = evidence.world.host(host);
    let link = world_host.link_named(InterfaceName::new(KUBE_IPVS)?)?;
    let has = |address| world_host.link(link).addresses.iter().any(|own| own.local == address);
    if !has(asked.dst.address) || has(translation.after.dst.address) {
        return None;
    }
    let (place, target) = (evidence.place(host, rule), shown(&translation.after, Manip::Dst));
    let (name, asked) = (evidence.name(host), asked.dst.address);
    Some(Finding {
        code: "taken",
        host,
        headline: format!(
            "{asked} is the address of a Service that IPVS serves, kept on {KUBE_IPVS} and so an address of {name} \
             itself: {place}, which is for {name}'s addresses, sends it to {target} before IPVS is asked"
        ),
        help: "give the hostPort an address of its own (hostIP) or another port, or exempt the Services' addresses"
            .to_owned(),
        rules: vec![rule],
        fix: evidence.command(host, before(evidence, host, rule), "-I", &format!("-d {asked} -j RETURN")),
    })
}

/// Where a rule can return before this one without passing over what its base chain calls later: the begin of
/// the chain that the base chain called, or the rule itself.
fn before(evidence: &Evidence<'_, '_>, host: HostId, rule: RuleRef) -> RuleRef {
    let steps = evidence.hops().filter(|(at, _)| *at == host).flat_map(|(_, hop)| &hop.steps);
    let ruleset = &evidence.world.host(host).snapshot.ruleset;
    let is_base = |at: RuleRef| matches!(ruleset.chain(at.table, at.chain).kind, ChainKind::Base { .. });
    let mut called = rule;
    for step in steps {
        match step {
            Step::Rule { rule: at, effect: Effect::Jump(to) | Effect::Goto(to), .. }
                if at.table == rule.table && is_base(*at) =>
            {
                called = RuleRef { table: rule.table, chain: *to, rule: 0 };
            }
            Step::Rule { rule: at, .. } if *at == rule => break,
            _ => {}
        }
    }
    if is_base(rule) { rule } else { called }
}

/// A program that listens on just the address that a rule translates.
fn from_listener(evidence: &Evidence<'_, '_>, translation: &Translation, asked: &Header) -> Option<Finding> {
    let (host, rule) = (translation.host, translation.rule);
    let holds = |socket: &&Socket| {
        socket.protocol == asked.protocol
            && socket.bind == natpath_model::Bind::Address(asked.dst.address)
            && socket.port == asked.dst.port.value
            && !socket.process.as_deref().is_some_and(|name| PLACEHOLDERS.contains(&name))
    };
    let socket = evidence.world.host(host).snapshot.sockets.iter().find(holds)?;
    let program = socket.process.as_deref().unwrap_or("a program");
    let (name, place) = (evidence.name(host), evidence.place(host, rule));
    Some(Finding {
        code: "taken",
        host,
        headline: format!(
            "{program} of {name} listens on {} {}, and {place} sends it to {} first",
            asked.protocol,
            shown(asked, Manip::Dst),
            shown(&translation.after, Manip::Dst)
        ),
        help: format!(
            "exempt the address from {place}, or from connection tracking in table raw {}, if that program is to be \
             asked",
            translation.hook.chain_name()
        ),
        rules: vec![rule],
        fix: None,
    })
}
