//! Walking a base chain: rules in order, jumps and returns, statements.

use natpath_model::{
    ChainId, ChainKind, ConnmarkOp, Hook, Nat, Origin, Policy, RejectWith, Rule, RuleRef, Ruleset, Statement,
    Verdict,
};

use crate::conntrack::Tracked;
use crate::host::ChainAt;
use crate::matching::Applies;
use crate::nat::NatVerdict;
use crate::pass::{Observer, Pass};
use crate::skb::{Reason, Skb};
use crate::trace::{ChainEnd, Effect, Outcome, Step, Why};

/// The deepest nesting of jumps, as the kernel enforces it (nf_tables.h, `NFT_JUMP_STACK_SIZE`).
const MAX_DEPTH: usize = 16;
/// The rules that one packet may try in one base chain, however few there are: each leaves a step in the
/// trace. Chains that call the next several times multiply; no listed ruleset comes near it.
const MAX_STEPS: u32 = 1 << 18;
/// How often a packet may try each rule of a larger table, on average.
const MAX_TURNS: usize = 4;

/// What a base chain says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainVerdict {
    /// On to the next chain.
    Accept,
    /// It ended here.
    End(Reason),
}

/// What a rule says of a packet.
enum RuleVerdict {
    Continue,
    Accept,
    Return,
    Jump(ChainId),
    Goto(ChainId),
    End(Reason),
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Runs a packet through a base chain.
    pub(crate) fn run_chain(&mut self, hook: Hook, at: ChainAt, skb: &mut Skb) -> ChainVerdict {
        let ruleset = &self.host.snapshot.ruleset;
        let mut stack: Vec<(ChainId, u32)> = Vec::new();
        let mut place = (at.chain, 0u32);
        let (mut tried, mut matched) = (0u32, 0u32);
        // Known only at the end, but shown before the rules.
        let (verdict, end) = loop {
            let chain = ruleset.chain(at.table, place.0);
            let Some(rule) = chain.rules.get(place.1 as usize) else {
                match stack.pop() {
                    Some(caller) => place = caller,
                    None => break self.policy(at),
                }
                continue;
            };
            let rule_at = RuleRef { table: at.table, chain: place.0, rule: place.1 };
            place.1 += 1;
            tried += 1;
            if tried.is_multiple_of(MAX_STEPS) && is_endless(ruleset, at.table, tried) {
                break (ChainVerdict::End(Reason::of(Outcome::Undecided)), ChainEnd::Rule(rule_at));
            }
            match self.applies(skb, rule_at, rule) {
                Applies::No(failed) => {
                    self.observer.step(|| Step::Miss { hook, rule: rule_at, failed });
                    if O::WATCHES {
                        self.note_near_miss(hook, rule_at, rule, skb);
                    }
                    continue;
                }
                Applies::Yes => matched += 1,
            }
            self.count(rule_at, skb);
            match self.execute(hook, rule_at, rule, skb) {
                RuleVerdict::Continue => {}
                RuleVerdict::Accept => break (ChainVerdict::Accept, ChainEnd::Rule(rule_at)),
                RuleVerdict::End(reason) => {
                    let reason = Reason { rule: reason.rule.or(Some(rule_at)), ..reason };
                    break (ChainVerdict::End(reason), ChainEnd::Rule(rule_at));
                }
                RuleVerdict::Return => match stack.pop() {
                    Some(caller) => place = caller,
                    None => break self.policy(at),
                },
                RuleVerdict::Jump(to) => {
                    if stack.len() >= MAX_DEPTH {
                        break (ChainVerdict::End(Reason::of(Outcome::Undecided)), ChainEnd::Rule(rule_at));
                    }
                    stack.push(place);
                    place = (to, 0);
                }
                RuleVerdict::Goto(to) => place = (to, 0),
            }
        };
        self.observer.step(|| Step::Chain { hook, table: at.table, chain: at.chain, tried, matched, end });
        verdict
    }

