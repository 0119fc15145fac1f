//! Rules: loaded by the tools whose dumps they are, and their counters read back.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use natpath_formats::snapshot::{Dump, DumpKind};
use natpath_model::{Backend, ChainKind, Counter, Family, Snapshot, Table, TableFamily};

use super::namespace::{Namespace, command};

/// A kind of dump: the file's name, the tools, and what its tables are.
const DUMPS: [(&str, &str, &str, Backend, Family); 4] = [
    ("iptables-save", "iptables-nft-restore", "iptables-nft-save", Backend::Iptables, Family::Ip4),
    ("ip6tables-save", "ip6tables-nft-restore", "ip6tables-nft-save", Backend::Iptables, Family::Ip6),
    (
        "iptables-legacy-save",
        "iptables-legacy-restore",
        "iptables-legacy-save",
        Backend::IptablesLegacy,
        Family::Ip4,
    ),
    (
        "ip6tables-legacy-save",
        "ip6tables-legacy-restore",
        "ip6tables-legacy-save",
        Backend::IptablesLegacy,
        Family::Ip6,
    ),
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
    // Rules name sets.
    for file in host.files.iter().filter(|file| file.name == "ipset") {
        namespace.command("ipset", &["restore"], &file.text)?;
    }
    for file in &host.files {
        if let Some((_, restore, ..)) = DUMPS.iter().find(|(name, ..)| *name == file.name) {
            namespace.command(restore, &[], &file.text)?;
        } else if file.name.starts_with("nft") {
            bail!("{} is not loaded: nft rules are not built", file.name);
        }
    }
    Ok(())
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
    for (_, _, save, backend, family) in DUMPS {
        let is_of = |table: &Table| (table.backend, table.family) == (backend, TableFamily::from(family));
        if host.ruleset.tables.iter().any(is_of) {
            let text = namespace.run(|| command(save, &["-c"], ""))?;
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
