//! `-m u32` (xt_u32.c, `u32_match_it`).

use natpath_model::payload::{U32, U32Step, U32Test};

use super::bits::Bits;
use super::{Image, Seen};

/// Whether all tests hold.
pub(super) fn holds(image: &Image, condition: &U32) -> Seen {
    let mut seen = Seen::Yes;
    for test in &condition.tests {
        match test_holds(image, test) {
            Seen::No => return Seen::No,
            Seen::Unknown => seen = Seen::Unknown,
            Seen::Yes => {}
        }
    }
    seen
}

fn test_holds(image: &Image, test: &U32Test) -> Seen {
    match compute(image, test) {
        Ok(number) => in_ranges(number, &test.ranges),
        Err(seen) => seen,
    }
}

/// The number of a test; `Err` where there are too few bytes, or it is not known whether there are.
fn compute(image: &Image, test: &U32Test) -> Result<Bits, Seen> {
    let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    let mut number = image.number(place(test.start), 4)?;
    let mut base = 0u32;
    for (step, with) in &test.steps {
        number = match step {
            U32Step::And => number.and(Bits::of(*with)),
            U32Step::Left => number.left(*with),
            U32Step::Right => number.right(*with),
            U32Step::At => {
                let ahead = number.number().ok_or(Seen::Unknown)?;
                base = base.checked_add(ahead).ok_or(Seen::No)?;
                let at = place(base).checked_add(place(*with)).ok_or(Seen::No)?;
                image.number(at, 4)?
            }
        };
    }
    Ok(number)
}

fn in_ranges(number: Bits, ranges: &[(u32, u32)]) -> Seen {
    let (least, most) = number.bounds();
    if ranges.iter().any(|(low, high)| *low <= least && most <= *high) {
        Seen::Yes
    } else if ranges.iter().all(|(low, high)| most < *low || *high < least) {
        Seen::No
    } else {
        Seen::Unknown
    }
}

#[cfg(test)]
mod tests {
    use natpath_model::{Port, Protocol};

    use super::*;
    use crate::packet::{Packet, Transport};

    fn check(start: u32, steps: &[(U32Step, u32)], range: (u32, u32), expected: Seen) {
        let (src, dst) = (Port::new(4000), Port::new(53));
        let transport = Transport::Ports { protocol: Protocol::UDP, src, dst };
        let address = |text: &str| text.parse().expect("an address");
        let packet = Packet { data: 9, ..Packet::new(address("10.0.0.1"), address("10.0.0.2"), transport) };
        let test = U32Test { start, steps: steps.to_vec(), ranges: vec![range] };
        let condition = U32 { tests: vec![test], negated: false };
        assert_eq!(holds(&Image::of(&packet), &condition), expected, "{condition:?}");
    }

    #[test]
    fn headers_are_known() {
        use U32Step::{And, At, Right};
        check(6, &[(And, 0xff)], (17, 17), Seen::Yes);
        check(12, &[], (0x0a00_0001, 0x0a00_0001), Seen::Yes);
        // The destination port, behind a header of any length.
        check(0, &[(Right, 22), (And, 0x3c), (At, 0), (And, 0xffff)], (53, 53), Seen::Yes);
        check(0, &[(Right, 22), (And, 0x3c), (At, 0), (And, 0xffff)], (54, 99), Seen::No);
        // Identification is the sender's, its upper bits with the offset's are compared.
        check(4, &[(And, 0x3fff)], (0, 0), Seen::Yes);
        check(4, &[], (0, 0xffff), Seen::Unknown);
    }

    #[test]
    fn data_is_not_known_and_beyond_it_is_nothing() {
        check(28, &[], (0x0102_0304, 0x0102_0304), Seen::Unknown);
        check(28, &[], (0, u32::MAX), Seen::Yes);
        check(33, &[], (0, u32::MAX), Seen::Yes);
        check(34, &[], (0, u32::MAX), Seen::No);
        check(u32::MAX, &[], (0, u32::MAX), Seen::No);
        check(12, &[(U32Step::At, u32::MAX)], (0, u32::MAX), Seen::No);
    }
}
