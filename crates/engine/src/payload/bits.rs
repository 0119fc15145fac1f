//! A number of which some bits are known.

use super::Seen;

/// Bits of a 32-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bits {
    /// The known bits; 0 where one is not known.
    value: u32,
    known: u32,
}

impl Bits {
    /// Nothing is known.
    pub(super) const UNKNOWN: Self = Self { value: 0, known: 0 };

    pub(super) fn new(value: u32, known: u32) -> Self {
        Self { value: value & known, known }
    }

    /// All is known.
    pub(super) fn of(value: u32) -> Self {
        Self::new(value, u32::MAX)
    }

    /// The number, if all of it is known.
    pub(super) fn number(self) -> Option<u32> {
        (self.known == u32::MAX).then_some(self.value)
    }

    /// The least and the greatest number it can be.
    pub(super) fn bounds(self) -> (u32, u32) {
        (self.value, self.value | !self.known)
    }

    pub(super) fn and(self, other: Self) -> Self {
        let zero = self.known & !self.value | other.known & !other.value;
        Self::new(self.value & other.value, self.known & other.known | zero)
    }

    pub(super) fn or(self, other: Self) -> Self {
        let one = self.value | other.value;
        Self::new(one, self.known & other.known | one)
    }

    pub(super) fn xor(self, other: Self) -> Self {
        Self::new(self.value ^ other.value, self.known & other.known)
    }

    /// Shifts up; a shift of 32 or more is not defined.
    pub(super) fn left(self, by: u32) -> Self {
        let shifted = |bits: u32| bits.checked_shl(by);
        match (shifted(self.value), shifted(self.known)) {
            (Some(value), Some(known)) => Self::new(value, known | !(u32::MAX << by)),
            _ => Self::UNKNOWN,
        }
    }

    /// Shifts down.
    pub(super) fn right(self, by: u32) -> Self {
        let shifted = |bits: u32| bits.checked_shr(by);
        match (shifted(self.value), shifted(self.known)) {
            (Some(value), Some(known)) => Self::new(value, known | !(u32::MAX >> by)),
            _ => Self::UNKNOWN,
        }
    }

    /// An operation that needs both numbers.
    pub(super) fn with(self, other: Self, operation: impl FnOnce(u32, u32) -> u32) -> Self {
        match (self.number(), other.number()) {
            (Some(one), Some(two)) => Self::of(operation(one, two)),
            _ => Self::UNKNOWN,
        }
    }

    pub(super) fn equals(self, other: Self) -> Seen {
        let both = self.known & other.known;
        match (self.number(), other.number()) {
            _ if (self.value ^ other.value) & both != 0 => Seen::No,
            (Some(one), Some(two)) => (one == two).into(),
            _ => Seen::Unknown,
        }
    }

    pub(super) fn is_above(self, other: Self) -> Seen {
        let ((least, most), (other_least, other_most)) = (self.bounds(), other.bounds());
        if least > other_most {
            Seen::Yes
        } else if most <= other_least {
            Seen::No
        } else {
            Seen::Unknown
        }
    }

    /// Whether it shares a bit that is set with another.
    pub(super) fn meets(self, other: Self) -> Seen {
        match self.and(other).bounds() {
            (_, 0) => Seen::No,
            (0, _) => Seen::Unknown,
            _ => Seen::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All numbers that bits can be, of eight.
    fn numbers(bits: Bits) -> Vec<u32> {
        (0..=0xff).filter(|number| (number ^ bits.value) & bits.known & 0xff == 0).collect()
    }

    #[test]
    fn no_number_that_is_possible_is_lost() {
        let some = [0x0f, 0xa5, 0x80, 0xff, 0].map(|known| Bits::new(0x5a, known | !0xff));
        for one in some {
            for two in some {
                let results = [
                    (one.and(two), (|a, b| a & b) as fn(u32, u32) -> u32),
                    (one.or(two), |a, b| a | b),
                    (one.xor(two), |a, b| a ^ b),
                    (one.left(3), |a, _| a << 3),
                    (one.right(3), |a, _| a >> 3),
                    (one.with(two, |a, b| a * b), |a, b| a * b),
                ];
                for (result, operation) in results {
                    for (a, b) in
                        numbers(one).into_iter().flat_map(|a| numbers(two).into_iter().map(move |b| (a, b)))
                    {
                        let real = operation(a, b);
                        assert_eq!((real ^ result.value) & result.known, 0, "{one:?} {two:?}: {a} {b}");
                    }
                }
                for (seen, operation) in [
                    (one.equals(two), (|a, b| a == b) as fn(u32, u32) -> bool),
                    (one.is_above(two), |a, b| a > b),
                    (one.meets(two), |a, b| a & b != 0),
                ] {
                    let all: Vec<bool> = numbers(one)
                        .into_iter()
                        .flat_map(|a| numbers(two).into_iter().map(move |b| operation(a, b)))
                        .collect();
                    match seen {
                        Seen::Yes => assert!(all.iter().all(|is| *is)),
                        Seen::No => assert!(!all.iter().any(|is| *is)),
                        Seen::Unknown => {}
                    }
                }
            }
        }
    }
}
