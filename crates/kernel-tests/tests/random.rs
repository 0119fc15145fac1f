//! Networks, rules and flows made by chance from fixed seeds, judged by the engine and by the running kernel. Where
//! namespaces are not permitted the tests are ignored.
//!
//! `cargo run --release -p natpath-kernel-tests -- random --seed=N --seconds=N` does more of it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use natpath_kernel_tests::random::{self, Options};
use natpath_verify::kernel;

/// The seeds.
const FIXED: [u64; 2] = [1, 2];
/// How many scenarios of each: a number, so that a fast machine judges the same ones as a slow one.
const SCENARIOS: u64 = 64;
/// How long each may take.
const TIME: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A comparison has several threads of its own.
    arguments.test_threads = Some(1);
    let reason = kernel::not_permitted();
    let trial = |seed: u64| {
        let reason = reason.clone();
        Trial::ignorable_test(format!("random seed {seed}"), move || match reason {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => judge(seed).map(|()| Completion::Completed),
        })
    };
    libtest_mimic::run(&arguments, FIXED.map(trial).into()).exit_code()
}

fn judge(seed: u64) -> Result<(), Failed> {
    let options = Options {
        seed,
        time: TIME,
        scenarios: SCENARIOS,
        first: 0,
        threads: 4,
        directory: Path::new(env!("CARGO_TARGET_TMPDIR")).join("random"),
        shrink: false,
    };
    let outcome = random::run(&options).map_err(|error| format!("{error:#}"))?;
    println!(
        "random seed {seed}: {} scenarios, {} flows, {} differed once",
        outcome.scenarios,
        outcome.coverage.flows,
        outcome.noisy.len()
    );
    let differing = outcome
        .mismatches
        .iter()
        .map(|(file, differences)| format!("{} differs:\n{}", file.display(), differences.join("\n")));
    let wrong: Vec<String> = differing.chain(outcome.refused.iter().cloned()).collect();
    if outcome.coverage.flows == 0 {
        return Err("no flow was judged".into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
