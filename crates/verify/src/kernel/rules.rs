//! Rules: loaded by the tools whose dumps they are, and their counters read back.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use natpath_model::{Backend, Counter, Family, Snapshot};

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

/// Reads the counters of all rules of a host that came from dumps.
///
/// # Errors
/// If a tool fails or prints something else.
pub fn counters(namespace: &Namespace, host: &Snapshot) -> Result<Counters> {
    let mut all = Counters::new();
    for (name, _, save, backend, family) in DUMPS {
        if host.files.iter().any(|file| file.name == name) {
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
