//! Entries that were there before a flow and decide its destination otherwise than the rules would.

use natpath_model::{Hook, Manip, RuleRef, Status, Tuple, Zone};

use crate::conntrack::EntryId;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::trace::{Header, HostId};

/// An entry that the rules have overtaken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) host: HostId,
    /// Its original tuple.
    pub(crate) original: Tuple,
    pub(crate) zone: Zone,
    /// Where it sends the packet.
    pub(crate) to: Header,
    /// Whether that is a translation.
    pub(crate) translates: bool,
    /// The rule that would decide, and where it would send the packet; `None`: no rule would translate it.
    pub(crate) rule: Option<(RuleRef, Header)>,
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Notes an entry that sends a packet elsewhere than the rules would a new connection's. What chance has
    /// a say in may have been different, and what was made here is not for PREROUTING to decide.
    pub(super) fn note_stale(&mut self, hook: Hook, came: &Skb, went: &Skb, id: EntryId) {
        let entry = self.state.conntrack.entry(id);
        let is_older = entry.status.has(Status::CONFIRMED) && entry.sequence <= self.env.begun;
        let made_here = hook == Hook::Prerouting && came.in_link == self.host.loopback();
        let (original, zone) = (entry.original, entry.zone);
        let host = self.host.id;
        let is_noted = |stale: &Stale| (stale.host, stale.original, stale.zone) == (host, original, zone);
        if !is_older
            || made_here
            || came.packet.tuple() != Some(original)
            || self.env.stale.iter().any(is_noted)
        {
            return;
        }
        let translates = entry.status.has(crate::conntrack::nat_bit(Manip::Dst));
        let now = self.what_if(hook, came);
        let by_chance =
            now.as_ref().is_some_and(|now| now.way.iter().any(|rule| self.is_left_to_chance(*rule)));
        let to = went.packet.header();
        let would = now.as_ref().map_or(came.packet.header(), |now| now.after);
        let drawn = to.dst.port.drawn.is_some() || would.dst.port.drawn.is_some();
        let same = to.dst.address == would.dst.address && (drawn || to.dst.port == would.dst.port);
        if same || by_chance {
            return;
        }
        let rule = now.map(|now| (now.rule, now.after));
        self.env.stale.push(Stale { host, original, zone, to, translates, rule });
    }
}
