//! `-m limit` and `-m hashlimit`.

use natpath_model::xt::{ByteRate, HashKey, HashLimit, HashRate, Per, Rate};
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

/// The seconds after which a bucket of bytes is forgotten, and the same where there is a burst
/// (libxt_hashlimit.c, `XT_HASHLIMIT_BYTE_EXPIRE`). One of packets is forgotten after the time of its rate.
const BYTES_EXPIRE: (u32, u32) = (15, 60);

/// The units of bytes.
const UNITS: [(&str, u64); 3] = [("kb", 1024), ("mb", 1024 * 1024), ("b", 1)];

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
    let (rate, seconds) = match word.text().strip_suffix("/s") {
        Some(bytes) if bytes.ends_with('b') => byte_rate(rule, reading, word, bytes)?,
        _ => {
            let rate = rate(word, burst(rule, reading, "--hashlimit-burst")?)?;
            (HashRate::Packets(rate), rate.per.seconds() as u32)
        }
    };
    let expire = match reading.value(rule, "--hashlimit-htable-expire") {
        None => seconds * 1000,
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

/// `512kb/s`, and after how many seconds a bucket is forgotten.
fn byte_rate(
    rule: &RuleReader<'_, '_>,
    reading: &Reading<'_>,
    word: Word<'_>,
    text: &str,
) -> Result<(HashRate, u32)> {
    let help = "write a number and b, kb or mb, such as 512kb/s, and the burst without `/s`";
    let bytes = bytes(text).ok_or_else(|| expected(word, "a rate of bytes", help))?;
    let rate = ByteRate { cost: ByteRate::cost_of(bytes), refills: 0 };
    let Some((word, _)) = reading.value(rule, "--hashlimit-burst") else {
        return Ok((HashRate::Bytes(rate), BYTES_EXPIRE.0));
    };
    let burst = self::bytes(&word.text()).filter(|burst| *burst >= rate.bytes() && rate.bytes() > 0);
    let burst = burst.ok_or_else(|| expected(word, "a burst of at least the bytes of a second", help))?;
    let refills = u32::try_from(burst.div_ceil(rate.bytes())).unwrap_or(u32::MAX);
    Ok((HashRate::Bytes(ByteRate { refills, ..rate }), BYTES_EXPIRE.1))
}

fn bytes(text: &str) -> Option<u64> {
    let (unit, factor) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = value::number(text.strip_suffix(unit)?, u32::MAX.into())?;
    number.checked_mul(factor).filter(|bytes| *bytes <= u64::from(u32::MAX))
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
