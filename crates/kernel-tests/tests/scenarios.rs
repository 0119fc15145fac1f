//! Every scenario file, judged by the engine and by the running kernel.
//!
//! `(engine)`: the engine says what the file expects. `(kernel)`: the kernel does what the file expects, and
//! the engine's answer, with the counters of all rules, is the kernel's. `(recorded)`: the network as the
//! standard tools print it means the same to the engine. `(legacy)`, `(both)`: the rules of iptables are the
//! legacy backend's, or dealt out to both backends, and the judges agree as before. Where namespaces are not
//! permitted all but the first are ignored.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use natpath_kernel_tests::backends::{Share, shared};
use natpath_kernel_tests::{directory, parse};
use natpath_verify::judge::{engine, kernel};
use natpath_verify::scenario::Scenario;
use natpath_verify::{compare, kernel as namespaces};

/// The folders of scenarios, from the workspace's root.
const FOLDERS: [&str; 2] = ["scenarios", "crates/kernel-tests/tests/data"];

/// Each kernel test has several processes of its own, so more threads make nothing faster.
const THREADS: usize = 2;

/// Asks something of a scenario file.
type Judge = fn(&Path) -> Result<(), Failed>;

/// What is asked where namespaces are permitted.
const KERNEL_TRIALS: [(&str, Judge); 2] = [("kernel", kernel_trial), ("recorded", recorded_trial)];

/// What is asked with other backends.
const SHARES: [(&str, Share); 2] = [("legacy", Share::Legacy), ("both", Share::Both)];

/// The scenarios that go otherwise with the legacy backend, as both judges say: its tables stay registered as
/// long as their namespace lives, so that a host whose rules are replaced goes on with what it tracks. Each has
/// a twin that expects so.
const OTHERWISE_WITH_LEGACY: [&str; 2] =
    ["04b-last-rule-flushed.scenario", "04d-entry-deleted-rule-gone.scenario"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let reason = namespaces::not_permitted();
    if let Some(reason) = &reason {
        eprintln!("the kernel is not asked, its tests are ignored: {reason}");
    }
    let mut trials = Vec::new();
    for (name, path) in files() {
        let for_engine = path.clone();
        trials.push(Trial::test(format!("{name} (engine)"), move || engine_trial(&for_engine)));
        for (judge, trial) in KERNEL_TRIALS {
            let (reason, path) = (reason.clone(), path.clone());
            trials.push(Trial::ignorable_test(format!("{name} ({judge})"), move || match reason {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => trial(&path).map(|()| Completion::Completed),
            }));
        }
        for (trial, share) in SHARES {
            let Some(scenario) = with_backends(&path, share) else { continue };
            let reason = reason.clone();
            trials.push(Trial::ignorable_test(format!("{name} ({trial})"), move || match reason {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => backends_trial(&scenario).map(|()| Completion::Completed),
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// All scenario files with their names from the workspace's root, sorted.
fn files() -> Vec<(String, PathBuf)> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_root.ancestors().nth(2).unwrap_or(crate_root);
    let mut files = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".scenario") {
                files.push((format!("{folder}/{name}"), entry.path()));
            }
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> Result<Scenario, Failed> {
    let text = std::fs::read_to_string(path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(parse::scenario(&text, &name).map_err(|fault| fault.to_string())?)
}

fn engine_trial(path: &Path) -> Result<(), Failed> {
    let scenario = read(path)?;
    let said = engine::run(&scenario).map_err(|error| format!("{error:#}"))?;
    let lines = compare::engine_lines(&scenario, &said);
    let mut differences = compare::steps_with_expected(&scenario, &lines);
    differences.extend(compare::histories_with_expected(&scenario, &said));
    agreed(&differences)
}

fn kernel_trial(path: &Path) -> Result<(), Failed> {
    let scenario = read(path)?;
    let seen = kernel::run(&scenario).map_err(|error| format!("{error:#}"))?;
    let lines = compare::kernel_lines(&seen);
    let mut differences = compare::steps_with_expected(&scenario, &lines);
    let counters = compare::counter_lines(&scenario.network, &seen.counters);
    differences.extend(compare::counters_with_expected(&scenario, &counters));
    let said = engine::run(&scenario).map_err(|error| format!("{error:#}"))?;
    differences.extend(compare::engine_with_kernel(&scenario, &said, &seen));
    agreed(&differences)
}

/// A scenario's text with other backends, where that is another scenario.
fn with_backends(path: &Path, share: Share) -> Option<(String, String)> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).ok()?;
    Some((name, shared(&text, share)?))
}

fn backends_trial((name, text): &(String, String)) -> Result<(), Failed> {
    let scenario = parse::scenario(text, name).map_err(|fault| fault.to_string())?;
    let seen = kernel::run(&scenario).map_err(|error| format!("{error:#}"))?;
    let said = engine::run(&scenario).map_err(|error| format!("{error:#}"))?;
    let mut differences = compare::engine_with_kernel(&scenario, &said, &seen);
    let unexpected = compare::steps_with_expected(&scenario, &compare::kernel_lines(&seen));
    if OTHERWISE_WITH_LEGACY.contains(&name.as_str()) {
        if unexpected.is_empty() {
            differences.push(format!("{name}: goes as with the other backend, so it is no exception"));
        }
    } else {
        differences.extend(unexpected);
    }
    agreed(&differences)
}

fn recorded_trial(path: &Path) -> Result<(), Failed> {
    let scenario = read(path)?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let differences = directory::differences(&scenario, &directory).map_err(|error| format!("{error:#}"))?;
    std::fs::remove_dir_all(&directory)?;
    agreed(&differences)
}

fn agreed(differences: &[String]) -> Result<(), Failed> {
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}
