//! Several paths of one flow: a table of where each ends, and which of them are worth telling in full.

use std::fmt::Write;

use natpath_engine::trace::{Hop, Path};

use super::style::{bad, good};
use super::words;
use crate::render::view::View;

/// One line for each path: its number, probability, whether it works, where it ends.
pub(crate) fn table(out: &mut String, views: &[View<'_>]) {
    let width = views.iter().map(|view| view.path.id.len()).max().unwrap_or(0);
    for view in views {
        let Path { id, given, probability, result, .. } = view.path;
        let percent = words::percent(*probability);
        let works = if result.works { good("works") } else { bad("fails") };
        let end = &result.end;
        let interface = end.at.interface.map_or(String::new(), |interface| format!(" {interface}"));
        let place = format!("{}{interface}", view.place(end.at.host));
        let given = if given.is_empty() { String::new() } else { format!("   given {}", given.join(", ")) };
        _ = writeln!(
            out,
            "  {id:<width$}  {percent:>6}  {works}  {} at {place}, {}{given}",
            end.outcome,
            view.dst(end.header)
        );
    }
}

/// Whether a path can be told by "the same, to another endpoint".
pub(crate) fn differ_in_endpoint_only(told: &View<'_>, other: &View<'_>) -> bool {
    shape(told.path) == shape(other.path)
}

/// What two paths that differ in the endpoint only have in common.
fn shape(path: &Path) -> impl PartialEq + use<> {
    let result = &path.result;
    let broken = result.broken.as_ref();
    let reply = result.reply.as_ref();
    (
        (result.works, result.end.outcome, result.end.why),
        broken.map(|broken| (broken.packet, broken.end.outcome, broken.end.why)),
        reply.map(|reply| (reply.end.outcome, reply.reset, reply.icmp.map(|icmp| (icmp.kind, icmp.code)))),
        path.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
        path.assumptions.len(),
        (path.hops.iter().map(kinds).collect::<Vec<_>>(), path.reply_hops.len()),
    )
}

/// The kinds of a hop's steps that a reader would see differ.
fn kinds(hop: &Hop) -> (bool, bool) {
    (hop.in_interface.is_some(), hop.out_interface.is_some())
}
