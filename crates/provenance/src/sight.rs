//! A rule with its surroundings, as signatures look at it.

use natpath_model::{
    Chain, ChainId, Expr, Field, IntervalSet, Manip, Match, Nat, Rule, RuleRef, Snapshot, Statement, Table,
    Verdict,
};

/// A rule with its surroundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    /// The host.
    pub(crate) host: &'a Snapshot,
    /// Where the rule stands.
    pub(crate) at: RuleRef,
    /// Its table.
    pub(crate) table: &'a Table,
    /// Its chain.
    pub(crate) chain: &'a Chain,
    /// The rule.
    pub(crate) rule: &'a Rule,
}

impl<'a> Sight<'a> {
    /// Looks at a rule; `None` where the host has no such rule.
    pub(crate) fn new(host: &'a Snapshot, at: RuleRef) -> Option<Self> {
        let table = host.ruleset.tables.get(at.table as usize)?;
        let chain = table.chains.get(at.chain.0 as usize)?;
        let rule = chain.rules.get(at.rule as usize)?;
        Some(Self { host, at, table, chain, rule })
    }

    /// The rule in its own words behind the name of its chain, alike for both front ends.
    pub(crate) fn words(&self) -> String {
        let text = self.host.text(&self.rule.origin);
        let chain = &self.chain.name;
        match text.strip_prefix("-A ").and_then(|rest| rest.strip_prefix(chain.as_str())) {
            Some(rest) => format!("{chain}{rest}"),
            None => format!("{chain} {text}"),
        }
    }

    /// The comment, or an empty text.
    pub(crate) fn comment(&self) -> &'a str {
        self.rule.comment.as_deref().unwrap_or_default()
    }

    /// The chain that the rule calls.
    pub(crate) fn target(&self) -> Option<ChainId> {
        target(self.rule)
    }

    /// The rules of this table that call the rule's chain.
    pub(crate) fn callers(&self) -> impl Iterator<Item = Self> + use<'a> {
        callers(self.host, self.at.table, self.at.chain)
    }

    /// The one address and port that a DNAT of the rule leads to.
    pub(crate) fn dnat_target(&self) -> Option<String> {
        let range = self.rule.statements.iter().find_map(|statement| match statement {
            Statement::Nat(Nat::Dnat(range)) => Some(range),
            _ => None,
        })?;
        let (low, high) = range.addresses?;
        (low == high).then(|| range.to_string())
    }

    /// The addresses that the rule asks for on one side.
    pub(crate) fn addresses(&self, side: Manip) -> Option<&'a IntervalSet> {
        self.rule.matches.iter().find_map(|condition| match condition {
            Match::Is(test) if test.expr == Expr::Field(Field::Address(side)) && !test.negated => {
                Some(&test.set)
            }
            _ => None,
        })
    }
}

/// The rules of a table that call a chain.
pub(crate) fn callers(host: &Snapshot, table: u32, called: ChainId) -> impl Iterator<Item = Sight<'_>> {
    let chains = host.ruleset.tables.get(table as usize).map_or(&[][..], |table| &table.chains);
    (0u32..).zip(chains).flat_map(move |(chain, of)| {
        let calls = (0u32..).zip(&of.rules).filter(move |(_, rule)| target(rule) == Some(called));
        calls.filter_map(move |(rule, _)| Sight::new(host, RuleRef { table, chain: ChainId(chain), rule }))
    })
}

fn target(rule: &Rule) -> Option<ChainId> {
    rule.statements.iter().find_map(|statement| match statement {
        Statement::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(*chain),
        _ => None,
    })
}