    fn policy(&self, at: ChainAt) -> (ChainVerdict, ChainEnd) {
        match self.host.snapshot.ruleset.chain(at.table, at.chain).kind {
            ChainKind::Base { policy: Policy::Drop, .. } => {
                (ChainVerdict::End(Reason::dropped(Why::Policy)), ChainEnd::PolicyDrop)
            }
            ChainKind::Base { policy: Policy::Accept, .. } | ChainKind::Regular => {
                (ChainVerdict::Accept, ChainEnd::PolicyAccept)
            }
        }
    }

    fn count(&mut self, at: RuleRef, skb: &Skb) {
        let counter = self.state.counters.entry(at).or_default();
        counter.packets += 1;
        counter.bytes += u64::from(skb.packet.length());
    }

    /// Executes a rule's statements in order until one ends it.
    fn execute(&mut self, hook: Hook, at: RuleRef, rule: &Rule, skb: &mut Skb) -> RuleVerdict {
        if rule.statements.is_empty() {
            self.show(hook, at, Effect::Counted, skb, skb);
        }
        for statement in &rule.statements {
            let before = *skb;
            let (verdict, effect) = self.statement(hook, at, statement, skb);
            // A translation is written into the packet at the end of the dispatcher and shown there.
            if !matches!(statement, Statement::Nat(_)) {
                self.show(hook, at, effect, &before, skb);
            }
            if !matches!(verdict, RuleVerdict::Continue) {
                return verdict;
            }
        }
        RuleVerdict::Continue
    }

    fn show(&mut self, hook: Hook, rule: RuleRef, effect: Effect, before: &Skb, after: &Skb) {
        let (before, after) = (before.packet.header(), after.packet.header());
        self.observer.step(|| Step::Rule { hook, rule, effect, before, after });
    }

    fn statement(
        &mut self,
        hook: Hook,
        at: RuleRef,
        statement: &Statement,
        skb: &mut Skb,
    ) -> (RuleVerdict, Effect) {
        use RuleVerdict::Continue;
        match statement {
            Statement::Verdict(verdict) => execute_verdict(*verdict),
            Statement::Reject(with) => (self.reject(hook, skb, *with), Effect::Reject),
            Statement::Log { .. } => (Continue, Effect::Log),
            Statement::Inert { .. } => (Continue, Effect::Counted),
            Statement::Mark { clear, xor } => {
                let was = skb.mark;
                skb.mark = (was & !clear) ^ xor;
                (Continue, Effect::Mark(was, skb.mark))
            }
            Statement::Connmark(operation) => (Continue, self.connmark(*operation, skb)),
            Statement::Notrack => {
                // xt_NOTRACK: a packet that has an entry keeps it.
                if skb.tracked == Tracked::No {
                    skb.tracked = Tracked::Untracked;
                }
                (Continue, Effect::Notrack)
            }
            Statement::Ct(template) => {
                let (zone, which) = template.zone.unwrap_or_default();
                if skb.tracked == Tracked::No {
                    skb.tracked = Tracked::Template(zone, which);
                }
                (Continue, Effect::Zone(zone))
            }
            Statement::Nat(nat) => self.nat_statement(hook, at, nat, skb),
            Statement::Tos { clear, xor } => {
                let was = skb.packet.tos;
                skb.packet.tos = (was & !clear) ^ xor;
                (Continue, Effect::Tos(was, skb.packet.tos))
            }
            Statement::Ttl(change) => {
                let was = skb.packet.ttl;
                skb.packet.ttl = change.apply(was);
                (Continue, Effect::Ttl(was, skb.packet.ttl))
            }
            Statement::Set(change) => match self.change_set(skb, change) {
                Ok(()) => (Continue, Effect::Set),
                Err(reason) => {
                    let origin = &self.host.snapshot.ruleset.rule(at).origin;
                    self.undecided("-j SET", origin, &reason)
                }
            },
            Statement::Tproxy(proxy) => match self.tproxy(skb, at, proxy) {
                (true, effect) => (RuleVerdict::Accept, effect),
                (false, effect) => (RuleVerdict::End(Reason::dropped(Why::Rule)), effect),
            },
            Statement::Opaque(opaque) => self.undecided(&opaque.construct, &opaque.origin, &opaque.reason),
        }
    }

