//! `-m set` and `-j SET`.

use natpath_model::xt::SetTest;
use natpath_model::{Manip, Match, SetChange, Xt};

use super::{Options, Reading, xt};
use crate::iptables_save::ast::Word;
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{self, Result, expected};

pub(super) const OPTIONS: Options = &[
    ("--match-set", 2),
    ("--return-nomatch", 0),
    ("--update-counters", 0),
    ("--update-subcounters", 0),
    ("--packets-eq", 1),
    ("--packets-lt", 1),
    ("--packets-gt", 1),
    ("--bytes-eq", 1),
    ("--bytes-lt", 1),
    ("--bytes-gt", 1),
];

/// The options of `-j SET`, each with whether it takes a value.
pub(in super::super) const SET_TARGET: &[(&str, bool)] = &[
    ("--add-set", true),
    ("--del-set", true),
    ("--map-set", true),
    ("--exist", false),
    ("--timeout", true),
    ("--map-mark", false),
    ("--map-prio", false),
    ("--map-queue", false),
];

/// The most parts that an element has (linux/netfilter/ipset/ip_set.h, `IPSET_DIM_MAX`).
const MAX_SIDES: usize = 6;

pub(super) fn read(rule: &mut RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Vec<Match>> {
    if reading.has("--return-nomatch") {
        return Ok(vec![reading.opaque(rule, "exceptions are what matches")]);
    }
    if reading
        .given
        .iter()
        .any(|given| given.name.starts_with("--packets") || given.name.starts_with("--bytes"))
    {
        return Ok(vec![reading.opaque(rule, "depends on the counters of the set")]);
    }
    let mut tests = Vec::new();
    for given in reading.given.iter().filter(|given| given.name == "--match-set") {
        let (name, sides) = (rule.words[given.words.end - 2], rule.words[given.words.end - 1]);
        tests.push(xt(Xt::Set(SetTest {
            set: name.text().into_owned(),
            sides: read_sides(sides)?,
            negated: given.inverted,
        })));
    }
    if tests.is_empty() {
        return Err(reading.fault(rule, "expected `--match-set`", "write `-m set --match-set NAME src`"));
    }
    Ok(tests)
}

/// `src,dst,...`.
fn read_sides(word: Word<'_>) -> Result<Vec<Manip>> {
    let sides: Option<Vec<_>> = word
        .text()
        .split(',')
        .map(|side| match side {
            "src" => Some(Manip::Src),
            "dst" => Some(Manip::Dst),
            _ => None,
        })
        .collect();
    sides.filter(|sides| sides.len() <= MAX_SIDES).ok_or_else(|| {
        expected(word, "a list of src and dst", "write one of them for each part of an element")
    })
}

/// `src,dst,...` again.
pub(crate) fn sides_text(sides: &[Manip]) -> String {
    let word = |side: &Manip| if *side == Manip::Src { "src" } else { "dst" };
    sides.iter().map(word).collect::<Vec<_>>().join(",")
}

/// What `-j SET` does, from the words of `--add-set` or `--del-set` and those of `--timeout`.
pub(in super::super) fn set_change(
    name: Word<'_>,
    sides: Word<'_>,
    remove: bool,
    exist: bool,
    timeout: Option<Word<'_>>,
) -> Result<SetChange> {
    let timeout = match timeout {
        None => None,
        Some(word) => Some(value::number_word(word, u32::MAX.into(), "seconds")? as u32),
    };
    Ok(SetChange { set: name.text().into_owned(), sides: read_sides(sides)?, remove, exist, timeout })
}
