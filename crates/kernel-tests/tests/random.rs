//! Networks, rules and flows made by chance, judged by the engine and by the running kernel: some seconds with fixed
//! seeds, then some with a seed of this run's own, which is printed. Where namespaces are not permitted the tests are
//! ignored.
//!
//! `cargo run --release -p natpath-kernel-tests -- random --seed=N --seconds=N` does more of it.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use natpath_kernel_tests::random::{self, Options};
use natpath_verify::kernel;

/// The seeds of every run, and how long each may take.
const FIXED: [u64; 2] = [1, 2];
const OF_FIXED: Duration = Duration::from_secs(25);
/// How long the seed of this run may take.
const OF_NEW: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A comparison has several threads of its own.
    arguments.test_threads = Some(1);
    let reason = kernel::not_permitted();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let runs = FIXED.map(|seed| (seed, OF_FIXED)).into_iter().chain([(since_1970.as_secs(), OF_NEW)]);
    let trial = |(seed, time): (u64, Duration)| {
        let reason = reason.clone();
        Trial::ignorable_test(format!("random seed {seed}"), move || match reason {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => judge(seed, time).map(|()| Completion::Completed),
        })
    };
    libtest_mimic::run(&arguments, runs.map(trial).collect()).exit_code()
}

fn judge(seed: u64, time: Duration) -> Result<(), Failed> {
    let options = Options {
        seed,
        time,
        scenarios: u64::MAX,
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
