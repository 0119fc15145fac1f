//! `natpath trace`: reads a network and flows, has the engine trace them, prints the answer.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use natpath_engine::Session;
use natpath_formats::flows::{FlowAction, FlowLine, parse};
use natpath_formats::snapshot::read_network;
use natpath_model::{Diagnostic, Flow, Network, Severity};

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
    let lines = read_flows(arguments.flows.as_deref(), &arguments.flow_words())?;
    let network = read_snapshot(arguments)?;
    let traces = trace_all(&network, lines, arguments.flows.as_deref())?;
    show(&network, &traces, arguments)?;
    Ok(if traces.iter().all(Traced::works) { ExitCode::SUCCESS } else { ExitCode::from(FAILS) })
}

/// Reads the recorded network, or records the running host and reads that.
fn read_snapshot(arguments: &TraceArguments) -> Result<Network> {
    let network = match &arguments.net {
        Some(dir) => read_network(dir)?,
        None => read_network(running_host()?.path())?,
    };
    report(&network, arguments.verbose);
    Ok(network)
}

/// Says on stderr what could not be read, and how much is not modelled.
pub(super) fn report(network: &Network, verbose: bool) {
    let all = || network.hosts.iter().flat_map(|host| &host.diagnostics).chain(&network.diagnostics);
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
        anstream::eprintln!("natpath: the snapshot has {}{hint}", parts.join(" and "));
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

/// Traces flow after flow over one state.
fn trace_all(network: &Network, lines: Vec<FlowLine>, file: Option<&Path>) -> Result<Vec<Traced>> {
    let mut session = Session::new(network);
    let mut traces = Vec::with_capacity(lines.len());
    for FlowLine { line, text, action } in lines {
        let place = || file.map_or(String::new(), |file| format!("{}:{line}: ", name_of(file)));
        let flow = match action {
            FlowAction::Flow(flow) => in_full(flow, network),
            FlowAction::Wait(milliseconds) => {
                session.wait(milliseconds);
                continue;
            }
            FlowAction::Load { .. }
            | FlowAction::Forget { .. }
            | FlowAction::More { .. }
            | FlowAction::Close { .. } => {
                let word = text.split_whitespace().next().unwrap_or_default();
                bail!("{}`{word}` lines are not there yet\n  help: flows and `wait` can be traced", place());
            }
        };
        let trace = session.trace(&flow).map_err(|error| anyhow!("{}{error}", place()))?;
        traces.push(Traced { flow, text, trace });
    }
    if traces.is_empty() {
        bail!("there is no flow to trace");
    }
    Ok(traces)
}

/// Writes out the names of hosts: a namespace `HOST/ns/NAME` may be called `NAME` where no other host is.
pub(super) fn in_full(mut flow: Flow, network: &Network) -> Flow {
    let enters = flow.enters.as_mut().map(|(host, _)| host);
    for name in flow.from.as_mut().into_iter().chain(enters) {
        let ending = format!("/ns/{name}");
        let mut others = network.hosts.iter().filter(|host| host.name.ends_with(&ending));
        if let (None, Some(only), None) = (network.host(name), others.next(), others.next()) {
            name.clone_from(&only.name);
        }
    }
    flow
}

/// A file of flows as messages name it.
fn name_of(file: &Path) -> String {
    if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() }
}

fn show(network: &Network, traces: &[Traced], arguments: &TraceArguments) -> Result<()> {
    let mut bytes = Vec::new();
    if arguments.json {
        json::write(&mut bytes, network, traces, arguments.verbose)?;
    } else {
        let layout = text::Layout { verbose: arguments.verbose, width: width() };
        bytes = text::render(network, traces, layout).into_bytes();
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
