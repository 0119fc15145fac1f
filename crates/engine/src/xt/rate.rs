//! `-m hashlimit`, `-m connlimit`, `-m connbytes`.

use std::collections::BTreeMap;

use natpath_model::net::bits;
use natpath_model::xt::{ConnBytes, ConnLimit, HashLimit, Measure};
use natpath_model::{Family, Manip, Port, Value};

use super::Place;
use super::memory::{BucketKey, HashTable, Tokens};
use crate::conntrack::TcpState;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;

impl<O: Observer> Pass<'_, '_, O> {
    /// xt_hashlimit.c: a bucket for each value of the fields; one that was not used for a while is new
    /// again.
    pub(super) fn hash_limit(&mut self, skb: &Skb, limit: &HashLimit) -> bool {
        let now = self.env.now;
        let family = skb.packet.family();
        let table = self.state.memory.hash_limits.entry((limit.name.clone(), family == Family::Ip6));
        let HashLimit { rate, expire, .. } = *limit;
        let HashTable { rate, expire, buckets } =
            table.or_insert(HashTable { rate, expire, buckets: BTreeMap::new() });
        buckets.retain(|_, tokens| now.0 <= tokens.used.0.saturating_add((*expire).into()));
        let key = bucket_key(skb, limit);
        let tokens = buckets.entry(key).or_insert_with(|| Tokens::full(*rate, now));
        tokens.take(*rate, now) != limit.above
    }

    /// xt_connlimit.c: how many connections of the address group have met this rule and still live, this
    /// one among them.
    pub(super) fn conn_limit(&mut self, skb: &Skb, place: Place, limit: ConnLimit) -> bool {
        let entry = skb.tracked.entry().map(|(id, _)| self.state.conntrack.entry(id));
        let (zone, which) = entry.map(|entry| (entry.zone, entry.zone_direction)).unwrap_or_default();
        let Some(tuple) = entry.map(|entry| entry.original).or_else(|| skb.packet.tuple()) else {
            return false;
        };
        let address = match limit.of {
            Manip::Src => skb.packet.src,
            Manip::Dst => skb.packet.dst,
        };
        let key = (bits(address) & limit.mask, zone);
        let conntrack = &self.state.conntrack;
        let now = self.env.now;
        let groups = self.state.memory.connections.entry(place).or_default();
        let seen = groups.entry(key).or_default();
        seen.retain(|known| {
            *known == tuple
                || conntrack.find_in(zone, which, known, now).is_some_and(|(id, _)| {
                    !matches!(conntrack.entry(id).tcp.state, TcpState::TimeWait | TcpState::Close)
                })
        });
        if !seen.contains(&tuple) {
            seen.push(tuple);
        }
        (seen.len() as u64 > u64::from(limit.limit)) == limit.above
    }

    /// xt_connbytes.c: what the connection has carried, this packet among it.
    pub(super) fn conn_bytes(&self, skb: &Skb, test: &ConnBytes) -> bool {
        let Some((id, _)) = skb.tracked.entry() else { return false };
        let counted = self.state.conntrack.entry(id).counted;
        let sum = |of: fn(&natpath_model::Counter) -> u64| match test.direction {
            Some(direction) => of(&counted[direction as usize]),
            None => counted.iter().map(of).sum(),
        };
        let (packets, bytes) = (sum(|counter| counter.packets), sum(|counter| counter.bytes));
        let value = match test.measure {
            Measure::Packets => packets,
            Measure::Bytes => bytes,
            Measure::AveragePacket => bytes.checked_div(packets).unwrap_or(0),
        };
        (test.from..=test.to).contains(&value) != test.negated
    }
}

fn bucket_key(skb: &Skb, limit: &HashLimit) -> BucketKey {
    let packet = &skb.packet;
    let width = u32::from(packet.family().bits());
    let address = |address, length: Option<u8>| -> Value {
        let Some(length) = length else { return 0 };
        let host = width.saturating_sub(length.into());
        bits(address).checked_shr(host).and_then(|net| net.checked_shl(host)).unwrap_or(0)
    };
    let (src, dst) = packet.ports().unwrap_or_default();
    let port = |port: Port, counts: bool| if counts { port } else { Port::default() };
    (
        address(packet.src, limit.key.src),
        address(packet.dst, limit.key.dst),
        port(src, limit.key.src_port),
        port(dst, limit.key.dst_port),
    )
}
