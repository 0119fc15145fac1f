//! A scenario's network recorded as standard tools print it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use natpath_formats::snapshot;
use natpath_model::{Network, Severity, Snapshot};
use natpath_verify::compare;
use natpath_verify::judge::engine;
use natpath_verify::kernel::{Namespace, World};
use natpath_verify::scenario::{Action, Scenario};
use natpath_verify::traffic::Stage;

/// The files of a host and the commands that print them.
const FILES: [(&str, &str, &[&str]); 7] = [
    ("addr.json", "ip", &["-j", "-d", "addr"]),
    ("route.json", "ip", &["-j", "route", "show", "table", "all"]),
    ("route6.json", "ip", &["-j", "-6", "route", "show", "table", "all"]),
    ("rule.json", "ip", &["-j", "rule"]),
    ("rule6.json", "ip", &["-j", "-6", "rule"]),
    ("neigh.json", "ip", &["-j", "neigh"]),
    ("sockets", "ss", &["-H", "-lntu", "-O", "--inet-sockopt"]),
];

/// The files of rules, each written only where the host has such rules.
const RULES: [(&str, &str); 4] = [
    ("iptables-save", "iptables-nft-save"),
    ("ip6tables-save", "ip6tables-nft-save"),
    ("iptables-legacy-save", "iptables-legacy-save"),
    ("ip6tables-legacy-save", "ip6tables-legacy-save"),
];

/// Builds a scenario's network and writes what the standard tools print there, before any flow, into a
/// directory: the layout that `natpath --net` reads.
///
/// # Errors
/// If the network can't be built, a tool fails or a file can't be written.
pub fn record(scenario: &Scenario, to: &Path) -> Result<()> {
    let network = &scenario.network;
    let world = World::build(network)?;
    let _listeners = Stage::open(&world, network)?;
    for (host, namespace) in network.hosts.iter().zip(&world.hosts) {
        let directory = to.join(&host.name);
        fs::create_dir_all(&directory).with_context(|| format!("can't make {}", directory.display()))?;
        record_host(host, namespace, &directory).with_context(|| format!("host {}", host.name))?;
    }
    write(&to.join("topology.json"), &topology(network))?;
    let mut flows = String::new();
    for step in &scenario.steps {
        if let Action::Flow(_) = step.action {
            let _ = writeln!(flows, "{}", step.text.strip_prefix("flow ").unwrap_or(&step.text));
        }
    }
    for dump in scenario.dumps.values().flatten() {
        write(&to.join(&dump.name), &dump.text)?;
    }
    write(&to.join("flows"), &flows)
}

fn record_host(host: &Snapshot, namespace: &Namespace, directory: &Path) -> Result<()> {
    for (file, program, arguments) in FILES {
        write(&directory.join(file), &namespace.command(program, arguments, "")?)?;
    }
    for (file, program) in RULES {
        if host.files.iter().any(|given| given.name == file) {
            write(&directory.join(file), &namespace.command(program, &["-c"], "")?)?;
        }
    }
    if host.files.iter().any(|given| given.name == "ipset") {
        write(&directory.join("ipset"), &namespace.command("ipset", &["save"], "")?)?;
    }
    write(&directory.join("date"), &namespace.command("date", &["+%s"], "")?)?;
    let mut keys: Vec<String> = host.sysctls.iter().map(|(name, _)| name.to_owned()).collect();
    keys.sort();
    let mut arguments = vec!["-e"];
    arguments.extend(keys.iter().map(String::as_str));
    if host.neighbours.iter().any(|neighbour| neighbour.proxy) {
        // `ip neigh` lists either those it knows or those it answers for.
        let known = namespace.command("ip", &["-j", "neigh"], "")?;
        let proxied = namespace.command("ip", &["-j", "neigh", "show", "proxy"], "")?;
        let rows = |text: &str| text.trim().trim_start_matches('[').trim_end_matches(']').trim().to_owned();
        let all: Vec<String> =
            [rows(&known), rows(&proxied)].into_iter().filter(|rows| !rows.is_empty()).collect();
        write(&directory.join("neigh.json"), &format!("[{}]\n", all.join(",")))?;
    }
    if !host.connections.is_empty() {
        let listed = namespace.command("conntrack", &["-L", "-o", "extended"], "")?;
        write(&directory.join("conntrack"), &listed)?;
    }
    write(&directory.join("sysctl"), &namespace.command("sysctl", &arguments, "")?)
}

fn topology(network: &Network) -> String {
    let mut text = String::from("{\"segments\": [");
    for (index, segment) in network.segments.iter().enumerate() {
        let ends: Vec<_> =
            segment.ends.iter().map(|end| format!("\"{}:{}\"", end.host, end.interface)).collect();
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\n  [{}]", ends.join(", "));
    }
    text.push_str("\n]}\n");
    text
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

/// Records a scenario's network and gives back where the engine says other things of the record than of
/// the scenario.
///
/// # Errors
/// If the network can't be recorded or read, or a flow can't be started.
pub fn differences(scenario: &Scenario, to: &Path) -> Result<Vec<String>> {
    record(scenario, to)?;
    let network = snapshot::read_network(to).map_err(|error| anyhow::anyhow!("{error}"))?;
    let recorded = scenario.over(network)?;
    let (ours, theirs) = (engine::run(scenario)?, engine::run(&recorded)?);
    let mut differences = Vec::new();
    let lines = compare::engine_lines(scenario, &ours);
    for ((step, ours), theirs) in
        scenario.steps.iter().zip(lines).zip(compare::engine_lines(&recorded, &theirs))
    {
        if ours != theirs {
            let all = |alternatives: Vec<Vec<String>>| alternatives.concat().join("\n    ");
            differences.push(format!(
                "{}:{}: {}\n  of the scenario the engine says:\n    {}\n  of its record:\n    {}",
                scenario.file,
                step.line,
                step.text,
                all(ours),
                all(theirs)
            ));
        }
    }
    let (ours, theirs) =
        (compare::engine_counter_lines(scenario, &ours), compare::engine_counter_lines(&recorded, &theirs));
    let only = |some: &[String], others: &[String], whose: &str| -> Vec<String> {
        let alone = some.iter().filter(|line| !others.contains(line));
        alone.map(|line| format!("{}: counter only of the {whose}: {line}", scenario.file)).collect()
    };
    differences.extend(only(&ours, &theirs, "scenario"));
    differences.extend(only(&theirs, &ours, "record"));
    let faults = recorded.network.hosts.iter().flat_map(|host| &host.diagnostics);
    differences.extend(faults.filter(|found| found.severity == Severity::Error).map(ToString::to_string));
    Ok(differences)
}
