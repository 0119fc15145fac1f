//! Compares what the judges say, and writes down what is expected.

use std::collections::BTreeMap;
use std::fmt::Write;

use natpath_engine::trace::{FlowTrace, Path};
use natpath_formats::flows::FlowAction;
use natpath_model::{Network, Protocol};

use crate::judge::KernelRun;
use crate::judge::engine::{EngineRun, observation};
use crate::kernel::rules::{Counters, RulePlace};
use crate::observe::Observation;
use crate::scenario::{Action, Alternative, Scenario, Step};

/// The differences between the engine's answer and the kernel's; none where they agree.
#[must_use]
pub fn engine_with_kernel(scenario: &Scenario, engine: &EngineRun<'_>, kernel: &KernelRun) -> Vec<String> {
    let network = &scenario.network;
    let mut differences = Vec::new();
    let mut chosen: Vec<Option<String>> = Vec::new();
    for ((step, trace), seen) in scenario.steps.iter().zip(&engine.traces).zip(&kernel.seen) {
        let (Some(trace), Some(seen)) = (trace, seen) else { continue };
        let said = |path: &Path| observation(network, trace, path, &step.action);
        let mut possible = trace.paths.iter().filter(|path| goes_with(path, &chosen));
        let found = possible.find(|path| said(path).is_seen_as(seen, &path.result.drawn));
        chosen.push(found.map(|path| path.id.clone()));
        if found.is_none() {
            let mut text = format!("{}:{}: {}\n  kernel saw:\n", scenario.file, step.line, step.text);
            push_lines(&mut text, &seen.lines());
            for path in &trace.paths {
                let _ = writeln!(text, "  engine says (path {}, {:.3}):", path.id, path.probability);
                push_lines(&mut text, &said(path).lines());
            }
            differences.push(text);
        }
    }
    differences.extend(counters(scenario, engine.counters(&chosen), kernel));
    differences
}

/// Whether a path goes with the paths that earlier flows took.
fn goes_with(path: &Path, chosen: &[Option<String>]) -> bool {
    let flow = |id: &str| id.split_once('.').map(|(flow, _)| flow.to_owned());
    path.given
        .iter()
        .all(|given| chosen.iter().flatten().all(|taken| taken == given || flow(taken) != flow(given)))
}

/// The differences between the kernel's counters and those of the history that is nearest to them. Bytes are
/// compared where no socket sends TCP: its options are the kernel's own affair.
fn counters(scenario: &Scenario, histories: Vec<Vec<Counters>>, kernel: &KernelRun) -> Vec<String> {
    let is_tcp = |step: &Step| matches!(&step.action, Action::Flow(FlowAction::Flow(flow)) if flow.protocol == Protocol::TCP);
    let with_bytes = !scenario.steps.iter().any(is_tcp);
    let of_history = |said: Vec<Counters>| {
        let hosts = scenario.network.hosts.iter().zip(said).zip(&kernel.counters);
        hosts
            .flat_map(|((host, said), counted)| {
                let name = format!("{}: {}", scenario.file, host.name);
                counters_of_host(&name, &said, counted, with_bytes)
            })
            .collect::<Vec<_>>()
    };
    histories.into_iter().map(of_history).min_by_key(Vec::len).unwrap_or_default()
}

fn push_lines(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}

/// The differences between the counters of one host.
fn counters_of_host(name: &str, said: &Counters, counted: &Counters, with_bytes: bool) -> Vec<String> {
    let mut differences = Vec::new();
    for (place, (seen, rule)) in counted {
        let place_shown = shown(place);
        match said.get(place) {
            Some((said, _)) if said.packets != seen.packets => differences.push(format!(
                "{name} {place_shown}: kernel counted {}, engine {}\n    {rule}",
                seen.packets, said.packets
            )),
            Some((said, _)) if with_bytes && said.bytes != seen.bytes => differences.push(format!(
                "{name} {place_shown}: kernel counted {} bytes, engine {}\n    {rule}",
                seen.bytes, said.bytes
            )),
            Some(_) => {}
            None => {
                differences.push(format!("{name} {place_shown}: the engine has no such rule\n    {rule}"));
            }
        }
    }
    let surplus = said.iter().filter(|(place, _)| !counted.contains_key(place));
    differences.extend(surplus.map(|(place, (_, rule))| {
        format!("{name} {}: the kernel has no such rule\n    {rule}", shown(place))
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
/// A line that ends with `*` need not be there.
#[must_use]
pub fn counters_with_expected(scenario: &Scenario, counters: &[String]) -> Vec<String> {
    let Some(expected) = &scenario.counters else { return Vec::new() };
    let surplus = counters.iter().filter(|line| !expected.iter().any(|other| same_line(other, line)));
    let missing = expected
        .iter()
        .filter(|line| !line.ends_with('*') && !counters.iter().any(|other| same_line(line, other)));
    surplus
        .map(|line| format!("{}: counter not expected: {line}", scenario.file))
        .chain(missing.map(|line| format!("{}: counter expected: {line}", scenario.file)))
        .collect()
}

/// The same for the engine: one of its histories must have the counters that are expected.
#[must_use]
pub fn histories_with_expected(scenario: &Scenario, engine: &EngineRun<'_>) -> Vec<String> {
    let histories = engine.counters(&[]);
    let of_history = |counters: &Vec<Counters>| {
        counters_with_expected(scenario, &counter_lines(&scenario.network, counters))
    };
    histories.iter().map(of_history).min_by_key(Vec::len).unwrap_or_default()
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
pub fn engine_lines(scenario: &Scenario, engine: &EngineRun<'_>) -> Vec<Vec<Alternative>> {
    let of_step = |(step, trace): (&Step, &Option<FlowTrace>)| {
        let mut alternatives: Vec<Alternative> = Vec::new();
        let Some(trace) = trace else { return alternatives };
        for path in &trace.paths {
            let lines = observation(&scenario.network, trace, path, &step.action).lines();
            if !alternatives.contains(&lines) {
                alternatives.push(lines);
            }
        }
        alternatives
    };
    scenario.steps.iter().zip(&engine.traces).map(of_step).collect()
}

/// A line for each rule that counted in any history; `*` where histories differ.
#[must_use]
pub fn engine_counter_lines(scenario: &Scenario, engine: &EngineRun<'_>) -> Vec<String> {
    let histories: Vec<Vec<String>> =
        engine.counters(&[]).iter().map(|counters| counter_lines(&scenario.network, counters)).collect();
    let mut lines: Vec<String> = Vec::new();
    for line in histories.iter().flatten() {
        let everywhere = histories.iter().all(|other| other.contains(line));
        let open = line.rsplit_once(' ').map(|(place, _)| format!("{place} *"));
        let line = if everywhere { line.clone() } else { open.unwrap_or_default() };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
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
