//! Which interfaces share a wire: those that topology.json names, the two ends of a veth or of a tunnel,
//! and those whose addresses share a subnet.

use std::net::IpAddr;

use natpath_model::{Family, Link, RouteType};

use super::{Domain, End, Wire, World};
use crate::host::LinkId;

impl World<'_> {
    pub(super) fn join(&mut self, ends: Vec<End>, closed: bool) {
        let index = self.wires.len();
        for end in &ends {
            self.wire_of.insert(*end, index);
        }
        self.wires.push(Wire { ends, closed });
    }

    /// Joins what topology.json does not name.
    pub(super) fn join_the_rest(&mut self) {
        for pair in self.pairs() {
            self.join(pair.to_vec(), true);
        }
        // What is left may share a subnet. A port of a bridge has no subnet: its bridge has.
        let free: Vec<End> = self
            .all_ends()
            .filter(|end| !self.wire_of.contains_key(end) && !self.link(*end).loopback)
            .filter(|end| !self.host(end.0).is_port(end.1))
            .collect();
        let mut groups: Vec<usize> = (0..free.len()).collect();
        for a in 0..free.len() {
            for b in a + 1..free.len() {
                if groups[a] != groups[b] && self.may_share_subnet(free[a], free[b]) {
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

    /// Sorts all interfaces into domains.
    pub(super) fn find_domains(&mut self) {
        let all: Vec<End> = self.all_ends().filter(|end| !self.link(*end).loopback).collect();
        for end in &all {
            if self.domain_of.contains_key(end) {
                continue;
            }
            let index = self.domains.len();
            let mut members = vec![*end];
            let mut at = 0;
            while let Some(member) = members.get(at).copied() {
                at += 1;
                if self.domain_of.insert(member, index).is_none() {
                    members.extend(self.beside(member));
                }
            }
            members.sort_unstable();
            members.dedup();
            let bridged = members.iter().any(|member| self.bridge_of(*member).is_some());
            let open = members.iter().any(|member| self.is_open(*member));
            let ends = members.into_iter().filter(|member| !self.host(member.0).is_port(member.1)).collect();
            self.domains.push(Domain { ends, open, bridged });
        }
    }

    /// The interfaces that an interface has beside it: on its wire, and within its bridge.
    pub(super) fn beside(&self, end: End) -> Vec<End> {
        let wire = self.wire_of.get(&end).map(|wire| &self.wires[*wire]);
        let on_wire = wire.into_iter().flat_map(|wire| &wire.ends).copied().filter(|other| *other != end);
        // Those who are beside a bridge itself, since nothing says by which port, are each behind a port of
        // their own: their frames to each other cross it.
        let is_bridge = |end: &End| self.host(end.0).is_bridge(end.1);
        let mut found: Vec<End> = on_wire.collect();
        if !is_bridge(&end) && found.iter().any(is_bridge) && wire.is_some_and(|wire| !wire.closed) {
            found.retain(is_bridge);
        }
        let host = self.host(end.0);
        if host.is_bridge(end.1) {
            found.extend(host.ports(end.1).map(|port| (end.0, port)));
        } else if host.is_port(end.1) {
            found.extend(host.bridge_of(end.1).map(|bridge| (end.0, bridge)));
        }
        found
    }

    /// Whether somebody who was not recorded may be on an interface's own wire.
    pub(super) fn is_open(&self, end: End) -> bool {
        let host = self.host(end.0);
        match self.wire_of.get(&end) {
            Some(wire) if host.is_bridge(end.1) && self.wires[*wire].ends.len() == 1 => {
                // Nobody is on a bridge itself; a bridge without listed ports must have some.
                !self.wires[*wire].closed && host.ports(end.1).next().is_none()
            }
            Some(wire) => !self.wires[*wire].closed,
            None => true,
        }
    }

    fn all_ends(&self) -> impl Iterator<Item = End> {
        self.hosts.iter().flat_map(|host| (0..host.snapshot.links.len()).map(|link| (host.id, LinkId(link))))
    }

    /// The two ends of each veth or tunnel that was recorded whole.
    fn pairs(&self) -> Vec<[End; 2]> {
        let free: Vec<End> = self.all_ends().filter(|end| !self.wire_of.contains_key(end)).collect();
        let mut candidates: Vec<([End; 2], Proof)> = Vec::new();
        for (index, a) in free.iter().enumerate() {
            for b in &free[index + 1..] {
                let proof = self.veth_proof(*a, *b).or_else(|| self.tunnel_proof(*a, *b));
                candidates.extend(proof.map(|proof| ([*a, *b], proof)));
            }
        }
        // The better proven pair wins; two that are equally well proven contradict each other.
        let rivals = |pair: &[End; 2], proof: Proof| {
            candidates.iter().any(|(other, others)| {
                other != pair && *others >= proof && other.iter().any(|end| pair.contains(end))
            })
        };
        candidates.iter().filter(|(pair, proof)| !rivals(pair, *proof)).map(|(pair, _)| *pair).collect()
    }

    /// Whether two interfaces are the two ends of a veth. Two namespaces often number their links alike, so
    /// numbers that fit each other are not enough.
    fn veth_proof(&self, a: End, b: End) -> Option<Proof> {
        let (first, second) = (self.link(a), self.link(b));
        let is_veth = |link: &Link| link.kind.as_deref() == Some("veth");
        if !is_veth(first) || !is_veth(second) {
            return None;
        }
        let fit = first.peer_index == Some(second.index) && second.peer_index == Some(first.index);
        if !fit {
            return None;
        }
        if a.0 == b.0 {
            // `ip` names the other end if it is in the same namespace, and numbers it otherwise.
            return (first.peer_namespace.is_none() && second.peer_namespace.is_none())
                .then_some(Proof::Certain);
        }
        if first.peer_namespace.is_none() || second.peer_namespace.is_none() {
            return None;
        }
        let name = |end: End| self.host(end.0).snapshot.name.as_str();
        if is_within(name(a), name(b)) {
            return Some(Proof::Certain);
        }
        if self.knows_mac(a, second) || self.knows_mac(b, first) {
            return Some(Proof::Seen);
        }
        self.are_near(a, b).then_some(Proof::Plausible)
    }

    /// Whether two interfaces are the ends of one tunnel: each other's outer addresses, or one number.
    fn tunnel_proof(&self, a: End, b: End) -> Option<Proof> {
        let (first, second) = (self.link(a), self.link(b));
        if a.0 == b.0 || first.kind.is_none() || first.kind != second.kind {
            return None;
        }
        let leads_to = |link: &Link, end: End| {
            link.detail.tunnel_remote.is_some_and(|remote| self.host(end.0).fib.is_local(remote))
        };
        (leads_to(first, b) && leads_to(second, a) && first.detail.tunnel_id == second.detail.tunnel_id)
            .then_some(Proof::Certain)
    }

    /// Whether a host has met a hardware address behind one of its interfaces.
    fn knows_mac(&self, end: End, other: &Link) -> bool {
        let Some(mac) = other.mac else { return false };
        let snapshot = self.host(end.0).snapshot;
        let link = self.link(end);
        let as_neighbour = snapshot.neighbours.iter().any(|entry| {
            entry.mac == Some(mac) && (entry.link == link.name || Some(entry.link) == link.master)
        });
        as_neighbour
            || snapshot
                .forwarding
                .iter()
                .any(|entry| entry.mac == mac && entry.port == link.name && !entry.own)
    }

    /// Whether the addresses of two interfaces, or of the bridges they are ports of, say that they are near.
    fn are_near(&self, a: End, b: End) -> bool {
        let spokesman = |end: End| {
            let host = self.host(end.0);
            (end.0, host.bridge_of(end.1).unwrap_or(end.1))
        };
        let (a, b) = (spokesman(a), spokesman(b));
        share_subnet(self.link(a), self.link(b)) || self.leads_to(a, b) || self.leads_to(b, a)
    }

    /// Whether a host has a route straight to an address of the other's interface.
    fn leads_to(&self, from: End, to: End) -> bool {
        let link = self.link(from);
        self.host(from.0).snapshot.routes.iter().any(|route| {
            route.kind == RouteType::Unicast
                && route.destination.prefix_len() > 0
                && route.next_hops.iter().any(|hop| hop.gateway.is_none() && hop.link == Some(link.name))
                && self.link(to).addresses.iter().any(|own| route.destination.contains(&own.local))
        })
    }

    fn may_share_subnet(&self, a: End, b: End) -> bool {
        let (first, second) = (self.link(a), self.link(b));
        // One address can't be twice on a wire: many machines have a docker0 with the same.
        let twice = first.addresses.iter().any(|address| {
            second.addresses.iter().any(|other| other.local == address.local && !is_link_local(other.local))
        });
        a.0 != b.0 && !twice && (share_subnet(first, second) || share_tunnel(first, second))
    }
}

/// How sure it is that two interfaces are the ends of one pair; greater is surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// Their numbers fit, and their addresses.
    Plausible,
    /// Their numbers fit, and one has met the other's hardware address.
    Seen,
    /// Only one machine is concerned, or each names the other.
    Certain,
}

/// Whether two hosts are namespaces of one machine: `HOST` and `HOST/ns/NAME`, or two of the latter.
fn is_within(a: &str, b: &str) -> bool {
    let machine = |name: &str| name.split_once("/ns/").map(|(machine, _)| machine.to_owned());
    match (machine(a), machine(b)) {
        (None, None) => false,
        (first, second) => first.as_deref().unwrap_or(a) == second.as_deref().unwrap_or(b),
    }
}

/// Tunnels of one number form one network, however many ends they have.
fn share_tunnel(a: &Link, b: &Link) -> bool {
    let many = |link: &Link| matches!(link.kind.as_deref(), Some("vxlan" | "geneve"));
    many(a) && a.kind == b.kind && a.detail.tunnel_id.is_some() && a.detail.tunnel_id == b.detail.tunnel_id
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn share_subnet(a: &Link, b: &Link) -> bool {
    let is_wide = |net: &ipnet::IpNet| net.prefix_len() < Family::of(net.addr()).bits();
    let subnets = |link: &Link| -> Vec<ipnet::IpNet> {
        let nets = link.addresses.iter().filter_map(natpath_model::Address::subnet);
        nets.filter(|net| is_wide(net) && !is_link_local(net.addr())).collect()
    };
    let others = subnets(b);
    subnets(a).iter().any(|net| others.contains(net))
}
