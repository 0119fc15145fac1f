//! What the nat chains of a hook would do to a packet if its connection were new: the question behind a
//! rule that was not reached.
//!
//! What a chain of DNATs *meant* is found by asking again with the new destination until no rule maps.

use natpath_model::{Direction, Field, Hook, Manip, Match, RuleRef, Status};

use crate::chain::ChainVerdict;
use crate::choice::Choices;
use crate::conntrack::{ConntrackEntry, CtInfo, Tracked};
use crate::matching::Applies;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::state::Env;
use crate::trace::{Header, HostId, NotReached, Step};

/// The most translations that one destination may be meant to have.
const MAX_PASSES: usize = 8;

/// A translation that does not take place.
#[derive(Debug, Clone)]
pub(crate) struct WhatIf {
    /// The rule that would make it.
    pub(crate) rule: RuleRef,
    /// The rules that lead to it, itself the last.
    pub(crate) way: Vec<RuleRef>,
    /// The header it would give.
    pub(crate) after: Header,
}

/// A nat rule that was meant for a packet but was not tried.
#[derive(Debug, Clone)]
pub(crate) struct Unreached {
    pub(crate) host: HostId,
    /// Why it was not tried.
    pub(crate) why: NotReached,
    /// The rule that was not tried.
    pub(crate) second: RuleRef,
    /// The packet as it came.
    pub(crate) before: Header,
    /// The packet as it was when the rule would have applied.
    pub(crate) at: Header,
    /// Where the rules together meant it to go; `None` if they lead back to where they began.
    pub(crate) meant: Option<Header>,
    /// Whether some of the rules that lead there leave it to chance.
    pub(crate) by_chance: bool,
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Notes a nat rule that would apply to a packet as it now is, but not as it was: one that was meant
    /// for the result of `first`.
    pub(crate) fn find_unreached(
        &mut self,
        hook: Hook,
        skb: &Skb,
        before: Header,
        first: RuleRef,
    ) -> Option<RuleRef> {
        let at = skb.packet.header();
        let second = self.what_if(hook, skb).filter(|second| second.after != at && second.rule != first)?;
        let mut original = *skb;
        original.packet.rewrite(Manip::Dst, before.dst);
        if self.all_apply(&second.way, &original) {
            return None;
        }
        self.note(hook, NotReached::TranslatedBy(first), &second, before, skb);
        Some(second.rule)
    }

    /// Notes a nat rule that would apply to a packet but for `why`.
    pub(crate) fn find_passed_over(&mut self, hook: Hook, skb: &Skb, why: NotReached) -> Option<RuleRef> {
        let before = skb.packet.header();
        let second = self.what_if(hook, skb).filter(|second| second.after != before)?;
        self.note(hook, why, &second, before, skb);
        Some(second.rule)
    }

    fn note(&mut self, hook: Hook, why: NotReached, second: &WhatIf, before: Header, skb: &Skb) {
        let at = skb.packet.header();
        let (meant, by_chance) = self.follow_meaning(hook, skb, second, before);
        let host = self.host.id;
        self.env.unreached.push(Unreached { host, why, second: second.rule, before, at, meant, by_chance });
    }

    /// Asks again and again until no rule maps.
    fn follow_meaning(
        &self,
        hook: Hook,
        skb: &Skb,
        second: &WhatIf,
        before: Header,
    ) -> (Option<Header>, bool) {
        let mut skb = *skb;
        let mut seen = vec![before.dst, skb.packet.header().dst];
        let mut next = Some(second.clone());
        let mut by_chance = false;
        while let Some(step) = next {
            by_chance |= step.way.iter().any(|rule| self.is_left_to_chance(*rule));
            if seen.contains(&step.after.dst) || seen.len() > MAX_PASSES {
                return (None, by_chance);
            }
            seen.push(step.after.dst);
            skb.packet.rewrite(Manip::Dst, step.after.dst);
            next = self.what_if(hook, &skb).filter(|again| again.after.dst != step.after.dst);
        }
        (Some(skb.packet.header()), by_chance)
    }

    pub(super) fn is_left_to_chance(&self, rule: RuleRef) -> bool {
        let rule = self.host.snapshot.ruleset.rule(rule);
        rule.matches.iter().any(|condition| matches!(condition, Match::Chance { .. } | Match::Nth { .. }))
    }

    /// Whether one of these rules asks for a destination address of its own.
    pub(crate) fn names_destination(&self, rules: &[RuleRef]) -> bool {
        let of_destination = |condition: &Match| {
            matches!(condition, Match::Is(test)
                if !test.negated && test.expr.field() == Field::Address(Manip::Dst))
        };
        rules.iter().any(|at| self.host.snapshot.ruleset.rule(*at).matches.iter().any(of_destination))
    }

    /// Whether a packet satisfies the conditions of all these rules, chance allowing.
    fn all_apply(&self, rules: &[RuleRef], skb: &Skb) -> bool {
        let mut state = self.state.clone();
        let mut env = Env { choices: Choices::hopeful(), ..self.env.clone() };
        let mut unwatched = ();
        let mut pass = Pass::new(self.host, &mut state, &mut env, &mut unwatched);
        rules.iter().all(|at| pass.applies(skb, *at, self.host.snapshot.ruleset.rule(*at)) == Applies::Yes)
    }

    /// Runs the nat chains of a hook over a packet as if it began a connection. Nothing that happens here
    /// is kept: counters, marks and entries are those of a copy.
    pub(crate) fn what_if(&self, hook: Hook, skb: &Skb) -> Option<WhatIf> {
        let manip = hook.manip()?;
        let tuple = skb.packet.tuple()?;
        let mut state = self.state.clone();
        let id = state.conntrack.insert_unconfirmed(ConntrackEntry::untranslated(tuple, self.env.now)?);
        let mut skb = *skb;
        skb.tracked = Tracked::Entry { id, direction: Direction::Original, info: CtInfo::New };
        let mut env = Env { choices: Choices::hopeful(), ..self.env.clone() };
        let mut steps: Vec<Step> = Vec::new();
        let mut pass = Pass::new(self.host, &mut state, &mut env, &mut steps);
        for at in self.host.nat_chains(skb.packet.family(), hook, || true) {
            let verdict = pass.run_chain(hook, at, &mut skb);
            let entry = pass.state.conntrack.entry(id);
            if entry.decided(manip) {
                let rule = entry.translator(manip)?;
                // A side that was decided without a change of tuple was given its own address.
                let after = if entry.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0)) {
                    Header::from(entry.reply.invert()?)
                } else {
                    skb.packet.header()
                };
                return Some(WhatIf { rule, way: way_to(rule, pass.observer), after });
            }
            if let ChainVerdict::End(_) = verdict {
                return None;
            }
        }
        None
    }
}

/// The jumps that led to a rule, and the rule.
fn way_to(rule: RuleRef, steps: &[Step]) -> Vec<RuleRef> {
    use crate::trace::Effect::{Goto, Jump};
    let mut way = vec![rule];
    let mut chain = rule.chain;
    for step in steps.iter().rev() {
        if let Step::Rule { rule: jump, effect: Jump(to) | Goto(to), .. } = step
            && *to == chain
            && jump.table == rule.table
        {
            way.push(*jump);
            chain = jump.chain;
        }
    }
    way.reverse();
    way
}
