//! The hosts of a network, the wires that join their interfaces, and the bridges that join wires.
//!
//! ```text
//!  c:eth0 ──wire── h:p1 ┐
//!                       ├─ h:br0   one domain: c, s and h itself reach each other by frames
//!  s:eth0 ──wire── h:p2 ┘
//! ```

mod join;
mod reach;

use std::collections::HashMap;
use std::net::IpAddr;

use natpath_model::{Link, Network, Segment, SegmentEnd, Snapshot};

use crate::host::{Host, LinkId};
use crate::trace::HostId;

/// All wires of a network: those of topology.json, and those that follow from numbers and addresses. An
/// interface that nothing else is known to share a wire with is alone on one, or on none.
#[must_use]
pub fn wires(network: &Network) -> Vec<Segment> {
    let world = World::new(network);
    let end = |end: &End| SegmentEnd {
        host: world.host(end.0).snapshot.name.clone(),
        interface: world.link(*end).name,
    };
    world.wires.iter().map(|wire| Segment { ends: wire.ends.iter().map(end).collect() }).collect()
}

/// An interface of a host.
pub(crate) type End = (HostId, LinkId);

/// All hosts, ready to take packets, and who shares a wire with whom.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) hosts: Vec<Host<'a>>,
    wires: Vec<Wire>,
    wire_of: HashMap<End, usize>,
    domains: Vec<Domain>,
    domain_of: HashMap<End, usize>,
}

/// Interfaces that hear each other.
#[derive(Debug, Default)]
struct Wire {
    ends: Vec<End>,
    /// Whether nobody else is on it.
    closed: bool,
}

/// Wires that bridges join.
#[derive(Debug, Default)]
struct Domain {
    /// Its interfaces but for ports of bridges, which have no say of their own.
    ends: Vec<End>,
    /// Whether somebody may be on it who was not recorded.
    open: bool,
    /// Whether it is more than one wire.
    bridged: bool,
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

/// Who a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Station {
    /// An interface of a recorded host.
    End(End),
    /// Somebody nobody recorded.
    Unrecorded(Unrecorded),
}

/// A station nobody recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unrecorded {
    /// Its address.
    pub(crate) address: IpAddr,
    /// The recorded interface whose wire it is on; for a bridge, behind one of its ports.
    pub(crate) at: End,
    /// The port, where it is known.
    pub(crate) port: Option<LinkId>,
    /// Whether packets go on from it to others.
    pub(crate) router: bool,
}

/// Who gets a frame next on its way to a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A recorded interface: the station's own, or a bridge's.
    End(End),
    /// The station, which nobody recorded.
    Unrecorded(Unrecorded),
}

impl<'a> World<'a> {
    pub(crate) fn new(network: &'a Network) -> Self {
        let hosts: Vec<_> =
            (0u32..).zip(&network.hosts).map(|(id, snapshot)| Host::new(HostId(id), snapshot)).collect();
        let mut world = Self {
            hosts,
            wires: Vec::new(),
            wire_of: HashMap::new(),
            domains: Vec::new(),
            domain_of: HashMap::new(),
        };
        for segment in &network.segments {
            let ends = segment.ends.iter().filter_map(|end| {
                let host = world.hosts.iter().find(|host| host.snapshot.name == end.host)?;
                Some((host.id, host.link_named(end.interface)?))
            });
            let ends = ends.collect();
            world.join(ends, true);
        }
        world.join_the_rest();
        world.find_domains();
        world
    }

    /// Gives a host another snapshot, which differs from its own in rules and sets only.
    pub(crate) fn load(&mut self, id: HostId, snapshot: &'a Snapshot) {
        let host = &mut self.hosts[id.0 as usize];
        *host = host.with_rules(snapshot);
    }

    /// Gives a host another snapshot, which differs from its own in sets only.
    pub(crate) fn load_sets(&mut self, id: HostId, snapshot: &'a Snapshot) {
        let host = &mut self.hosts[id.0 as usize];
        *host = host.with_sets(snapshot);
    }

    pub(crate) fn host(&self, id: HostId) -> &Host<'a> {
        &self.hosts[id.0 as usize]
    }

    pub(crate) fn link(&self, (host, link): End) -> &'a Link {
        self.host(host).link(link)
    }

    /// The bridge that an interface is or is a port of.
    pub(crate) fn bridge_of(&self, end: End) -> Option<LinkId> {
        self.host(end.0).bridge_of(end.1)
    }

    /// The hosts that have an address of their own.
    pub(crate) fn owners(&self, address: IpAddr) -> impl Iterator<Item = &Host<'a>> {
        self.hosts.iter().filter(move |host| host.fib.is_local(address))
    }
}
