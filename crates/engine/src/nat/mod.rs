//! Network address translation: decided once for each connection and side, then written into every packet.
//!
//! ```text
//!  hook ─→ decided? ─┬─ no ──→ nat chains in order, until one maps ─┬─ mapped ──┐
//!                    │                                              └─ null ────┤
//!                    └─ yes ────────────────────────────────────────────────────┴─→ rewrite the packet
//! ```
//!
//! Follows nf_nat_core.c of Linux 6.18 (`nf_nat_inet_fn`, `nf_nat_setup_info`, `nf_nat_packet`).

mod address;
mod icmp;
mod stale;
mod unique_tuple;
mod what_if;

pub(crate) use stale::Stale;
pub(crate) use what_if::Unreached;

use natpath_model::{Direction, Hook, Manip, Nat, NatRange, RuleRef, Status};

use crate::chain::ChainVerdict;
use crate::conntrack::{CtInfo, EntryId, Tracked};
use crate::pass::{Observer, Pass};
use crate::skb::{Reason, Skb};
use crate::trace::{Effect, NotReached, Step, Why};

/// What a translation target says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NatVerdict {
    /// It was set up, or the packet has no entry to set it up in.
    Accept,
    /// It can't be set up.
    Drop(Why),
}

impl<O: Observer> Pass<'_, '_, O> {
    /// The dispatcher: runs the nat chains of a hook if need be, and translates the packet.
    pub(crate) fn nat_hook(&mut self, hook: Hook, skb: &mut Skb) -> ChainVerdict {
        let Some(manip) = hook.manip() else { return ChainVerdict::Accept };
        let Tracked::Entry { id, direction, info } = skb.tracked else {
            self.show_untracked(hook, skb);
            return ChainVerdict::Accept;
        };
        // 1) Errors about a connection follow its translation.
        if info == CtInfo::Related && skb.packet.icmp().is_some() {
            return self.translate_error(hook, manip, skb, id, direction);
        }
        // 2) Decide, once.
        let mut by = None;
        if info != CtInfo::Established && !self.state.conntrack.entry(id).decided(manip) {
            match self.decide_translation(hook, manip, skb, id) {
                Ok(rule) => by = Some(rule),
                Err(reason) => return ChainVerdict::End(reason),
            }
        } else if self.left_its_link(hook, skb, id, direction) {
            // masquerade: the connection now leaves by another link; the entry is of no use any more.
            self.state.conntrack.entry_mut(id).status.set(Status::DYING);
            return ChainVerdict::End(Reason::dropped(Why::RouteType));
        }
        // 3) Write it into the packet.
        let came = *skb;
        self.write(hook, manip, skb, id, direction, by);
        if O::WATCHES && by.is_none() && info == CtInfo::New && direction == Direction::Original {
            self.show_decided(hook, manip, &came, skb, id);
        }
        if O::WATCHES && manip == Manip::Dst && direction == Direction::Original {
            self.note_stale(hook, &came, skb, id);
        }
        ChainVerdict::Accept
    }

    /// Shows the nat rule that a packet would have met if its connection's destination were not decided.
    fn show_decided(&mut self, hook: Hook, manip: Manip, came: &Skb, skb: &Skb, id: EntryId) {
        if manip != Manip::Dst {
            return;
        }
        let entry = self.state.conntrack.entry(id);
        let original = entry.original.into();
        let by = entry.translator(Manip::Dst);
        if let Some(first) = by {
            if came.packet.header() == skb.packet.header()
                && let Some(rule) = self.find_unreached(hook, came, original, first)
            {
                self.observer.take(Step::NotReached { hook, rule, why: NotReached::TranslatedBy(first) });
            }
        } else if came.packet.header() == skb.packet.header() {
            let made_here = came.in_link.is_some() && came.in_link == self.host.loopback();
            let why = if made_here { NotReached::MadeHere } else { NotReached::DecidedEarlier };
            if let Some(rule) = self.find_passed_over(hook, came, why) {
                self.observer.take(Step::NotReached { hook, rule, why });
            }
        }
    }

    /// Asks the nat chains in order; the rule that mapped, or `None` for the null binding.
    fn decide_translation(
        &mut self,
        hook: Hook,
        manip: Manip,
        skb: &mut Skb,
        id: EntryId,
    ) -> Result<Option<RuleRef>, Reason> {
        let host = self.host;
        let choices = &mut self.env.choices;
        let chains = host.nat_chains(skb.packet.family(), hook, || choices.legacy_first(host.id));
        for at in chains {
            if let ChainVerdict::End(reason) = self.run_chain(hook, at, skb) {
                return Err(reason);
            }
            if self.state.conntrack.entry(id).decided(manip) {
                return Ok(self.state.conntrack.entry(id).translator(manip));
            }
        }
        self.bind_null(manip, id);
        Ok(None)
    }

