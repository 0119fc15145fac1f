//! Compares what the judges say, and writes down what is expected.

use std::collections::BTreeMap;
use std::fmt::Write;

use natpath_engine::trace::FlowTrace;
use natpath_model::Network;

use crate::judge::KernelRun;
use crate::judge::engine::{EngineRun, observation};
use crate::kernel::rules::{Counters, RulePlace};
use crate::observe::Observation;
use crate::scenario::{Action, Alternative, Scenario};

/// The differences between the engine's answer and the kernel's; none where they agree.
#[must_use]
pub fn engine_with_kernel(scenario: &Scenario, engine: &EngineRun, kernel: &KernelRun) -> Vec<String> {
    let mut differences = Vec::new();
    let mut chosen: Vec<String> = Vec::new();
    for ((step, trace), seen) in scenario.steps.iter().zip(&engine.traces).zip(&kernel.seen) {
        let (Some(trace), Some(seen)) = (trace, seen) else { continue };
        match path_seen(&scenario.network, trace, seen, &chosen) {
            Some(id) => chosen.push(id),
            None => {
                let mut text = format!("{}:{}: {}\n  kernel saw:\n", scenario.file, step.line, step.text);
                push_lines(&mut text, &seen.lines());
                for path in &trace.paths {
                    let _ = writeln!(text, "  engine says (path {}, {:.3}):", path.id, path.probability);
                    push_lines(&mut text, &observation(&scenario.network, trace, path).lines());
                }
                differences.push(text);
            }
        }
    }
    if !engine_plays_all(scenario) {
        return differences;
    }
    for ((host, said), counted) in scenario.network.hosts.iter().zip(&engine.counters).zip(&kernel.counters) {
        differences.extend(counters(&scenario.file, &host.name, said, counted));
    }
    differences
}

/// The path that the kernel took, among those that go with the earlier ones.
fn path_seen(network: &Network, trace: &FlowTrace, seen: &Observation, chosen: &[String]) -> Option<String> {
    let possible = trace.paths.iter().filter(|path| {
        path.given.iter().all(|given| {
            let flow = given.split_once('.').map(|(flow, _)| flow);
            chosen.iter().all(|id| id.split_once('.').map(|(flow, _)| flow) != flow || id == given)
        })
    });
    possible
        .into_iter()
        .find(|path| observation(network, trace, path).is_seen_as(seen, &path.result.drawn))
        .map(|path| path.id.clone())
}

fn push_lines(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}

/// The differences between the counters of one host.
fn counters(file: &str, host: &str, said: &Counters, counted: &Counters) -> Vec<String> {
    let mut differences = Vec::new();
    for (place, (seen, rule)) in counted {
        match said.get(place) {
            Some((said, _)) if said.packets == seen.packets => {}
            Some((said, _)) => differences.push(format!(
                "{file}: {host} {}: kernel counted {}, engine {}\n    {rule}",
                shown(place),
                seen.packets,
                said.packets
            )),
            None => differences
                .push(format!("{file}: {host} {}: the engine has no such rule\n    {rule}", shown(place))),
        }
    }
    let surplus = said.iter().filter(|(place, _)| !counted.contains_key(place));
    differences.extend(surplus.map(|(place, (_, rule))| {
        format!("{file}: {host} {}: the kernel has no such rule\n    {rule}", shown(place))
    }));
    differences
}

/// The differences between what is expected of each step and what a judge says: all that a judge holds
/// possible must be expected.
#[must_use]
pub fn steps_with_expected(scenario: &Scenario, steps: &[Vec<Alternative>]) -> Vec<String> {
    let mut differences = Vec::new();
    for (step, said) in scenario.steps.iter().zip(steps) {
        let fits = |said: &Alternative| step.expected.iter().any(|expected| same(expected, said));
        if said.iter().all(fits) {
            continue;
        }
        let mut text = format!("{}:{}: {}\n", scenario.file, step.line, step.text);
        if step.expected.is_empty() {
            text.push_str("  nothing is expected; bless the file\n");
        }
        for alternative in &step.expected {
            text.push_str("  expected:\n");
            push_lines(&mut text, alternative);
        }
        for alternative in said {
            text.push_str("  but:\n");
            push_lines(&mut text, alternative);
        }
        differences.push(text);
    }
    differences
}

/// The differences between the counters that are expected and those of a judge; none if the file has none.
#[must_use]
pub fn counters_with_expected(scenario: &Scenario, counters: &[String]) -> Vec<String> {
    let Some(expected) = &scenario.counters else { return Vec::new() };
    let surplus = counters.iter().filter(|line| !expected.iter().any(|other| same_line(other, line)));
    let missing = expected.iter().filter(|line| !counters.iter().any(|other| same_line(line, other)));
    surplus
        .map(|line| format!("{}: counter not expected: {line}", scenario.file))
        .chain(missing.map(|line| format!("{}: counter expected: {line}", scenario.file)))
        .collect()
}

/// Whether the engine plays every step, so that its counters can be compared.
#[must_use]
pub fn engine_plays_all(scenario: &Scenario) -> bool {
    scenario.steps.iter().all(|step| matches!(step.action, Action::Flow(_)))
}

fn same(expected: &[String], said: &[String]) -> bool {
    expected.len() == said.len()
        && expected.iter().zip(said).all(|(expected, said)| same_line(expected, said))
}

/// Whether two lines agree; a `*` stands for any number.
fn same_line(expected: &str, said: &str) -> bool {
    let (mut expected, mut said) = (expected, said);
    loop {
        let Some((before, after)) = expected.split_once('*') else { return expected == said };
        let Some(rest) = said.strip_prefix(before) else { return false };
        expected = after;
        said =
            rest.strip_prefix('*').unwrap_or_else(|| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
}

/// The lines that say what the engine says: each step's alternatives.
#[must_use]
pub fn engine_lines(scenario: &Scenario, engine: &EngineRun) -> Vec<Vec<Alternative>> {
    let of_trace = |trace: &FlowTrace| {
        let mut alternatives: Vec<Alternative> = Vec::new();
        for path in &trace.paths {
            let lines = observation(&scenario.network, trace, path).lines();
            if !alternatives.contains(&lines) {
                alternatives.push(lines);
            }
        }
        alternatives
    };
    engine.traces.iter().map(|trace| trace.as_ref().map(of_trace).unwrap_or_default()).collect()
}

/// The lines that say what the kernel did.
#[must_use]
pub fn kernel_lines(kernel: &KernelRun) -> Vec<Vec<Alternative>> {
    kernel.seen.iter().map(|seen| seen.iter().map(Observation::lines).collect()).collect()
}

/// A line for each rule that counted packets.
#[must_use]
pub fn counter_lines(network: &Network, counters: &[Counters]) -> Vec<String> {
    let mut lines = Vec::new();
    for (host, counters) in network.hosts.iter().zip(counters) {
        let counted: BTreeMap<_, _> =
            counters.iter().filter(|(_, (counter, _))| counter.packets > 0).collect();
        lines.extend(
            counted
                .into_iter()
                .map(|(place, (counter, _))| format!("{} {}: {}", host.name, shown(place), counter.packets)),
        );
    }
    lines
}

fn shown(place: &RulePlace) -> String {
    let RulePlace { backend, family, table, chain, number } = place;
    format!("{backend} {family} {table} {chain} {number}")
}
