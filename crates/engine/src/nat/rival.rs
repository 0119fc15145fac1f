//! Another table's nat chain that would have translated the same packet elsewhere, had it been asked first.

use natpath_model::{ChainKind, Hook, Manip, Priority, RuleRef};

use super::what_if::WhatIf;
use crate::host::ChainAt;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::trace::{Header, HostId};

/// A translation that came too late.
#[derive(Debug, Clone)]
pub(crate) struct Rival {
    pub(crate) host: HostId,
    /// The rule that translated.
    pub(crate) first: RuleRef,
    /// What the other chain would have done.
    pub(crate) second: WhatIf,
    /// The packet as it came.
    pub(crate) before: Header,
    /// The packet as the first rule left it.
    pub(crate) after: Header,
    /// Whether both chains have one priority and it is not known which was registered last, and so is asked
    /// first.
    pub(crate) tied: bool,
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Notes the first other table that would have sent a translated packet elsewhere.
    pub(super) fn note_rival(&mut self, hook: Hook, skb: &Skb, before: Header, first: RuleRef) {
        let family = skb.packet.family();
        let mut undecided = false;
        let chains = self.host.nat_chains(family, hook, || {
            undecided = true;
            true
        });
        let (own, others): (Vec<_>, Vec<_>) = chains.into_iter().partition(|at| at.table == first.table);
        let after = skb.packet.header();
        let mut came = *skb;
        came.packet.rewrite(Manip::Dst, before.dst);
        for other in others {
            let Some(possible) = self.what_ifs(hook, &came, &[other]) else { continue };
            let possible: Vec<_> = possible.into_iter().flatten().collect();
            let agrees = possible.iter().any(|would| would.after.dst == after.dst);
            let Some(second) = possible.into_iter().next().filter(|_| !agrees) else { continue };
            let tied = undecided && own.iter().any(|at| self.priority(*at) == self.priority(other));
            let host = self.host.id;
            self.env.noted.rivals.push(Rival { host, first, second, before, after, tied });
            return;
        }
    }

    fn priority(&self, at: ChainAt) -> Option<Priority> {
        match self.host.snapshot.ruleset.chain(at.table, at.chain).kind {
            ChainKind::Base { priority, .. } => Some(priority),
            ChainKind::Regular => None,
        }
    }
}
