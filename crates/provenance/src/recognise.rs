//! In which order signatures are asked.
//!
//! ```text
//!  a rule ─→ the chain it calls has a known name, of another program than its own chain ─→ that program
//!        ─→ its own chain has a known name ─→ that program; in words: the rule, its comment, the chain
//!        ─→ the chain it calls, or its comment, or its own words are a program's
//!        ─→ its chain is called by rules of one program only ─→ that program
//!        ─→ the program that wrote the whole ruleset
//! ```

use natpath_model::{Chain, ChainId, ChainKind, RuleRef, Snapshot, Table};

use crate::Provenance;
use crate::pattern::{first, fits};
use crate::program::SIGNATURES;
use crate::sight::{Sight, callers};
use crate::signature::{Mark, Signature};

/// How many calls are followed upwards from a chain without a known name.
const CALLS: u32 = 4;

/// Who made a rule, and what for; `None` where nothing tells.
#[must_use]
pub fn of_rule(host: &Snapshot, at: RuleRef) -> Option<Provenance> {
    let sight = Sight::new(host, at)?;
    direct(&sight)
        .or_else(|| inherited(host, at.table, at.chain, CALLS))
        .or_else(|| rest(host, sight.table))
        .map(|known| known.provenance())
}

/// Who made a chain, and what for; `None` where nothing tells, as for most base chains of iptables.
#[must_use]
pub fn of_chain(host: &Snapshot, table: u32, chain: ChainId) -> Option<Provenance> {
    let known = by_name(host, host.ruleset.tables.get(table as usize)?, chain);
    known.or_else(|| inherited(host, table, chain, CALLS)).map(|known| known.provenance())
}

/// Whose mark this is on this host, and what it says of a packet; `mask` has the bits that count.
///
/// Several programs use the same bits, so only those count that left other traces on the host; where two
/// of them did, nothing is said.
#[must_use]
pub fn of_mark(host: &Snapshot, mark: u32, mask: u32) -> Option<Provenance> {
    let means = |known: &Mark| known.value == mark && known.mask & mask == known.mask;
    let mut present = SIGNATURES.iter().filter_map(|signature| {
        let what = signature.marks.iter().find(|known| means(known))?.what.to_owned();
        is_present(host, signature).then_some(Known { signature, what })
    });
    let known = present.next()?;
    present.next().is_none().then(|| known.provenance())
}

/// Who made an interface of the host, and what for: by its name, or as a port of a bridge that is known.
#[must_use]
pub fn of_interface(host: &Snapshot, name: &str) -> Option<Provenance> {
    let named = |name: &str| {
        SIGNATURES.iter().find_map(|signature| {
            let what = first(signature.interfaces, name)?;
            Some(Provenance { program: signature.program, what })
        })
    };
    named(name).or_else(|| {
        let link = host.links.iter().find(|link| link.name.to_string() == name)?;
        let bridge = link.master?.to_string();
        let what = format!("port of bridge {bridge}");
        Some(Provenance { program: named(&bridge)?.program, what })
    })
}

/// A program by its signature, and what a thing is to it.
struct Known {
    signature: &'static Signature,
    what: String,
}

impl Known {
    fn provenance(&self) -> Provenance {
        Provenance { program: self.signature.program, what: self.what.clone() }
    }
}

/// What the rule itself and the names of chains tell.
fn direct(sight: &Sight<'_>) -> Option<Known> {
    let own = by_name(sight.host, sight.table, sight.at.chain);
    let called = sight.target().and_then(|chain| by_name(sight.host, sight.table, chain));
    match (own, called) {
        (Some(own), Some(called)) if own.signature.program != called.signature.program => Some(called),
        (Some(own), _) => {
            let what = in_words(sight, own.signature).unwrap_or(own.what);
            Some(Known { what, ..own })
        }
        (None, called) => called.or_else(|| claimed(sight)).or_else(|| by_words(sight)),
    }
}

