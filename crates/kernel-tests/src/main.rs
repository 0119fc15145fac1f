//! Runs scenarios, writes down what they show, records their networks.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use natpath_kernel_tests::{directory, parse, random};
use natpath_verify::compare;
use natpath_verify::judge::{engine, kernel};
use natpath_verify::scenario::Scenario;

const USAGE: &str = "usage: natpath-kernel-tests run [--kernel] FILE|DIRECTORY...
       natpath-kernel-tests bless [--kernel] FILE...
       natpath-kernel-tests record FILE DIRECTORY
       natpath-kernel-tests random [--seed=N] [--seconds=N] [--scenarios=N] [--first=N] [--threads=N] [--no-shrink]
       natpath-kernel-tests random --print --seed=N --first=N

run       prints where the engine, the kernel and the file differ; a directory is a network with its flows
bless     writes what the kernel does into the file, if the engine agrees
record    writes what the standard tools print in the scenario's hosts, before the flows
random    compares engine and kernel on scenarios made by chance; those that differ are made small and written
          to target/random
--kernel  asks the kernel alone";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kernel_only = arguments.iter().any(|argument| argument.starts_with("--kernel"));
    let rest: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    let done = match rest[..] {
        ["run", ref files @ ..] => each(files, |file| run(file, kernel_only)),
        ["record", file, to] => {
            each(&[file], |file| directory::record(&read(file)?, Path::new(to)).map(|()| true))
        }
        ["random"] => match random(&arguments) {
            Ok(good) => good,
            Err(error) => {
                eprintln!("{error:#}");
                return ExitCode::from(2);
            }
        },
        ["bless", ref files @ ..] => each(files, |file| bless(file, kernel_only)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares on scenarios made by chance.
fn random(arguments: &[String]) -> Result<bool> {
    let given =
        |key: &str| arguments.iter().find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='));
    let number = |key: &str, default: u64| match given(key) {
        Some(text) => text.parse().with_context(|| format!("{key}: expected a number, found {text}")),
        None => Ok(default),
    };
    let options = random::Options {
        seed: number("--seed", 1)?,
        time: Duration::from_secs(number("--seconds", 60)?),
        scenarios: number("--scenarios", u64::MAX)?,
        first: number("--first", 0)?,
        threads: usize::try_from(number("--threads", 6)?)?,
        directory: PathBuf::from("target/random"),
        shrink: !arguments.iter().any(|argument| argument == "--no-shrink"),
    };
    if arguments.iter().any(|argument| argument == "--print") {
        print!("{}", random::text(options.seed, options.first));
        return Ok(true);
    }
    let start = Instant::now();
    let outcome = random::run(&options)?;
    let seconds = start.elapsed().as_secs_f64();
    print!("{}", outcome.coverage);
    for refused in &outcome.refused {
        println!("refused: {refused}");
    }
    for (name, differences) in &outcome.noisy {
        println!("differed once, not when repeated: {name}\n{}", differences.join("\n"));
    }
    for (file, differences) in &outcome.mismatches {
        println!("differs: {}\n{}", file.display(), differences.join("\n"));
    }
    println!(
        "seed {}: {} scenarios in {seconds:.0} s ({:.1} a second), {} differ, {} differed once, {} refused",
        options.seed,
        outcome.scenarios,
        outcome.scenarios as f64 / seconds,
        outcome.mismatches.len(),
        outcome.noisy.len(),
        outcome.refused.len()
    );
    Ok(outcome.mismatches.is_empty() && outcome.refused.is_empty())
}

/// Does something for each file and says what went wrong; gives back whether nothing did.
fn each(files: &[&str], mut action: impl FnMut(&str) -> Result<bool>) -> bool {
    let mut all = true;
    for file in files {
        match action(file) {
            Ok(good) => all &= good,
            Err(error) => {
                eprintln!("{file}: {error:#}");
                all = false;
            }
        }
    }
    all
}

fn read(file: &str) -> Result<Scenario> {
    if Path::new(file).is_dir() {
        return natpath_verify::directory::read(Path::new(file));
    }
    let text = std::fs::read_to_string(file).context("can't read it")?;
    parse::scenario(&text, file).map_err(|fault| anyhow::anyhow!("{fault}"))
}

fn run(file: &str, kernel_only: bool) -> Result<bool> {
    let scenario = read(file)?;
    let start = Instant::now();
    let seen = kernel::run(&scenario)?;
    let took = start.elapsed();
    let lines = compare::kernel_lines(&seen);
    let counters = compare::counter_lines(&scenario.network, &seen.counters);
    if kernel_only {
        print!("{}", scenario.blessed(&lines, &counters));
    }
    let mut differences = Vec::new();
    if scenario.steps.iter().any(|step| !step.expected.is_empty()) {
        differences.extend(compare::steps_with_expected(&scenario, &lines));
        differences.extend(compare::counters_with_expected(&scenario, &counters));
    }
    if !kernel_only {
        let said = engine::run(&scenario)?;
        differences.extend(compare::engine_with_kernel(&scenario, &said, &seen));
    }
    for difference in &differences {
        println!("{difference}");
    }
    println!("{file}: {} differences, {} ms", differences.len(), took.as_millis());
    Ok(differences.is_empty())
}

fn bless(file: &str, kernel_only: bool) -> Result<bool> {
    let scenario = read(file)?;
    let seen = kernel::run(&scenario)?;
    let mut steps = compare::kernel_lines(&seen);
    let mut counters = compare::counter_lines(&scenario.network, &seen.counters);
    if !kernel_only {
        let said = engine::run(&scenario)?;
        let differences = compare::engine_with_kernel(&scenario, &said, &seen);
        for difference in &differences {
            println!("{difference}");
        }
        if !differences.is_empty() {
            bail!("the judges differ: not written (--kernel writes what the kernel says)");
        }
        counters = compare::engine_counter_lines(&scenario, &said);
        for (kernel, engine) in steps.iter_mut().zip(compare::engine_lines(&scenario, &said)) {
            if !engine.is_empty() {
                *kernel = engine;
            }
        }
    }
    std::fs::write(Path::new(file), scenario.blessed(&steps, &counters)).context("can't write it")?;
    Ok(true)
}
