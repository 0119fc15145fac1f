//! The hosts of a network and the segments that join them.

use std::collections::HashMap;
use std::net::IpAddr;

use natpath_model::{Family, Link, Network, Protocol};

use crate::fib;
use crate::host::{Host, LinkId};
use crate::trace::HostId;

/// An interface of a host.
pub(crate) type End = (HostId, LinkId);

/// All hosts, ready to take packets, and who shares a wire with whom.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) hosts: Vec<Host<'a>>,
    segments: Vec<Wire>,
    segment_of: HashMap<End, usize>,
}

/// Interfaces that hear each other.
#[derive(Debug, Default)]
struct Wire {
    ends: Vec<End>,
    /// Whether nobody else is on it.
    closed: bool,
}

/// Who takes a frame for a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbour {
    /// An interface of a recorded host.
    End(End),
    /// Nobody that was recorded, but somebody may.
    Unrecorded,
    /// Nobody.
    Nobody,
}

impl<'a> World<'a> {
    pub(crate) fn new(network: &'a Network) -> Self {
        let hosts: Vec<_> =
            (0u32..).zip(&network.hosts).map(|(id, snapshot)| Host::new(HostId(id), snapshot)).collect();
        let mut world = Self { hosts, segments: Vec::new(), segment_of: HashMap::new() };
        for segment in &network.segments {
            let ends = segment.ends.iter().filter_map(|end| {
                let host = world.hosts.iter().find(|host| host.snapshot.name == end.host)?;
                Some((host.id, host.link_named(end.interface)?))
            });
            let ends = ends.collect();
            world.join(ends, true);
        }
        world.join_the_rest();
        world
    }

