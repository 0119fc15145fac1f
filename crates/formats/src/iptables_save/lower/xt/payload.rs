//! `-m string`, `-m u32` and `-m bpf`.

use natpath_model::payload::{Instruction, TextSearch, U32, U32Step, U32Test};
use natpath_model::{Match, Xt};

use super::{Options, Reading, xt};
use crate::iptables_save::ast::Word;
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{self, Result, expected};

pub(super) const STRING: Options =
    &[("--string", 1), ("--hex-string", 1), ("--algo", 1), ("--from", 1), ("--to", 1), ("--icase", 0)];

/// The longest text (`XT_STRING_MAX_PATTERN_SIZE`).
const LONGEST: usize = 128;

/// The most tests, steps of a test and ranges of a test (`XT_U32_MAXSIZE`).
const MOST: usize = 10;

/// The most instructions of a program (`XT_BPF_MAX_NUM_INSTR`).
const MOST_INSTRUCTIONS: usize = 64;

pub(super) fn string(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<TextSearch> {
    let help = "write `-m string --string TEXT --algo bm`";
    let text = reading.value(rule, "--string").map(|given| (given, Some(given.0.text().as_bytes().to_vec())));
    let hex = || reading.value(rule, "--hex-string").map(|given| (given, bytes_of_hex(&given.0.text())));
    let Some(((word, negated), pattern)) = text.or_else(hex) else {
        return Err(reading.fault(rule, "expected `--string` or `--hex-string`", help));
    };
    let fits = |pattern: &Vec<u8>| (1..=LONGEST).contains(&pattern.len());
    let pattern = pattern.filter(fits).ok_or_else(|| {
        let help = "write text, and bytes in hexadecimal between `|`, in all 1 to 128 bytes";
        expected(word, "a text to look for", help)
    })?;
    let Some((algorithm, _)) = reading.value(rule, "--algo") else {
        return Err(reading.fault(rule, "expected `--algo`", help));
    };
    let offset = |name: &str, default: u32| match reading.value(rule, name) {
        None => Ok(default),
        Some((word, _)) => value::number_word(word, 0xffff, "a number of bytes").map(|bytes| bytes as u32),
    };
    Ok(TextSearch {
        pattern,
        algorithm: algorithm.text().into_owned(),
        from: offset("--from", 0)?,
        to: offset("--to", TextSearch::END)?,
        ignore_case: reading.has("--icase"),
        negated,
    })
}

/// Text in which what stands between `|` is bytes in hexadecimal, and a backslash takes the next character as
/// it is (libxt_string.c, `parse_hex_string`).
fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut hex) = (Vec::new(), false);
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, hex) {
            (b'|', _) => hex = !hex,
            (b' ', true) => {}
            (_, true) => {
                let [second, after @ ..] = rest else { return None };
                rest = after;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(first)? << 4 | digit(second)?).ok()?);
            }
            (b'\\', false) => {
                let [second, after @ ..] = rest else { return None };
                rest = after;
                bytes.push(*second);
            }
            (_, false) => bytes.push(*first),
        }
    }
    Some(bytes)
}

pub(super) fn u32(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<U32> {
    let Some((word, negated)) = reading.value(rule, "--u32") else {
        return Err(reading.fault(rule, "expected `--u32`", "write `-m u32 --u32 \"6 & 0xFF = 1\"`"));
    };
    let text = word.text();
    let tests: Option<Vec<U32Test>> = text.split("&&").map(u32_test).collect();
    let tests = tests.filter(|tests| tests.len() <= MOST);
    let tests = tests.ok_or_else(|| {
        expected(
            word,
            "tests START[STEP]...=RANGE[,RANGE]... with && between them",
            "see `iptables -m u32 -h`",
        )
    })?;
    Ok(U32 { tests, negated })
}

/// `0x0>>0x16&0x3c@0x8=0x1:0x2,0x5`.
fn u32_test(text: &str) -> Option<U32Test> {
    let (location, ranges) = text.split_once('=')?;
    let (start, mut rest) = leading_number(location)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (sign, step) = U32Step::SIGNS.into_iter().find(|(sign, _)| rest.starts_with(sign))?;
        let (number, after) = leading_number(&rest[sign.len()..])?;
        steps.push((step, number));
        rest = after;
    }
    let number =
        |text: &str| leading_number(text).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number);
    let range = |text: &str| match text.split_once(':') {
        None => number(text).map(|number| (number, number)),
        Some((low, high)) => Some((number(low)?, number(high)?)),
    };
    let ranges: Vec<_> = ranges.split(',').map(range).collect::<Option<_>>()?;
    (steps.len() < MOST && ranges.len() <= MOST).then_some(U32Test { start, steps, ranges })
}

/// A number at the beginning of a text, and what follows it; white space counts for nothing.
fn leading_number(text: &str) -> Option<(u32, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number = value::number(number, u32::MAX.into())?;
    Some((u32::try_from(number).ok()?, rest.trim_start()))
}

pub(super) fn bpf(rule: &mut RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    let Some((word, _)) = reading.value(rule, "--bytecode") else {
        if reading.has("--object-pinned") {
            return Ok(reading.opaque(rule, "depends on a program that no tool prints"));
        }
        return Err(reading.fault(rule, "expected `--bytecode`", "write what `nfbpf_compile` prints"));
    };
    let program = instructions(&word).ok_or_else(|| {
        let help = "write the number of instructions, and each as `CODE JT JF K`, with commas between them";
        expected(word, "a program", help)
    })?;
    Ok(xt(Xt::Bpf(program)))
}

/// `2,48 0 0 9,6 0 0 1`.
fn instructions(word: &Word<'_>) -> Option<Vec<Instruction>> {
    let text = word.text();
    let mut parts = text.trim().trim_end_matches(',').split(',');
    let count: usize = parts.next()?.trim().parse().ok()?;
    let program: Vec<_> = parts.map(instruction).collect::<Option<_>>()?;
    (program.len() == count && (1..=MOST_INSTRUCTIONS).contains(&count)).then_some(program)
}

fn instruction(text: &str) -> Option<Instruction> {
    let mut words = text.split_whitespace();
    let (code, if_true) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (if_false, k) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Instruction { code, if_true, if_false, k })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_mix() {
        let check = |text: &str, expected: Option<&[u8]>| {
            assert_eq!(bytes_of_hex(text).as_deref(), expected, "{text}");
        };
        check("|0d 0a|Host|3a|", Some(b"\r\nHost:"));
        check("|0D0a|", Some(b"\r\n"));
        check("abc", Some(b"abc"));
        check(r"a\|b\\c", Some(br"a|b\c"));
        check("| 0d|", Some(b"\r"));
        check("|0|", None);
        check("|xy|", None);
        check("a\\", None);
    }

    #[test]
    fn u32_takes_white_space_anywhere() {
        use U32Step::{And, At, Right};
        let test = u32_test(" 0 >> 22 & 0x3C @ 0>>24 = 0, 3:0x5 ").expect("a test");
        let steps = vec![(Right, 22), (And, 0x3c), (At, 0), (Right, 24)];
        assert_eq!(test, U32Test { start: 0, steps, ranges: vec![(0, 0), (3, 5)] });
        for text in ["", "6&0xff", "6&=1", "=1", "6=", "6=1:", "6%3=1", "6 7=1", "0x1ffffffff=1"] {
            assert_eq!(u32_test(text), None, "{text}");
        }
    }
}
