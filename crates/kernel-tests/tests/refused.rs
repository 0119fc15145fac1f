//! Rules that iptables-restore takes or refuses, held against what is read of them: what a backend refuses is
//! an error with its place, for no host can have such rules; what it takes is none.

use std::fmt::Write as _;

use natpath_formats::iptables_save;
use natpath_model::{Backend, Family, FileId, Severity};
use natpath_verify::kernel::{self, Namespace};

const CASES: &str = include_str!("data/refused.txt");

const BACKENDS: [(Backend, &str); 2] = [(Backend::Iptables, "nft"), (Backend::IptablesLegacy, "legacy")];

/// What is refused and read nevertheless. Only iptables itself refuses to drop in nat, the kernel does not: a
/// rule that nft has added there is printed by iptables-nft-save.
const READ_NEVERTHELESS: [&str; 1] = ["DROP in nat"];

/// Some rules to load.
struct Case {
    title: String,
    family: Family,
    rules: String,
}

#[test]
fn what_is_refused_is_an_error() {
    if let Some(reason) = kernel::not_permitted() {
        eprintln!("the kernel is not asked: {reason}");
        return;
    }
    let cases = cases();
    assert!(cases.len() > 50, "{} cases", cases.len());
    let mut wrong = String::new();
    let mut refused = 0;
    for case in &cases {
        for (backend, name) in BACKENDS {
            let known = READ_NEVERTHELESS.contains(&case.title.as_str());
            let restored = restore(case, name);
            let read = read(case, backend);
            refused += usize::from(restored.is_err());
            let said = match (&restored, &read) {
                (Ok(()), Err(fault)) => format!("it is taken, but read as an error: {fault}"),
                (Err(told), Ok(())) if !known => format!("it is refused, but read: {told}"),
                (Err(_), Err(_)) if known => "it is no exception".to_owned(),
                _ => continue,
            };
            writeln!(wrong, "{}, {name}: {said}", case.title).expect("writing to a string");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(refused > 50, "{refused} of them are refused");
}

/// The cases of the list.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', 'r'])) {
        if let Some(title) = line.strip_prefix("= ") {
            let (family, title) = match title.strip_prefix("ip6 ") {
                Some(title) => (Family::Ip6, title),
                None => (Family::Ip4, title),
            };
            cases.push(Case { title: title.to_owned(), family, rules: String::new() });
            continue;
        }
        let case = cases.last_mut().expect("a title before the rules");
        match line.strip_prefix("levels ") {
            Some(levels) => case.rules.push_str(&jumps(levels.parse().expect("a number of levels"))),
            None => case.rules.extend([line, "\n"]),
        }
    }
    for case in &mut cases {
        case.rules.push_str("COMMIT\n");
    }
    cases
}

/// A table in which a packet goes down a number of chains.
fn jumps(levels: usize) -> String {
    let mut text = "*filter\n".to_owned();
    for level in 1..=levels {
        writeln!(text, ":L{level} - [0:0]").expect("writing to a string");
    }
    writeln!(text, "-A FORWARD -j L1").expect("writing to a string");
    for level in 1..levels {
        writeln!(text, "-A L{level} -j L{}", level + 1).expect("writing to a string");
    }
    text
}

/// Loads the rules by a backend's tool in a namespace of their own.
fn restore(case: &Case, backend: &str) -> Result<(), String> {
    let program = if case.family == Family::Ip6 { "ip6tables" } else { "iptables" };
    let namespace = Namespace::new().expect("a namespace");
    let restored = namespace.command(&format!("{program}-{backend}-restore"), &[], &case.rules);
    restored.map(|_| ()).map_err(|error| format!("{error:#}"))
}

/// Reads the rules; gives the first error.
fn read(case: &Case, backend: Backend) -> Result<(), String> {
    // A dump declares the chains of its tables.
    let text = declared(&case.rules);
    let (_, found) = iptables_save::parse(&text, "rules", FileId(0), backend, case.family);
    match found.iter().find(|found| found.severity == Severity::Error) {
        Some(fault) => {
            assert!(fault.line > 0 && fault.column > 0, "{}: {fault} has no place", case.title);
            Err(fault.to_string())
        }
        None => Ok(()),
    }
}

/// The rules with the built-in chains that they use and do not declare.
fn declared(rules: &str) -> String {
    let mut text = String::new();
    for table in rules.split_inclusive("COMMIT\n") {
        let mut lines = table.lines();
        writeln!(text, "{}", lines.next().unwrap_or("")).expect("writing to a string");
        for chain in ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"] {
            let is_used = table.contains(&format!("-A {chain} ")) && !table.contains(&format!(":{chain} "));
            if is_used {
                writeln!(text, ":{chain} ACCEPT [0:0]").expect("writing to a string");
            }
        }
        for line in lines {
            writeln!(text, "{line}").expect("writing to a string");
        }
    }
    text
}
