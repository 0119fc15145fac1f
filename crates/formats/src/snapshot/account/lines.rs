//! Files of lines.

use std::collections::{BTreeMap, BTreeSet};

use super::{Accounted, Source, Unit, failed_lines};
use crate::iptables_save::ast::Line;
use crate::iptables_save::{has_table, parse};
use crate::nft_hooks;

/// iptables-save: an item is a rule.
pub(super) fn rules(source: &Source<'_>) -> Accounted {
    let account = source.account("iptables", Unit::Lines, source.text.lines().count());
    let failed = failed_lines(&account.errors);
    let items = source.rule_lines().difference(&failed).count();
    // 1) Every line that is no rule, and the rules of each table that was opened.
    let (mut structure, mut unread) = (0, 0);
    let mut tables: BTreeMap<&str, usize> = BTreeMap::new();
    let mut current = None;
    for (number, line) in (1u32..).zip(source.text.lines()) {
        if failed.contains(&number) {
            current = if line.trim_start().starts_with('*') { None } else { current };
            continue;
        }
        match parse::line(line) {
            Ok(Line::Table(name)) => {
                // 2) A table that begins again replaces the first.
                unread += tables.insert(name, 0).unwrap_or(0);
                current = has_table(name).then_some(name);
                structure += 1;
            }
            Ok(Line::Command(command)) if is_rule(command.text) => match current {
                Some(name) => *tables.entry(name).or_default() += 1,
                None => unread += 1,
            },
            Ok(Line::Comment(_) | Line::Chain(_) | Line::Commit | Line::Command(_)) => structure += 1,
            Err(_) => unread += 1,
        }
    }
    Accounted { items, structure, unread, ..account }
}

fn is_rule(command: &str) -> bool {
    let verb = command.split_whitespace().next().unwrap_or("");
    !matches!(verb, "-N" | "--new-chain" | "-P" | "--policy")
}

/// sysctl: an item is a parameter; one that is set again counts once.
pub(super) fn sysctl(source: &Source<'_>) -> Accounted {
    let account = source.account("sysctl", Unit::Lines, source.text.lines().count());
    let is_comment = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with(['#', ';']);
    let comments = source.text.lines().filter(is_comment).count();
    let names = source.text.lines().filter(|line| !is_comment(line)).filter_map(|line| line.split_once('='));
    let mut seen = BTreeSet::new();
    let again = names.filter(|(name, _)| !name.trim().is_empty() && !seen.insert(name.trim())).count();
    Accounted { items: source.snapshot.sysctls.len(), structure: comments + again, ..account }
}

/// ss: an item is a socket that listens; other sockets take no connection.
pub(super) fn sockets(source: &Source<'_>) -> Accounted {
    let account = source.account("sockets", Unit::Lines, source.text.lines().count());
    let failed = failed_lines(&account.errors);
    let listens = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().take(2).position(|word| matches!(*word, "LISTEN" | "UNCONN"));
        let has_port = at.and_then(|at| words.get(at + 3)).is_some_and(|local| !local.ends_with(":*"));
        let protocol = at == Some(0)
            || words.first().is_some_and(|netid| {
                matches!(*netid, "tcp" | "mptcp" | "udp" | "sctp" | "dccp" | "udplite" | "UDPLITE")
            });
        has_port && protocol
    };
    let others = (1u32..)
        .zip(source.text.lines())
        .filter(|(number, line)| !failed.contains(number) && !listens(line))
        .count();
    Accounted { items: source.snapshot.sockets.len(), structure: others, ..account }
}

/// ipset: an item is a set, or an element. A line of a range makes several elements, and counts once.
pub(super) fn sets(source: &Source<'_>) -> Accounted {
    let account = source.account("ipset", Unit::Lines, source.text.lines().count());
    let failed = failed_lines(&account.errors);
    let is_item = |line: &str| {
        !matches!(line.split_whitespace().next(), None | Some("COMMIT")) && !line.starts_with('#')
    };
    let read = (1u32..).zip(source.text.lines()).filter(|(number, _)| !failed.contains(number));
    let (lines, structure): (Vec<_>, Vec<_>) = read.partition(|(_, line)| is_item(line));
    let listed: usize = source.snapshot.sets.iter().map(|set| 1 + set.len()).sum();
    Accounted { items: listed.min(lines.len()), structure: structure.len(), ..account }
}

/// nft list hooks: an item is a function at a hook; those of bridges, ARP and devices order no IP packets.
pub(super) fn hooks(source: &Source<'_>) -> Accounted {
    let account = source.account("nft-hooks", Unit::Lines, source.text.lines().count());
    let entries =
        source.text.lines().filter(|line| matches!(nft_hooks::line(line), nft_hooks::Line::Entry(_)));
    let entries = entries.count();
    let items = source.snapshot.hooks.len();
    let unread = entries.saturating_sub(items + account.failed());
    Accounted { items, unread, structure: account.total - entries, ..account }
}

/// The time of recording.
pub(super) fn date(source: &Source<'_>) -> Accounted {
    let account = source.account("date", Unit::Files, 1);
    Accounted { items: usize::from(account.errors.is_empty()), ..account }
}

/// The host's name.
pub(super) fn name(source: &Source<'_>) -> Accounted {
    let account = source.account("name", Unit::Files, 1);
    Accounted { items: usize::from(account.errors.is_empty()), ..account }
}
