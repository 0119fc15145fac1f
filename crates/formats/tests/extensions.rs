//! `docs/matches.md` says of every extension that iptables installs what natpath makes of it, and is right.

use std::collections::BTreeSet;
use std::path::Path;

use natpath_formats::iptables_save::parse;
use natpath_model::{Backend, Family, FileId, Match, Rule, Severity, Statement};

/// Where Debian puts iptables' extensions.
const INSTALLED: &str = "/usr/lib/x86_64-linux-gnu/xtables";

/// A row of the page.
struct Row<'p> {
    name: &'p str,
    families: &'p str,
    result: &'p str,
    samples: Vec<&'p str>,
}

impl Row<'_> {
    /// The sample for a family: the first for IPv4, the last for IPv6.
    fn sample(&self, family: Family) -> &str {
        let sample = if family == Family::Ip4 { self.samples.first() } else { self.samples.last() };
        sample.unwrap_or_else(|| panic!("{} has no sample", self.name))
    }

    fn is_of(&self, family: Family) -> bool {
        self.families.contains(if family == Family::Ip4 { '4' } else { '6' })
    }
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/matches.md");
    std::fs::read_to_string(path).expect("the page")
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| name");
    page.lines()
        .filter(is_row)
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, families, result, _, samples] = cells[..] else { panic!("not five cells: {line}") };
            let samples = samples.split('`').skip(1).step_by(2).collect();
            Row { name, families, result, samples }
        })
        .collect()
}

/// Reads a sample, which may begin with `-t TABLE`.
fn read(sample: &str, family: Family) -> Rule {
    let (table, words) = match sample.strip_prefix("-t ") {
        Some(rest) => rest.split_once(' ').expect("a rule after the table"),
        None => ("filter", sample),
    };
    let text = format!("*{table}\n:X - [0:0]\n-A X {words}\nCOMMIT\n");
    let (mut tables, diagnostics) = parse(&text, "sample", FileId(0), Backend::Iptables, family);
    let graver = diagnostics.iter().find(|found| found.severity != Severity::Unsupported);
    assert_eq!(graver, None, "{sample}");
    tables.remove(0).chains.remove(0).rules.remove(0)
}

/// What became of a rule, in the page's words.
fn result(rule: &Rule) -> &'static str {
    let opaque = rule.matches.iter().any(|condition| matches!(condition, Match::Opaque(_)))
        || rule.statements.iter().any(|statement| matches!(statement, Statement::Opaque(_)));
    let chance = |condition: &Match| matches!(condition, Match::Chance { .. } | Match::Nth { .. });
    let inert = |statement: &Statement| matches!(statement, Statement::Inert { .. } | Statement::Log { .. });
    let of_protocol = rule.matches.len() == 1 && matches!(rule.matches[0], Match::Is(_));
    if opaque {
        "undecided"
    } else if rule.matches.iter().any(chance) {
        "choice"
    } else if rule.statements.iter().all(inert)
        && (rule.matches.is_empty() || of_protocol && !rule.statements.is_empty())
    {
        "inert"
    } else {
        "exact"
    }
}

#[test]
fn the_page_says_what_the_parser_does() {
    let page = page();
    for row in rows(&page) {
        for family in Family::ALL.into_iter().filter(|family| row.is_of(*family)) {
            let rule = read(row.sample(family), family);
            assert_eq!(result(&rule), row.result, "{} {family:?}: {rule:?}", row.name);
        }
    }
}

#[test]
fn the_page_has_what_is_installed_and_nothing_else() {
    let Ok(installed) = std::fs::read_dir(INSTALLED) else { return };
    let mut found: BTreeSet<(String, char)> = BTreeSet::new();
    for name in installed.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned())
    {
        let Some((kind, name)) = name.strip_suffix(".so").and_then(|name| name.split_once('_')) else {
            continue;
        };
        let families = match kind {
            "libxt" => "46",
            "libipt" => "4",
            "libip6t" => "6",
            _ => continue,
        };
        found.extend(families.chars().map(|family| (name.to_owned(), family)));
    }
    let page = page();
    let said: BTreeSet<_> = rows(&page)
        .iter()
        .flat_map(|row| row.families.chars().map(|family| (row.name.to_owned(), family)))
        .collect();
    assert_eq!(said, found);
}
