//! `-m set` and `-j SET` (xt_set.c, ip_set_core.c, ip_set_hash_gen.h).

use std::time::Duration;

use natpath_model::net::bits;
use natpath_model::set::{ANY_MAC, Element, Key, Method, Part, mac_value};
use natpath_model::{InterfaceName, IntervalSet, IpSet, Manip, Port, Protocol, SetChange, Value};

use super::Answer;
use super::memory::SetChanges;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::time::Instant;

/// What a packet has for one part of an element.
enum Found {
    /// A number.
    Number(Value),
    /// A port that was drawn; the protocol's number stands above it.
    Drawn(Port, Value),
    /// Nothing: no element is like that.
    Nothing,
    /// What was not recorded.
    Unknown(&'static str),
}

/// The numbers that a packet is looked up by.
struct Wanted {
    key: Key,
    /// The part that is a drawn port.
    drawn: Option<(usize, Port, Value)>,
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Whether a packet's parts are an element of the set of this name.
    pub(super) fn in_set(&mut self, skb: &Skb, name: &str, sides: &[Manip]) -> Answer {
        let Some(set) = self.host.snapshot.sets.get(name) else {
            return Answer::Unknown(format!("the set {name} is not listed"));
        };
        if set.method != Method::List {
            return self.in_one(skb, set, sides);
        }
        // A list: the first of its sets that has the packet.
        for member in &set.members {
            let Some(member) = self.host.snapshot.sets.get(member) else {
                return Answer::Unknown(format!("the set {member} is not listed"));
            };
            if member.method == Method::List {
                continue;
            }
            match self.in_one(skb, member, sides) {
                Answer::Is(false) => {}
                answer => return answer,
            }
        }
        Answer::Is(false)
    }

    fn in_one(&mut self, skb: &Skb, set: &IpSet, sides: &[Manip]) -> Answer {
        if let Some(reason) = &set.unsupported {
            return Answer::Unknown(format!("the set {} can't be looked up: {reason}", set.name));
        }
        let wanted = match self.wanted_of(skb, set, sides) {
            Ok(wanted) => wanted,
            Err(answer) => return answer,
        };
        let now = self.env.now;
        let empty = SetChanges::default();
        let changes = self.state.memory.sets.get(&set.name).unwrap_or(&empty);
        let since = self.state.memory.sets_since;
        let Some((index, port, above)) = wanted.drawn else {
            return Answer::Is(has(set, changes, wanted.key, now, since));
        };
        // The drawn port is each of those that an element names, or none of them.
        let listed = set.elements().map(|(key, ..)| key[index]);
        let added = changes.added.keys().map(|key| key[index]);
        let ports = listed.chain(added).filter(|value| value & !0xffff == above).filter(|value| {
            let mut key = wanted.key;
            key[index] = *value;
            has(set, changes, key, now, since)
        });
        let ports = IntervalSet::from_intervals(ports.map(|value| (value & 0xffff, value & 0xffff)));
        Answer::Is(self.env.compare(port, &ports))
    }

    /// The numbers of a packet, or the answer where it has none.
    fn wanted_of(&self, skb: &Skb, set: &IpSet, sides: &[Manip]) -> Result<Wanted, Answer> {
        let no = Answer::Is(false);
        // ip_set_test: too few sides, or addresses of the other family, are in no set.
        if sides.len() < set.parts.len() || set.family.is_some_and(|family| family != skb.packet.family()) {
            return Err(no);
        }
        let mut wanted = Wanted { key: [0; 3], drawn: None };
        for (index, (part, side)) in set.parts.iter().zip(sides).enumerate() {
            match self.part(skb, set, *part, *side) {
                Found::Number(value) => wanted.key[index] = value,
                Found::Drawn(port, above) => wanted.drawn = Some((index, port, above)),
                Found::Nothing => return Err(no),
                Found::Unknown(reason) => return Err(Answer::Unknown(reason.to_owned())),
            }
        }
        Ok(wanted)
    }

