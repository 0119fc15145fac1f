//! What the nat chains of a hook would do to a packet if its connection were new: the question behind a
//! rule that was not reached.
//!
//! What a chain of DNATs *meant* is found by asking again with the new destination until no rule maps.

use natpath_model::{Direction, Field, Hook, Manip, Match, RuleRef, Status};

use crate::chain::ChainVerdict;
use crate::choice::Choices;
use crate::conntrack::{ConntrackEntry, CtInfo, Tracked};
use crate::host::ChainAt;
use crate::matching::Applies;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::state::Env;
use crate::trace::{Header, HostId, NotReached, Step};

/// The most translations that one destination may be meant to have.
const MAX_PASSES: usize = 8;
/// The most courses of chance that are followed; a reader would not read more endpoints either.
const MAX_COURSES: usize = 64;

/// A translation that does not take place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WhatIf {
    /// The rule that would make it.
    pub(crate) rule: RuleRef,
    /// The rules that lead to it, itself the last.
    pub(crate) way: Vec<RuleRef>,
    /// The header it would give.
    pub(crate) after: Header,
    /// The mark that the packet would have then.
    pub(crate) mark: u32,
}

/// Where rules together meant a packet to go, in one course of chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Meaning {
    pub(crate) probability: f64,
    pub(crate) to: Header,
    /// The bits of the mark that the rules on the way would have changed, and what to.
    pub(crate) mark: (u32, u32),
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
    /// Where the rules together meant it to go, the first course of chance alone; `None` if they lead back to
    /// where they began.
    pub(crate) meant: Option<Header>,
    /// Every course of chance; empty if one leads back to where it began, or if there are too many.
    pub(crate) meanings: Vec<Meaning>,
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
        let (meant, by_chance, _) = self.follow_meaning(hook, skb, before, Choices::hopeful());
        let meanings = self.meanings(hook, skb, before);
        let unreached = Unreached {
            host: self.host.id,
            why,
            second: second.rule,
            before,
            at,
            meant: meant.map(|meant| meant.to),
            meanings,
            by_chance,
        };
        self.env.noted.unreached.push(unreached);
    }

    /// Follows every course of chance to where the rules meant a packet to go.
    fn meanings(&self, hook: Hook, skb: &Skb, before: Header) -> Vec<Meaning> {
        let mut found: Vec<Meaning> = Vec::new();
        let mut script = Some(Vec::new());
        for _ in 0..MAX_COURSES {
            let Some(picks) = script else { return found };
            let (meant, _, choices) = self.follow_meaning(hook, skb, before, Choices::possible(picks));
            let Some(meant) = meant else { return Vec::new() };
            match found.iter_mut().find(|known| (known.to, known.mark) == (meant.to, meant.mark)) {
                Some(known) => known.probability += meant.probability,
                None => found.push(meant),
            }
            script = choices.following();
        }
        Vec::new()
    }

    /// Asks again and again until no rule maps. Also says whether chance had a say.
    fn follow_meaning(
        &self,
        hook: Hook,
        skb: &Skb,
        before: Header,
        mut choices: Choices,
    ) -> (Option<Meaning>, bool, Choices) {
        let chains = self.host.nat_chains(skb.packet.family(), hook, || true);
        let (mut skb, mark) = (*skb, skb.mark);
        let mut seen = vec![before.dst];
        let mut by_chance = false;
        loop {
            seen.push(skb.packet.header().dst);
            let (next, after) = self.would(hook, &skb, &chains, choices);
            choices = after;
            let Some(step) = next.filter(|step| step.after.dst != skb.packet.header().dst) else {
                let changed = mark ^ skb.mark;
                let meaning = Meaning {
                    probability: choices.probability(),
                    to: skb.packet.header(),
                    mark: (changed, skb.mark & changed),
                };
                return (Some(meaning), by_chance, choices);
            };
            by_chance |= step.way.iter().any(|rule| self.is_left_to_chance(*rule));
            if seen.contains(&step.after.dst) || seen.len() > MAX_PASSES {
                return (None, by_chance, choices);
            }
            skb.packet.rewrite(Manip::Dst, step.after.dst);
            skb.mark = step.mark;
        }
    }

    fn is_left_to_chance(&self, rule: RuleRef) -> bool {
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
        let mut env = Env { choices: Choices::hopeful(), ..self.env.without_notes() };
        let mut unwatched = ();
        let mut pass = Pass::new(self.host, &mut state, &mut env, &mut unwatched);
        rules.iter().all(|at| pass.applies(skb, *at, self.host.snapshot.ruleset.rule(*at)) == Applies::Yes)
    }

    /// Runs the nat chains of a hook over a packet as if it began a connection. Nothing that happens here
    /// is kept: counters, marks and entries are those of a copy.
    pub(crate) fn what_if(&self, hook: Hook, skb: &Skb) -> Option<WhatIf> {
        let chains = self.host.nat_chains(skb.packet.family(), hook, || true);
        self.would(hook, skb, &chains, Choices::hopeful()).0
    }

    /// The same for every course of chance, over these chains; `None` where there are too many.
    pub(crate) fn what_ifs(&self, hook: Hook, skb: &Skb, chains: &[ChainAt]) -> Option<Vec<Option<WhatIf>>> {
        let mut found: Vec<Option<WhatIf>> = Vec::new();
        let mut script = Some(Vec::new());
        for _ in 0..MAX_COURSES {
            let Some(picks) = script else { return Some(found) };
            let (result, choices) = self.would(hook, skb, chains, Choices::possible(picks));
            if !found.contains(&result) {
                found.push(result);
            }
            script = choices.following();
        }
        None
    }

    fn would(
        &self,
        hook: Hook,
        skb: &Skb,
        chains: &[ChainAt],
        choices: Choices,
    ) -> (Option<WhatIf>, Choices) {
        let begun = skb.packet.tuple().and_then(|tuple| ConntrackEntry::untranslated(tuple, self.env.now));
        let (Some(manip), Some(entry)) = (hook.manip(), begun) else { return (None, choices) };
        let mut state = self.state.clone();
        let id = state.conntrack.insert_unconfirmed(entry);
        let mut skb = *skb;
        skb.tracked = Tracked::Entry { id, direction: Direction::Original, info: CtInfo::New };
        let mut env = Env { choices, ..self.env.without_notes() };
        let mut steps: Vec<Step> = Vec::new();
        let mut found = None;
        let mut pass = Pass::new(self.host, &mut state, &mut env, &mut steps);
        for at in chains {
            let verdict = pass.run_chain(hook, *at, &mut skb);
            let entry = pass.state.conntrack.entry(id);
            if entry.decided(manip) {
                // A side that was decided without a change of tuple was given its own address.
                let is_changed = entry.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0));
                let reply = entry.reply.invert().filter(|_| is_changed);
                let after = reply.map_or(skb.packet.header(), Header::from);
                found = entry.translator(manip).map(|rule| {
                    let way = way_to(rule, pass.observer);
                    WhatIf { rule, way, after, mark: skb.mark }
                });
                break;
            }
            if let ChainVerdict::End(_) = verdict {
                break;
            }
        }
        (found, env.choices)
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
