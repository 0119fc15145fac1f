//! Choosing addresses and port of a translation so that the reply's tuple is nobody else's
//! (nf_nat_core.c, `get_unique_tuple`).

use std::net::IpAddr;

use natpath_model::{
    Direction, Family, IntervalSet, Manip, NatRange, Port, PortRange, Protocol, Status, Tuple, Zone, net,
};

use crate::conntrack::{ConntrackEntry, EntryId, TcpState};
use crate::jhash::jhash2;
use crate::pass::{Observer, Pass};

/// The most ports the kernel tries from one start (`NF_NAT_MAX_ATTEMPTS`).
const MAX_ATTEMPTS: u32 = 128;
/// How many of them are the last, of which a closed connection is made to give way (`NF_NAT_HARDER_THRESH`).
const LAST_ATTEMPTS: u32 = MAX_ATTEMPTS / 4;

impl<O: Observer> Pass<'_, '_, O> {
    /// The tuple that packets of the original direction will have once this side is translated.
    pub(super) fn unique_tuple(
        &mut self,
        id: EntryId,
        current: &Tuple,
        range: &NatRange,
        manip: Manip,
    ) -> Tuple {
        // 1) A source that is fine as it is stays; else the mapping this source already has is used again.
        if manip == Manip::Src && !range.random {
            if self.in_range(current, range) {
                if !self.used(id, current) || self.is_mirrored(id, current) {
                    return *current;
                }
            } else if let Some(again) = self.mapping_of_source(id, current, range)
                && !self.used(id, &again)
            {
                return again;
            }
        }
        // 2) The address.
        let mut tuple = *current;
        // The number of the zone counts, whichever directions live in it.
        let zone = self.state.conntrack.entry(id).zone;
        choose_address(&mut tuple, range, manip, zone);
        // 3) The port, if it must change.
        if !range.random {
            match range.ports {
                Some(ports) if ports.base.is_none() => {
                    let kept = self.port_in(port_of(&tuple, manip), ports);
                    if kept && (ports.min == ports.max || !self.used(id, &tuple)) {
                        return tuple;
                    }
                }
                Some(_) => {}
                None if !self.used(id, &tuple) => return tuple,
                None => {}
            }
        }
        self.unique_port(id, &mut tuple, range, manip);
        tuple
    }

    /// `nf_nat_used_tuple`: whether the reply would be taken for another connection's.
    fn used(&self, id: EntryId, tuple: &Tuple) -> bool {
        tuple.invert().is_some_and(|reply| self.state.conntrack.taken(&reply, id, self.env.now))
    }

    /// `nf_nat_used_tuple_new`: whether the other connection is this one begun from the other side, and not
    /// translated. Then the tuple is not taken, and confirmation says what becomes of the packet.
    fn is_mirrored(&self, id: EntryId, tuple: &Tuple) -> bool {
        // Only of these two entries may be one connection (`allow_clash` of the protocol's tracker).
        if !matches!(tuple.protocol, Protocol::UDP | Protocol::UDPLITE | Protocol::GRE) {
            return false;
        }
        let table = &self.state.conntrack;
        let own = table.entry(id);
        let find = |tuple: &Tuple| table.find_in(own.zone, own.zone_direction, tuple, self.env.now);
        let Some((holder, direction)) = find(tuple).or_else(|| find(&tuple.invert()?)) else { return true };
        let other = table.entry(holder);
        let is_translated = other.status.has(Status::SRC_NAT) || other.status.has(Status::DST_NAT);
        direction == Direction::Original
            && !is_translated
            && other.original == own.reply
            && other.reply == own.original
    }

    /// `nf_in_range`, of the source.
    fn in_range(&mut self, tuple: &Tuple, range: &NatRange) -> bool {
        let address = net::bits(tuple.src.address);
        let inside =
            range.addresses.is_none_or(|(low, high)| (net::bits(low)..=net::bits(high)).contains(&address));
        inside && range.ports.is_none_or(|ports| self.port_in(tuple.src.port, ports))
    }

    fn port_in(&mut self, port: Port, ports: PortRange) -> bool {
        self.env.compare(port, &IntervalSet::range(ports.min.into(), ports.max.into()))
    }

    /// `find_appropriate_src`: a live connection from the same source whose translation fits the range.
    fn mapping_of_source(&mut self, id: EntryId, current: &Tuple, range: &NatRange) -> Option<Tuple> {
        let table = &self.state.conntrack;
        let zone = table.entry(id).zone_of(Direction::Original);
        let source = table.entry(id).original.src;
        let now = self.env.now;
        let candidates: Vec<Tuple> = table
            .from_source(current.protocol, source)
            .filter(|other| other.zone_of(Direction::Original) == zone && now < other.expires)
            .filter(|other| other.status.has(Status::CONFIRMED))
            .filter_map(|other| other.reply.invert())
            .map(|mapped| {
                let mut again = *current;
                again.src.address = mapped.src.address;
                // The identifier of an echo stands on both sides.
                set_port(&mut again, Manip::Src, mapped.src.port);
                again
            })
            .collect();
        candidates.into_iter().find(|tuple| self.in_range(tuple, range))
    }

