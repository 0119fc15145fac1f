//! What the nat chains of a hook would do to a packet if its connection were new: the question behind a
//! rule that was not reached.

use natpath_model::{Direction, Hook, RuleRef, Status};

use crate::chain::ChainVerdict;
use crate::choice::Choices;
use crate::conntrack::{CtInfo, Tracked};
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::state::Env;
use crate::trace::Header;

/// A translation that does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WhatIf {
    /// The rule that would make it.
    pub(crate) rule: RuleRef,
    /// The header it would give.
    pub(crate) after: Header,
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Runs the nat chains of a hook over a packet as if it began a connection. Nothing that happens here
    /// is kept: counters, marks and entries are those of a copy.
    pub(crate) fn what_if(&self, hook: Hook, skb: &Skb) -> Option<WhatIf> {
        let manip = hook.manip()?;
        let tuple = skb.packet.tuple()?;
        let reply = tuple.invert()?;
        let (old, _) = skb.tracked.entry()?;
        let mut state = self.state.clone();
        let mut entry = state.conntrack.entry(old).clone();
        entry.original = tuple;
        entry.reply = reply;
        entry.status = Status::default();
        entry.translated_by = [None, None];
        entry.masqueraded_on = None;
        let id = state.conntrack.insert_unconfirmed(entry);
        let mut skb = *skb;
        skb.tracked = Tracked::Entry { id, direction: Direction::Original, info: CtInfo::New };
        let mut env = Env { choices: Choices::hopeful(), ..self.env.clone() };
        let mut unwatched = ();
        let mut pass = Pass::new(self.host, &mut state, &mut env, &mut unwatched);
        let chains = self.host.nat_chains(skb.packet.family(), hook, || true);
        for at in chains {
            let verdict = pass.run_chain(hook, at, &mut skb);
            let entry = pass.state.conntrack.entry(id);
            if entry.decided(manip) {
                let rule = entry.translator(manip)?;
                let after = Header::from(entry.reply.invert()?);
                return Some(WhatIf { rule, after });
            }
            if let ChainVerdict::End(_) = verdict {
                return None;
            }
        }
        None
    }
}
