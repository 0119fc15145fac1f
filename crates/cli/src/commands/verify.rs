//! `natpath verify`: rebuilds a recorded network on the running kernel and compares it with the prediction.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use natpath_formats::flows::FlowAction;
use natpath_formats::snapshot::read_network;
use natpath_verify::compare::{Compared, Said};
use natpath_verify::scenario::Action;
use natpath_verify::{Report, directory, kernel, verify};

use super::print;
use super::trace::{in_full, read_flows, report_network};
use crate::args::VerifyArguments;
use crate::render::text::style;

/// The exit status when the kernel did something that was not predicted.
const PARTS: u8 = 1;

/// Runs the command.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<ExitCode> {
    let words = arguments.asked.words();
    let file = flows_file(arguments)?;
    let lines = read_flows(file.as_deref(), &words)?;
    let network = read_network(&arguments.net)?;
    report_network(&network, false);
    let near = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    let file = file.map_or("the flow".to_owned(), |file| file.display().to_string());
    let lines = lines.into_iter().map(|line| in_full(line, &network)).collect();
    let scenario = directory::scenario(network, &file, &near, lines)?;
    if !scenario.steps.iter().any(|step| matches!(step.action, Action::Flow(FlowAction::Flow(_)))) {
        bail!("there is no flow to send");
    }
    if let Some(reason) = kernel::not_permitted() {
        bail!("{reason}\n  help: verify makes network namespaces, which takes root");
    }
    let done = verify(&scenario, progress(scenario.steps.len()))?;
    print(told(&done, arguments.verbose).as_bytes())?;
    Ok(if done.agrees() { ExitCode::SUCCESS } else { ExitCode::from(PARTS) })
}

/// The file of flows: the one given, or that of the network where no flow is given either.
fn flows_file(arguments: &VerifyArguments) -> Result<Option<PathBuf>> {
    if arguments.flows.is_some() || arguments.asked.proto.is_some() {
        return Ok(arguments.flows.clone());
    }
    let own = arguments.net.join("flows");
    if own.is_file() {
        return Ok(Some(own));
    }
    bail!(
        "{} has no file `flows`\n  help: give --flows FILE, or a flow: PROTO SRC DST",
        arguments.net.display()
    )
}

/// Says once a second how far it is.
fn progress(steps: usize) -> impl FnMut(usize) {
    let mut told = Instant::now();
    move |step| {
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            anstream::eprintln!("natpath: {step} of {steps} flows are sent");
        }
    }
}

fn told(report: &Report, verbose: bool) -> String {
    let mut text = String::new();
    for note in &report.notes {
        let _ = writeln!(text, "{}  {note}", style::note("NOT THE SAME"));
    }
    for flow in &report.flows {
        told_flow(&mut text, flow, verbose);
    }
    for difference in &report.counters {
        let _ = writeln!(text, "{}  {difference}", style::bad("COUNTER"));
    }
    let total = report.flows.len();
    let agreed = report.flows.iter().filter(|flow| flow.taken.is_some()).count();
    let undecided = report.flows.iter().filter(|flow| flow.is_undecided()).count();
    let open = if undecided == 0 { String::new() } else { format!(", {undecided} undecided") };
    let counters = match (report.rules, report.counters.len()) {
        (0, _) => String::new(),
        (rules, 0) => format!("; the packet counters of all {rules} rules agree"),
        (rules, differences) => format!("; {differences} of {rules} counters of rules differ"),
    };
    let word = if report.agrees() { style::good("VERIFIED") } else { style::bad("DIFFERS") };
    let _ = writeln!(
        text,
        "{word}  the kernel did what was predicted for {agreed} of {total} flows{open}{counters}"
    );
    text
}

fn told_flow(text: &mut String, flow: &Compared, verbose: bool) {
    let several = flow.said.len() > 1;
    let word = match &flow.taken {
        Some(id) if several => format!("{} (path {id} of {})", style::good("as predicted"), flow.said.len()),
        Some(_) => style::good("as predicted"),
        None if flow.is_undecided() => style::note("not predicted: undecided"),
        None => style::bad("not as predicted"),
    };
    let _ = writeln!(text, "{}  {word}", style::bold(&flow.text));
    if flow.taken.is_some() && !verbose {
        return;
    }
    let _ = writeln!(text, "  the kernel:");
    push(text, &flow.seen);
    if flow.taken.is_some() {
        return;
    }
    for Said { id, probability, lines, .. } in &flow.said {
        let odds =
            if several { format!(" (path {id}, {:.0} %)", probability * 100.0) } else { String::new() };
        let _ = writeln!(text, "  predicted{odds}:");
        push(text, lines);
    }
}

fn push(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: &str, line: &str, undecided: bool) -> Said {
        Said { id: id.to_owned(), probability: 1.0, lines: vec![line.to_owned()], undecided }
    }

    fn compared(taken: Option<&str>, undecided: bool) -> Compared {
        Compared {
            step: 0,
            line: 1,
            text: "udp 192.0.2.1 192.0.2.2:53".to_owned(),
            seen: vec!["lost".to_owned()],
            said: vec![said("1.1", "s takes it", undecided)],
            taken: taken.map(str::to_owned),
        }
    }

    fn check(flow: Compared, counters: &[&str], expected: &str) {
        let counters = counters.iter().map(|text| (*text).to_owned()).collect();
        let report = Report { notes: Vec::new(), flows: vec![flow], rules: 3, counters };
        let text = anstream::adapter::strip_str(&told(&report, false)).to_string();
        assert_eq!(text, expected);
    }

    #[test]
    fn a_report_says_how_the_prediction_fared() {
        check(
            compared(Some("1.1"), false),
            &[],
            "udp 192.0.2.1 192.0.2.2:53  as predicted\n\
             VERIFIED  the kernel did what was predicted for 1 of 1 flows; the packet counters of all 3 rules agree\n",
        );
        check(
            compared(None, false),
            &["r iptables ip nat PREROUTING 1: kernel counted 1, engine 0"],
            "udp 192.0.2.1 192.0.2.2:53  not as predicted\n  the kernel:\n    lost\n  predicted:\n    s takes it\n\
             COUNTER  r iptables ip nat PREROUTING 1: kernel counted 1, engine 0\n\
             DIFFERS  the kernel did what was predicted for 0 of 1 flows; 1 of 3 counters of rules differ\n",
        );
        check(
            compared(None, true),
            &[],
            "udp 192.0.2.1 192.0.2.2:53  not predicted: undecided\n  the kernel:\n    lost\n  predicted:\n    \
             s takes it\n\
             VERIFIED  the kernel did what was predicted for 0 of 1 flows, 1 undecided; the packet counters of all 3 \
             rules agree\n",
        );
    }
}