/// The program whose name a chain has.
fn by_name(host: &Snapshot, table: &Table, chain: ChainId) -> Option<Known> {
    let name = table.chains.get(chain.0 as usize)?.name.as_str();
    let owned = SIGNATURES.iter().find_map(|signature| {
        let table = first(signature.tables, &table.name)?;
        let what = first(signature.table_chains, name).unwrap_or(table);
        Some(Known { signature, what })
    });
    let named = || {
        SIGNATURES.iter().find_map(|signature| {
            let what = first(signature.chains, name)?;
            Some(Known { signature, what })
        })
    };
    let plain = || {
        SIGNATURES.iter().find_map(|signature| {
            let what = first(signature.plain_chains, name)?;
            has_anchor(host, table, signature).then_some(Known { signature, what })
        })
    };
    owned.or_else(named).or_else(plain)
}

/// What a program says of a rule in its own chain.
fn in_words(sight: &Sight<'_>, signature: &Signature) -> Option<String> {
    let beyond = signature.beyond.and_then(|beyond| beyond(sight));
    beyond
        .or_else(|| first(signature.rules, &sight.words()))
        .or_else(|| first(signature.comments, sight.comment()))
}

/// The program that alone writes such comments.
fn claimed(sight: &Sight<'_>) -> Option<Known> {
    SIGNATURES.iter().find_map(|signature| {
        let what = first(signature.claims, sight.comment())?;
        Some(Known { signature, what })
    })
}

/// The program that writes such rules into chains that are not its own.
fn by_words(sight: &Sight<'_>) -> Option<Known> {
    let words = sight.words();
    SIGNATURES.iter().find_map(|signature| {
        let beyond = signature.beyond.and_then(|beyond| beyond(sight));
        let what = beyond.or_else(|| first(signature.rules, &words))?;
        let counts = signature.anchors.is_empty() || has_anchor(sight.host, sight.table, signature);
        counts.then_some(Known { signature, what })
    })
}

/// The one program whose rules call a chain without a known name.
fn inherited(host: &Snapshot, table: u32, chain: ChainId, calls: u32) -> Option<Known> {
    if calls == 0 || !is_regular(host, table, chain) {
        return None;
    }
    let caller = |sight: Sight<'_>| {
        let own = by_name(host, sight.table, sight.at.chain);
        own.or_else(|| direct(&sight)).or_else(|| inherited(host, table, sight.at.chain, calls - 1))
    };
    let mut found: Option<Known> = None;
    for sight in callers(host, table, chain).filter(|sight| sight.at.chain != chain) {
        let known = caller(sight)?;
        match &found {
            Some(found) if found.signature.program != known.signature.program => return None,
            Some(_) => {}
            None => found = Some(known),
        }
    }
    found
}

fn is_regular(host: &Snapshot, table: u32, chain: ChainId) -> bool {
    let chains = host.ruleset.tables.get(table as usize).map_or(&[][..], |table| &table.chains);
    chains.get(chain.0 as usize).is_some_and(|chain| chain.kind == ChainKind::Regular)
}

/// The program that wrote the whole ruleset which a table is part of.
fn rest(host: &Snapshot, table: &Table) -> Option<Known> {
    SIGNATURES.iter().find_map(|signature| {
        let what = signature.rest?.to_owned();
        has_anchor(host, table, signature).then_some(Known { signature, what })
    })
}

/// Whether a program has left an anchor in the ruleset that a table is part of: all tables of the same front
/// end and family.
fn has_anchor(host: &Snapshot, table: &Table, signature: &Signature) -> bool {
    let same = |other: &&Table| other.backend == table.backend && other.family == table.family;
    let mut chains = host.ruleset.tables.iter().filter(same).flat_map(|table| &table.chains);
    !signature.anchors.is_empty() && chains.any(|chain| is_anchor(signature, chain))
}

fn is_anchor(signature: &Signature, chain: &Chain) -> bool {
    signature.anchors.iter().any(|anchor| fits(anchor, &chain.name))
}

/// Whether a program has left any trace on a host.
fn is_present(host: &Snapshot, signature: &Signature) -> bool {
    let in_table = |table: &Table| {
        let mut chains = table.chains.iter();
        first(signature.tables, &table.name).is_some()
            || chains
                .any(|chain| first(signature.chains, &chain.name).is_some() || is_anchor(signature, chain))
    };
    let mut links = host.links.iter();
    host.ruleset.tables.iter().any(in_table)
        || links.any(|link| first(signature.interfaces, &link.name.to_string()).is_some())
}
