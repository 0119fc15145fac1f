//! Everything the kernel leaves to chance, or that no listing shows, is asked of [`Choices`].
//!
//! A run follows a script of picks; where the script ends it takes the first option and notes how many
//! there were. The explorer then runs again with the last pick moved on, depth first, until all are done.

use std::collections::BTreeMap;
use std::net::IpAddr;

use natpath_model::RuleRef;

use crate::trace::{Assumption, HostId};

/// The picks of one run.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    script: Vec<usize>,
    taken: Vec<Pick>,
    /// Constructs of unknown effect that were met, each decided once per run.
    opaque: BTreeMap<(HostId, RuleRef, u32), bool>,
    settled: Settled,
    mode: Mode,
}

/// What is the same for all flows once it is known: secrets and orders that no listing shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settled {
    /// For each multipath route, by host, line, source and destination, the next hop taken.
    hops: BTreeMap<(HostId, u32, IpAddr, IpAddr), usize>,
    /// For each host, whether its legacy chains run before others of equal priority.
    legacy_first: BTreeMap<HostId, bool>,
}

impl Settled {
    /// What two courses that ended alike agree in.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let mut common = self.clone();
        common.hops.retain(|key, hop| other.hops.get(key) == Some(hop));
        common.legacy_first.retain(|host, first| other.legacy_first.get(host) == Some(first));
        common
    }
}

/// Whether picks are explored or answered in a fixed way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    /// By the script.
    #[default]
    Scripted,
    /// Every chance condition holds and no opaque one does: to ask what a rule could do.
    Hopeful,
    /// Chance by the script, and no opaque condition holds: to ask all that rules could do.
    Possible,
}

/// One pick that was made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pick {
    pub(crate) chosen: usize,
    pub(crate) options: usize,
    /// The chosen option's probability; `None` where nothing is known about it.
    pub(crate) weight: Option<f64>,
    /// What the pick of an opaque construct assumes.
    pub(crate) assumption: Option<Assumption>,
}

impl Choices {
    /// Follows a script of option numbers.
    #[must_use]
    pub fn scripted(script: Vec<usize>) -> Self {
        Self { script, ..Self::default() }
    }

    /// The same, with what earlier flows have settled.
    pub(crate) fn settled(self, settled: Settled) -> Self {
        Self { settled, ..self }
    }

    /// What is settled by now.
    pub(crate) fn into_settled(self) -> Settled {
        self.settled
    }

    /// Lets every chance condition hold and no opaque one.
    #[must_use]
    pub fn hopeful() -> Self {
        Self { mode: Mode::Hopeful, ..Self::default() }
    }

    /// Follows a script where chance decides, and lets no opaque condition hold.
    #[must_use]
    pub(crate) fn possible(script: Vec<usize>) -> Self {
        Self { script, mode: Mode::Possible, ..Self::default() }
    }

    /// Picks one of several options with the given weights, which sum to 1. A single option is no pick.
    pub fn pick(&mut self, weights: &[f64]) -> usize {
        if weights.len() < 2 || self.mode == Mode::Hopeful {
            return 0;
        }
        let chosen = self.next(weights.len());
        self.taken.push(Pick {
            chosen,
            options: weights.len(),
            weight: Some(weights[chosen]),
            assumption: None,
        });
        chosen
    }

    /// Draws whether a condition of this probability holds.
    pub fn chance(&mut self, probability: f64) -> bool {
        if self.mode == Mode::Hopeful {
            return probability > 0.0;
        }
        if probability <= 0.0 {
            false
        } else if probability >= 1.0 {
            true
        } else {
            self.pick(&[probability, 1.0 - probability]) == 0
        }
    }

    /// Decides an opaque construct of a rule: once per run, first as if it did not apply.
    pub fn opaque(
        &mut self,
        host: HostId,
        rule: RuleRef,
        part: u32,
        assumption: impl FnOnce(bool) -> Assumption,
    ) -> bool {
        if self.mode != Mode::Scripted {
            return false;
        }
        if let Some(applies) = self.opaque.get(&(host, rule, part)) {
            return *applies;
        }
        let chosen = self.next(2);
        let applies = chosen == 1;
        self.taken.push(Pick { chosen, options: 2, weight: None, assumption: Some(assumption(applies)) });
        self.opaque.insert((host, rule, part), applies);
        applies
    }

    /// Decides, once per host, whether legacy chains run first at equal priority.
    pub fn legacy_first(&mut self, host: HostId) -> bool {
        if let Some(first) = self.settled.legacy_first.get(&host) {
            return *first;
        }
        let first = self.pick(&[0.5, 0.5]) == 0;
        self.settled.legacy_first.insert(host, first);
        first
    }

    /// Chooses a next hop of a multipath route: the same one for all packets of a source and destination, by
    /// a hash with a secret (route.c, `fib_multipath_hash`, policy 0).
    pub fn hop(&mut self, host: HostId, line: u32, src: IpAddr, dst: IpAddr, weights: &[f64]) -> usize {
        if let Some(hop) = self.settled.hops.get(&(host, line, src, dst)) {
            return *hop;
        }
        let hop = self.pick(weights);
        self.settled.hops.insert((host, line, src, dst), hop);
        hop
    }

    fn next(&self, options: usize) -> usize {
        self.script.get(self.taken.len()).map_or(0, |chosen| (*chosen).min(options - 1))
    }

    /// The picks of the run so far.
    pub(crate) fn taken(&self) -> &[Pick] {
        &self.taken
    }

    /// The probability of all the picks together.
    pub(crate) fn probability(&self) -> f64 {
        self.taken.iter().filter_map(|pick| pick.weight).product()
    }

    /// The script of the next run, depth first; `None` when all options have been tried.
    pub(crate) fn following(&self) -> Option<Vec<usize>> {
        let last = self.taken.iter().rposition(|pick| pick.chosen + 1 < pick.options)?;
        let mut script: Vec<usize> = self.taken[..=last].iter().map(|pick| pick.chosen).collect();
        script[last] += 1;
        Some(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_first_visits_every_combination_once() {
        let mut script = Some(Vec::new());
        let mut seen = Vec::new();
        while let Some(picks) = script {
            let mut choices = Choices::scripted(picks);
            let first = choices.pick(&[0.5, 0.5]);
            let second = if first == 0 { choices.pick(&[0.25, 0.25, 0.5]) } else { 9 };
            seen.push((first, second, choices.probability()));
            script = choices.following();
        }
        assert_eq!(seen, [(0, 0, 0.125), (0, 1, 0.125), (0, 2, 0.25), (1, 9, 0.5)]);
    }
}
