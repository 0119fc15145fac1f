//! What changes while packets flow: conntrack tables, counters, the memory of rules, rate limits.
//!
//! The snapshots are never changed; a [`HostState`] starts empty and holds what differs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU16;

use natpath_model::{Counter, Port, RuleRef, Snapshot};

use crate::choice::Choices;
use crate::conntrack::ConntrackTable;
use crate::nat::{Stale, Unreached};
use crate::time::Instant;
use crate::trace::{Assumption, Drawn};
use crate::xt::Memory;

/// The changing part of a host.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct HostState {
    /// Its connections.
    pub(crate) conntrack: ConntrackTable,
    /// What each rule has counted since it was loaded.
    pub(crate) counters: HashMap<RuleRef, Counter>,
    /// The counters of `statistic --mode nth`, by rule and number of the match.
    pub(crate) nth: HashMap<(RuleRef, u32), u32>,
    /// Whether its rules were loaded while the session ran, so that their own counters began at 0.
    pub(crate) loaded: bool,
    /// What matches and targets remember.
    pub(crate) memory: Memory,
    /// How many errors each address may still be sent.
    pub(crate) peers: BTreeMap<IpAddr, Bucket>,
    /// The addresses that were sent a redirect.
    pub(crate) redirected: BTreeSet<IpAddr>,
}

impl HostState {
    /// The state of a host as it was recorded.
    pub(crate) fn recorded(host: &Snapshot) -> Self {
        let mut state = Self { conntrack: ConntrackTable::with(&host.connections), ..Self::default() };
        state.memory.begin(&host.ruleset);
        state
    }

    /// Takes note that other rules have taken the place of a host's.
    pub(crate) fn load(&mut self, old: &Snapshot, new: &Snapshot) {
        self.counters.clear();
        self.nth.clear();
        self.loaded = true;
        self.memory.load(&new.ruleset);
        let places = Places::of(new);
        for entry in self.conntrack.entries_mut() {
            for by in &mut entry.translated_by {
                *by = by.and_then(|by| places.find(old, by));
            }
        }
    }
}

impl HostState {
    /// Takes note that other sets may have taken the place of a host's.
    pub(crate) fn load_sets(&mut self, old: &Snapshot, new: &Snapshot, now: Instant) {
        if new.sets != old.sets {
            self.memory.load_sets(now);
        }
    }
}

/// The rules of a host by what they are: to find out what became of one after others were loaded.
struct Places<'a> {
    rules: HashMap<(natpath_model::Backend, &'a str, &'a str, &'a str), RuleRef>,
}

impl<'a> Places<'a> {
    fn of(host: &'a Snapshot) -> Self {
        let rules = host.ruleset.rules().map(|(at, _)| (Self::key(host, at), at));
        Self { rules: rules.collect() }
    }

    fn key(host: &'a Snapshot, at: RuleRef) -> (natpath_model::Backend, &'a str, &'a str, &'a str) {
        let table = &host.ruleset.tables[at.table as usize];
        let chain = host.ruleset.chain(at.table, at.chain);
        let text = host.text(&host.ruleset.rule(at).origin);
        (table.backend, &table.name, &chain.name, text)
    }

    /// The rule that is the same as one of a host's rules before.
    fn find(&self, old: &Snapshot, at: RuleRef) -> Option<RuleRef> {
        let (backend, table, chain, text) = Places::key(old, at);
        self.rules.get(&(backend, table, chain, text)).copied()
    }
}

/// A token bucket in milliseconds of credit (inetpeer.c, `inet_peer_xrlim_allow`; route.c, `ip_error`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    credit: u64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(now: Instant) -> Self {
        Self { credit: u64::MAX, filled: now }
    }

    /// An empty bucket.
    pub(crate) fn empty(now: Instant) -> Self {
        Self { credit: 0, filled: now }
    }

    /// Takes `cost` if there is as much, after filling up to `most`.
    pub(crate) fn take(&mut self, now: Instant, cost: u64, most: u64) -> bool {
        let gained = now.0.saturating_sub(self.filled.0);
        self.filled = now;
        self.credit = self.credit.saturating_add(gained).min(most);
        let enough = self.credit >= cost;
        if enough {
            self.credit -= cost;
        }
        enough
    }
}

/// What all hosts of a run share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    pub(crate) now: Instant,
    pub(crate) choices: Choices,
    /// The ports drawn so far; a port's number is its place here, from 1.
    pub(crate) drawn: Vec<Drawn>,
    /// The number of entries confirmed so far, over all hosts.
    pub(crate) sequence: u64,
    /// The same before the run.
    pub(crate) begun: u64,
    pub(crate) assumptions: BTreeSet<Assumption>,
    /// The nat rules that were meant for a packet but not tried.
    pub(crate) unreached: Vec<Unreached>,
    /// The entries from before the run that decide otherwise than the rules would.
    pub(crate) stale: Vec<Stale>,
}

impl Env {
    /// Draws a port from an interval: a known one if there is no choice.
    pub(crate) fn draw(&mut self, low: u16, high: u16) -> Port {
        if low == high {
            return Port::new(low);
        }
        self.drawn.push(Drawn { low, high });
        let number = u16::try_from(self.drawn.len()).ok().and_then(NonZeroU16::new);
        Port { value: 0, drawn: number }
    }

    /// Narrows a drawn port to the pieces that a comparison tells apart, and says on which side it is.
    /// The comparison is a choice where both sides are possible.
    pub(crate) fn compare(&mut self, port: Port, set: &natpath_model::IntervalSet) -> bool {
        let Some(number) = port.drawn else { return set.contains(port.value.into()) };
        let index = usize::from(number.get()) - 1;
        let Drawn { low, high } = self.drawn[index];
        let pieces = set.cut(low.into()..=high.into());
        let all = f64::from(high - low) + 1.0;
        let size = |piece: &std::ops::RangeInclusive<u128>| (piece.end() - piece.start() + 1) as f64;
        let weights: Vec<f64> = pieces.iter().map(|(piece, _)| size(piece) / all).collect();
        let (piece, inside) = &pieces[self.choices.pick(&weights)];
        // The pieces lie within the 16-bit interval that was cut.
        self.drawn[index] = Drawn { low: *piece.start() as u16, high: *piece.end() as u16 };
        *inside
    }
}
