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

use natpath_engine::trace::{Hop, Path, Place};
use natpath_model::Network;

use self::lines::{Line, lines};
use self::phase::Depth;
use self::style::{bad, bold, dim, good, note};
use self::verdict::{Tone, Verdict, leaves_for_nobody, verdict};
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
    let Path { hops, reply_hops, result, .. } = view.path;
    let mut sections = vec![Section::new(view, String::new(), hops, there)];
    if !leaves_for_nobody(view) {
        sections.push(Section::new(view, "and back".to_owned(), reply_hops, back));
    }
    if let Some(broken) = result.broken.as_ref().filter(|broken| broken.hops != *reply_hops) {
        let title = format!("then the {}", broken.packet.word());
        sections.push(Section::new(view, title, &broken.hops, back));
    }
    write_sections(out, view, &sections);
    judgement(out, view, &verdict(view));
}

/// The hops of one packet with their lines.
struct Section<'a> {
    title: String,
    hops: Vec<(&'a Hop, Vec<Line>)>,
}

impl<'a> Section<'a> {
    fn new(view: &View<'_>, title: String, hops: &'a [Hop], depth: Depth) -> Self {
        Self { title, hops: hops.iter().map(|hop| (hop, lines(view, hop, depth))).collect() }
    }
}

/// Writes hops under their titles, with one column of labels and one count of phases for all.
fn write_sections(out: &mut String, view: &View<'_>, sections: &[Section<'_>]) {
    let all = sections.iter().flat_map(|section| &section.hops).flat_map(|(_, lines)| lines);
    let width = all.map(|line| line.label.chars().count()).max().unwrap_or(0).clamp(LABEL.0, LABEL.1);
    let mut number = 0;
    for Section { title, hops } in sections.iter().filter(|section| !section.hops.is_empty()) {
        if !title.is_empty() {
            _ = writeln!(out, "{}", bold(title));
        }
        for (hop, lines) in hops {
            _ = writeln!(out, "{}", heading(view, hop));
            for line in lines {
                number += usize::from(line.numbered);
                let count = if line.numbered { number.to_string() } else { String::new() };
                write_line(out, &count, line, width);
            }
        }
    }
}

fn write_line(out: &mut String, count: &str, line: &Line, width: usize) {
    _ = writeln!(out, "{count:>3}  {:<width$}  {}", line.label, line.text);
    for below in &line.below {
        _ = writeln!(out, "{:indent$}{below}", "", indent = INDENT + width + 2);
    }
}

/// `router  in eth0, out eth1`.
fn heading(view: &View<'_>, hop: &Hop) -> String {
    let parts: Vec<_> = [("in", hop.in_interface), ("out", hop.out_interface)]
        .into_iter()
        .filter_map(|(word, interface)| interface.map(|interface| format!("{word} {interface}")))
        .collect();
    let way = match hop.host {
        Place::Host(_) => parts.join(", "),
        Place::Assumed(_) => dim("a host that was not recorded"),
    };
    format!("{}  {way}", bold(&view.place(hop.host))).trim_end().to_owned()
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
    for assumption in assumed::lines(&view.path.assumptions, leaves_for_nobody(view)) {
        _ = writeln!(out, "{}", dim(&format!("ASSUMED  {assumption}")));
    }
}