    fn part(&self, skb: &Skb, set: &IpSet, part: Part, side: Manip) -> Found {
        let packet = &skb.packet;
        let address = if side == Manip::Src { packet.src } else { packet.dst };
        match part {
            Part::Ip => Found::Number(set.address(address)),
            Part::Net => Found::Number(bits(address)),
            Part::Port => port(skb, set, side),
            Part::Mac if side == Manip::Dst => Found::Unknown("depends on the frame's destination"),
            Part::Mac => match (self.frame_source(skb), skb.src_mac) {
                (false, _) => Found::Nothing,
                (true, Some(mac)) => Found::Number(mac_value(mac)),
                (true, None) => Found::Unknown("the sender's hardware address is not known"),
            },
            Part::Interface => {
                let link = if side == Manip::Src { skb.in_link } else { skb.out_link };
                let name = |link| InterfaceName::value(self.host.link(link).name);
                link.map_or(Found::Nothing, |link| Found::Number(name(link)))
            }
            Part::Mark => Found::Number((skb.mark & set.mark_mask).into()),
        }
    }

    /// Whether a packet came in an Ethernet frame.
    pub(crate) fn frame_source(&self, skb: &Skb) -> bool {
        skb.in_link.map(|link| self.host.link(link)).is_some_and(|link| !link.loopback && link.mac.is_some())
    }

    /// `-j SET`; what can't be done is said.
    pub(crate) fn change_set(&mut self, skb: &Skb, change: &SetChange) -> Result<(), String> {
        let Some(set) = self.host.snapshot.sets.get(&change.set) else {
            return Err(format!("the set {} is not listed", change.set));
        };
        if set.method == Method::List || set.parts.contains(&Part::Net) || set.unsupported.is_some() {
            return Err(format!("changes the set {}, of a type whose changes are not modelled", set.name));
        }
        let wanted = match self.wanted_of(skb, set, &change.sides) {
            Ok(wanted) => wanted,
            Err(Answer::Unknown(reason)) => return Err(reason),
            Err(Answer::Is(_) | Answer::Assumed(..)) => return Ok(()),
        };
        if wanted.drawn.is_some() {
            return Err(format!("adds a port to the set {} that was drawn by chance", set.name));
        }
        let (key, now) = (wanted.key, self.env.now);
        let since = self.state.memory.sets_since;
        let outside = |(first, last): (Value, Value)| key[0] < first || key[0] > last;
        if set.method == Method::Bitmap && set.range.is_some_and(outside) {
            return Ok(());
        }
        let changes = self.state.memory.sets.entry(set.name.clone()).or_default();
        if change.remove {
            changes.added.remove(&key);
            changes.removed.insert(key);
            return Ok(());
        }
        if !change.exist && has(set, changes, key, now, since) {
            return Ok(());
        }
        let seconds =
            set.timeout.map(|default| change.timeout.unwrap_or(default)).filter(|seconds| *seconds != 0);
        let until = seconds.map(|seconds| Instant(now.0.saturating_add(u64::from(seconds) * 1000)));
        changes.removed.insert(key);
        changes.added.insert(key, until);
        Ok(())
    }
}

/// ip_set_getport.c: an ICMP type and code stand for a port.
fn port(skb: &Skb, set: &IpSet, side: Manip) -> Found {
    let packet = &skb.packet;
    let protocol = packet.protocol();
    let bitmap = set.method == Method::Bitmap;
    if bitmap && !matches!(protocol, Protocol::TCP | Protocol::UDP) {
        return Found::Nothing;
    }
    let above = if bitmap { 0 } else { Value::from(protocol.0) << 16 };
    let port = match (packet.ports(), packet.icmp()) {
        (Some((src, dst)), _) => {
            if side == Manip::Src {
                src
            } else {
                dst
            }
        }
        (None, Some((kind, code))) => {
            return Found::Number(above | Value::from(kind) << 8 | Value::from(code));
        }
        (None, None) => return Found::Number(above),
    };
    match port.drawn {
        Some(_) => Found::Drawn(port, above),
        None => Found::Number(above | Value::from(port.value)),
    }
}

/// Whether a set that was listed at some time has an element for these numbers that is no exception.
fn has(set: &IpSet, changes: &SetChanges, key: Key, now: Instant, since: Instant) -> bool {
    if let Some(until) = changes.added.get(&key) {
        return until.is_none_or(|until| now < until);
    }
    let alive = |found: &Key, _: &[u8; 2], element: &Element| {
        let lasts = element.timeout.is_none_or(|seconds| now < since + Duration::from_secs(seconds.into()));
        lasts && !changes.removed.contains(found)
    };
    if set.find(key, alive).is_some_and(|element| !element.nomatch) {
        return true;
    }
    // bitmap:ip,mac: an address without a hardware address takes any.
    let is_pair = set.method == Method::Bitmap && set.parts.last() == Some(&Part::Mac) && key[1] != ANY_MAC;
    is_pair && has(set, changes, [key[0], ANY_MAC, 0], now, since)
}
