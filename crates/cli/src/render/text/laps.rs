//! Hops that repeat: a packet in a loop crosses the same hosts until its time to live runs out.

/// A run of hops that is told once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Laps {
    /// The first hop of the first lap.
    pub(crate) begin: usize,
    /// The hops of a lap.
    pub(crate) length: usize,
    /// How often they are crossed in all.
    pub(crate) count: usize,
}

/// The fewest laps that are worth a remark.
const FEWEST: usize = 3;

impl Laps {
    /// The first run of equal laps.
    pub(crate) fn find<T: PartialEq>(hops: &[T]) -> Option<Self> {
        (0..hops.len()).find_map(|begin| {
            let rest = &hops[begin..];
            (1..=rest.len() / FEWEST).find_map(|length| {
                let (first, _) = rest.split_at(length);
                let count = rest.chunks_exact(length).take_while(|lap| *lap == first).count();
                (count >= FEWEST).then_some(Self { begin, length, count })
            })
        })
    }

    /// The hop after the first lap.
    pub(crate) fn told(&self) -> usize {
        self.begin + self.length
    }

    /// The hop after the last lap.
    pub(crate) fn end(&self) -> usize {
        self.begin + self.length * self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_are_found_behind_a_beginning() {
        let check = |hops: &str, expected: Option<(usize, usize, usize)>| {
            let hops: Vec<_> = hops.chars().collect();
            let found = Laps::find(&hops).map(|laps| (laps.begin, laps.length, laps.count));
            assert_eq!(found, expected, "{hops:?}");
        };
        check("cababababx", Some((1, 2, 4)));
        check("aaa", Some((0, 1, 3)));
        check("cabab", None);
    }
}
