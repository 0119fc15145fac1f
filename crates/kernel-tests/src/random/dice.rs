//! Numbers that look random and are the same for the same seed.

use fastrand::Rng;

/// A source of choices.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    rng: Rng,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed) }
    }

    /// True in so many cases of a hundred.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn number(&mut self, low: usize, high: usize) -> usize {
        self.rng.usize(low..=high)
    }

    /// One of a list, which must not be empty.
    pub(super) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.rng.usize(0..list.len())]
    }

    /// One of a list of words.
    pub(super) fn word<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.rng.usize(0..list.len())]
    }

    /// One of a list in which each stands with its weight.
    pub(super) fn weighted<T: Copy>(&mut self, list: &[(u32, T)]) -> T {
        let total = list.iter().map(|(weight, _)| weight).sum();
        let mut at = self.rng.u32(0..total);
        for (weight, item) in list {
            if at < *weight {
                return *item;
            }
            at -= weight;
        }
        list[0].1
    }
}
