//! nft's listings: the tables of iptables-nft are taken from iptables-save, others are named.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Accounted, Source, Unit, Unsupported};
use crate::snapshot::nft::TableName;

/// `nft -j list ruleset`: a row is a table, chain, rule, set ...
pub(super) fn json(source: &Source<'_>) -> Accounted {
    let listing: Option<Value> = serde_json::from_str(source.text).ok();
    let Some(rows) = listing.as_ref().and_then(|listing| listing["nftables"].as_array()) else {
        return Accounted {
            unread: 1,
            unsupported: vec![no_listing()],
            ..source.account("nft", Unit::Files, 1)
        };
    };
    let (mut structure, mut repeated) = (0, 0);
    let mut others = Others::default();
    for row in rows {
        let Some((kind, body)) = row.as_object().and_then(|row| row.iter().next()) else {
            structure += 1;
            continue;
        };
        let word = |key: &str| body[key].as_str().unwrap_or("");
        let table = TableName::new(word("family"), word(if kind == "table" { "name" } else { "table" }));
        match kind.as_str() {
            "metainfo" => structure += 1,
            _ if table.belongs_to_iptables(&source.snapshot.ruleset) => repeated += 1,
            _ => others.add(table.to_string(), 0),
        }
    }
    let account = source.account("nft", Unit::Rows, rows.len());
    others.into(Accounted { items: repeated, repeated, structure, ..account })
}

/// `nft list ruleset`.
pub(super) fn text(source: &Source<'_>) -> Accounted {
    let (mut structure, mut repeated, mut total) = (0, 0, 0);
    let mut others = Others::default();
    let mut current: Option<(TableName, u32)> = None;
    for (number, line) in (1u32..).zip(source.text.lines()) {
        total += 1;
        if let Some(words) = line.strip_prefix("table ") {
            let mut words = words.split_whitespace();
            current =
                words.next().zip(words.next()).map(|(family, name)| (TableName::new(family, name), number));
        }
        match &current {
            None => structure += 1,
            Some((table, _)) if table.belongs_to_iptables(&source.snapshot.ruleset) => repeated += 1,
            Some((table, first)) => others.add(table.to_string(), *first),
        }
        if line.starts_with('}') {
            current = None;
        }
    }
    let account = source.account("nft", Unit::Lines, total);
    others.into(Accounted { items: repeated, repeated, structure, ..account })
}

/// The tables that only nft lists: where each begins, and its size.
#[derive(Default)]
struct Others(BTreeMap<String, (u32, usize)>);

impl Others {
    fn add(&mut self, table: String, line: u32) {
        self.0.entry(table).or_insert((line, 0)).1 += 1;
    }

    fn into(self, account: Accounted) -> Accounted {
        let what = if account.unit == Unit::Rows { "chains, rules and sets" } else { "lines" };
        let unread = self.0.values().map(|(_, size)| size).sum();
        let mut tables: Vec<_> = self
            .0
            .into_iter()
            .map(|(table, (line, size))| Unsupported {
                line,
                text: format!("table {table}: {size} {what}"),
                construct: format!("table {table}"),
                reason: "tables that nft made are not modelled".to_owned(),
            })
            .collect();
        tables.sort_by_key(|table| table.line);
        Accounted { unread, unsupported: tables, ..account }
    }
}

fn no_listing() -> Unsupported {
    let reason = "this is not the output of `nft -j list ruleset`".to_owned();
    Unsupported { line: 0, construct: "nft.json".to_owned(), text: reason.clone(), reason }
}
