//! Rules: loaded by the tools whose dumps they are, and their counters read back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use natpath_formats::iptables_save::is_of_legacy;
use natpath_model::{Backend, Counter, Family, Snapshot, SourceFile};

use super::namespace::{Namespace, command};

/// A kind of dump.
struct Dump {
    /// The file's name in a snapshot.
    file: &'static str,
    /// The tool that loads it.
    restore: &'static str,
    /// The tool that prints it.
    save: &'static str,
    backend: Backend,
    family: Family,
}

const DUMPS: [Dump; 4] = [
    Dump {
        file: "iptables-save",
        restore: "iptables-nft-restore",
        save: "iptables-nft-save",
        backend: Backend::Iptables,
        family: Family::Ip4,
    },
    Dump {
        file: "ip6tables-save",
        restore: "ip6tables-nft-restore",
        save: "ip6tables-nft-save",
        backend: Backend::Iptables,
        family: Family::Ip6,
    },
    Dump {
        file: "iptables-legacy-save",
        restore: "iptables-legacy-restore",
        save: "iptables-legacy-save",
        backend: Backend::IptablesLegacy,
        family: Family::Ip4,
    },
    Dump {
        file: "ip6tables-legacy-save",
        restore: "ip6tables-legacy-restore",
        save: "ip6tables-legacy-save",
        backend: Backend::IptablesLegacy,
        family: Family::Ip6,
    },
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
    for file in host.files.iter().filter(|file| base(file) == "ipset") {
        namespace.command("ipset", &["restore"], &file.text)?;
    }
    let dumps = host.files.iter().filter(|file| dump(file).is_some());
    for object in dumps.flat_map(|file| accounting_objects(&file.text)).collect::<BTreeSet<_>>() {
        namespace.command("nfacct", &["add", object], "").context("a rule counts by nfacct")?;
    }
    for file in &host.files {
        if let Some(Dump { restore, .. }) = dump(file) {
            namespace.command(restore, &[], &file.text).with_context(|| file.name.clone())?;
        }
    }
    Ok(())
}

fn base(file: &SourceFile) -> &str {
    file.name.strip_suffix(".gz").unwrap_or(&file.name)
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

/// The kind of a file of rules; `None` for other files. The file that is named for the only backend of its host
/// may be a dump of the legacy one.
fn dump(file: &SourceFile) -> Option<&'static Dump> {
    let named = DUMPS.iter().find(|dump| dump.file == base(file))?;
    let legacy = |dump: &&Dump| dump.family == named.family && dump.backend == Backend::IptablesLegacy;
    if is_of_legacy(&file.text) { DUMPS.iter().find(legacy) } else { Some(named) }
}

/// Reads the counters of all rules of a host that came from dumps.
///
/// # Errors
/// If a tool fails or prints something else.
pub fn counters(namespace: &Namespace, host: &Snapshot) -> Result<Counters> {
    let mut all = Counters::new();
    let mut dumps: Vec<&Dump> = host.files.iter().filter_map(dump).collect();
    dumps.dedup_by_key(|dump| dump.save);
    for Dump { save, backend, family, .. } in dumps {
        let text = namespace.run(|| command(save, &["-c"], ""))?;
        read(&text, *backend, *family, &mut all).with_context(|| format!("the output of {save} -c"))?;
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
