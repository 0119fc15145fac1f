//! `-m recent` (xt_recent.c, `recent_mt`).

use std::net::IpAddr;

use natpath_model::net::bits;
use natpath_model::xt::{Recent, RecentOp};
use natpath_model::{Family, Manip};

use super::memory::Seen;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::time::Instant;

/// The most addresses of a list (`ip_list_tot`).
const MAX_ADDRESSES: usize = 100;
/// The most moments that are kept of one.
const MAX_MOMENTS: usize = 256;

impl<O: Observer> Pass<'_, '_, O> {
    pub(super) fn recent(&mut self, skb: &Skb, recent: &Recent) -> bool {
        let now = self.env.now;
        let packet = &skb.packet;
        let address = match recent.of {
            Manip::Src => packet.src,
            Manip::Dst => packet.dst,
        };
        let address = Family::of(address).address(bits(address) & bits(recent.mask));
        // The time to live as it was before this host took one off.
        let forwarded = skb.in_link.is_some() && skb.out_link.is_some();
        let ttl = if forwarded { packet.ttl.saturating_add(1) } else { packet.ttl };
        let list = self.state.memory.recent.entry(recent.name.clone()).or_default();
        let fits = |seen: &Seen| seen.address == address && (!recent.same_ttl || seen.ttl == ttl);
        let Some(place) = list.iter().position(fits) else {
            if recent.op == RecentOp::Set {
                add(list, address, ttl, now);
                return !recent.negated;
            }
            return recent.negated;
        };
        let holds = match recent.op {
            RecentOp::Set => !recent.negated,
            RecentOp::Remove => {
                list.remove(place);
                return !recent.negated;
            }
            RecentOp::Check | RecentOp::Update => seen_enough(&list[place], recent, now) != recent.negated,
        };
        let updates = recent.op == RecentOp::Set || (recent.op == RecentOp::Update && holds);
        // The oldest entry is reaped, but not one that is about to be updated.
        let reaps = recent.reap && recent.op != RecentOp::Set && !(updates && place == 0);
        let mut seen = if updates { Some(list.remove(place)) } else { None };
        if reaps
            && list
                .first()
                .is_some_and(|first| first.at.last().is_some_and(|last| is_old(*last, recent, now)))
        {
            list.remove(0);
        }
        if let Some(mut seen) = seen.take() {
            seen.at.push(now);
            if seen.at.len() > MAX_MOMENTS {
                seen.at.remove(0);
            }
            seen.ttl = ttl;
            list.push(seen);
        }
        holds
    }
}

fn add(list: &mut Vec<Seen>, address: IpAddr, ttl: u8, now: Instant) {
    if list.len() >= MAX_ADDRESSES {
        list.remove(0);
    }
    list.push(Seen { address, ttl, at: vec![now] });
}

fn is_old(moment: Instant, recent: &Recent, now: Instant) -> bool {
    recent.seconds != 0 && now.0 > moment.0.saturating_add(u64::from(recent.seconds) * 1000)
}

fn seen_enough(seen: &Seen, recent: &Recent, now: Instant) -> bool {
    let hits = seen.at.iter().filter(|moment| !is_old(**moment, recent, now)).count();
    hits > 0 && hits >= recent.hits as usize
}
