//! `-m owner`.

use natpath_model::xt::{IdRange, Owner};
use natpath_model::{Match, Xt};

use super::{Options, Reading, xt};
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{self, Result, expected};

pub(super) const OPTIONS: Options =
    &[("--uid-owner", 1), ("--gid-owner", 1), ("--socket-exists", 0), ("--suppl-groups", 0)];

pub(super) fn read(rule: &mut RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    if reading.has("--suppl-groups") {
        return Ok(reading.opaque(rule, "depends on the sender's other groups"));
    }
    let range = |name| match reading.value(rule, name) {
        None => Ok(None),
        Some((word, negated)) => {
            let text = word.text();
            let one = |text: &str| match text {
                "root" => Some(0),
                text => value::number(text, u32::MAX.into()).map(|id| id as u32),
            };
            let (min, max) = text.split_once('-').unwrap_or((&text, &text));
            let ends = one(min).zip(one(max)).filter(|(min, max)| min <= max);
            let (min, max) = ends.ok_or_else(|| {
                expected(word, "the number of an owner, or a range", "names are not looked up: write numbers")
            })?;
            Ok(Some(IdRange { min, max, negated }))
        }
    };
    Ok(xt(Xt::Owner(Owner {
        uid: range("--uid-owner")?,
        gid: range("--gid-owner")?,
        socket_exists: reading.find("--socket-exists").map(|given| given.inverted),
    })))
}
