//! Who answers for an address, and how a frame gets there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use natpath_model::{Family, Mac, Protocol};

use super::{Domain, End, Neighbour, Next, Station, Unrecorded, World};
use crate::fib;
use crate::host::LinkId;

impl World<'_> {
    fn domain(&self, end: End) -> Option<&Domain> {
        self.domain_of.get(&end).map(|index| &self.domains[*index])
    }

    /// Whether two interfaces reach each other by frames.
    pub(crate) fn share_domain(&self, a: End, b: End) -> bool {
        let domain = self.domain_of.get(&a);
        domain.is_some() && domain == self.domain_of.get(&b)
    }

    /// Who answers for an address, asked from an interface.
    pub(crate) fn neighbour(&self, from: End, address: IpAddr) -> Neighbour {
        let domain = self.domain(from);
        let ends =
            || domain.into_iter().flat_map(|domain| &domain.ends).copied().filter(move |end| *end != from);
        // 1) The neighbour table, where it was set by hand or has given up.
        let host = self.host(from.0);
        let name = self.link(from).name;
        let listed = |entry: &&natpath_model::Neighbour| {
            entry.address == address && entry.link == name && !entry.proxy
        };
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
        if domain.is_none_or(|domain| domain.open) { Neighbour::Unrecorded } else { Neighbour::Nobody }
    }

    /// Who gets a frame that somebody puts on a wire for a destination: the only other end, else the end
    /// that the sender's own routes lead to.
    pub(crate) fn receiver(&self, from: End, dst: IpAddr) -> Option<End> {
        let mut others = self.domain(from)?.ends.iter().copied().filter(|end| *end != from);
        if let (Some(only), None) = (others.next(), others.next()) {
            return Some(only);
        }
        let next_hop = self.host(from.0).way_to(dst, 0).map_or(dst, |(_, next_hop)| next_hop);
        match self.neighbour(from, next_hop) {
            Neighbour::End(end) => Some(end),
            Neighbour::Unrecorded | Neighbour::Nobody => None,
        }
    }

    /// Where somebody with this address would be who was not recorded: on the interface's own wire if that
    /// is open, else behind the nearest bridge that has a port to spare.
    pub(crate) fn place_unrecorded(&self, from: End, address: IpAddr, router: bool) -> Unrecorded {
        let at = self
            .walk(from)
            .into_iter()
            .map(|(end, _)| end)
            .find(|end| self.is_open(*end))
            .map_or(from, |end| (end.0, self.bridge_of(end).unwrap_or(end.1)));
        Unrecorded { address, at, port: self.port_of(at, address), router }
    }

    /// The port of a bridge behind which an unrecorded address sits, where that is known.
    pub(crate) fn port_of(&self, at: End, address: IpAddr) -> Option<LinkId> {
        let host = self.host(at.0);
        if !host.is_bridge(at.1) {
            return None;
        }
        let name = self.link(at).name;
        let entry =
            host.snapshot.neighbours.iter().find(|entry| {
                entry.address == address && entry.link == name && !entry.failed && !entry.proxy
            });
        entry.and_then(|entry| entry.mac).and_then(|mac| self.port_with(at, mac)).or_else(|| {
            let mut spare = host.ports(at.1).filter(|port| self.is_open((at.0, *port)));
            spare.next().filter(|_| spare.next().is_none())
        })
    }

    fn port_with(&self, at: End, mac: Mac) -> Option<LinkId> {
        let host = self.host(at.0);
        let entry = host.snapshot.forwarding.iter().find(|entry| entry.mac == mac && !entry.own)?;
        host.link_named(entry.port).filter(|port| host.bridge_of(*port) == Some(at.1))
    }

    /// The port by which a bridge sends frames for a station, where it is known, and who gets them next.
    /// `None` if no way leads there.
    pub(crate) fn onward(&self, from: End, to: &Station) -> Option<(Option<LinkId>, Next)> {
        let (target, last) = match to {
            Station::End(end) => (*end, Next::End(*end)),
            Station::Unrecorded(unrecorded) => (unrecorded.at, Next::Unrecorded(*unrecorded)),
        };
        if from == target {
            // A port that is known to lead to it, or none that is known.
            return match to {
                Station::End(_) => None,
                Station::Unrecorded(unrecorded) => Some((unrecorded.port, last)),
            };
        }
        // Nothing but the wire lies between most.
        if !self.domain(from).is_some_and(|domain| domain.bridged) {
            return self.share_domain(from, target).then_some((None, last));
        }
        let reached = self.walk(from);
        let mut way = vec![target];
        let parent =
            |end: End| reached.iter().find(|(other, _)| *other == end).and_then(|(_, before)| *before);
        while let Some(before) = parent(*way.last()?) {
            way.push(before);
        }
        if *way.last()? != from {
            return None;
        }
        way.reverse();
        // `way` is from, perhaps a port of its own, then who is next.
        let host = self.host(from.0);
        let is_own_port =
            |end: &End| end.0 == from.0 && host.bridge_of(end.1) == Some(from.1) && *end != from;
        let own = way.get(1).copied().filter(|end| host.is_bridge(from.1) && is_own_port(end));
        let next = way.get(if own.is_some() { 2 } else { 1 }).copied();
        let port = own.map(|end| end.1).or_else(|| match to {
            Station::End(end) if host.is_bridge(from.1) => {
                self.link(*end).mac.and_then(|mac| self.port_with(from, mac))
            }
            _ => None,
        });
        // Somebody on the wire of a plain interface gets the frame instead of it.
        let next = next.filter(|end| {
            !matches!(to, Station::Unrecorded(_)) || *end != target || self.bridge_of(*end).is_some()
        });
        Some((port, next.map_or(last, Next::End)))
    }

    /// All interfaces that frames from one can reach, the nearest first, each with the one before it.
    fn walk(&self, from: End) -> Vec<(End, Option<End>)> {
        let mut reached = vec![(from, None)];
        let mut known = BTreeSet::from([from]);
        let mut at = 0;
        while let Some((end, _)) = reached.get(at).copied() {
            at += 1;
            // What is neither a bridge nor its port takes frames and passes none on.
            let ends_here = end != from && self.bridge_of(end).is_none();
            if ends_here || (end != from && self.link(end).detail.blocked) {
                continue;
            }
            for next in self.beside(end) {
                if known.insert(next) {
                    reached.push((next, Some(end)));
                }
            }
        }
        reached
    }

    /// Whether a host or another that its frames reach takes packets for an address.
    pub(crate) fn takes(&self, at: End, address: IpAddr) -> bool {
        self.answers(at, address) || matches!(self.neighbour(at, address), Neighbour::End(_))
    }

    /// Whether a host answers for an address on a link, as its own or another's.
    pub(crate) fn answers(&self, end: End, address: IpAddr) -> bool {
        self.answers_for(end, address) || self.proxies(end, address)
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

    /// Whether a host answers for an address that it would forward to another link (arp.c, `arp_fwd_proxy`;
    /// ndisc.c, `pndisc_is_router`, which asks for an entry).
    fn proxies(&self, end: End, address: IpAddr) -> bool {
        let host = self.host(end.0);
        let family = Family::of(address);
        let name = self.link(end).name;
        if !host.forwards(family, end.1) {
            return false;
        }
        let listed = host
            .snapshot
            .neighbours
            .iter()
            .any(|entry| entry.proxy && entry.address == address && entry.link == name);
        match family {
            Family::Ip4 => {
                (listed || host.either(family, end.1, "proxy_arp", false))
                    && self.routes_elsewhere(end, address)
            }
            Family::Ip6 => listed && host.either(family, end.1, "proxy_ndp", false),
        }
    }

    fn routes_elsewhere(&self, end: End, address: IpAddr) -> bool {
        let name = self.link(end).name;
        let key = fib::FlowKey {
            dst: address,
            src: Family::of(address).unspecified(),
            in_interface: name,
            out_interface: None,
            mark: 0,
            tos: 0,
            protocol: Protocol(0),
            ports: None,
            uid: None,
        };
        let found = self.host(end.0).fib.lookup(&key);
        found
            .is_ok_and(|found| found.next_hop.is_some_and(|hop| hop.link.is_some() && hop.link != Some(name)))
    }
}
