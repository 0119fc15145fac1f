//! What matches and targets remember from packet to packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use natpath_model::set::Key;
use natpath_model::xt::{ByteRate, HashLimit, HashRate, Rate};
use natpath_model::{Endpoint, Match, Port, Protocol, Ruleset, TableFamily, Tuple, Value, Xt, Zone};

use super::Place;
use crate::host::LinkId;
use crate::skb::SendingSocket;
use crate::time::Instant;

/// The memory of a host's rules. It starts empty, with all buckets and quotas full.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Memory {
    limits: BTreeMap<Place, Tokens>,
    quotas: BTreeMap<Place, u64>,
    /// The tables of hashlimit by name, and whether they are for IPv6.
    pub(super) hash_limits: BTreeMap<(String, bool), HashTable>,
    pub(super) recent: BTreeMap<String, Vec<Seen>>,
    pub(super) connections: BTreeMap<Place, BTreeMap<(Value, Zone), Vec<Tuple>>>,
    pub(super) sets: BTreeMap<String, SetChanges>,
    /// When the sets were listed: what elements have left of their time counts from here.
    pub(super) sets_since: Instant,
    /// The sockets from which packets were sent, by protocol, own and other end.
    sockets: BTreeMap<(Protocol, Ends), SendingSocket>,
    /// The links by which the last segments of TCP connections came to their sockets (`sk_rx_dst`).
    routes: BTreeMap<Ends, LinkId>,
}

/// Both ends of a connection as numbers.
type Ends = [(IpAddr, u16); 2];

/// What a bucket of hashlimit is for: addresses and ports, 0 where they don't count.
pub(super) type BucketKey = (Value, Value, Port, Port);

/// A table of hashlimit. Its rate is that of the rule that made it, also for later rules of its name
/// (xt_hashlimit.c, `htable_create`).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HashTable {
    pub(super) rate: HashRate,
    pub(super) expire: u32,
    pub(super) buckets: BTreeMap<BucketKey, Bucket>,
}

/// A bucket of tokens, each a nanosecond (nft_limit.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tokens {
    tokens: u64,
    pub(super) used: Instant,
}

impl Tokens {
    /// A full bucket.
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.most(), used: now }
    }

    /// Takes a packet's tokens, if there are so many.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let gained = now.0.saturating_sub(self.used.0).saturating_mul(1_000_000);
        self.used = now;
        self.tokens = self.tokens.saturating_add(gained).min(rate.most());
        let enough = self.tokens >= rate.cost();
        if enough {
            self.tokens -= rate.cost();
        }
        enough
    }
}

/// A bucket of hashlimit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// For packets.
    Packets(Tokens),
    /// For bytes.
    Bytes(Credit),
}

impl Bucket {
    pub(super) fn full(rate: HashRate, now: Instant) -> Self {
        match rate {
            HashRate::Packets(rate) => Self::Packets(Tokens::full(rate, now)),
            HashRate::Bytes(rate) => {
                Self::Bytes(Credit { left: Credit::SECOND, refills: rate.refills, used: now })
            }
        }
    }

    pub(super) fn used(self) -> Instant {
        match self {
            Self::Packets(tokens) => tokens.used,
            Self::Bytes(credit) => credit.used,
        }
    }

    /// Takes what a packet of this length costs, if there is so much.
    pub(super) fn take(&mut self, rate: HashRate, length: u32, now: Instant) -> bool {
        match (self, rate) {
            (Self::Packets(tokens), HashRate::Packets(rate)) => tokens.take(rate, now),
            (Self::Bytes(credit), HashRate::Bytes(rate)) => credit.take(rate, length, now),
            // Rules of one name that disagree: the table is that of the first.
            (Self::Packets(_), HashRate::Bytes(_)) | (Self::Bytes(_), HashRate::Packets(_)) => true,
        }
    }
}

/// What may still be sent at a rate of bytes (xt_hashlimit.c, `hashlimit_byte_cost`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credit {
    left: u64,
    refills: u32,
    used: Instant,
}

impl Credit {
    /// What a millisecond brings in (`CREDITS_PER_JIFFY_BYTES`, of a kernel whose jiffy is one; others round in
    /// another place).
    const MILLISECOND: u64 = 1 << 22;
    /// What a second brings in, which is the most there can be.
    const SECOND: u64 = 1000 * Self::MILLISECOND;

    fn take(&mut self, rate: ByteRate, length: u32, now: Instant) -> bool {
        let gained = now.0.saturating_sub(self.used.0).saturating_mul(Self::MILLISECOND);
        self.used = now;
        self.left = self.left.saturating_add(gained).min(Self::SECOND);
        let chunks = u64::from((length >> 4) + 1);
        let cost = (chunks * ((u64::from(rate.cost) * Self::SECOND) >> 32)).min(Self::SECOND);
        if self.left < cost && self.refills > 0 {
            self.refills -= 1;
            self.left = Self::SECOND;
        }
        let enough = self.left >= cost;
        if enough {
            self.left -= cost;
        }
        enough
    }
}

/// An address in a list of recent, with the moments at which it was seen, the last last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(super) address: IpAddr,
    pub(super) ttl: u8,
    pub(super) at: Vec<Instant>,
}

/// What rules have changed in a set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SetChanges {
    /// Elements that were added, and when they go.
    pub(super) added: BTreeMap<Key, Option<Instant>>,
    /// Listed elements that were removed.
    pub(super) removed: BTreeSet<Key>,
}

