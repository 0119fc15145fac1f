//! What lies behind a verdict, and what to do about it.

use natpath_engine::trace::{Effect, Finding, HostId, Place, Step};
use natpath_model::RuleRef;

use super::{Fix, doubtful};
use crate::render::text::assumed;
use crate::render::view::View;

/// What can't be decided, and the findings; without any, the rule that decided.
pub(super) fn because(view: &View<'_>) -> Vec<String> {
    let result = &view.path.result;
    let mut lines = Vec::new();
    if !result.works && doubtful(result) {
        let open = view.path.assumptions.iter().filter(|assumption| assumed::is_open(assumption));
        lines = assumed::lines(&open.cloned().collect::<Vec<_>>(), false);
    }
    lines.extend(view.path.findings.iter().map(|finding| headline(view, finding)));
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

/// A finding's headline, and after it the rules that it does not name.
fn headline(view: &View<'_>, finding: &Finding) -> String {
    let places = finding.rules.iter().filter_map(|at| view.rule(Place::Host(finding.host), *at));
    let mut unnamed: Vec<_> =
        places.map(|rule| rule.place()).filter(|place| !names(&finding.headline, place)).collect();
    unnamed.dedup();
    if unnamed.is_empty() {
        return finding.headline.clone();
    }
    format!("{} ({})", finding.headline, unnamed.join(", "))
}

/// Whether a sentence holds `iptables-save:1`, and not only as a part of `iptables-save:12`.
fn names(sentence: &str, place: &str) -> bool {
    let ends = |at: usize| !sentence[at + place.len()..].starts_with(|next: char| next.is_ascii_digit());
    sentence.match_indices(place).any(|(at, _)| ends(at))
}

fn rule_text(view: &View<'_>, (host, at): (HostId, RuleRef)) -> Option<String> {
    let rule = view.rule(Place::Host(host), at)?;
    Some(format!("{} {}: {}", view.host_name(host), rule.place(), rule.text))
}

/// What to do about the findings.
pub(super) fn fix(view: &View<'_>) -> Vec<Fix> {
    let mut lines = Vec::new();
    for finding in &view.path.findings {
        match &finding.fix {
            Some(fix) => {
                let host = view.host_name(finding.host);
                lines.extend(fix.lines().map(|line| Fix::Command(format!("{line}    # on {host}"))));
            }
            None if !finding.help.is_empty() => lines.push(Fix::Advice(finding.help.clone())),
            None => {}
        }
    }
    lines.extend(local_delivery(view));
    lines
}

/// How a packet that TPROXY gave to a socket gets there: by a route that ends at the host, which its mark
/// leads to.
fn local_delivery(view: &View<'_>) -> Option<Fix> {
    let broken = view.path.result.broken.as_ref().map(|broken| &broken.hops);
    let hop = broken.unwrap_or(&view.path.hops).last()?;
    let is_stopped = hop.steps.iter().any(|step| matches!(step, Step::OfSocket));
    let mark = hop.steps.iter().rev().find_map(|step| match step {
        Step::Rule { effect: Effect::Tproxy { mark, .. }, .. } => Some(mark.1),
        _ => None,
    });
    let mark = mark.filter(|mark| is_stopped && *mark != 0)?;
    let (family, all) = if view.flow.dst.is_ipv4() { ("", "0.0.0.0/0") } else { (" -6", "::/0") };
    Some(Fix::Advice(format!(
        "route what has the mark to this host: `ip{family} rule add fwmark {mark:#x} lookup 100` and \
         `ip{family} route add local {all} dev lo table 100`"
    )))
}
