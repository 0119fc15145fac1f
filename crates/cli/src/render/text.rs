//! A trace as text for a reader in a hurry: phases host by host, what changed, what was never reached, and
//! at the end one sentence that says what becomes of the flow.
//!
//! ```text
//!  flow        tcp 198.51.100.2:* → 198.51.100.1:80
//!  paths       a table, where there are several
//!  forward     host, then its phases: number, what was asked, what it answered, the rule's own text
//!  and back    only what changed or stopped the answer
//!  VERDICT, BECAUSE, FIX, ASSUMED
//! ```

mod assumed;
mod lines;
mod paths;
mod phase;
mod style;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

use std::fmt::Write;

use natpath_engine::trace::Hop;
use natpath_model::Network;

use self::lines::lines;
use self::phase::Depth;
use self::style::{bad, bold, dim, good, note};
use self::verdict::{Tone, Verdict, verdict};
use crate::render::view::{Traced, View};

/// The column at which the label of a phase begins.
const INDENT: usize = 5;
/// The narrowest and the widest column of labels.
const LABEL: (usize, usize) = (18, 40);

/// All flows as text, with colours.
pub(crate) fn render(network: &Network, traces: &[Traced], verbose: bool) -> String {
    let mut out = String::new();
    for (number, traced) in (1..).zip(traces) {
        if number > 1 {
            out += "\n";
        }
        let number = (traces.len() > 1).then_some(number);
        flow(&mut out, network, traced, number, verbose);
    }
    if traces.len() > 1 {
        let works = traces.iter().filter(|traced| traced.works());
        let flows = words::count(traces.len(), "flow works", "flows work");
        _ = writeln!(out, "\n{}", bold(&format!("{} of {flows}", works.count())));
    }
    out
}

fn flow(out: &mut String, network: &Network, traced: &Traced, number: Option<usize>, verbose: bool) {
    let Traced { flow, text, trace } = traced;
    let views: Vec<_> = trace.paths.iter().map(|path| View { network, flow, path }).collect();
    let Some(first) = views.first() else { return };
    let title = match number {
        Some(number) => format!("flow {number}   {}", first.header(trace.sent)),
        None => first.header(trace.sent),
    };
    let options: Vec<_> = text.split_whitespace().skip(3).collect();
    let options = if options.is_empty() { String::new() } else { dim(&format!("   {}", options.join(" "))) };
    _ = writeln!(out, "{}{options}", bold(&title));
    if views.len() > 1 {
        paths::table(out, &views);
    }
    let mut alike = 0;
    for (index, view) in views.iter().enumerate() {
        if !verbose && index > 0 && paths::differ_in_endpoint_only(&views[0], view) {
            alike += 1;
            continue;
        }
        if views.len() > 1 {
            _ = writeln!(out, "\n{}", bold(&format!("path {}", view.path.id)));
        }
        path(out, view, verbose);
    }
    if alike > 0 {
        let paths = words::count(alike, "more path goes", "more paths go");
        _ = writeln!(out, "{}", dim(&format!("{paths} the same way to another endpoint (-v shows it)")));
    }
}

fn path(out: &mut String, view: &View<'_>, verbose: bool) {
    let (there, back) =
        if verbose { (Depth::Verbose, Depth::Verbose) } else { (Depth::Normal, Depth::Brief) };
    let mut number = 0;
    hops(out, view, &view.path.hops, there, &mut number);
    if !view.path.reply_hops.is_empty() {
        _ = writeln!(out, "{}", bold("and back"));
        hops(out, view, &view.path.reply_hops, back, &mut number);
    }
    if let Some(broken) = view.path.result.broken.as_ref().filter(|broken| !broken.hops.is_empty()) {
        let same = broken.hops == view.path.reply_hops;
        if !same {
            _ = writeln!(out, "{}", bold(&format!("then the {}", broken.packet.word())));
            hops(out, view, &broken.hops, back, &mut number);
        }
    }
    judgement(out, view, &verdict(view));
}

fn hops(out: &mut String, view: &View<'_>, hops: &[Hop], depth: Depth, number: &mut usize) {
    let all: Vec<_> = hops.iter().map(|hop| (hop, lines(view, hop, depth))).collect();
    let labels = all.iter().flat_map(|(_, lines)| lines).map(|line| line.label.chars().count());
    let width = labels.max().unwrap_or(0).clamp(LABEL.0, LABEL.1);
    for (hop, lines) in &all {
        _ = writeln!(out, "{}", heading(view, hop));
        for line in lines {
            let mut count = String::new();
            if line.numbered {
                *number += 1;
                count = number.to_string();
            }
            _ = writeln!(out, "{count:>3}  {:<width$}  {}", line.label, line.text);
            for below in &line.below {
                _ = writeln!(out, "{:indent$}{below}", "", indent = INDENT + width + 2);
            }
        }
    }
}

/// `router  in eth0, out eth1`.
fn heading(view: &View<'_>, hop: &Hop) -> String {
    let parts: Vec<_> = [("in", hop.in_interface), ("out", hop.out_interface)]
        .into_iter()
        .filter_map(|(word, interface)| interface.map(|interface| format!("{word} {interface}")))
        .collect();
    format!("{}  {}", bold(&view.place(hop.host)), parts.join(", ")).trim_end().to_owned()
}

fn judgement(out: &mut String, view: &View<'_>, verdict: &Verdict) {
    let paint = match verdict.tone {
        Tone::Works => good,
        Tone::Fails => bad,
        Tone::Undecided => note,
    };
    _ = writeln!(out, "{}  {}", paint("VERDICT"), paint(&verdict.text));
    for because in &verdict.because {
        _ = writeln!(out, "{}  {because}", bold("BECAUSE"));
    }
    for fix in &verdict.fix {
        _ = writeln!(out, "{}      {fix}", bold("FIX"));
    }
    for assumption in assumed::lines(&view.path.assumptions) {
        _ = writeln!(out, "{}", dim(&format!("ASSUMED  {assumption}")));
    }
}
