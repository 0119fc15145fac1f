//! `-m limit` and `-m hashlimit`.

use natpath_model::xt::{HashKey, HashLimit, Per, Rate};
use natpath_model::{Match, Xt};

use super::{Options, Reading, xt};
use crate::iptables_save::ast::Word;
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{self, Result, expected};

pub(super) const LIMIT: Options = &[("--limit", 1), ("--limit-burst", 1)];

pub(super) const HASHLIMIT: Options = &[
    ("--hashlimit-upto", 1),
    ("--hashlimit", 1),
    ("--hashlimit-above", 1),
    ("--hashlimit-burst", 1),
    ("--hashlimit-mode", 1),
    ("--hashlimit-srcmask", 1),
    ("--hashlimit-dstmask", 1),
    ("--hashlimit-name", 1),
    ("--hashlimit-htable-size", 1),
    ("--hashlimit-htable-max", 1),
    ("--hashlimit-htable-expire", 1),
    ("--hashlimit-htable-gcinterval", 1),
    ("--hashlimit-rate-match", 0),
    ("--hashlimit-rate-interval", 1),
];

/// libxt_limit.c, `XT_LIMIT_AVG` and `XT_LIMIT_BURST`.
const DEFAULT: Rate = Rate { packets: 3, per: Per::Hour, burst: 5 };

/// xt_hashlimit.c forgets a bucket after ten seconds.
const EXPIRE: u32 = 10_000;

pub(super) fn limit(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Rate> {
    if let Some(given) = reading.given.iter().find(|given| given.inverted) {
        let word = rule.words[given.words.start];
        return Err(expected(word, "an option without `!`", "limit has no negation"));
    }
    let burst = burst(rule, reading, "--limit-burst")?;
    match reading.value(rule, "--limit") {
        None => Ok(Rate { burst, ..DEFAULT }),
        Some((word, _)) => rate(word, burst),
    }
}

fn burst(rule: &RuleReader<'_, '_>, reading: &Reading<'_>, name: &str) -> Result<u32> {
    match reading.value(rule, name) {
        None => Ok(DEFAULT.burst),
        Some((word, _)) => {
            value::number_word(word, 1_000_000, "a number of packets").map(|burst| burst as u32)
        }
    }
}

/// `N[/UNIT]`, the unit by any of its beginnings.
fn rate(word: Word<'_>, burst: u32) -> Result<Rate> {
    let text = word.text();
    let (packets, per) = text.split_once('/').unwrap_or((&text, "sec"));
    let per = match per {
        "" => None,
        per if "second".starts_with(per) => Some(Per::Second),
        per if "minute".starts_with(per) => Some(Per::Minute),
        per if "hour".starts_with(per) => Some(Per::Hour),
        per if "day".starts_with(per) => Some(Per::Day),
        _ => None,
    };
    let packets = value::number(packets, 1_000_000).filter(|packets| *packets > 0);
    packets.zip(per).map(|(packets, per)| Rate { packets: packets as u32, per, burst }).ok_or_else(|| {
        expected(word, "a rate N/UNIT", "write a number of packets, `/` and second, minute, hour or day")
    })
}

pub(super) fn hashlimit(rule: &mut RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    if reading.has("--hashlimit-rate-match") {
        return Ok(reading.opaque(rule, "depends on how fast packets come"));
    }
    let above = reading.value(rule, "--hashlimit-above");
    let upto = reading.value(rule, "--hashlimit-upto").or_else(|| reading.value(rule, "--hashlimit"));
    let (Some((word, negated)), Some((name, _))) = (above.or(upto), reading.value(rule, "--hashlimit-name"))
    else {
        let help = "write `--hashlimit-upto RATE --hashlimit-name NAME`";
        return Err(reading.fault(rule, "expected a rate and a name for hashlimit", help));
    };
    if word.text().contains("b/") {
        return Ok(reading.opaque(rule, "limits bytes, whose time of arrival is not known"));
    }
    let rate = rate(word, burst(rule, reading, "--hashlimit-burst")?)?;
    let expire = match reading.value(rule, "--hashlimit-htable-expire") {
        None => EXPIRE,
        Some((word, _)) => value::number_word(word, u32::MAX.into(), "milliseconds")? as u32,
    };
    Ok(xt(Xt::HashLimit(HashLimit {
        name: name.text().into_owned(),
        rate,
        above: above.is_some() != negated,
        key: key(rule, reading)?,
        expire,
    })))
}

fn key(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<HashKey> {
    let bits = rule.context.family.bits();
    let mask = |name| match reading.value(rule, name) {
        None => Ok(bits),
        Some((word, _)) => {
            value::number_word(word, bits.into(), "the length of a mask").map(|length| length as u8)
        }
    };
    let (src_mask, dst_mask) = (mask("--hashlimit-srcmask")?, mask("--hashlimit-dstmask")?);
    let mut key = HashKey::default();
    let Some((word, _)) = reading.value(rule, "--hashlimit-mode") else { return Ok(key) };
    for part in word.text().split(',') {
        match part {
            "srcip" => key.src = Some(src_mask),
            "dstip" => key.dst = Some(dst_mask),
            "srcport" => key.src_port = true,
            "dstport" => key.dst_port = true,
            _ => {
                return Err(expected(
                    word,
                    "a mode of hashlimit",
                    "write some of srcip,srcport,dstip,dstport",
                ));
            }
        }
    }
    Ok(key)
}