    /// A statement whose effect is not known ends the path.
    fn undecided(&mut self, construct: &str, origin: &Origin, reason: &str) -> (RuleVerdict, Effect) {
        let assumption = crate::trace::Assumption::Opaque {
            host: self.host.snapshot.name.clone(),
            construct: construct.to_owned(),
            place: self.place(origin),
            reason: reason.to_owned(),
            applies: None,
        };
        self.env.assumptions.insert(assumption.clone());
        self.observer.step(|| Step::Assumed(assumption));
        (RuleVerdict::End(Reason::of(Outcome::Undecided)), Effect::Unknown)
    }

    fn nat_statement(&mut self, hook: Hook, at: RuleRef, nat: &Nat, skb: &mut Skb) -> (RuleVerdict, Effect) {
        let effect = match nat {
            Nat::Dnat(_) => Effect::Dnat,
            Nat::Snat(_) => Effect::Snat,
            Nat::Masquerade(_) => Effect::Masquerade,
            Nat::Redirect(_) => Effect::Redirect,
            Nat::Netmap(_) => Effect::Netmap,
        };
        match self.translate(hook, at, nat, skb) {
            NatVerdict::Accept => (RuleVerdict::Accept, effect),
            NatVerdict::Drop(why) => (RuleVerdict::End(Reason::dropped(why)), effect),
        }
    }

    fn connmark(&mut self, operation: ConnmarkOp, skb: &mut Skb) -> Effect {
        let Some((id, _)) = skb.tracked.entry() else { return Effect::Counted };
        let entry = self.state.conntrack.entry_mut(id);
        let was = entry.mark;
        match operation {
            ConnmarkOp::Set { clear, xor } => entry.mark = (was & !clear) ^ xor,
            ConnmarkOp::Save { packet_mask, entry_mask } => {
                entry.mark = (was & !entry_mask) ^ (skb.mark & packet_mask);
            }
            ConnmarkOp::Restore { packet_mask, entry_mask } => {
                let mark = skb.mark;
                skb.mark = (mark & !packet_mask) ^ (was & entry_mask);
                return Effect::Mark(mark, skb.mark);
            }
        }
        Effect::Connmark(was, entry.mark)
    }

    fn reject(&mut self, hook: Hook, skb: &Skb, with: RejectWith) -> RuleVerdict {
        // icmp.c: what was on its way to this host is answered from the address it was for.
        let local = match hook {
            Hook::Input => true,
            Hook::Output => self.host.fib.is_local(skb.packet.dst),
            Hook::Prerouting | Hook::Forward | Hook::Postrouting => false,
        };
        match with {
            RejectWith::Icmp { kind, code } => self.send_error(skb, (kind, code), 0, local),
            RejectWith::TcpReset => self.send_reset(skb),
        }
        RuleVerdict::End(Reason { outcome: Outcome::Rejected, why: Some(Why::Rule), rule: None })
    }
}

fn execute_verdict(verdict: Verdict) -> (RuleVerdict, Effect) {
    match verdict {
        Verdict::Accept => (RuleVerdict::Accept, Effect::Accept),
        Verdict::Drop => (RuleVerdict::End(Reason::dropped(Why::Rule)), Effect::Drop),
        Verdict::Return => (RuleVerdict::Return, Effect::Return),
        Verdict::Jump(to) => (RuleVerdict::Jump(to), Effect::Jump(to)),
        Verdict::Goto(to) => (RuleVerdict::Goto(to), Effect::Goto(to)),
    }
}

/// Whether a packet has tried more rules of a table than a walk with an end would.
fn is_endless(ruleset: &Ruleset, table: u32, tried: u32) -> bool {
    let rules: usize = ruleset.tables[table as usize].chains.iter().map(|chain| chain.rules.len()).sum();
    tried as usize >= rules.saturating_mul(MAX_TURNS)
}
