//! The user chains between a base chain and the rule at hand, and what chance had to do with coming there.

use natpath_engine::trace::{Effect, Place, Step};
use natpath_model::{ChainId, RuleRef};

use crate::render::odds::{Odds, is_fork};
use crate::render::view::View;

/// Follows a walk through a base chain.
#[derive(Default)]
pub(crate) struct Calls {
    /// What chance decided in the base chain so far.
    base: Option<Odds>,
    stack: Vec<Call>,
}

struct Call {
    chain: ChainId,
    name: String,
    /// What chance decided in calling it, and in it so far.
    odds: Option<Odds>,
}

impl Calls {
    /// Leaves the chains that a rule of `rule`'s chain can't be called from.
    pub(crate) fn enter(&mut self, rule: RuleRef) {
        let depth = self.stack.iter().rposition(|call| call.chain == rule.chain).map_or(0, |at| at + 1);
        self.stack.truncate(depth);
    }

    /// Goes on after a rule of the chain that was entered.
    pub(crate) fn pass(&mut self, view: &View<'_>, host: Place, step: &Step) {
        match step {
            Step::Miss { rule, failed, .. } => {
                let Some(at) = view.rule(host, *rule) else { return };
                let odds = at.rule.matches.get(*failed as usize).and_then(Odds::of);
                if let Some(odds) = odds.filter(|_| is_fork(at.rule)) {
                    let here = self.stack.last_mut().map_or(&mut self.base, |call| &mut call.odds);
                    *here = both(*here, Some(odds.failing()));
                }
            }
            Step::Rule { rule, effect: Effect::Jump(target) | Effect::Goto(target), .. } => {
                let Some(at) = view.rule(host, *rule) else { return };
                if let Some(chain) = at.table.chains.get(target.0 as usize) {
                    let odds = Odds::of_rule(at.rule);
                    self.stack.push(Call { chain: *target, name: chain.name.clone(), odds });
                }
            }
            _ => {}
        }
    }

    /// `KUBE-SERVICES → KUBE-SVC-X`; empty in the base chain.
    pub(crate) fn names(&self) -> String {
        self.stack.iter().map(|call| call.name.as_str()).collect::<Vec<_>>().join(" → ")
    }

    /// What chance decided on the way to a rule and in it.
    pub(crate) fn odds(&self, rule: &natpath_model::Rule) -> Option<Odds> {
        let on_the_way = self.stack.iter().map(|call| call.odds).fold(self.base, both);
        both(on_the_way, Odds::of_rule(rule))
    }
}

fn both(a: Option<Odds>, b: Option<Odds>) -> Option<Odds> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.and(b)),
        (odds, None) | (None, odds) => odds,
    }
}
