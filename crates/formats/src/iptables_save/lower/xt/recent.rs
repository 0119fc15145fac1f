//! `-m recent`.

use natpath_model::Manip;
use natpath_model::xt::{Recent, RecentOp};

use super::{Options, Reading};
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{self, Result, expected};

pub(super) const OPTIONS: Options = &[
    ("--set", 0),
    ("--rcheck", 0),
    ("--update", 0),
    ("--remove", 0),
    ("--seconds", 1),
    ("--hitcount", 1),
    ("--reap", 0),
    ("--rttl", 0),
    ("--name", 1),
    ("--rsource", 0),
    ("--rdest", 0),
    ("--mask", 1),
];

const OPS: [(&str, RecentOp); 4] = [
    ("--set", RecentOp::Set),
    ("--rcheck", RecentOp::Check),
    ("--update", RecentOp::Update),
    ("--remove", RecentOp::Remove),
];

pub(super) fn read(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Recent> {
    let ops: Vec<_> =
        OPS.iter().filter_map(|(name, op)| reading.find(name).map(|given| (*op, given.inverted))).collect();
    let [(op, negated)] = ops[..] else {
        let help = "write one of --set, --rcheck, --update and --remove";
        return Err(reading.fault(rule, "expected what recent is to do, once", help));
    };
    let number = |name| match reading.value(rule, name) {
        None => Ok(0),
        Some((word, _)) => value::number_word(word, u32::MAX.into(), "a number").map(|number| number as u32),
    };
    let family = rule.context.family;
    let mask = match reading.value(rule, "--mask") {
        None => family.address(if family.bits() == 32 { u32::MAX.into() } else { u128::MAX }),
        Some((word, _)) => value::address(&word.text(), family)
            .ok_or_else(|| expected(word, "a mask", value::address_help(family)))?,
    };
    let name = reading.value(rule, "--name").map_or_else(|| "DEFAULT".into(), |(word, _)| word.text());
    Ok(Recent {
        name: name.into_owned(),
        op,
        seconds: number("--seconds")?,
        hits: number("--hitcount")?,
        reap: reading.has("--reap"),
        same_ttl: reading.has("--rttl"),
        of: if reading.has("--rdest") { Manip::Dst } else { Manip::Src },
        mask,
        negated,
    })
}
