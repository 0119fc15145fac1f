//! `-m connlimit`, `-m connbytes`, `-m quota`.

use natpath_model::net::bits;
use natpath_model::xt::{ConnBytes, ConnLimit, Measure};
use natpath_model::{Direction, Manip, Xt};

use super::{Options, Reading};
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{self, Result, expected};

pub(super) const CONNLIMIT: Options = &[
    ("--connlimit-upto", 1),
    ("--connlimit-above", 1),
    ("--connlimit-mask", 1),
    ("--connlimit-saddr", 0),
    ("--connlimit-daddr", 0),
];

pub(super) const CONNBYTES: Options = &[("--connbytes", 1), ("--connbytes-dir", 1), ("--connbytes-mode", 1)];

pub(super) const QUOTA: Options = &[("--quota", 1)];

pub(super) fn connlimit(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<ConnLimit> {
    let upto = reading.value(rule, "--connlimit-upto");
    let above = reading.value(rule, "--connlimit-above");
    let Some((word, negated)) = upto.or(above) else {
        let help = "write `--connlimit-above N` or `--connlimit-upto N`";
        return Err(reading.fault(rule, "expected a number of connections for connlimit", help));
    };
    let limit = value::number_word(word, u32::MAX.into(), "a number of connections")? as u32;
    let family = rule.context.family;
    let mask = match reading.value(rule, "--connlimit-mask") {
        None => value::masked_address("::/128", natpath_model::Family::Ip6)
            .map_or(u128::MAX, |(_, mask)| bits(mask)),
        Some((word, _)) => {
            let text = word.text();
            let zero = family.unspecified();
            let mask = value::masked_address(&format!("{zero}/{text}"), family);
            bits(mask.ok_or_else(|| expected(word, "a mask or its length", value::address_help(family)))?.1)
        }
    };
    let all = if family.bits() == 32 { u128::from(u32::MAX) } else { u128::MAX };
    let of = if reading.has("--connlimit-daddr") { Manip::Dst } else { Manip::Src };
    Ok(ConnLimit { limit, above: upto.is_none() != negated, of, mask: mask & all })
}

pub(super) fn connbytes(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<ConnBytes> {
    let needed = |name: &str| {
        reading.value(rule, name).ok_or_else(|| {
            let help = "write `--connbytes FROM:TO --connbytes-dir both --connbytes-mode bytes`";
            reading.fault(rule, &format!("expected `{name}`"), help)
        })
    };
    let (word, negated) = needed("--connbytes")?;
    let one = |text: &str| value::number(text, u64::MAX);
    let text = word.text();
    // A number alone is the lowest.
    let range = match text.contains(':') {
        true => value::range(&text, u64::MAX, one),
        false => one(&text).map(|from| (from, u64::MAX)),
    };
    let (from, to) = range.ok_or_else(|| expected(word, "a range FROM[:TO]", "write numbers"))?;
    let (word, _) = needed("--connbytes-dir")?;
    let direction = match &*word.text() {
        "original" => Some(Direction::Original),
        "reply" => Some(Direction::Reply),
        "both" => None,
        _ => return Err(expected(word, "a direction", "write original, reply or both")),
    };
    let (word, _) = needed("--connbytes-mode")?;
    let measure = Measure::NAMES.iter().find(|(name, _)| *name == word.text());
    let measure =
        measure.ok_or_else(|| expected(word, "a mode of connbytes", "write packets, bytes or avgpkt"))?.1;
    Ok(ConnBytes { from, to, measure, direction, negated })
}

pub(super) fn quota(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Xt> {
    let Some((word, negated)) = reading.value(rule, "--quota") else {
        return Err(reading.fault(rule, "expected `--quota`", "write `--quota BYTES`"));
    };
    Ok(Xt::Quota { bytes: value::number_word(word, u64::MAX, "a number of bytes")?, negated })
}
