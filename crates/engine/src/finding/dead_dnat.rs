//! `dead-dnat`: a DNAT rule meant for the result of another DNAT. The connection is translated already, so
//! the rule never runs for it (nf_nat_core.c: a side is set up once per conntrack entry).

use natpath_model::{Expr, Field, Manip, Match, RuleRef};

use super::{Evidence, rule_text, shown};
use crate::nat::Unreached;
use crate::trace::{Finding, Header, NotReached};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for unreached in &evidence.run.env.noted.unreached {
        let (NotReached::TranslatedBy(first), Some(meant)) = (unreached.why, unreached.meant) else {
            continue;
        };
        // The packet may come by again as a new connection, and then the rule does run.
        if evidence.translated_again(unreached) {
            continue;
        }
        let finding = finding(evidence, unreached, first, meant);
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

fn finding(evidence: &Evidence<'_, '_>, unreached: &Unreached, first: RuleRef, meant: Header) -> Finding {
    let Unreached { host, second, at, by_chance, .. } = unreached;
    let name = evidence.name(*host);
    let (dead, ran) = (evidence.place(*host, *second), evidence.place(*host, first));
    let target = shown(&meant, Manip::Dst);
    let headline = format!(
        "{dead} never runs for this connection: {ran} has already translated it to {}, and {name} translates \
         a connection's destination once",
        shown(at, Manip::Dst)
    );
    let marks = unreached.meanings.iter().any(|meaning| meaning.mark.0 != 0);
    if *by_chance || marks {
        let fix = courses(evidence, unreached, first);
        let help = format!("let {ran} choose among the final targets itself, {target} being one of them");
        let rules = vec![first, *second];
        return Finding { code: "dead-dnat", host: *host, headline, help, rules, fix };
    }
    Finding {
        code: "dead-dnat",
        host: *host,
        headline,
        help: format!("let the first rule go straight to {target}"),
        rules: vec![first, *second],
        fix: Some(fix(evidence, unreached, first, meant)),
    }
}

/// Commands that have rules before the first do what all of them together were meant to do: one for each
/// target that chance could choose, and before them the mark that the rules on the way would have set.
fn courses(evidence: &Evidence<'_, '_>, unreached: &Unreached, first: RuleRef) -> Option<String> {
    let meanings = &unreached.meanings;
    let mark = meanings.first()?.mark;
    if meanings.iter().any(|meaning| meaning.mark != mark) {
        return None;
    }
    let asked = rule_text::conditions(&unreached.before, &[Manip::Dst], Some(Manip::Dst));
    let mut rules: Vec<String> = Vec::new();
    if mark.0 != 0 {
        rules.push(format!("{asked} -j MARK --set-xmark {:#x}/{:#x}", mark.1, mark.0));
    }
    let mut left = 1.0;
    for (index, meaning) in meanings.iter().enumerate() {
        let share = meaning.probability / left;
        left -= meaning.probability;
        let chance = if index + 1 < meanings.len() {
            format!(" -m statistic --mode random --probability {share:.10}")
        } else {
            String::new()
        };
        rules.push(format!("{asked}{chance} -j DNAT --to-destination {}", target(&meaning.to)));
    }
    let places = (first.rule..).map(|rule| RuleRef { rule, ..first });
    let commands: Option<Vec<_>> =
        places.zip(&rules).map(|(at, rule)| evidence.command(unreached.host, at, "-I", rule)).collect();
    Some(commands?.join("\n"))
}

/// One command that makes the first rule do what the two together were meant to do.
fn fix(evidence: &Evidence<'_, '_>, unreached: &Unreached, first: RuleRef, meant: Header) -> String {
    let host = unreached.host;
    let ruleset = &evidence.world.host(host).snapshot.ruleset;
    let chain = ruleset.chain(first.table, first.chain);
    let program = evidence.program(host, first.table);
    let number = first.rule + 1;
    let to = target(&meant);
    let text = evidence.text(host, first);
    let conditions = text
        .strip_prefix(&format!("-A {} ", chain.name))
        .and_then(|rest| rest.split_once("-j ").map(|(conditions, _)| conditions.trim_end().to_owned()));
    match conditions {
        // The rule takes this destination only, so its target can be exchanged.
        Some(conditions) if is_pinned(&ruleset.rule(first).matches, &meant) => {
            let space = if conditions.is_empty() { "" } else { " " };
            format!(
                "{program} -t nat -R {} {number}{space}{conditions} -j DNAT --to-destination {to}",
                chain.name
            )
        }
        _ => {
            let before = unreached.before;
            let port = if before.protocol.has_ports() {
                format!(" --dport {}", before.dst.port)
            } else {
                String::new()
            };
            format!(
                "{program} -t nat -I {} {number} -d {} -p {}{port} -j DNAT --to-destination {to}",
                chain.name, before.dst.address, before.protocol
            )
        }
    }
}

/// Whether a rule's conditions allow one destination address and port only.
fn is_pinned(matches: &[Match], meant: &Header) -> bool {
    let pins = |field: Field| {
        matches.iter().any(|condition| {
            matches!(condition, Match::Is(test)
                if test.expr == Expr::Field(field) && !test.negated && test.set.as_single().is_some())
        })
    };
    pins(Field::Address(Manip::Dst)) && (!meant.protocol.has_ports() || pins(Field::Port(Manip::Dst)))
}

/// The target in the words of `--to-destination`.
fn target(meant: &Header) -> String {
    if meant.protocol.has_ports() { meant.dst.to_string() } else { meant.dst.address.to_string() }
}
