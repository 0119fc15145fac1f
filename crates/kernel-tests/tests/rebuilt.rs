//! Recorded hosts of real programs, rebuilt in namespaces: the probes that were once sent through them are sent
//! through the running kernel again, and it must do what the engine predicts of the recorded files. Where
//! namespaces are not permitted the tests are ignored.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use natpath_formats::{flows, snapshot};
use natpath_verify::{compare, directory, kernel, verify};
use serde_json::Value;

/// Hosts whose dump can't be loaded again, and what the tool says of it.
const UNLOADABLE: [(&str, &str); 1] = [("miniupnpd-iptables", "[unsupported")];

/// Each test has several processes of its own, so more threads make nothing faster.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let reason = kernel::not_permitted();
    let trial = |directory: PathBuf| {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let reason = reason.clone();
        Trial::ignorable_test(format!("rebuilt {name}"), move || match reason {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => judge(&directory, &name).map(|()| Completion::Completed),
        })
    };
    let trials = hosts().into_iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn hosts() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/hosts");
    let entries = std::fs::read_dir(corpus).into_iter().flatten().flatten();
    let mut hosts: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    hosts.sort();
    hosts
}

fn judge(dir: &Path, name: &str) -> Result<(), Failed> {
    let network = snapshot::read_network(dir)?;
    let host = network.hosts.first().map(|host| host.name.clone()).unwrap_or_default();
    let probes: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("probes.json"))?)?;
    let text: String =
        probes.as_array().into_iter().flatten().filter_map(|probe| line(probe, &host)).collect();
    let (lines, faults) = flows::parse(&text, "probes.json");
    if let Some(fault) = faults.first() {
        return Err(fault.to_string().into());
    }
    let scenario = directory::scenario(network, name, dir, lines).map_err(|error| format!("{error:#}"))?;
    let done = verify(&scenario, |_| {});
    if let Some((_, says)) = UNLOADABLE.iter().find(|(unloadable, _)| *unloadable == name) {
        let error = done.err().map(|error| format!("{error:#}")).unwrap_or_default();
        return if error.contains(says) { Ok(()) } else { Err(format!("{error:?} lacks {says:?}").into()) };
    }
    let report = done.map_err(|error| format!("{error:#}"))?;
    let open = report.flows.iter().filter(|flow| flow.is_undecided()).count();
    println!("{name}: {} flows, {open} undecided, {} rules", report.flows.len(), report.rules);
    if report.flows.is_empty() {
        return Err("no probe was sent".into());
    }
    if report.agrees() {
        return Ok(());
    }
    let differing = report.flows.iter().filter(|flow| flow.taken.is_none() && !flow.is_undecided());
    let told: Vec<String> = differing.map(compare::Compared::told).chain(report.counters).collect();
    Err(told.join("\n").into())
}

/// A probe as a line of a flows file; none for one whose sender had no route, and so no address.
fn line(probe: &Value, host: &str) -> Option<String> {
    let text = |field: &str| probe[field].as_str().unwrap_or_default();
    let (protocol, src, dst) = (text("proto"), text("src"), text("dst"));
    if matches!(src, "0.0.0.0" | "::") {
        return None;
    }
    let end = |address: &str, port: &str| match address.contains(':') {
        _ if protocol.starts_with("icmp") => address.to_owned(),
        true => format!("[{address}]:{}", probe[port]),
        false => format!("{address}:{}", probe[port]),
    };
    let way = match text("from") {
        "h" => format!(" from={host}"),
        "w" => format!(" in={host}:eth0"),
        "l" => format!(" in={host}:eth1"),
        _ => String::new(),
    };
    Some(format!("{protocol} {} {}{way}\n", end(src, "sport"), end(dst, "dport")))
}
