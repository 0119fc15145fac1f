//! Matches on conntrack and marks: conntrack, state, mark, connmark.

use natpath_model::{CtStates, Direction, Expr, Field, IntervalSet, Manip, Match, Status, Test, Value};

use super::rule::{Opt, RuleReader};
use super::value::{self, Result, expected};
use crate::iptables_save::ast::Word;

pub(super) const CONNTRACK: &[&str] = &[
    "--ctstate",
    "--ctproto",
    "--ctorigsrc",
    "--ctorigdst",
    "--ctreplsrc",
    "--ctrepldst",
    "--ctorigsrcport",
    "--ctorigdstport",
    "--ctreplsrcport",
    "--ctrepldstport",
    "--ctstatus",
    "--ctexpire",
    "--ctdir",
];

/// The option of each conntrack address and port.
pub(crate) const TUPLE_OPTIONS: [(&str, Field); 8] = [
    ("--ctorigsrc", Field::CtAddress(Direction::Original, Manip::Src)),
    ("--ctorigdst", Field::CtAddress(Direction::Original, Manip::Dst)),
    ("--ctreplsrc", Field::CtAddress(Direction::Reply, Manip::Src)),
    ("--ctrepldst", Field::CtAddress(Direction::Reply, Manip::Dst)),
    ("--ctorigsrcport", Field::CtPort(Direction::Original, Manip::Src)),
    ("--ctorigdstport", Field::CtPort(Direction::Original, Manip::Dst)),
    ("--ctreplsrcport", Field::CtPort(Direction::Reply, Manip::Src)),
    ("--ctrepldstport", Field::CtPort(Direction::Reply, Manip::Dst)),
];

impl RuleReader<'_, '_> {
    pub(super) fn conntrack(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        if option.name == "--ctdir" {
            return self.direction(index, option);
        }
        let word = self.argument(&mut option)?;
        let test = match option.name {
            "--ctstate" => {
                self.instance(index).has_state = true;
                state_test(word, &CtStates::NAMES)?
            }
            "--ctstatus" => status_test(word)?,
            "--ctproto" => {
                let number =
                    value::protocol(&word.text()).filter(|number| *number != 0).ok_or_else(|| {
                        expected(word, "a protocol", "write its name in lower case, or its number")
                    })?;
                Test::new(Expr::Field(Field::CtProtocol), IntervalSet::single(number.into()))
            }
            "--ctexpire" => {
                let max = u64::from(u32::MAX);
                let seconds = |text: &str| value::number(text, max);
                let range = value::range(&word.text(), max, seconds)
                    .ok_or_else(|| expected(word, "seconds or a range LOW:HIGH", "write whole seconds"))?;
                Test::new(Expr::Field(Field::CtExpires), value::set(range))
            }
            name => self.tuple_test(name, word)?,
        };
        self.push_for(index, Match::Is(test.negate_if(option.inverted)));
        Ok(())
    }

    fn tuple_test(&self, name: &str, word: Word<'_>) -> Result<Test> {
        let family = self.context.family;
        let known = TUPLE_OPTIONS.iter().find(|(known, _)| *known == name);
        match known.map(|(_, field)| *field) {
            Some(field @ Field::CtAddress(..)) => {
                let (address, mask) = value::masked_address(&word.text(), family).ok_or_else(|| {
                    expected(word, "an address ADDRESS[/MASK]", value::address_help(family))
                })?;
                Ok(value::under(field, address, mask))
            }
            Some(field) => Ok(Test::new(Expr::Field(field), value::set(value::port_range(word)?))),
            None => Err(expected(word, "an option of conntrack", "see `man iptables-extensions`")),
        }
    }

    fn direction(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let word = self.plain_argument(&mut option)?;
        let reply = match word.text().to_ascii_uppercase().as_str() {
            "ORIGINAL" => 0,
            "REPLY" => 1,
            _ => return Err(expected(word, "ORIGINAL or REPLY", "write `--ctdir ORIGINAL`")),
        };
        let test = Test::new(Expr::Field(Field::CtDirection), IntervalSet::single(reply));
        self.push_for(index, Match::Is(test));
        Ok(())
    }

    pub(super) fn state(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let word = self.argument(&mut option)?;
        // libxt_state knows the same words but SNAT and DNAT.
        let test = state_test(word, &CtStates::NAMES[..5])?;
        self.push_for(index, Match::Is(test.negate_if(option.inverted)));
        Ok(())
    }

    pub(super) fn mark(&mut self, index: usize, option: Opt<'_>) -> Result<()> {
        self.mark_test(index, option, Field::Mark)
    }

    pub(super) fn connmark(&mut self, index: usize, option: Opt<'_>) -> Result<()> {
        self.mark_test(index, option, Field::ConnMark)
    }

    fn mark_test(&mut self, index: usize, mut option: Opt<'_>, field: Field) -> Result<()> {
        let (value, mask) = value::mark(self.argument(&mut option)?)?;
        let expr = match mask {
            u32::MAX => Expr::Field(field),
            mask => Expr::Masked { field, mask: mask.into() },
        };
        let test = Test::new(expr, IntervalSet::single(value.into())).negate_if(option.inverted);
        self.push_for(index, Match::Is(test));
        Ok(())
    }
}

/// Where no entry exists, xt_conntrack.c (`conntrack_mt`) answers once the state has matched, and looks at
/// no other option; so the state comes first and the others hold where there is nothing to look at.
pub(super) fn finish(index: usize, has_state: bool, entries: &mut [(u16, Match)]) -> Result<()> {
    if !has_state {
        return Ok(());
    }
    let own = |entry: &(u16, Match)| usize::from(entry.0) == index;
    let Some(first) = entries.iter().position(own) else { return Ok(()) };
    for at in first..entries.len() {
        if !own(&entries[at]) {
            continue;
        }
        let Match::Is(test) = &mut entries[at].1 else { continue };
        if test.expr.field() == Field::CtState {
            entries[first..=at].rotate_right(1);
        } else {
            test.if_absent = true;
        }
    }
    Ok(())
}

/// The state's bits and the mask's have one in common.
fn state_test(word: Word<'_>, names: &[(&str, CtStates)]) -> Result<Test> {
    let text = word.text();
    let mask = text.split(',').try_fold(CtStates::default(), |states, name| {
        let found = names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(states.with(found.1))
    });
    let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
    let mask = mask
        .ok_or_else(|| expected(word, "a list of states", &format!("write some of {}", names.join(","))))?;
    Ok(any_bit(Field::CtState, mask.0.into()))
}

/// `NONE` stands for no bit, with which nothing has a bit in common.
fn status_test(word: Word<'_>) -> Result<Test> {
    let text = word.text();
    let mask = text.split(',').try_fold(0, |mask, name| {
        if name.eq_ignore_ascii_case("NONE") {
            return Some(mask);
        }
        let found = Status::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(mask | found.1.0)
    });
    let mask = mask.ok_or_else(|| {
        expected(word, "a list of statuses", "write some of NONE,EXPECTED,SEEN_REPLY,ASSURED,CONFIRMED")
    })?;
    Ok(any_bit(Field::CtStatus, mask.into()))
}

fn any_bit(field: Field, mask: Value) -> Test {
    Test::new(Expr::Masked { field, mask }, IntervalSet::single(0)).negate_if(true)
}
