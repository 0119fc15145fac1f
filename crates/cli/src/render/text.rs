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
mod calls;
mod laps;
mod lines;
mod paths;
mod phase;
#[cfg(test)]
mod problems;
mod quiet;
mod step;
pub(crate) mod style;
mod taken;
#[cfg(test)]
mod tests;
mod verdict;
pub(crate) mod words;
mod wrap;

use std::fmt::Write;

use natpath_engine::trace::{Broken, Hop, Path, Place};
use natpath_model::Network;

use self::laps::Laps;
use self::lines::{Line, lines};
use self::phase::Depth;
use self::style::{bad, bold, dim, good, note};
use self::verdict::{Fix, Tone, Verdict, leaves_for_nobody, verdict};
use self::wrap::wrapped;
use crate::render::view::{Between, Traced, View};

/// The column at which the label of a phase begins.
const INDENT: usize = 5;
/// The narrowest and the widest column of labels.
const LABEL: (usize, usize) = (18, 40);

/// The column at which the sentences of a judgement begin.
const JUDGEMENT: usize = 9;

/// How the text is to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Whether every rule that was tried is shown.
    pub(crate) verbose: bool,
    /// The columns that lines are to keep to, where it is for us to break them.
    pub(crate) width: Option<usize>,
}

/// All flows as text, with colours, and what happened between them and after the last.
pub(crate) fn render(network: &Network, traces: &[Traced<'_>], last: &[Between], layout: Layout) -> String {
    let mut out = String::new();
    for (index, traced) in traces.iter().enumerate() {
        if index > 0 {
            out += "\n";
        }
        between(&mut out, &traced.before, layout.width);
        let number = (traces.len() > 1).then_some(index + 1);
        let view = |path| View::new(network, traced, path, &traces[..index]);
        flow(&mut out, &traced.trace.paths.iter().map(view).collect::<Vec<_>>(), traced, number, layout);
    }
    if !last.is_empty() {
        out += "\n";
        between(&mut out, last, layout.width);
        out.truncate(out.trim_end_matches('\n').len() + 1);
    }
    if traces.len() > 1 {
        let works = traces.iter().filter(|traced| traced.works());
        let flows = words::count(traces.len(), "flow works", "flows work");
        _ = writeln!(out, "\n{}", bold(&format!("{} of {flows}", works.count())));
    }
    out
}

/// Lines between flows, each with what came of it, and an empty line after the last.
fn between(out: &mut String, lines: &[Between], width: Option<usize>) {
    for Between { text, remarks } in lines {
        _ = writeln!(out, "{}", bold(text));
        for remark in remarks {
            _ = writeln!(out, "{:INDENT$}{}", "", wrapped(remark, INDENT, width));
        }
    }
    if !lines.is_empty() {
        *out += "\n";
    }
}

fn flow(out: &mut String, views: &[View<'_>], traced: &Traced<'_>, number: Option<usize>, layout: Layout) {
    let Traced { text, trace, .. } = traced;
    let Some(first) = views.first() else { return };
    let header = first.header(trace.sent);
    let title = match (number, traced.more) {
        (Some(number), None) => format!("flow {number}   {header}"),
        (Some(number), Some(_)) => format!("flow {number}   {text}: {header}"),
        (None, _) => header,
    };
    let options: Vec<_> = text.split_whitespace().skip(3).collect();
    let options = if options.is_empty() { String::new() } else { dim(&format!("   {}", options.join(" "))) };
    _ = writeln!(out, "{}{options}", bold(&title));
    if views.len() > 1 {
        paths::table(out, views);
    }
    let mut alike = 0;
    for (index, view) in views.iter().enumerate() {
        if !layout.verbose && index > 0 && paths::differ_in_endpoint_only(&views[0], view) {
            alike += 1;
            continue;
        }
        if views.len() > 1 {
            _ = writeln!(out, "\n{}", bold(&format!("path {}", view.path.id)));
        }
        path(out, view, layout);
    }
    if alike > 0 {
        let paths = words::count(alike, "more path goes", "more paths go");
        _ = writeln!(out, "{}", dim(&format!("{paths} the same way to another endpoint (-v shows it)")));
    }
}

fn path(out: &mut String, view: &View<'_>, layout: Layout) {
    let (there, back) =
        if layout.verbose { (Depth::Verbose, Depth::Verbose) } else { (Depth::Normal, Depth::Brief) };
    let Path { hops, reply_hops, result, .. } = view.path;
    let mut sections = vec![Section::new(view, String::new(), hops, there)];
    if !leaves_for_nobody(view) {
        sections.push(Section::new(view, "and back".to_owned(), reply_hops, back));
    }
    let is_new = |broken: &&Broken| broken.hops != *reply_hops && broken.hops != *hops;
    if let Some(broken) = result.broken.as_ref().filter(is_new) {
        let title = format!("then the {}", broken.packet.word());
        sections.push(Section::new(view, title, &broken.hops, back));
    }
    write_sections(out, view, &sections, layout.width);
    judgement(out, view, &verdict(view), layout.width);
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
fn write_sections(out: &mut String, view: &View<'_>, sections: &[Section<'_>], width: Option<usize>) {
    let all = sections.iter().flat_map(|section| &section.hops).flat_map(|(_, lines)| lines);
    let labels = all.map(|line| line.label.chars().count()).max().unwrap_or(0).clamp(LABEL.0, LABEL.1);
    let mut number = 0;
    for Section { title, hops } in sections.iter().filter(|section| !section.hops.is_empty()) {
        if !title.is_empty() {
            _ = writeln!(out, "{}", bold(title));
        }
        let seen: Vec<_> =
            hops.iter().map(|(hop, lines)| (hop.host, hop.in_interface, hop.out_interface, lines)).collect();
        let laps = Laps::find(&seen);
        for (index, (hop, lines)) in hops.iter().enumerate() {
            if let Some(laps) = &laps
                && (laps.told()..laps.end()).contains(&index)
            {
                if index == laps.told() {
                    let again = words::count(laps.count - 1, "time", "times");
                    _ = writeln!(out, "{}", dim(&format!("the same way {again} more")));
                }
                continue;
            }
            _ = writeln!(out, "{}", heading(view, hop));
            for line in lines {
                number += usize::from(line.numbered);
                let count = if line.numbered { number.to_string() } else { String::new() };
                write_line(out, &count, line, labels, width);
            }
        }
    }
}

fn write_line(out: &mut String, count: &str, line: &Line, labels: usize, width: Option<usize>) {
    let begin = INDENT + labels.max(line.label.chars().count()) + 2;
    _ = writeln!(out, "{count:>3}  {:<labels$}  {}", line.label, wrapped(&line.text, begin, width));
    let begin = INDENT + labels + 2;
    for by in &line.by {
        _ = writeln!(out, "{:begin$}{}", "", wrapped(by, begin, width));
    }
    if let Some(rule) = &line.rule {
        _ = writeln!(out, "{:begin$}{rule}", "");
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

fn judgement(out: &mut String, view: &View<'_>, verdict: &Verdict, width: Option<usize>) {
    let paint = match verdict.tone {
        Tone::Works => good,
        Tone::Fails => bad,
        Tone::Undecided => note,
    };
    let mut say = |label: &str, paint_label: fn(&str) -> String, text: &str| {
        let padding = " ".repeat(JUDGEMENT - label.len());
        _ = writeln!(out, "{}{padding}{text}", paint_label(label));
    };
    let broken = |text: &str| wrapped(text, JUDGEMENT, width);
    say("VERDICT", paint, &paint(&broken(&verdict.text)));
    // A fault that does no harm to this flow is no cause of anything.
    let label = if verdict.tone == Tone::Works { "NOTE" } else { "BECAUSE" };
    for because in &verdict.because {
        say(label, bold, &broken(because));
    }
    let mut first = true;
    for fix in &verdict.fix {
        match fix {
            // A command stays on one line, to be copied, below what it is for.
            Fix::Command(command) => say(if first { "FIX" } else { "" }, bold, command),
            Fix::Advice(advice) => say("FIX", bold, &broken(advice)),
        }
        first = false;
    }
    let assumptions = &view.path.assumptions;
    let told = if verdict.tone == Tone::Undecided { assumed::open(assumptions) } else { Vec::new() };
    let rest: Vec<_> = assumptions.iter().filter(|one| !told.contains(one)).cloned().collect();
    for assumption in assumed::lines(&rest, leaves_for_nobody(view)) {
        say("ASSUMED", dim, &dim(&broken(&assumption)));
    }
}
