//! The one value space that every match is written in: unsigned 128-bit numbers, and sets of intervals of
//! them. Addresses, ports, marks, bit sets and interface names all live in it, so a match is always
//! "an expression lies in a set".

use std::fmt;
use std::ops::RangeInclusive;

/// A field of a packet or its metadata as a number.
pub type Value = u128;

/// A set of values: disjoint closed intervals in ascending order, no two of them adjacent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct IntervalSet {
    intervals: Vec<(Value, Value)>,
}

impl IntervalSet {
    /// The set of one value.
    #[must_use]
    pub fn single(value: Value) -> Self {
        Self { intervals: vec![(value, value)] }
    }

    /// The set of all values from the first to the last; the ends may come in either order.
    #[must_use]
    pub fn range(a: Value, b: Value) -> Self {
        Self { intervals: vec![(a.min(b), a.max(b))] }
    }

    /// Sorts and joins any intervals; the ends of each must be in order.
    #[must_use]
    pub fn from_intervals(intervals: impl IntoIterator<Item = (Value, Value)>) -> Self {
        let mut raw: Vec<_> = intervals.into_iter().collect();
        raw.sort_unstable();
        let mut joined: Vec<(Value, Value)> = Vec::with_capacity(raw.len());
        for (low, high) in raw {
            match joined.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => joined.push((low, high)),
            }
        }
        Self { intervals: joined }
    }

    /// Whether the value is in the set; logarithmic in the number of intervals.
    #[must_use]
    pub fn contains(&self, value: Value) -> bool {
        let after = self.intervals.partition_point(|(low, _)| *low <= value);
        after > 0 && value <= self.intervals[after - 1].1
    }

    /// The intervals, ascending.
    #[must_use]
    pub fn intervals(&self) -> &[(Value, Value)] {
        &self.intervals
    }

    /// The only value of the set, if it has just one.
    #[must_use]
    pub fn as_single(&self) -> Option<Value> {
        match self.intervals[..] {
            [(low, high)] if low == high => Some(low),
            _ => None,
        }
    }

    /// Cuts `within` into the largest pieces that lie wholly inside or wholly outside the set, ascending,
    /// each with whether it is inside.
    #[must_use]
    pub fn cut(&self, within: RangeInclusive<Value>) -> Vec<(RangeInclusive<Value>, bool)> {
        let (mut at, end) = within.into_inner();
        let mut pieces = Vec::new();
        for &(low, high) in &self.intervals {
            if high < at {
                continue;
            }
            if low > end || at > end {
                break;
            }
            if low > at {
                pieces.push((at..=low - 1, false));
            }
            let last = high.min(end);
            pieces.push((low.max(at)..=last, true));
            if last == end {
                return pieces;
            }
            at = last + 1;
        }
        pieces.push((at..=end, false));
        pieces
    }
}

/// An interface name, at most 15 bytes (linux/if.h, `IFNAMSIZ`), packed big-endian into a [`Value`] so that
/// a name prefix (`eth+`) is an interval.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(Value);

impl InterfaceName {
    /// The loopback interface's name.
    pub const LO: Self = Self::packed(b"lo");

    const fn packed(name: &[u8]) -> Self {
        let mut bytes = [0; 16];
        let mut index = 0;
        while index < name.len() {
            bytes[index] = name[index];
            index += 1;
        }
        Self(Value::from_be_bytes(bytes))
    }

    /// Packs a name; `None` if it is empty or longer than 15 bytes.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty() && name.len() < 16).then(|| Self::packed(name.as_bytes()))
    }

    /// The name as a number.
    #[must_use]
    pub fn value(self) -> Value {
        self.0
    }

    /// The names that a netfilter pattern takes: `eth0` that one name, `eth+` all that begin with `eth`,
    /// `+` all. `None` if the pattern is empty or longer than 15 bytes.
    #[must_use]
    pub fn pattern(pattern: &str) -> Option<IntervalSet> {
        let Some(prefix) = pattern.strip_suffix('+') else {
            return Self::new(pattern).map(|name| IntervalSet::single(name.0));
        };
        if prefix.len() >= 16 {
            return None;
        }
        let low = Self::packed(prefix.as_bytes()).0;
        let free = 8 * (16 - prefix.len() as u32);
        let mask = if free == 128 { Value::MAX } else { (1 << free) - 1 };
        Some(IntervalSet::range(low, low | mask))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_be_bytes();
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        f.write_str(&String::from_utf8_lossy(&bytes[..length]))
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_joined_and_searched() {
        let set = IntervalSet::from_intervals([(10, 20), (1, 3), (4, 5), (15, 30)]);
        assert_eq!(set.intervals(), [(1, 5), (10, 30)]);
        for (value, inside) in [(0, false), (1, true), (5, true), (6, false), (30, true), (31, false)] {
            assert_eq!(set.contains(value), inside, "{value}");
        }
    }

    #[test]
    fn cutting_covers_the_interval_in_order() {
        let set = IntervalSet::from_intervals([(10, 20), (40, 50)]);
        assert_eq!(set.cut(0..=45), [(0..=9, false), (10..=20, true), (21..=39, false), (40..=45, true)]);
        assert_eq!(set.cut(12..=15), [(12..=15, true)]);
        assert_eq!(set.cut(60..=70), [(60..=70, false)]);
        assert_eq!(set.cut(15..=30), [(15..=20, true), (21..=30, false)]);
    }

    #[test]
    fn interface_patterns_are_intervals() {
        let name = |text| InterfaceName::new(text).expect("a short name").value();
        let eth = InterfaceName::pattern("eth+").expect("a short pattern");
        assert!(eth.contains(name("eth0")) && eth.contains(name("eth")) && eth.contains(name("eth0.100")));
        assert!(!eth.contains(name("et")) && !eth.contains(name("veth0")));
        assert!(InterfaceName::pattern("+").expect("all").contains(name("lo")));
        assert_eq!(InterfaceName::new("br-40aa689cfeb6").expect("15 bytes").to_string(), "br-40aa689cfeb6");
        assert_eq!(InterfaceName::new("sixteen-bytes-xx"), None);
    }
}
