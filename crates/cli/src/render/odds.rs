//! How likely a condition that is left to chance is to hold.

use natpath_model::{Match, Rule, Statement};

/// The units of a `statistic` probability (xt_statistic.c).
const CERTAIN: f64 = 2_147_483_648.0;

/// A share of packets, and how they are dealt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Odds {
    /// The share, from 0 to 1.
    pub(crate) share: f64,
    /// Whether all of it is dealt in turns rather than by chance.
    pub(crate) in_turns: bool,
}

impl Odds {
    /// The odds that a condition holds; `None` for one that looks at the packet.
    pub(crate) fn of(condition: &Match) -> Option<Self> {
        let (share, negated, in_turns) = match condition {
            Match::Chance { probability, negated } => (f64::from(*probability) / CERTAIN, *negated, false),
            Match::Nth { every, negated, .. } => (1.0 / f64::from((*every).max(1)), *negated, true),
            Match::Is(_) | Match::AnyOf { .. } | Match::Xt(_) | Match::Opaque(_) => return None,
        };
        Some(Self { share: if negated { 1.0 - share } else { share }, in_turns })
    }

    /// The odds that a rule applies to the packets its other conditions take.
    pub(crate) fn of_rule(rule: &Rule) -> Option<Self> {
        rule.matches.iter().filter_map(Self::of).reduce(Self::and)
    }

    /// The odds that a condition does not hold.
    pub(crate) fn failing(self) -> Self {
        Self { share: 1.0 - self.share, ..self }
    }

    /// The odds of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { share: self.share * other.share, in_turns: self.in_turns && other.in_turns }
    }
}

/// Whether what follows a rule in its chain depends on the rule having failed.
pub(crate) fn is_fork(rule: &Rule) -> bool {
    rule.statements.iter().any(|statement| {
        matches!(
            statement,
            Statement::Verdict(_) | Statement::Reject(_) | Statement::Nat(_) | Statement::Tproxy(_)
        )
    })
}
