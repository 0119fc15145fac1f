//! `natpath trace`: reads a network and flows, has the engine trace them, prints the answer.

mod lines;
mod loads;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use natpath_formats::flows::{FlowAction, FlowLine, parse};
use natpath_formats::snapshot::read_network;
use natpath_model::{Diagnostic, Network, Severity};

use self::lines::Told;
use self::loads::Load;
use super::print;
use super::snapshot::running_host;
use crate::args::TraceArguments;
use crate::render::view::Traced;
use crate::render::{json, text};

/// The exit status when some path does not work.
const FAILS: u8 = 1;

/// Runs the command.
pub(crate) fn run(arguments: &TraceArguments) -> Result<ExitCode> {
    anstream::ColorChoice::write_global(arguments.color.into());
    let lines = read_flows(arguments.flows.as_deref(), &arguments.asked.words())?;
    let network = read_snapshot(arguments)?;
    let lines: Vec<_> = lines.into_iter().map(|line| in_full(line, &network)).collect();
    let file = arguments.flows.as_deref();
    let loads = loads::read(&network, &lines, arguments)?;
    for Load { files, loaded } in loads.values() {
        report(&loaded.host.diagnostics, files, arguments.verbose);
    }
    let told = lines::play(&network, lines, &loads, file)?;
    show(&network, &told, arguments)?;
    Ok(if told.traces.iter().all(Traced::works) { ExitCode::SUCCESS } else { ExitCode::from(FAILS) })
}

/// Reads the recorded network, or records the running host and reads that.
fn read_snapshot(arguments: &TraceArguments) -> Result<Network> {
    let network = match &arguments.net {
        Some(dir) => read_network(dir)?,
        None => read_network(running_host()?.path())?,
    };
    report_network(&network, arguments.verbose);
    Ok(network)
}

/// Says on stderr what of a network could not be read, and how much is not modelled.
pub(super) fn report_network(network: &Network, verbose: bool) {
    let all = network.hosts.iter().flat_map(|host| &host.diagnostics).chain(&network.diagnostics);
    report(all, "the snapshot", verbose);
}

/// Says on stderr what could not be read, and how much is not modelled.
fn report<'a>(found: impl IntoIterator<Item = &'a Diagnostic>, what: &str, verbose: bool) {
    let found: Vec<&Diagnostic> = found.into_iter().collect();
    let all = || found.iter();
    for diagnostic in all().filter(|diagnostic| verbose || diagnostic.severity == Severity::Error) {
        anstream::eprintln!("{diagnostic}");
    }
    let count = |severity| all().filter(|diagnostic| diagnostic.severity == severity).count();
    let counted = [
        (count(Severity::Unsupported), "construct that is not modelled", "constructs that are not modelled"),
        (count(Severity::Warning), "warning", "warnings"),
    ];
    let parts: Vec<_> = counted
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
        .collect();
    if !parts.is_empty() {
        let hint = if verbose { "" } else { " (-v lists them)" };
        anstream::eprintln!("natpath: {what} has {}{hint}", parts.join(" and "));
    }
}

/// Reads the flows of a file, or the one of the command line.
pub(super) fn read_flows(file: Option<&Path>, words: &[String]) -> Result<Vec<FlowLine>> {
    let Some(file) = file else {
        let (lines, diagnostics) = parse(&words.join(" "), "");
        if let Some(first) = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
            bail!(message(first));
        }
        return Ok(lines);
    };
    let name = name_of(file);
    let text =
        if file == Path::new("-") { io::read_to_string(io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.with_context(|| format!("{name} can't be read"))?;
    let (lines, diagnostics) = parse(&text, &name);
    for diagnostic in &diagnostics {
        anstream::eprintln!("{diagnostic}");
    }
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        bail!("{name} is not a list of flows");
    }
    Ok(lines)
}

fn message(diagnostic: &Diagnostic) -> String {
    match diagnostic.help.as_str() {
        "" => diagnostic.message.clone(),
        help => format!("{}\n  help: {help}", diagnostic.message),
    }
}

/// Writes out the names of hosts in a line.
pub(super) fn in_full(mut line: FlowLine, network: &Network) -> FlowLine {
    match &mut line.action {
        FlowAction::Flow(flow) => {
            let enters = flow.enters.as_mut().map(|(host, _)| host);
            flow.from.iter_mut().chain(enters).for_each(|name| write_out(name, network));
        }
        FlowAction::Load { host, .. } | FlowAction::Forget { host, .. } => write_out(host, network),
        FlowAction::More { .. } | FlowAction::Close { .. } | FlowAction::Wait(_) => {}
    }
    line
}

/// Writes out a host's name: a namespace `HOST/ns/NAME` may be called `NAME` where no other host is.
fn write_out(name: &mut String, network: &Network) {
    let ending = format!("/ns/{name}");
    let mut others = network.hosts.iter().filter(|host| host.name.ends_with(&ending));
    if let (None, Some(only), None) = (network.host(name), others.next(), others.next()) {
        name.clone_from(&only.name);
    }
}

/// A file of flows as messages name it.
fn name_of(file: &Path) -> String {
    if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() }
}

fn show(network: &Network, told: &Told<'_>, arguments: &TraceArguments) -> Result<()> {
    let mut bytes = Vec::new();
    if arguments.json {
        json::write(&mut bytes, network, &told.traces, arguments.verbose)?;
    } else {
        let layout = text::Layout { verbose: arguments.verbose, width: width() };
        bytes = text::render(network, &told.traces, &told.last, layout).into_bytes();
    }
    print(&bytes)
}

/// The columns to keep to: those of the terminal, but no more than read well; `None` for a terminal that
/// does not say.
fn width() -> Option<usize> {
    const WIDEST: usize = 100;
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return Some(WIDEST);
    }
    terminal_size::terminal_size_of(stdout).map(|(columns, _)| usize::from(columns.0).min(WIDEST))
}
