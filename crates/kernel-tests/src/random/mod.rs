//! Random comparison: networks, rules and flows made by chance, judged by the engine and by the running kernel.
//!
//! ```text
//!  seed ─→ network, rules, flows ─→ text of a scenario ─┬─→ kernel ──────────────┬─→ compare ─→ coverage
//!                                                       └─→ engine, flow by flow ┘      └─→ shrink ─→ a file
//! ```
//!
//! A seed and a number always give the same scenario.

mod coverage;
mod dice;
mod flows;
mod matches;
mod network;
mod rules;
mod sets;
mod shrink;
mod targets;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use natpath_verify::compare::{self, Compared};
use natpath_verify::judge::{engine, kernel};

use crate::parse;
pub use coverage::Coverage;
use dice::Dice;

/// How often a scenario must show no difference after it has shown one.
const REPEATS: usize = 3;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed of all scenarios.
    pub seed: u64,
    /// How long to go on.
    pub time: Duration,
    /// How many scenarios to make at the most.
    pub scenarios: u64,
    /// The first scenario's number.
    pub first: u64,
    /// How many are run at a time: a scenario mostly waits.
    pub threads: usize,
    /// Where scenarios that differ are written.
    pub directory: PathBuf,
    /// Whether those are made as small as they can be.
    pub shrink: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The scenarios that were run.
    pub scenarios: u64,
    /// What was seen in them.
    pub coverage: Coverage,
    /// Where the judges differ: the file that shows it, and how.
    pub mismatches: Vec<(PathBuf, Vec<String>)>,
    /// Scenarios that differed once and then, run again several times, never: how they differed.
    pub noisy: Vec<(String, Vec<String>)>,
    /// Scenarios that could not be run, and why.
    pub refused: Vec<String>,
}

/// The text of a scenario.
#[must_use]
pub fn text(seed: u64, number: u64) -> String {
    // A step that is odd, so that neighbouring seeds and numbers give nothing alike.
    let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
    let plan = network::plan(&mut dice);
    let rules: Vec<String> =
        (0..plan.hosts.len()).map(|host| rules::of_host(&mut dice, &plan, host)).collect();
    let flows = flows::of_plan(&mut dice, &plan, &rules);
    format!("title: made by chance, seed {seed} number {number}\n{}", plan.text(&rules, &flows))
}

/// What both judges say of a scenario's text.
struct Judged {
    flows: Vec<Compared>,
    differences: Vec<String>,
    coverage: Coverage,
}

fn judge(text: &str, name: &str) -> Result<Judged> {
    let scenario = parse::scenario(text, name).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let seen = kernel::run(&scenario)?;
    let said = engine::run_along(&scenario, &seen.seen)?;
    let (flows, counters) = compare::all(&scenario, &said, &seen);
    let mut coverage = Coverage::default();
    for flow in &flows {
        if let Some(trace) = &said.traces[flow.step] {
            coverage.add(&scenario, trace, flow);
        }
    }
    let differing = flows.iter().filter(|flow| flow.taken.is_none()).map(Compared::told);
    let differences = differing.chain(counters).collect();
    Ok(Judged { flows, differences, coverage })
}

/// Makes scenarios and compares, until the time or the number is up.
///
/// # Errors
/// If a scenario that differs can't be written down.
pub fn run(options: &Options) -> Result<Outcome> {
    let next = AtomicU64::new(options.first);
    let failed = AtomicBool::new(false);
    let outcome = Mutex::new(Outcome::default());
    let end = Instant::now() + options.time;
    let last = options.first.saturating_add(options.scenarios);
    let work = || -> Result<()> {
        while Instant::now() < end && !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= last {
                break;
            }
            one(options, number, &outcome)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(_) => anyhow::bail!("a scenario's thread panicked"),
            }
        }
        Ok(())
    })?;
    outcome.into_inner().map_err(|_| anyhow::anyhow!("a scenario's thread panicked"))
}

fn one(options: &Options, number: u64, outcome: &Mutex<Outcome>) -> Result<()> {
    let name = format!("random-{}-{number}", options.seed);
    let text = text(options.seed, number);
    let judged = judge(&text, &name);
    let lock = || outcome.lock().map_err(|_| anyhow::anyhow!("a scenario's thread panicked"));
    let judged = match judged {
        Ok(judged) => judged,
        Err(error) => {
            write(options, &name, &text)?;
            let mut outcome = lock()?;
            outcome.scenarios += 1;
            outcome.refused.push(format!("{name}: {error:#}"));
            return Ok(());
        }
    };
    let mut differences = judged.differences;
    if !differences.is_empty() && is_noise(&text, &name) {
        let mut outcome = lock()?;
        outcome.noisy.push((name.clone(), differences));
        differences = Vec::new();
    }
    if !differences.is_empty() {
        let mut shown = text;
        if options.shrink {
            (shown, differences) = shrink::shrink(&shown, &name, differences);
        }
        let file = write(options, &name, &shown)?;
        lock()?.mismatches.push((file, differences));
    }
    let mut outcome = lock()?;
    outcome.scenarios += 1;
    outcome.coverage.join(&judged.coverage);
    Ok(())
}

/// Whether the judges agree each time a scenario is run again: then a busy machine has lost, delayed or repeated a
/// packet. What the engine gets wrong is wrong again, but for what chance decides, hence several times.
fn is_noise(text: &str, name: &str) -> bool {
    (0..REPEATS).all(|_| judge(text, name).is_ok_and(|judged| judged.differences.is_empty()))
}

fn write(options: &Options, name: &str, text: &str) -> Result<PathBuf> {
    let file = options.directory.join(format!("{name}.scenario"));
    std::fs::create_dir_all(&options.directory)
        .and_then(|()| std::fs::write(&file, text))
        .with_context(|| format!("can't write {}", file.display()))?;
    Ok(file)
}
