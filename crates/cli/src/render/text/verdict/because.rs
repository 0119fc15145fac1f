//! What lies behind a verdict, and what to do about it.

use natpath_engine::trace::{Assumption, Effect, HostId, Place, Step};
use natpath_model::RuleRef;

use super::{Fix, doubtful};
use crate::render::text::assumed;
use crate::render::view::View;

/// What can't be decided, and the findings; without any, the rule that decided.
pub(super) fn because(view: &View<'_>) -> Vec<String> {
    let result = &view.path.result;
    let mut lines = Vec::new();
    if !result.works && doubtful(result) {
        // What acts beside netfilter is told by the finding about it, where there is one.
        let told = |place: &str| {
            let mut findings = view.path.findings.iter();
            findings.any(|finding| mention(&finding.headline, place).is_some())
        };
        let mut open = assumed::open(&view.path.assumptions);
        open.retain(|one| !matches!(one, Assumption::Bypass { place, .. } if told(place)));
        lines = assumed::lines(&open, false);
    }
    let findings = view.path.findings.iter();
    lines.extend(findings.map(|finding| headline(view, finding.host, &finding.headline, &finding.rules)));
    let hints = view.path.hints.iter();
    lines.extend(hints.map(|hint| headline(view, hint.host, &hint.headline, &hint.rules)));
    if !lines.is_empty() || result.works {
        return lines;
    }
    let ends = [
        result.broken.as_ref().map(|broken| &broken.end),
        Some(&result.end),
        result.reply.as_ref().map(|reply| &reply.end),
    ];
    let rule = ends.into_iter().flatten().find_map(|end| end.rule);
    rule.and_then(|rule| rule_text(view, rule)).into_iter().collect()
}

/// A headline with the programs that made its rules, and after it the rules that it does not name.
fn headline(view: &View<'_>, host: HostId, headline: &str, rules: &[RuleRef]) -> String {
    let rules = || rules.iter().filter_map(|at| view.rule(Place::Host(host), *at));
    let mut text = headline.to_owned();
    for rule in rules() {
        let place = rule.place();
        if let (Some(at), Some(made_by)) = (mention(&text, &place), rule.provenance()) {
            text.insert_str(at + place.len(), &format!(" ({made_by})"));
        }
    }
    let mut unnamed: Vec<_> =
        rules().map(|rule| rule.place()).filter(|place| mention(headline, place).is_none()).collect();
    unnamed.dedup();
    if unnamed.is_empty() { text } else { format!("{text} ({})", unnamed.join(", ")) }
}

/// Where a sentence names `iptables-save:1`, and not only as a part of `iptables-save:12`.
fn mention(sentence: &str, place: &str) -> Option<usize> {
    let ends = |at: usize| !sentence[at + place.len()..].starts_with(|next: char| next.is_ascii_digit());
    sentence.match_indices(place).map(|(at, _)| at).find(|at| ends(*at))
}

fn rule_text(view: &View<'_>, (host, at): (HostId, RuleRef)) -> Option<String> {
    let rule = view.rule(Place::Host(host), at)?;
    Some(format!("{} {}: {}", view.host_name(host), rule.place(), rule.text))
}

/// What to do about the findings and hints: for each what, then the commands that do it.
pub(super) fn fix(view: &View<'_>) -> Vec<Fix> {
    let of = |host, rules: &[RuleRef], help: &str, fix: &Option<String>| {
        let lasting = fix.as_deref().and_then(|fix| owner(view, host, rules, fix));
        (host, format!("{help}{}", lasting.unwrap_or_default()), fix.clone())
    };
    let findings = view.path.findings.iter().map(|one| of(one.host, &one.rules, one.help.as_str(), &one.fix));
    let hints = view.path.hints.iter().map(|one| of(one.host, &one.rules, one.help.as_str(), &one.fix));
    let mut lines: Vec<Fix> = Vec::new();
    for (host, help, fix) in findings.chain(hints) {
        let host = view.host_name(host);
        let commands = fix.iter().flat_map(|fix| fix.lines());
        let commands: Vec<_> =
            commands.map(|command| Fix::Command(format!("{command}    # on {host}"))).collect();
        // Two faults may have one remedy.
        if !commands.is_empty() && commands.iter().all(|command| lines.contains(command)) {
            continue;
        }
        lines.extend(Some(help).filter(|help| !help.is_empty()).map(Fix::Advice));
        lines.extend(commands);
    }
    lines.extend(local_delivery(view).into_iter().flatten());
    lines
}

/// The remark that a program will write a chain again which a command changes.
fn owner(view: &View<'_>, host: HostId, rules: &[RuleRef], fix: &str) -> Option<String> {
    rules.iter().find_map(|at| {
        let rule = view.rule(Place::Host(host), *at)?;
        let changed =
            [" -I ", " -R "].iter().any(|change| fix.contains(&format!("{change}{} ", rule.chain.name)));
        let made_by = rule.provenance().filter(|made| changed && !made.what.starts_with("administrator"))?;
        let program = made_by.program;
        Some(format!("; {program} writes these rules, so a command lasts until it writes them again"))
    })
}

/// How a packet that TPROXY gave to a socket gets there: by a route that ends at the host, which its mark
/// leads to.
fn local_delivery(view: &View<'_>) -> Option<[Fix; 3]> {
    let broken = view.path.result.broken.as_ref().map(|broken| &broken.hops);
    let hop = broken.unwrap_or(&view.path.hops).last()?;
    let is_stopped = hop.steps.iter().any(|step| matches!(step, Step::OfSocket));
    let mark = hop.steps.iter().rev().find_map(|step| match step {
        Step::Rule { effect: Effect::Tproxy { mark, .. }, .. } => Some(mark.1),
        _ => None,
    });
    let mark = mark.filter(|mark| is_stopped && *mark != 0)?;
    let (family, all) = if view.flow.dst.is_ipv4() { ("", "0.0.0.0/0") } else { (" -6", "::/0") };
    let host = view.place(hop.host);
    Some([
        Fix::Advice("route what has the mark to the host itself".to_owned()),
        Fix::Command(format!("ip{family} rule add fwmark {mark:#x} lookup 100    # on {host}")),
        Fix::Command(format!("ip{family} route add local {all} dev lo table 100    # on {host}")),
    ])
}
