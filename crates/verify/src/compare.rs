//! Compares what the judges say, and writes down what is expected.

use std::collections::BTreeMap;
use std::fmt::Write;

use natpath_engine::trace::{Closing, FlowTrace, Outcome, Path};
use natpath_formats::flows::FlowAction;
use natpath_model::{Network, Protocol};

use crate::judge::KernelRun;
use crate::judge::engine::{EngineRun, observation, seen_closing};
use crate::kernel::rules::{Counters, RulePlace};
use crate::observe::{Observation, SeenClosing};
use crate::scenario::{Action, Alternative, Scenario, Step};

/// The most paths that are told of a difference.
const SHOWN: usize = 6;

/// What both judges say of a step that shows something.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The step's place among all.
    pub step: usize,
    /// Its line in its file.
    pub line: u32,
    /// Its text.
    pub text: String,
    /// What the kernel did, in lines.
    pub seen: Vec<String>,
    /// The paths that the engine holds possible.
    pub said: Vec<Said>,
    /// The id of the path that the kernel took; `None` where it did something else.
    pub taken: Option<String>,
}

/// A path that the engine holds possible.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its id.
    pub id: String,
    /// Its probability.
    pub probability: f64,
    /// What would be seen of it, in lines.
    pub lines: Vec<String>,
    /// Whether the engine leaves open what happens.
    pub undecided: bool,
}

impl Compared {
    /// Whether the engine leaves open what happens, so that nothing the kernel does contradicts it.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.taken.is_none() && self.said.iter().any(|said| said.undecided)
    }

    /// What the kernel did and what the engine holds possible, as lines of text.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = format!("{}: {}\n  kernel saw:\n", self.line, self.text);
        push_lines(&mut text, &self.seen);
        for Said { id, probability, lines, .. } in self.said.iter().take(SHOWN) {
            let _ = writeln!(text, "  engine says (path {id}, {probability:.3}):");
            push_lines(&mut text, lines);
        }
        if self.said.len() > SHOWN {
            let _ = writeln!(text, "  and {} more paths", self.said.len() - SHOWN);
        }
        text
    }
}

/// Compares what both judges say of every step, and the counters of all rules: the latter only as differences.
#[must_use]
pub fn all(scenario: &Scenario, engine: &EngineRun<'_>, kernel: &KernelRun) -> (Vec<Compared>, Vec<String>) {
    let mut compared = Vec::new();
    let mut chosen: Vec<Option<String>> = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        compared.extend(closing(scenario, engine, kernel, index));
        let (Some(trace), Some(seen)) = (&engine.traces[index], &kernel.seen[index]) else { continue };
        let observed = |path: &Path| observation(&scenario.network, trace, path, &step.action);
        let mut possible = trace.paths.iter().filter(|path| goes_with(path, &chosen));
        let found = possible.find(|path| observed(path).is_seen_as(seen, &path.result.drawn));
        let taken = found.map(|path| path.id.clone());
        chosen.push(taken.clone());
        let said = |path: &Path| Said {
            id: path.id.clone(),
            probability: path.probability,
            lines: observed(path).lines(),
            undecided: is_undecided(path),
        };
        compared.push(Compared {
            step: index,
            line: step.line,
            text: step.text.clone(),
            seen: seen.lines(),
            said: trace.paths.iter().map(said).collect(),
            taken,
        });
    }
    (compared, counters(scenario, engine.counters(&chosen), kernel))
}

/// Compares what became of a connection that a step ends.
fn closing(
    scenario: &Scenario,
    engine: &EngineRun<'_>,
    kernel: &KernelRun,
    index: usize,
) -> Option<Compared> {
    let (said, seen) = (engine.closings[index].as_ref()?, kernel.closings[index].as_ref()?);
    let of = |closing: &Closing| seen_closing(&scenario.network, closing);
    let taken = said.iter().position(|closing| of(closing).is_seen_as(seen, &closing.drawn));
    let step = &scenario.steps[index];
    let possible = |(number, closing): (usize, &Closing)| Said {
        id: (number + 1).to_string(),
        probability: 1.0 / said.len() as f64,
        lines: of(closing).lines(),
        undecided: false,
    };
    Some(Compared {
        step: index,
        line: step.line,
        text: step.text.clone(),
        seen: seen.lines(),
        said: said.iter().enumerate().map(possible).collect(),
        taken: taken.map(|number| (number + 1).to_string()),
    })
}

fn is_undecided(path: &Path) -> bool {
    let result = &path.result;
    let ends = [Some(&result.end), result.broken.as_ref().map(|broken| &broken.end)];
    ends.into_iter().flatten().any(|end| end.outcome == Outcome::Undecided)
}

/// The differences between the engine's answer and the kernel's; none where they agree.
#[must_use]
pub fn engine_with_kernel(scenario: &Scenario, engine: &EngineRun<'_>, kernel: &KernelRun) -> Vec<String> {
    let (compared, counters) = all(scenario, engine, kernel);
    let differing = compared.iter().filter(|compared| compared.taken.is_none());
    let told = |compared: &Compared| format!("{}:{}", scenario.file, compared.told());
    differing.map(told).chain(counters).collect()
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
    let of_step = |((step, trace), closings): ((&Step, &Option<FlowTrace>), &Option<Vec<Closing>>)| {
        let of_path =
            |path| observation(&scenario.network, trace.as_ref()?, path, &step.action).lines().into();
        let paths = trace.iter().flat_map(|trace| &trace.paths).filter_map(of_path);
        let closings = closings.iter().flatten();
        let closings = closings.map(|closing| seen_closing(&scenario.network, closing).lines());
        let mut alternatives: Vec<Alternative> = Vec::new();
        for lines in paths.chain(closings) {
            if !alternatives.contains(&lines) {
                alternatives.push(lines);
            }
        }
        alternatives
    };
    scenario.steps.iter().zip(&engine.traces).zip(&engine.closings).map(of_step).collect()
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
    let of_step = |(seen, closing): (&Option<Observation>, &Option<SeenClosing>)| {
        let flows = seen.iter().map(Observation::lines);
        flows.chain(closing.iter().map(SeenClosing::lines)).collect()
    };
    kernel.seen.iter().zip(&kernel.closings).map(of_step).collect()
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
