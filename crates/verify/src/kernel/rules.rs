//! Rules: loaded by the tools whose dumps they are, and their counters read back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use natpath_formats::snapshot::{Dump, DumpKind};
use natpath_model::{Backend, ChainKind, Counter, Family, Snapshot, SourceFile, Table, TableFamily};

use super::namespace::{Namespace, command};

/// The kinds of rules, each with tools of its own.
const KINDS: [(Backend, Family); 4] = [
    (Backend::Iptables, Family::Ip4),
    (Backend::Iptables, Family::Ip6),
    (Backend::IptablesLegacy, Family::Ip4),
    (Backend::IptablesLegacy, Family::Ip6),
];

/// Where a rule stands, in a form that does not depend on how it was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RulePlace {
    /// Who made its table.
    pub backend: Backend,
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Its number in the chain, from 1.
    pub number: usize,
}

/// The kernel's counters of a host, with each rule's text.
pub type Counters = BTreeMap<RulePlace, (Counter, String)>;

/// Loads all dumps of a host.
pub(super) fn load(namespace: &Namespace, host: &Snapshot) -> Result<()> {
    let dumps: Vec<(DumpKind, Dump)> = host.files.iter().filter_map(dump).collect();
    let of_kind = |wanted: fn(&DumpKind) -> bool| dumps.iter().filter(move |(kind, _)| wanted(kind));
    // Rules name sets.
    for (_, dump) in of_kind(|kind| *kind == DumpKind::Sets) {
        namespace.command("ipset", &["restore"], &dump.text)?;
    }
    let rules = || of_kind(|kind| matches!(kind, DumpKind::Rules(..)));
    let objects: BTreeSet<&str> = rules().flat_map(|(_, dump)| accounting_objects(&dump.text)).collect();
    for object in objects {
        namespace.command("nfacct", &["add", object], "").context("a rule counts by nfacct")?;
    }
    for (kind, dump) in rules() {
        let DumpKind::Rules(backend, family) = *kind else { continue };
        namespace
            .command(&tool(backend, family, "restore"), &[], &dump.text)
            .with_context(|| dump.name.clone())?;
    }
    Ok(())
}

/// A file of a snapshot that is a dump of rules or sets.
fn dump(file: &SourceFile) -> Option<(DumpKind, Dump)> {
    DumpKind::of_name(&file.name)?;
    let dump = Dump { name: file.name.clone(), path: String::new(), text: file.text.clone() };
    Some((dump.kind()?, dump))
}

/// The names of nfacct objects that rules count by: they must be there before.
fn accounting_objects(text: &str) -> BTreeSet<&str> {
    let mut words = text.split_ascii_whitespace();
    let mut names = BTreeSet::new();
    while words.any(|word| word == "--nfacct-name") {
        names.extend(words.next());
    }
    names
}

/// Puts other rules in the place of a host's, as a `load` line asks: sets, then dumps as they are listed,
/// then nothing for the tables that no dump has.
///
/// # Errors
/// If a tool refuses its input.
pub(crate) fn replace(
    namespace: &Namespace,
    before: &Snapshot,
    after: &Snapshot,
    dumps: &[Dump],
) -> Result<()> {
    for dump in dumps.iter().filter(|dump| dump.kind() == Some(DumpKind::Sets)) {
        let there = namespace.command("ipset", &["list", "-n"], "")?;
        let there: Vec<&str> = there.lines().collect();
        namespace.command("ipset", &["restore"], &swapped(&dump.text, &there))?;
    }
    for dump in dumps {
        match dump.kind() {
            Some(DumpKind::Rules(backend, family)) => {
                namespace.command(&tool(backend, family, "restore"), &[], &dump.text)?;
            }
            Some(DumpKind::Nft) => bail!("{} is not loaded: nft rules are not built", dump.name),
            Some(DumpKind::Sets) | None => {}
        }
    }
    let key = |table: &Table| (table.backend, table.family, table.name.clone());
    let gone = |table: &&Table| !after.ruleset.tables.iter().any(|other| key(other) == key(table));
    for table in before.ruleset.tables.iter().filter(gone) {
        let family = if table.family == TableFamily::Ip6 { Family::Ip6 } else { Family::Ip4 };
        if table.backend == Backend::IptablesLegacy {
            namespace.command(&tool(table.backend, family, "restore"), &[], &emptied(table))?;
        } else {
            namespace.command("nft", &["delete", "table", &table.family.to_string(), &table.name], "")?;
        }
    }
    Ok(())
}

/// `iptables-nft-restore` and its like.
fn tool(backend: Backend, family: Family, what: &str) -> String {
    let program = if family == Family::Ip6 { "ip6tables" } else { "iptables" };
    let variant = if backend == Backend::IptablesLegacy { "legacy" } else { "nft" };
    format!("{program}-{variant}-{what}")
}

/// Input for `ipset restore` that puts sets in the place of those that are there and may be in use: each is
/// made under another name, and the two change their names.
fn swapped(text: &str, there: &[&str]) -> String {
    let other = |name: &str| there.iter().position(|known| *known == name).map(|at| format!("natpath{at}"));
    let mut input = String::new();
    let mut made = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(word), Some(name)) = (words.next(), words.next()) else { continue };
        let rest: Vec<&str> = words.collect();
        let at = other(name).unwrap_or_else(|| name.to_owned());
        input.push_str(&format!("{word} {at} {}\n", rest.join(" ")));
        if word == "create" && at != name {
            made.push((name, at));
        }
    }
    for (name, at) in made {
        input.push_str(&format!("swap {name} {at}\ndestroy {at}\n"));
    }
    input
}

/// A dump of a table without rules.
fn emptied(table: &Table) -> String {
    let is_base = |chain: &&natpath_model::Chain| matches!(chain.kind, ChainKind::Base { .. });
    let chains: String =
        table.chains.iter().filter(is_base).map(|chain| format!(":{} ACCEPT [0:0]\n", chain.name)).collect();
    format!("*{}\n{chains}COMMIT\n", table.name)
}

/// Reads the counters of all rules of a host that came from dumps.
///
/// # Errors
/// If a tool fails or prints something else.
pub fn counters(namespace: &Namespace, host: &Snapshot) -> Result<Counters> {
    let mut all = Counters::new();
    for (backend, family) in KINDS {
        let is_of = |table: &Table| (table.backend, table.family) == (backend, TableFamily::from(family));
        if host.ruleset.tables.iter().any(is_of) {
            let save = tool(backend, family, "save");
            let text = namespace.run(|| command(&save, &["-c"], ""))?;
            read(&text, backend, family, &mut all).with_context(|| format!("the output of {save} -c"))?;
        }
    }
    Ok(all)
}

fn read(text: &str, backend: Backend, family: Family, all: &mut Counters) -> Result<()> {
    let mut table = String::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
            numbers.clear();
        } else if let Some((counter, rule)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            let (packets, bytes) = counter.split_once(':').with_context(|| line.to_owned())?;
            let chain = rule.split_whitespace().nth(1).with_context(|| line.to_owned())?;
            let number = numbers.entry(chain.to_owned()).or_default();
            *number += 1;
            let place =
                RulePlace { backend, family, table: table.clone(), chain: chain.to_owned(), number: *number };
            let counter = Counter { packets: packets.parse()?, bytes: bytes.parse()? };
            all.insert(place, (counter, rule.to_owned()));
        }
    }
    Ok(())
}
