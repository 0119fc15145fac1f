//! The names of nft's tables, to say which of them were not taken from iptables-save.

use std::fmt;

use natpath_model::{Backend, Ruleset};
use serde::Deserialize;

/// A table's family and name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TableName {
    family: String,
    name: String,
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

/// Chains, rules and sets are other keys, which are passed over.
#[derive(Deserialize)]
struct Entry {
    table: Option<TableName>,
}

/// The tables of either form.
pub(super) fn tables(text: &str) -> Vec<TableName> {
    if text.trim_start().starts_with('{') { tables_of_json(text) } else { tables_of_text(text) }
}

/// The tables of `nft -j list ruleset`; none where it is no such text.
pub(super) fn tables_of_json(text: &str) -> Vec<TableName> {
    let listing: Option<Listing> = serde_json::from_str(text).ok();
    listing.into_iter().flat_map(|listing| listing.nftables).filter_map(|entry| entry.table).collect()
}

/// The tables of `nft list ruleset`.
pub(super) fn tables_of_text(text: &str) -> Vec<TableName> {
    let name = |line: &str| {
        let mut words = line.strip_prefix("table ")?.split_whitespace();
        Some(TableName { family: words.next()?.to_owned(), name: words.next()?.to_owned() })
    };
    text.lines().filter_map(name).collect()
}

impl TableName {
    pub(super) fn new(family: &str, name: &str) -> Self {
        Self { family: family.to_owned(), name: name.to_owned() }
    }

    /// Whether iptables-nft made the table, so that iptables-save has listed it.
    pub(super) fn belongs_to_iptables(&self, ruleset: &Ruleset) -> bool {
        ruleset.tables.iter().any(|table| {
            table.backend == Backend::Iptables
                && table.name == self.name
                && table.family.to_string() == self.family
        })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}
