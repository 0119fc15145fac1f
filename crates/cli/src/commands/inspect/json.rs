//! The JSON of `natpath inspect`, schema `natpath.inspect/1`.

use natpath_formats::snapshot::{Accounted, Inspection, Unit};
use natpath_model::Diagnostic;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    hosts: Vec<Host<'a>>,
    /// Files that belong to no host.
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct Host<'a> {
    name: &'a str,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    file: &'a str,
    kind: &'a str,
    items: usize,
    unsupported: Vec<Construct<'a>>,
    errors: Vec<Fault<'a>>,
    warnings: Vec<Fault<'a>>,
    /// What `total`, `items`, `structure`, `unread` and `failed` count: lines, rows or the file as a whole.
    unit: &'static str,
    /// items + structure + unread + failed + missed, and the last is 0.
    total: usize,
    structure: usize,
    unread: usize,
    failed: usize,
    missed: usize,
    /// Those of the items that another file of the host lists as well.
    repeated: usize,
}

#[derive(Serialize)]
struct Construct<'a> {
    line: u32,
    construct: &'a str,
    text: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Fault<'a> {
    line: u32,
    column: u32,
    message: &'a str,
    text: &'a str,
    help: &'a str,
}

/// The document, with a line end.
pub(super) fn render(inspection: &Inspection) -> serde_json::Result<String> {
    let hosts = inspection.network.hosts.iter().zip(&inspection.hosts);
    let document = Document {
        schema: "natpath.inspect/1",
        hosts: hosts.map(|(host, files)| Host { name: &host.name, files: all(files) }).collect(),
        files: all(&inspection.files),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn all(files: &[Accounted]) -> Vec<File<'_>> {
    files.iter().map(file).collect()
}

fn file(account: &Accounted) -> File<'_> {
    let constructs = account.unsupported.iter().map(|found| Construct {
        line: found.line,
        construct: &found.construct,
        text: &found.text,
        reason: &found.reason,
    });
    File {
        file: &account.file,
        kind: account.kind,
        items: account.items,
        unsupported: constructs.collect(),
        errors: account.errors.iter().map(fault).collect(),
        warnings: account.warnings.iter().map(fault).collect(),
        unit: match account.unit {
            Unit::Lines => "lines",
            Unit::Rows => "rows",
            Unit::Files => "files",
        },
        total: account.total,
        structure: account.structure,
        unread: account.unread,
        failed: account.failed(),
        missed: account.missed(),
        repeated: account.repeated,
    }
}

fn fault(found: &Diagnostic) -> Fault<'_> {
    Fault {
        line: found.line,
        column: found.column,
        message: &found.message,
        text: &found.text,
        help: &found.help,
    }
}