    /// `nf_nat_l4proto_unique_tuple`.
    fn unique_port(&mut self, id: EntryId, tuple: &mut Tuple, range: &NatRange, manip: Manip) {
        let old = port_of(tuple, manip);
        // 1) The ports to choose from.
        let (low, high) = match (tuple.protocol, range.ports) {
            (protocol, _) if !protocol.has_ports() && !protocol.is_icmp() => return,
            (_, Some(ports)) => (ports.min, ports.max),
            (protocol, None) if protocol.is_icmp() => (0, u16::MAX),
            (_, None) if manip == Manip::Dst => return,
            (_, None) => self.class_of(old),
        };
        let size = u32::from(high - low) + 1;
        // 2) Where the search starts: a shifted port, chance, or the lowest.
        let shifted = range.ports.and_then(|ports| ports.base).map(|base| old.value.wrapping_sub(base));
        let by_chance = shifted.is_none() && (range.random || manip == Manip::Src);
        let at = |offset: u32| low.wrapping_add((offset % size) as u16);
        let tried = |port: u16| {
            let mut tried = *tuple;
            set_port(&mut tried, manip, Port::new(port));
            tried
        };
        let gives_way = size <= MAX_ATTEMPTS
            && (0..size).any(|offset| self.closed_holder(id, &tried(at(offset))).is_some());
        if by_chance && gives_way {
            // The start decides which closed connection gives way, so each is a course of its own.
            let weights = vec![1.0 / f64::from(size); size as usize];
            let start = u32::try_from(self.env.choices.pick(&weights)).unwrap_or(0);
            return self.search(id, tuple, manip, (0..size).map(|offset| at(start + offset)));
        }
        if by_chance {
            // 3) Chance: any free port of the range, or, if none is free, the last one tried.
            let free = |pass: &Self, port: u16| !pass.used(id, &tried(port));
            let free_ports = || (0..size).filter(|offset| free(self, at(*offset))).count();
            let held = match size {
                0..=MAX_ATTEMPTS => self.drawn_from(id, tuple, (low, high), manip),
                _ => Vec::new(),
            };
            let any_free = size > MAX_ATTEMPTS || free_ports() > held.len();
            // Where none is free, whichever comes last is held by another.
            let last = || held.first().copied().unwrap_or(Port::new(low));
            let port = if any_free { self.env.draw(low, high) } else { last() };
            set_port(tuple, manip, port);
            return;
        }
        let start = u32::from(shifted.unwrap_or(0));
        self.search(id, tuple, manip, (0..size.min(MAX_ATTEMPTS)).map(|offset| at(start + offset)));
    }

    /// The ports that were drawn from a range and are held by other connections: no two are the same.
    fn drawn_from(&self, id: EntryId, tuple: &Tuple, (low, high): (u16, u16), manip: Manip) -> Vec<Port> {
        let table = &self.state.conntrack;
        let zone = table.entry(id).zone_of(Direction::Reply);
        let lives =
            |entry: &ConntrackEntry| self.env.now < entry.expires && entry.zone_of(Direction::Reply) == zone;
        let is_within = |port: Port| {
            let drawn = port.drawn.and_then(|number| self.env.drawn.get(usize::from(number.get()) - 1));
            drawn.is_some_and(|drawn| low <= drawn.low && drawn.high <= high)
        };
        let held = |entry: &ConntrackEntry| {
            let port = port_of(&entry.reply.invert()?, manip);
            let mut wanted = *tuple;
            set_port(&mut wanted, manip, port);
            (is_within(port) && wanted.invert()? == entry.reply).then_some(port)
        };
        let others = table.confirmed().filter(|(other, entry)| *other != id && lives(entry));
        others.filter_map(|(_, entry)| held(entry)).collect()
    }

    /// Takes the first of some ports that is free, or whose holder gives way; if there is none, the last.
    fn search(
        &mut self,
        id: EntryId,
        tuple: &mut Tuple,
        manip: Manip,
        ports: impl ExactSizeIterator<Item = u16>,
    ) {
        let mut left = ports.len();
        for port in ports {
            set_port(tuple, manip, Port::new(port));
            if !self.used(id, tuple) || left <= LAST_ATTEMPTS as usize && self.takes_over(id, tuple) {
                return;
            }
            left -= 1;
        }
    }