impl Memory {
    /// Makes what rules share by name.
    pub(crate) fn begin(&mut self, ruleset: &Ruleset) {
        for (key, limit) in hash_limits(ruleset) {
            let HashLimit { rate, expire, .. } = *limit;
            self.hash_limits.entry(key).or_insert(HashTable { rate, expire, buckets: BTreeMap::new() });
        }
    }

    /// Forgets what belongs to rules that are gone. What rules share by name lasts as long as some rule has
    /// the name: the rules that are loaded have it before those that they replace let go of it.
    pub(crate) fn load(&mut self, ruleset: &Ruleset) {
        self.limits.clear();
        self.quotas.clear();
        self.connections.clear();
        let tables: BTreeSet<_> = hash_limits(ruleset).map(|(key, _)| key).collect();
        self.hash_limits.retain(|key, _| tables.contains(key));
        let lists: BTreeSet<&str> = conditions(ruleset)
            .filter_map(|(_, condition)| match condition {
                Xt::Recent(recent) => Some(recent.name.as_str()),
                _ => None,
            })
            .collect();
        self.recent.retain(|name, _| lists.contains(name.as_str()));
        self.begin(ruleset);
    }

    /// Takes note that other sets have taken the place of a host's.
    pub(crate) fn load_sets(&mut self, now: Instant) {
        self.sets.clear();
        self.sets_since = now;
    }

    /// xt_limit.c: one bucket for the rule.
    pub(super) fn limit(&mut self, place: Place, rate: Rate, now: Instant) -> bool {
        self.limits.entry(place).or_insert_with(|| Tokens::full(rate, now)).take(rate, now)
    }

    /// xt_quota.c: once a packet does not fit, none does any more.
    pub(super) fn quota(&mut self, place: Place, bytes: u64, length: u64) -> bool {
        let left = self.quotas.entry(place).or_insert(bytes);
        let fits = *left >= length;
        *left = if fits { *left - length } else { 0 };
        fits
    }

    /// Notes that a socket of the host sends.
    pub(crate) fn sends(&mut self, protocol: Protocol, own: Endpoint, other: Endpoint, by: SendingSocket) {
        if own.port.drawn.is_none() && other.port.drawn.is_none() {
            self.sockets.insert((protocol, ends(own, other)), by);
        }
    }

    /// Notes that a segment has come to its socket by a link.
    pub(crate) fn receives(&mut self, own: Endpoint, other: Endpoint, by: LinkId) {
        self.routes.insert(ends(own, other), by);
    }

    /// Whether a socket has got its last segment by this link.
    pub(crate) fn received_by(&self, own: Endpoint, other: Endpoint, link: LinkId) -> bool {
        self.routes.get(&ends(own, other)) == Some(&link)
    }

    /// Forgets the sockets that are closed.
    pub(crate) fn keep_sockets(&mut self, is_open: impl Fn(Protocol, Endpoint, Endpoint) -> bool) {
        let is_open = |protocol: Protocol, ends: &Ends| {
            let [own, other] = ends.map(|(address, port)| Endpoint::new(address, Port::new(port)));
            is_open(protocol, own, other)
        };
        self.sockets.retain(|(protocol, ends), _| is_open(*protocol, ends));
        self.routes.retain(|ends, _| is_open(Protocol::TCP, ends));
    }

    /// The socket with these ends, if it has sent.
    pub(crate) fn sender(
        &self,
        protocol: Protocol,
        own: Endpoint,
        other: Endpoint,
    ) -> Option<&SendingSocket> {
        self.sockets.get(&(protocol, ends(own, other)))
    }
}

/// The matches that look beyond the header, in the order in which rules are loaded.
fn conditions(ruleset: &Ruleset) -> impl Iterator<Item = (TableFamily, &Xt)> {
    ruleset.tables.iter().flat_map(|table| {
        let rules = table.chains.iter().flat_map(|chain| &chain.rules);
        rules.flat_map(|rule| &rule.matches).filter_map(|condition| match condition {
            Match::Xt(condition) => Some((table.family, &**condition)),
            _ => None,
        })
    })
}

fn hash_limits(ruleset: &Ruleset) -> impl Iterator<Item = ((String, bool), &HashLimit)> {
    conditions(ruleset).filter_map(|(family, condition)| match condition {
        Xt::HashLimit(limit) => Some(((limit.name.clone(), family == TableFamily::Ip6), limit)),
        _ => None,
    })
}

fn ends(own: Endpoint, other: Endpoint) -> Ends {
    [(own.address, own.port.value), (other.address, other.port.value)]
}

#[cfg(test)]
mod tests {
    use natpath_model::xt::Per;

    use super::*;

    #[test]
    fn a_bucket_starts_full_and_fills_again() {
        let rate = Rate { packets: 2, per: Per::Second, burst: 3 };
        let mut tokens = Tokens::full(rate, Instant(0));
        let mut take = |at| tokens.take(rate, Instant(at));
        assert_eq!([take(0), take(0), take(0), take(0)], [true, true, true, false]);
        assert_eq!([take(499), take(500), take(500)], [false, true, false]);
        assert_eq!([take(60_000), take(60_000), take(60_000), take(60_000)], [true, true, true, false]);
    }

    #[test]
    fn a_quota_is_over_with_the_first_packet_that_does_not_fit() {
        let mut memory = Memory::default();
        let place = (natpath_model::RuleRef { table: 0, chain: natpath_model::ChainId(0), rule: 0 }, 0);
        let mut fits = |length| memory.quota(place, 100, length);
        assert_eq!([fits(60), fits(60), fits(1)], [true, false, false]);
    }
}
