//! Matches by chance and by count: statistic.

use natpath_model::Match;

use super::rule::{Opt, RuleReader};
use super::value::{self, Result, expected};
use crate::iptables_save::ast::Fault;

pub(super) const OPTIONS: &[&str] = &["--mode", "--probability", "--every", "--packet"];

/// The options of one `-m statistic`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Statistic {
    mode: Option<Mode>,
    probability: Option<u32>,
    every: Option<u32>,
    packet: Option<u32>,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Random,
    Nth,
}

/// The probability 1 in the kernel's units (libxt_statistic.c).
pub(crate) const CERTAIN: f64 = 2_147_483_648.0;

impl Statistic {
    pub(super) fn finish(self, index: usize, at: usize, entries: &mut Vec<(u16, Match)>) -> Result<()> {
        let negated = self.negated;
        let condition = match (self.mode, self.probability, self.every, self.packet) {
            (Some(Mode::Random), Some(probability), None, None) => Match::Chance { probability, negated },
            (Some(Mode::Nth), None, Some(every), packet) if packet.unwrap_or(0) < every => {
                Match::Nth { every, packet: packet.unwrap_or(0), negated }
            }
            _ => {
                let help = "write `--mode random --probability P`, or `--mode nth --every N --packet P` with P below N";
                return Err(Fault::syntax(at, "the options of this statistic don't fit together", help));
            }
        };
        entries.push((u16::try_from(index).unwrap_or(u16::MAX), condition));
        Ok(())
    }
}

impl RuleReader<'_, '_> {
    pub(super) fn statistic(&mut self, index: usize, mut option: Opt<'_>) -> Result<()> {
        let name = option.name;
        let word = match name {
            "--probability" | "--every" => self.argument(&mut option)?,
            _ => self.plain_argument(&mut option)?,
        };
        let text = word.text();
        let statistic = &mut self.instance(index).statistic;
        statistic.negated |= option.inverted;
        match name {
            "--mode" => {
                statistic.mode = Some(match &*text {
                    "random" => Mode::Random,
                    "nth" => Mode::Nth,
                    _ => return Err(expected(word, "random or nth", "write `--mode random`")),
                });
            }
            "--probability" => {
                let value: Option<f64> = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
                let value = value.ok_or_else(|| {
                    expected(word, "a probability", "write a number from 0 to 1, such as 0.5")
                })?;
                // iptables rounds with lround(3), half away from zero.
                statistic.probability = Some((value * CERTAIN).round() as u32);
            }
            "--every" => {
                let every = value::number_word(word, u32::MAX.into(), "a count of packets")? as u32;
                if every == 0 {
                    return Err(expected(word, "a count of packets from 1", "write `--every 2`"));
                }
                statistic.every = Some(every);
            }
            _ => {
                let packet = value::number_word(word, u32::MAX.into(), "a packet's number")?;
                statistic.packet = Some(packet as u32);
            }
        }
        Ok(())
    }
}
