//! A scenario's text with its rules of iptables given to the legacy backend, or to both backends together.
//!
//! ```text
//!   iptables              iptables-legacy        iptables-legacy
//!     *nat                  *nat                   *nat
//!     -A PREROUTING ...     -A PREROUTING ...      -A PREROUTING ...
//!     *filter               *filter              iptables
//!     -A FORWARD ...        -A FORWARD ...         *filter
//!                                                  -A FORWARD ...
//!   as it is              Share::Legacy          Share::Both
//! ```

use std::fmt::Write;

use natpath_model::Hook;

use crate::parse::is_of_rules;

/// Who gets the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The legacy backend all of them.
    Legacy,
    /// The backends in turn: of several tables each gets every second one, of a single table every second
    /// base chain with the chains that it leads to. Rules of a single base chain are the legacy backend's;
    /// where that chain is of nat, the other backend has a rule there that does nothing.
    Both,
}

/// The text of a scenario with other backends; `None` where it has no rules of iptables, names backends
/// itself, or has nothing to share.
#[must_use]
pub fn shared(text: &str, share: Share) -> Option<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut body = Vec::new();
        if let Some(head) = Head::of(line) {
            while let Some(line) = lines.next_if(|line| is_of_rules(line.trim())) {
                body.push(line.trim());
            }
            blocks.push((line, Some((head, parts(&body, share)))));
        } else {
            blocks.push((line, None));
        }
    }
    let of_rules = || blocks.iter().filter_map(|(_, block)| block.as_ref());
    let is_legacy = of_rules().any(|(head, _)| head.program.ends_with("-legacy"));
    let wanted = |(_, parts): &(Head<'_>, Parts)| {
        !parts.legacy.is_empty() && (share == Share::Legacy || !parts.nft.is_empty())
    };
    if is_legacy || !of_rules().any(wanted) {
        return None;
    }
    let mut shared = String::new();
    for (line, block) in &blocks {
        match block {
            Some((head, parts)) => head.write(parts, &mut shared),
            None if line.starts_with("load ") => {
                let words = line.split_whitespace().map(|word| loaded(word, &blocks));
                shared.push_str(&words.collect::<Vec<_>>().join(" "));
                shared.push('\n');
            }
            None => {
                shared.push_str(line);
                shared.push('\n');
            }
        }
    }
    Some(shared)
}

/// The line before a block of rules.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    /// `iptables`, `ip6tables-legacy` and their like.
    program: &'a str,
    /// The name of a dump up to the program, if it is one.
    dump: Option<&'a str>,
}

/// The rules of each backend.
#[derive(Debug, Default)]
struct Parts {
    legacy: String,
    nft: String,
}

impl<'a> Head<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let is_program =
            |word: &str| matches!(word.strip_suffix("-legacy").unwrap_or(word), "iptables" | "ip6tables");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [program] if is_program(program) => Some(Self { program, dump: None }),
            ["dump", name] => {
                let (stem, program) = name.strip_suffix("-save")?.rsplit_once('.')?;
                is_program(program).then_some(Self { program, dump: Some(stem) })
            }
            _ => None,
        }
    }

    fn write(&self, parts: &Parts, text: &mut String) {
        // What is loaded may be empty: then it says so.
        let both_empty = parts.legacy.is_empty() && parts.nft.is_empty();
        for (part, suffix) in [(&parts.nft, ""), (&parts.legacy, "-legacy")] {
            if part.is_empty() && !(both_empty && suffix.is_empty()) {
                continue;
            }
            let _ = match self.dump {
                Some(stem) => writeln!(text, "dump {stem}.{}{suffix}-save", self.program),
                None => writeln!(text, "  {}{suffix}", self.program),
            };
            text.push_str(part);
        }
    }
}

/// A word of a `load` line: the dumps that are in the place of a dump.
fn loaded(word: &str, blocks: &[(&str, Option<(Head<'_>, Parts)>)]) -> String {
    let of_dump = |(head, parts): &(Head<'_>, Parts)| {
        let stem = head.dump?;
        if word != format!("{stem}.{}-save", head.program) {
            return None;
        }
        let legacy = format!("{stem}.{}-legacy-save", head.program);
        Some(match (parts.nft.is_empty(), parts.legacy.is_empty()) {
            (_, true) => word.to_owned(),
            (true, false) => legacy,
            (false, false) => format!("{word} {legacy}"),
        })
    };
    blocks.iter().filter_map(|(_, block)| block.as_ref()).find_map(of_dump).unwrap_or_else(|| word.to_owned())
}

/// Deals out a block of rules.
fn parts(body: &[&str], share: Share) -> Parts {
    let mut tables: Vec<Vec<&str>> = Vec::new();
    for line in body.iter().copied().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('*') || tables.is_empty() {
            tables.push(Vec::new());
        }
        if let Some(table) = tables.last_mut() {
            table.push(line);
        }
    }
    let mut parts = Parts::default();
    if let (Share::Both, [table]) = (share, &tables[..]) {
        return of_one_table(table);
    }
    for (place, table) in tables.iter().enumerate() {
        let is_legacy = share == Share::Legacy || place % 2 == 0;
        write(table, if is_legacy { &mut parts.legacy } else { &mut parts.nft });
    }
    parts
}

fn of_one_table(table: &[&str]) -> Parts {
    let mut bases: Vec<&str> = Vec::new();
    for chain in table.iter().filter_map(|line| chain_of(line)) {
        if Hook::of_chain(chain).is_some() && !bases.contains(&chain) {
            bases.push(chain);
        }
    }
    let (legacy, nft): (Vec<_>, Vec<_>) = bases.iter().enumerate().partition(|(place, _)| place % 2 == 0);
    let mut parts = Parts::default();
    // Of a table without base chains iptables-nft-restore makes nothing that could be loaded again.
    if bases.is_empty() {
        write(table, &mut parts.legacy);
        return parts;
    }
    write(&led_to(table, &legacy), &mut parts.legacy);
    match (&bases[..], table.first()) {
        ([base], Some(&"*nat")) => write(&["*nat", &format!("-A {base}"), "COMMIT"], &mut parts.nft),
        ([_], _) => {}
        _ => write(&led_to(table, &nft), &mut parts.nft),
    }
    parts
}

/// The lines of a table that are of some base chains or of chains that they lead to.
fn led_to<'a>(table: &[&'a str], bases: &[(usize, &&'a str)]) -> Vec<&'a str> {
    let mut kept: Vec<&str> = bases.iter().map(|(_, base)| **base).collect();
    let mut at = 0;
    while let Some(from) = kept.get(at).copied() {
        for line in table.iter().filter(|line| line.starts_with(['-', '[']) && chain_of(line) == Some(from)) {
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                let target = if matches!(word, "-j" | "-g") { words.next() } else { None };
                if let Some(target) = target.filter(|target| !kept.contains(target)) {
                    kept.push(target);
                }
            }
        }
        at += 1;
    }
    let is_kept = |line: &&&str| chain_of(line).is_none_or(|chain| kept.contains(&chain));
    table.iter().filter(is_kept).copied().collect()
}

/// The chain that a line declares or has a rule of.
fn chain_of(line: &str) -> Option<&str> {
    match line.strip_prefix(':') {
        Some(declared) => declared.split_whitespace().next(),
        None => line.split_once("-A ")?.1.split_whitespace().next(),
    }
}

fn write(lines: &[&str], text: &mut String) {
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}
