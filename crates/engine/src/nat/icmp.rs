//! Translating an ICMP error about a translated connection: the header it quotes, and its own
//! (nf_nat_proto.c, `nf_nat_icmp_reply_translation`).

use natpath_model::{Direction, Endpoint, Hook, Manip, Status};

use crate::chain::ChainVerdict;
use crate::conntrack::EntryId;
use crate::packet::{Transport, icmp};
use crate::pass::{Observer, Pass};
use crate::skb::{Reason, Skb};
use crate::trace::{Step, Why};

impl<O: Observer> Pass<'_, '_, O> {
    pub(super) fn translate_error(
        &mut self,
        hook: Hook,
        manip: Manip,
        skb: &mut Skb,
        id: EntryId,
        direction: Direction,
    ) -> ChainVerdict {
        let entry = self.state.conntrack.entry(id);
        let family = skb.packet.family();
        if skb.packet.icmp() == Some(icmp::redirect(family)) {
            // A redirect would name a route that translated packets don't take.
            let decided = entry.decided(Manip::Src) && entry.decided(Manip::Dst);
            if !decided || entry.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0)) {
                return ChainVerdict::End(Reason::dropped(Why::Invalid));
            }
        }
        let side = match direction {
            Direction::Original => manip,
            Direction::Reply => manip.opposite(),
        };
        if !entry.status.has(crate::conntrack::nat_bit(side)) {
            return ChainVerdict::Accept;
        }
        let other = *entry.tuple(direction.opposite());
        let before = skb.packet.header();
        // 1) The quoted header becomes what the other direction's sender sent.
        if let Transport::Error { quoted, .. } = &mut skb.packet.transport {
            let (to, half) = match manip.opposite() {
                Manip::Src => (other.src, &mut quoted.tuple.src),
                Manip::Dst => (other.dst, &mut quoted.tuple.dst),
            };
            *half = to;
            if quoted.tuple.protocol.is_icmp() {
                // An ICMP query has one identifier, kept on both sides.
                quoted.tuple.src.port = to.port;
                quoted.tuple.dst.port = to.port;
            }
        }
        // 2) The error's own addresses are those of an answer, whoever sent it.
        let Some(target) = other.invert() else { return ChainVerdict::Accept };
        let to: Endpoint = match manip {
            Manip::Src => target.src,
            Manip::Dst => target.dst,
        };
        skb.packet.rewrite(manip, to);
        let after = skb.packet.header();
        let undone = direction == Direction::Reply;
        self.observer.step(|| Step::Translated { hook, manip, undone, before, after });
        ChainVerdict::Accept
    }
}
