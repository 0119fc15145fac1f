//! Every network in `examples/`, judged by the engine and by the running kernel.
//!
//! `(engine)`: the recorded files and flows mean to the engine what `network.scenario`, their source, means.
//! `(kernel)`: the kernel, built from the recorded files, does with the flows what the engine says, with the
//! counters of all rules. Where namespaces are not permitted the latter are ignored.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use natpath_kernel_tests::parse;
use natpath_verify::judge::{engine, kernel};
use natpath_verify::scenario::Scenario;
use natpath_verify::{compare, kernel as namespaces};

/// Each kernel test has several processes of its own, so more threads make nothing faster.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let reason = namespaces::not_permitted();
    let examples = examples();
    let mut trials = vec![Trial::test("examples are there", {
        let count = examples.len();
        move || if count > 0 { Ok(()) } else { Err("examples/ has no directory with a file `flows`".into()) }
    })];
    for example in examples {
        let name = format!("examples/{}", example.file_name().unwrap_or_default().to_string_lossy());
        let (for_engine, reason) = (example.clone(), reason.clone());
        trials.push(Trial::test(format!("{name} (engine)"), move || engine_trial(&for_engine)));
        trials.push(Trial::ignorable_test(format!("{name} (kernel)"), move || match reason {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => kernel_trial(&example).map(|()| Completion::Completed),
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The directories of `examples/` that have flows, sorted.
fn examples() -> Vec<PathBuf> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_root.ancestors().nth(2).unwrap_or(crate_root);
    let entries = std::fs::read_dir(root.join("examples")).into_iter().flatten().flatten();
    let mut examples: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.join("flows").is_file()).collect();
    examples.sort();
    examples
}

fn engine_trial(example: &Path) -> Result<(), Failed> {
    let source = source(example)?;
    let recorded = natpath_verify::directory::read(example).map_err(|error| format!("{error:#}"))?;
    let (source_means, recorded_means) = (meaning(&source)?, meaning(&recorded)?);
    if source_means == recorded_means {
        return Ok(());
    }
    let lines = |lines: &[String]| lines.join("\n  ");
    let (of_source, of_record) = (lines(&source_means), lines(&recorded_means));
    let message = format!(
        "of network.scenario the engine says:\n  {of_source}\nof the recorded files:\n  {of_record}\n\
         record it again: `natpath-kernel-tests record network.scenario .`"
    );
    Err(message.into())
}

fn kernel_trial(example: &Path) -> Result<(), Failed> {
    let recorded = natpath_verify::directory::read(example).map_err(|error| format!("{error:#}"))?;
    let seen = kernel::run(&recorded).map_err(|error| format!("{error:#}"))?;
    let said = engine::run(&recorded).map_err(|error| format!("{error:#}"))?;
    let differences = compare::engine_with_kernel(&recorded, &said, &seen);
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}

/// The scenario file that an example was recorded from.
fn source(example: &Path) -> Result<Scenario, Failed> {
    let text = std::fs::read_to_string(example.join("network.scenario"))?;
    Ok(parse::scenario(&text, "network.scenario").map_err(|fault| fault.to_string())?)
}

/// What the engine says of each flow, and what it counts.
fn meaning(scenario: &Scenario) -> Result<Vec<String>, Failed> {
    let said = engine::run(scenario).map_err(|error| format!("{error:#}"))?;
    let mut lines = Vec::new();
    for (step, alternatives) in scenario.steps.iter().zip(compare::engine_lines(scenario, &said)) {
        lines.push(step.text.strip_prefix("flow ").unwrap_or(&step.text).to_owned());
        lines.extend(alternatives.into_iter().flatten());
    }
    lines.extend(compare::engine_counter_lines(scenario, &said));
    Ok(lines)
}