    /// Deletes a closed connection that holds a tuple, if the sequence number of the one that wants it is
    /// beyond (`nf_nat_used_tuple_harder`). Initial sequence numbers are drawn, so that is a matter of chance.
    fn takes_over(&mut self, id: EntryId, tuple: &Tuple) -> bool {
        let Some(holder) = self.closed_holder(id, tuple) else { return false };
        let advanced = self.env.choices.chance(0.5);
        if advanced {
            self.state.conntrack.remove(holder);
        }
        advanced
    }

    /// The closed TCP connection whose replies look as those of this tuple would.
    fn closed_holder(&self, id: EntryId, tuple: &Tuple) -> Option<EntryId> {
        let table = &self.state.conntrack;
        let own = table.entry(id);
        if tuple.protocol != Protocol::TCP || own.tcp.state != TcpState::SynSent {
            return None;
        }
        let (zone, which) = (own.zone, own.zone_direction);
        let (holder, direction) = table.find_in(zone, which, &tuple.invert()?, self.env.now)?;
        let entry = table.entry(holder);
        let is_closed = matches!(entry.tcp.state, TcpState::TimeWait | TcpState::Close);
        (direction == Direction::Reply && is_closed && entry.status.has(Status::SRC_NAT)).then_some(holder)
    }

    /// The class of ports a source port is redrawn in when no range is given.
    fn class_of(&mut self, port: Port) -> (u16, u16) {
        if !self.env.compare(port, &IntervalSet::range(0, 1023)) {
            (1024, u16::MAX)
        } else if self.env.compare(port, &IntervalSet::range(0, 511)) {
            (1, 511)
        } else {
            (600, 1023)
        }
    }
}

fn port_of(tuple: &Tuple, manip: Manip) -> Port {
    match manip {
        Manip::Src => tuple.src.port,
        Manip::Dst => tuple.dst.port,
    }
}

fn set_port(tuple: &mut Tuple, manip: Manip, port: Port) {
    match manip {
        Manip::Src => tuple.src.port = port,
        Manip::Dst => tuple.dst.port = port,
    }
    if matches!(tuple.protocol, Protocol::ICMP | Protocol::ICMPV6) {
        tuple.src.port = port;
        tuple.dst.port = port;
    }
}

/// `find_best_ips_proto`: an address of the range by a hash of the packet's addresses, without any secret.
fn choose_address(tuple: &mut Tuple, range: &NatRange, manip: Manip, zone: Zone) {
    let Some((low, high)) = range.addresses else { return };
    let chosen = if low == high { low } else { hashed_address(tuple, range, (low, high), manip, zone) };
    match manip {
        Manip::Src => tuple.src.address = chosen,
        Manip::Dst => tuple.dst.address = chosen,
    }
}

fn hashed_address(
    tuple: &Tuple,
    range: &NatRange,
    (low, high): (IpAddr, IpAddr),
    manip: Manip,
    zone: Zone,
) -> IpAddr {
    let persistent = range.persistent;
    // The kernel hashes the words as they lie in memory, which is little-endian on all but a few machines.
    let words = |address: IpAddr| -> [u32; 4] {
        match address {
            IpAddr::V4(v4) => [u32::from_le_bytes(v4.octets()), 0, 0, 0],
            IpAddr::V6(v6) => {
                let bytes = v6.octets();
                std::array::from_fn(|word| {
                    u32::from_le_bytes([
                        bytes[4 * word],
                        bytes[4 * word + 1],
                        bytes[4 * word + 2],
                        bytes[4 * word + 3],
                    ])
                })
            }
        }
    };
    let family = Family::of(low);
    let last = match family {
        Family::Ip4 => 0,
        Family::Ip6 => 3,
    };
    let (src, dst) = (words(tuple.src.address), words(tuple.dst.address));
    let (low, high) = (words(low), words(high));
    let mut hash = jhash2(&src, if persistent { 0 } else { dst[last] ^ u32::from(zone.0) });
    let mut chosen = [0u32; 4];
    let mut full_range = false;
    for word in 0..=last {
        let (first, distance) = if full_range {
            (0, u32::MAX)
        } else {
            let (first, end) = (u32::from_be(low[word]), u32::from_be(high[word]));
            (first, end.wrapping_sub(first).wrapping_add(1))
        };
        let scaled = (u64::from(hash) * u64::from(distance)) >> 32;
        chosen[word] = first.wrapping_add(scaled as u32);
        if chosen[word].to_be() != high[word] {
            full_range = true;
        }
        if !persistent {
            // A destination is written as it is chosen, so its own words are the ones that are mixed in.
            hash ^= match manip {
                Manip::Src => dst[word],
                Manip::Dst => chosen[word].to_be(),
            };
        }
    }
    match family {
        Family::Ip4 => family.address(chosen[0].into()),
        Family::Ip6 => family.address(chosen.iter().fold(0, |bits, word| bits << 32 | u128::from(*word))),
    }
}