    pub(crate) fn host(&self, id: HostId) -> &Host<'a> {
        &self.hosts[id.0 as usize]
    }

    pub(crate) fn link(&self, (host, link): End) -> &'a Link {
        self.host(host).link(link)
    }

    fn join(&mut self, ends: Vec<End>, closed: bool) {
        let index = self.segments.len();
        for end in &ends {
            self.segment_of.insert(*end, index);
        }
        self.segments.push(Wire { ends, closed });
    }

    /// Joins what topology.json does not name: the two ends of a veth, a bridge with its ports, and
    /// interfaces whose addresses share a subnet.
    fn join_the_rest(&mut self) {
        let free: Vec<End> = self
            .hosts
            .iter()
            .flat_map(|host| (0..host.snapshot.links.len()).map(|link| (host.id, LinkId(link))))
            .filter(|end| !self.segment_of.contains_key(end) && !self.link(*end).loopback)
            .collect();
        let mut groups: Vec<usize> = (0..free.len()).collect();
        for a in 0..free.len() {
            for b in a + 1..free.len() {
                if groups[a] != groups[b] && self.are_joined(free[a], free[b]) {
                    let (from, to) = (groups[b], groups[a]);
                    groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
                }
            }
        }
        for group in 0..free.len() {
            let ends: Vec<End> =
                (0..free.len()).filter(|end| groups[*end] == group).map(|end| free[end]).collect();
            if !ends.is_empty() {
                self.join(ends, false);
            }
        }
    }

    fn are_joined(&self, a: End, b: End) -> bool {
        let (first, second) = (self.link(a), self.link(b));
        if a.0 == b.0 {
            return first.master == Some(second.name) && second.kind.as_deref() == Some("bridge")
                || second.master == Some(first.name) && first.kind.as_deref() == Some("bridge");
        }
        let both_veth = [first, second].iter().all(|link| link.kind.as_deref() == Some("veth"));
        if both_veth && first.peer_index.is_some() && second.peer_index.is_some() {
            let paired = first.peer_index == Some(second.index) && second.peer_index == Some(first.index);
            // Two namespaces often number their links alike; a pair that shares no subnet is a coincidence
            // unless one end is a bridge port.
            let plausible = first.master.is_some() || second.master.is_some() || share_subnet(first, second);
            if paired && plausible {
                return true;
            }
        }
        share_subnet(first, second)
    }

    /// Who answers for an address on the wire of an interface.
    pub(crate) fn neighbour(&self, from: End, address: IpAddr) -> Neighbour {
        let wire = self.segment_of.get(&from).map(|index| &self.segments[*index]);
        let ends = || wire.into_iter().flat_map(|wire| &wire.ends).copied().filter(move |end| *end != from);
        // 1) The neighbour table, where it was set by hand or has given up.
        let host = self.host(from.0);
        let name = self.link(from).name;
        let listed = |entry: &&natpath_model::Neighbour| entry.address == address && entry.link == name;
        let entry = host.snapshot.neighbours.iter().find(listed);
        if let Some(entry) = entry {
            if entry.permanent
                && let Some(mac) = entry.mac
                && let Some(end) = ends().find(|end| self.link(*end).mac == Some(mac))
            {
                return Neighbour::End(end);
            }
            if entry.failed && ends().all(|end| !self.answers_for(end, address)) {
                return Neighbour::Nobody;
            }
        }
        // 2) Who owns it, then who answers for it.
        if let Some(end) = ends().find(|end| self.answers_for(*end, address)) {
            return Neighbour::End(end);
        }
        if let Some(end) = ends().find(|end| self.proxies(*end, address)) {
            return Neighbour::End(end);
        }
        if wire.is_some_and(|wire| wire.closed) { Neighbour::Nobody } else { Neighbour::Unrecorded }
    }

    /// Who gets a frame that somebody puts on a wire for a destination: the only other end, else the end
    /// that the sender's own routes lead to.
    pub(crate) fn receiver(&self, from: End, dst: IpAddr) -> Option<End> {
        let wire = &self.segments[*self.segment_of.get(&from)?];
        let mut others = wire.ends.iter().copied().filter(|end| *end != from);
        if let (Some(only), None) = (others.next(), others.next()) {
            return Some(only);
        }
        let next_hop = self.host(from.0).way_to(dst, 0).map_or(dst, |(_, next_hop)| next_hop);
        match self.neighbour(from, next_hop) {
            Neighbour::End(end) => Some(end),
            Neighbour::Unrecorded | Neighbour::Nobody => None,
        }
    }

    /// Whether a host or another on its wire takes packets for an address.
    pub(crate) fn takes(&self, at: End, address: IpAddr) -> bool {
        self.answers_for(at, address)
            || self.proxies(at, address)
            || matches!(self.neighbour(at, address), Neighbour::End(_))
    }

    /// Whether a host answers ARP or neighbour discovery for an address on a link: for IPv4 any address of
    /// the host's (arp_ignore 0), for IPv6 the link's own.
    fn answers_for(&self, end: End, address: IpAddr) -> bool {
        let host = self.host(end.0);
        match Family::of(address) {
            Family::Ip4 if host.greater(Family::Ip4, end.1, "arp_ignore") == 0 => host.fib.is_local(address),
            Family::Ip4 | Family::Ip6 => fib::local_on(self.link(end), address),
        }
    }

    /// Whether a host answers for an address that it would forward to another link (arp.c, `arp_fwd_proxy`).
    fn proxies(&self, end: End, address: IpAddr) -> bool {
        let host = self.host(end.0);
        let family = Family::of(address);
        family == Family::Ip4
            && host.either(family, end.1, "proxy_arp", false)
            && host.forwards(family, end.1)
            && host
                .fib
                .lookup(&fib::FlowKey {
                    dst: address,
                    src: family.unspecified(),
                    in_interface: self.link(end).name,
                    out_interface: None,
                    mark: 0,
                    tos: 0,
                    protocol: Protocol(0),
                    ports: None,
                    uid: None,
                })
                .is_ok_and(|found| {
                    found
                        .next_hop
                        .is_some_and(|hop| hop.link.is_some() && hop.link != Some(self.link(end).name))
                })
    }

    /// The hosts that have an address of their own.
    pub(crate) fn owners(&self, address: IpAddr) -> impl Iterator<Item = &Host<'a>> {
        self.hosts.iter().filter(move |host| host.fib.is_local(address))
    }
}

fn share_subnet(a: &Link, b: &Link) -> bool {
    let is_wide = |net: &ipnet::IpNet| net.prefix_len() < net.max_prefix_len();
    let is_link_local = |net: &ipnet::IpNet| match net.addr() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let subnets = |link: &Link| -> Vec<ipnet::IpNet> {
        let nets = link.addresses.iter().filter_map(natpath_model::Address::subnet);
        nets.filter(|net| is_wide(net) && !is_link_local(net)).collect()
    };
    let others = subnets(b);
    subnets(a).iter().any(|net| others.contains(net))
}
