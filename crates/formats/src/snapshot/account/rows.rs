//! Files that are JSON lists.

use std::collections::HashSet;
use std::path::Path;

use natpath_model::{Family, Item};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Accounted, Source, Unit};
use crate::snapshot::files::read_text;

/// The rows of a list; `None` where the text is none.
pub(super) fn cut(text: &str) -> Option<Vec<&str>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let rows: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(rows.into_iter().map(RawValue::get).collect())
}

/// Whether a row is `{}`, which older iproute2 prints.
pub(super) fn is_empty(row: &str) -> bool {
    row.trim_matches(['{', '}', ' ', '\n', '\r', '\t']).is_empty()
}

/// The number of segments in topology.json; `None` where the text is none.
pub(super) fn segments(text: &str) -> Option<usize> {
    if text.trim().is_empty() {
        return Some(0);
    }
    #[derive(Deserialize)]
    struct Topology {
        segments: Vec<IgnoredAny>,
    }
    serde_json::from_str(text).ok().map(|topology: Topology| topology.segments.len())
}

/// route.json lists IPv6 too: where route6.json is there, those rows are taken from it.
pub(super) fn both_families(source: &Source<'_>) -> Accounted {
    let given = source.snapshot.given.has(Item::Routes(Family::Ip4));
    let own = if given { source.routes(Family::Ip4) } else { 0 };
    let directory = Path::new(source.path).parent().unwrap_or(Path::new("."));
    let Some(ip6) = read_text(directory, "route6.json", &mut Vec::new()) else {
        return source.rows("routes", own + source.routes(Family::Ip6));
    };
    let compact = |row: &str| row.split_whitespace().collect::<String>();
    let known: HashSet<String> = cut(&ip6.text).unwrap_or_default().into_iter().map(compact).collect();
    let is_repeated = |row: &&&str| known.contains(&compact(row)) || is_ip6(row);
    let repeated =
        cut(source.text).unwrap_or_default().iter().filter(|row| !is_empty(row)).filter(is_repeated).count();
    let account = source.rows("routes", own);
    match account.unit {
        Unit::Rows => Accounted { items: own + repeated, repeated, ..account },
        Unit::Lines | Unit::Files => account,
    }
}

fn is_ip6(row: &str) -> bool {
    #[derive(Deserialize)]
    struct Row {
        dst: String,
        gateway: Option<String>,
    }
    let has_colon =
        |row: Row| row.dst.contains(':') || row.gateway.is_some_and(|gateway| gateway.contains(':'));
    row.contains("\"pref\"") || serde_json::from_str(row).is_ok_and(has_colon)
}
