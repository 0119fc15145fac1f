//! The text of `natpath inspect`: a table for each host, and under it what needs a word.

use std::collections::BTreeMap;

use natpath_formats::snapshot::{Accounted, Inspection, Unit};

/// The most lines of one construct that are listed.
const LISTED: usize = 5;

/// All tables.
pub(super) fn render(inspection: &Inspection, verbose: bool) -> String {
    let hosts = inspection.network.hosts.iter().zip(&inspection.hosts);
    let mut parts: Vec<String> = hosts.map(|(host, files)| part(&host.name, files, verbose)).collect();
    if !inspection.files.is_empty() {
        parts.push(part("(files of no host)", &inspection.files, verbose));
    }
    let others = inspection.network.diagnostics.iter().map(|found| format!("{found}\n"));
    parts.join("\n") + &others.collect::<String>()
}

fn part(title: &str, files: &[Accounted], verbose: bool) -> String {
    let mut text = format!("{title}\n");
    text += &table(files);
    for account in files.iter().filter(|account| !is_unread(account)) {
        text += &notes(account, verbose);
    }
    text
}

const HEADS: [&str; 5] = ["file", "kind", "items", "unsupported", "errors"];

fn table(files: &[Accounted]) -> String {
    let rows: Vec<[String; 5]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(files.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = String::new();
    let remarks = std::iter::once(String::new()).chain(files.iter().map(remark));
    for ([file, kind, items, unsupported, errors], remark) in rows.iter().zip(remarks) {
        let [a, b, c, d, e] = widths;
        let line = format!("  {file:a$}  {kind:b$}  {items:>c$}  {unsupported:>d$}  {errors:>e$}  {remark}");
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn row(account: &Accounted) -> [String; 5] {
    let count = |count: usize| if count == 0 { "-".to_owned() } else { count.to_string() };
    let (items, unsupported) = match is_unread(account) {
        true => ("-".to_owned(), "-".to_owned()),
        false => (account.items.to_string(), count(account.unsupported.len())),
    };
    [account.file.clone(), account.kind.to_owned(), items, unsupported, count(account.errors.len())]
}

/// Whether nothing of the file is read, and its only entry says why.
fn is_unread(account: &Accounted) -> bool {
    account.unit == Unit::Files && account.unread > 0
}

fn remark(account: &Accounted) -> String {
    if is_unread(account) {
        return account.unsupported.iter().map(|found| found.reason.clone()).collect();
    }
    let mut remarks = Vec::new();
    if account.repeated > 0 {
        remarks.push(format!("{} of them in another file too", account.repeated));
    }
    if account.unread > 0 {
        remarks.push(format!("{} of {} {} not read", account.unread, account.total, unit(account)));
    }
    if account.missed() > 0 {
        remarks.push(format!(
            "{} of {} {} lost: this is a fault of natpath",
            account.missed(),
            account.total,
            unit(account)
        ));
    }
    remarks.join(", ")
}

fn unit(account: &Accounted) -> &'static str {
    match account.unit {
        Unit::Lines => "lines",
        Unit::Rows => "rows",
        Unit::Files => "files",
    }
}

/// What can't be decided, one line a construct, and what could not be read.
fn notes(account: &Accounted, verbose: bool) -> String {
    let mut text = String::new();
    let mut by_construct: BTreeMap<(&str, &str), Vec<(u32, &str)>> = BTreeMap::new();
    for found in &account.unsupported {
        let places = by_construct.entry((&found.construct, &found.reason)).or_default();
        places.push((found.line, &found.text));
    }
    let file = &account.file;
    for ((construct, reason), places) in by_construct {
        let lines: Vec<String> = places
            .iter()
            .map(|(line, _)| *line)
            .filter(|line| *line > 0)
            .map(|line| line.to_string())
            .collect();
        let shown = match lines.len() {
            0 => String::new(),
            1 => format!(":{}", lines[0]),
            many if many <= LISTED => format!(" lines {}", lines.join(", ")),
            many => format!(" lines {} and {} more", lines[..LISTED].join(", "), many - LISTED),
        };
        // Most reasons name their construct.
        let what = if reason.contains(construct) { String::new() } else { format!("{construct}: ") };
        text += &format!("  {file}{shown}: {what}{reason}\n");
        if verbose {
            text.extend(places.iter().map(|(line, words)| format!("      {line}: {words}\n")));
        }
    }
    for found in account.errors.iter().chain(&account.warnings) {
        text += &format!("{found}\n").lines().map(|line| format!("  {line}\n")).collect::<String>();
    }
    text
}
