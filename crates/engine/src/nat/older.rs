//! An entry from before the flow that decides a packet's destination, where the rules would decide otherwise:
//! a translation is decided once, and the entry lives as long as packets come.

use natpath_model::{Direction, Hook, Tuple, Zone};

use super::what_if::WhatIf;
use crate::conntrack::EntryId;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::trace::HostId;
use crate::xt::Memory;

/// An entry that decides otherwise than the rules would.
#[derive(Debug, Clone)]
pub(crate) struct Older {
    pub(crate) host: HostId,
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
    pub(crate) zone: Zone,
    /// The seconds it lives from this packet on without another, where that is known.
    pub(crate) left: Option<u64>,
    /// What the rules would do instead: a translation, or none.
    pub(crate) instead: Option<WhatIf>,
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Notes an entry from before the flow if a connection begun by this packet would go elsewhere.
    pub(super) fn note_older(&mut self, hook: Hook, came: &Skb, id: EntryId) {
        let entry = self.state.conntrack.entry(id);
        let (original, reply) = (entry.original, entry.reply);
        let host = self.host.id;
        let is_noted = |older: &Older| older.host == host && older.original == original;
        // A TCP connection that is open can't go on elsewhere.
        let is_open = came.packet.tcp_flags().is_some_and(|flags| !flags.begin());
        if is_open || entry.sequence > self.env.began || self.env.noted.older.iter().any(is_noted) {
            return;
        }
        let zone = entry.zone_of(Direction::Original);
        let left = entry.expires.0.checked_sub(self.env.now.0).filter(|_| entry.expires.0 < u64::MAX);
        // The entry itself holds the tuples that a new connection would get.
        let mut state = self.state.clone();
        state.conntrack.remove(id);
        // Whose turn it is, and what was remembered of clients, says nothing about the rules.
        state.nth.clear();
        state.memory = Memory::default();
        let mut env = self.env.without_notes();
        let mut unwatched = ();
        let pass = Pass::new(self.host, &mut state, &mut env, &mut unwatched);
        let chains = self.host.nat_chains(came.packet.family(), hook, || true);
        let Some(possible) = pass.what_ifs(hook, came, &chains) else { return };
        let target = |course: &Option<WhatIf>| course.as_ref().map_or(original.dst, |would| would.after.dst);
        let is_drawn = possible.iter().any(|course| target(course).port.drawn.is_some());
        if is_drawn || possible.iter().any(|course| target(course) == reply.src) {
            return;
        }
        let instead = possible.into_iter().flatten().next();
        let left = left.map(|milliseconds| milliseconds / 1000);
        self.env.noted.older.push(Older { host, original, reply, zone, left, instead });
    }
}
