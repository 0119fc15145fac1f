//! `-m physdev`.

use natpath_model::{Expr, Field, InterfaceName, IntervalSet, Match, Test};

use super::{Options, Reading};
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{Result, expected};

pub(super) const OPTIONS: Options = &[
    ("--physdev-in", 1),
    ("--physdev-out", 1),
    ("--physdev-is-in", 0),
    ("--physdev-is-out", 0),
    ("--physdev-is-bridged", 0),
];

pub(super) fn read(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Vec<Match>> {
    let mut tests = Vec::new();
    for given in reading.given {
        let test = |field, set| Test::new(Expr::Field(field), set);
        let port = |field| -> Result<Test> {
            let word = rule.words[given.words.end - 1];
            let set = InterfaceName::pattern(&word.text());
            let help = "write its name, or the beginning and `+`";
            Ok(test(field, set.ok_or_else(|| expected(word, "an interface of at most 15 bytes", help))?))
        };
        let none = || IntervalSet::single(0);
        let test = match given.name {
            "--physdev-in" => port(Field::BridgeIn)?,
            "--physdev-out" => port(Field::BridgeOut)?,
            "--physdev-is-in" => test(Field::BridgeIn, none()).negate_if(true),
            "--physdev-is-out" => test(Field::BridgeOut, none()).negate_if(true),
            _ => test(Field::Bridged, IntervalSet::single(1)),
        };
        tests.push(Match::Is(test.negate_if(given.inverted)));
    }
    Ok(tests)
}