    /// Sets up the translation of a rule (the targets' `..._tg` functions).
    pub(crate) fn translate(&mut self, hook: Hook, at: RuleRef, nat: &Nat, skb: &Skb) -> NatVerdict {
        let Some((id, _)) = skb.tracked.entry() else { return NatVerdict::Accept };
        let Some(manip) = hook.manip() else { return NatVerdict::Accept };
        let range = match nat {
            Nat::Dnat(range) | Nat::Snat(range) => *range,
            Nat::Masquerade(range) => match self.masquerade_range(skb, range) {
                Ok(Some(range)) => range,
                Ok(None) => return NatVerdict::Accept,
                Err(why) => return NatVerdict::Drop(why),
            },
            Nat::Redirect(range) => match self.redirect_range(hook, skb, range) {
                Ok(range) => range,
                Err(why) => return NatVerdict::Drop(why),
            },
            Nat::Netmap(prefix) => address::netmap_range(skb, manip, *prefix),
        };
        if matches!(nat, Nat::Masquerade(_)) {
            self.state.conntrack.entry_mut(id).masqueraded_on = skb.out_link.map(|link| link.0);
        }
        self.bind(id, &range, manip, Some(at));
        NatVerdict::Accept
    }

    /// Gives an entry its translation of one side (`nf_nat_setup_info`).
    fn bind(&mut self, id: EntryId, range: &NatRange, manip: Manip, by: Option<RuleRef>) {
        let entry = self.state.conntrack.entry(id);
        if entry.status.has(Status::CONFIRMED) {
            return;
        }
        let Some(current) = entry.reply.invert() else { return };
        let chosen = self.unique_tuple(id, &current, range, manip);
        let entry = self.state.conntrack.entry_mut(id);
        if chosen != current
            && let Some(reply) = chosen.invert()
        {
            entry.reply = reply;
            entry.status.set(crate::conntrack::nat_bit(manip));
        }
        entry.status.set(crate::conntrack::done_bit(manip));
        entry.translated_by[manip as usize] = by;
        if manip == Manip::Src {
            self.state.conntrack.file_by_source(id);
        }
    }

    /// Decides that nothing is translated, unless the port must change to keep tuples apart
    /// (`__nf_nat_alloc_null_binding`).
    fn bind_null(&mut self, manip: Manip, id: EntryId) {
        let reply = self.state.conntrack.entry(id).reply;
        // What the source of a packet will be is where its replies go.
        let address = match manip {
            Manip::Src => reply.dst.address,
            Manip::Dst => reply.src.address,
        };
        let range = NatRange { addresses: Some((address, address)), ..NatRange::default() };
        self.bind(id, &range, manip, None);
    }

    /// `nf_nat_oif_changed`: a masqueraded connection that leaves by another link than it began on.
    fn left_its_link(&self, hook: Hook, skb: &Skb, id: EntryId, direction: Direction) -> bool {
        let masqueraded_on = self.state.conntrack.entry(id).masqueraded_on;
        hook == Hook::Postrouting
            && direction == Direction::Original
            && masqueraded_on.is_some()
            && masqueraded_on != skb.out_link.map(|link| link.0)
    }

    /// Writes an entry's translation into a packet (`nf_nat_packet`). `by` is set on the packet that
    /// decided: the rule, or `None` for the null binding.
    fn write(
        &mut self,
        hook: Hook,
        manip: Manip,
        skb: &mut Skb,
        id: EntryId,
        direction: Direction,
        by: Option<Option<RuleRef>>,
    ) {
        let entry = self.state.conntrack.entry(id);
        // A reply's source is where the original direction's destination was translated.
        let side = match direction {
            Direction::Original => manip,
            Direction::Reply => manip.opposite(),
        };
        let before = skb.packet.header();
        if entry.status.has(crate::conntrack::nat_bit(side))
            && let Some(target) = entry.tuple(direction.opposite()).invert()
        {
            let to = match manip {
                Manip::Src => target.src,
                Manip::Dst => target.dst,
            };
            skb.packet.rewrite(manip, to);
        }
        let after = skb.packet.header();
        match by {
            Some(Some(rule)) => self.show_translation(hook, rule, skb, before, after),
            Some(None) if before != after => self.observer.step(|| Step::PortChanged { hook, before, after }),
            None if before != after => {
                let undone = direction == Direction::Reply;
                self.observer.step(|| Step::Translated { hook, manip, undone, before, after });
            }
            Some(None) | None => {}
        }
    }

    /// Shows the nat rule that an exempt packet would have met.
    fn show_untracked(&mut self, hook: Hook, skb: &Skb) {
        if O::WATCHES
            && skb.tracked == Tracked::Untracked
            && let Some(rule) = self.find_passed_over(hook, skb, NotReached::NotTracked)
        {
            self.observer.take(Step::NotReached { hook, rule, why: NotReached::NotTracked });
        }
    }

    fn show_translation(
        &mut self,
        hook: Hook,
        rule: RuleRef,
        skb: &Skb,
        before: crate::trace::Header,
        after: crate::trace::Header,
    ) {
        if !O::WATCHES {
            return;
        }
        let nat =
            self.host.snapshot.ruleset.rule(rule).statements.iter().find_map(|statement| match statement {
                natpath_model::Statement::Nat(nat) => Some(nat),
                _ => None,
            });
        let effect = match nat {
            Some(Nat::Snat(_)) => Effect::Snat,
            Some(Nat::Masquerade(_)) => Effect::Masquerade,
            Some(Nat::Redirect(_)) => Effect::Redirect,
            Some(Nat::Netmap(_)) => Effect::Netmap,
            Some(Nat::Dnat(_)) | None => Effect::Dnat,
        };
        self.observer.take(Step::Rule { hook, rule, effect, before, after });
        if hook.manip() == Some(Manip::Dst)
            && let Some(second) = self.find_unreached(hook, skb, before, rule)
        {
            let why = NotReached::TranslatedBy(rule);
            self.observer.take(Step::NotReached { hook, rule: second, why });
        }
    }
}
