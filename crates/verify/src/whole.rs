//! A snapshot made whole, so that it can be rebuilt: what no file says is there as the engine assumed it.
//!
//! ```text
//!  recorded    node:eth0 ─── (open)             node:eth0 ─── 198.51.100.1, a namespace that also has the
//!                                       ─→                    addresses beyond that router
//!              node:br0 without ports           node:br0 ─ np1 ─── 172.17.0.2
//! ```
//!
//! Who was not recorded is a namespace with the addresses that the predicted packets came from or went to. It
//! answers on the ports they were sent to, and its own packets go to the host it is behind.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use natpath_engine::trace::{Effect, FlowTrace, Header, Outcome, Path, Place, Step, Unrecorded};
use natpath_formats::derive;
use natpath_formats::flows::FlowAction;
use natpath_model::{
    Address, Bind, Family, Flow, InterfaceName, Item, Link, Mac, Neighbour, Network, NextHop, Protocol,
    Route, RouteType, Scope, Segment, SegmentEnd, Snapshot, Socket, table_id,
};

use crate::observe::{Back, Observation};
use crate::scenario::{Action, Scenario};

/// A scenario that can be rebuilt, and what it took to make it so.
#[derive(Debug)]
pub struct Whole {
    /// The recorded hosts, then those that stand for others.
    pub scenario: Scenario,
    /// What of the recorded network is rebuilt as something else, or not at all.
    pub notes: Vec<String>,
    /// The addresses that lie beyond a router nobody recorded.
    beyond: BTreeSet<IpAddr>,
    /// The names of those that stand for others.
    outside: BTreeSet<String>,
}

/// Makes a scenario whole, as the engine's traces of its steps assume it to be.
#[must_use]
pub fn make(scenario: &Scenario, traces: &[Option<FlowTrace>]) -> Whole {
    let mut whole = Whole {
        scenario: scenario.clone(),
        notes: Vec::new(),
        beyond: BTreeSet::new(),
        outside: BTreeSet::new(),
    };
    let recorded = scenario.network.hosts.len();
    let network = &mut whole.scenario.network;
    network.segments = natpath_engine::wires(&scenario.network);
    for host in &mut network.hosts {
        whole.notes.extend(plain_links(host));
    }
    ports_of_bridges(network);
    let ports = listened(scenario, traces);
    for (host, sockets) in &ports.recorded {
        network.hosts[*host].sockets.extend(sockets.iter().cloned());
    }
    for (step, trace) in scenario.steps.iter().zip(traces) {
        let Some(trace) = trace else { continue };
        for path in &trace.paths {
            for stranger in &path.unrecorded {
                whole.settle(stranger, recorded, is_answered(path, stranger));
            }
        }
        if let Action::Flow(FlowAction::Flow(flow)) = &step.action {
            whole.lead_in(flow, trace);
        }
    }
    let paths = traces.iter().flatten().flat_map(|trace| &trace.paths);
    for end in paths.filter(|path| is_unanswered(path)).map(|path| &path.result.end) {
        whole.silence(&end.header, recorded);
    }
    for host in whole.scenario.network.hosts.iter_mut().skip(recorded) {
        host.sockets.clone_from(&ports.outside);
        let derived = Family::ALL.into_iter().flat_map(|family| derive::routes(&host.links, family));
        host.routes.extend(derived);
        whole.outside.insert(host.name.clone());
    }
    whole.send_from_outside(traces);
    whole
}

/// Whether the engine has somebody take the packet that reached this address and answer it.
fn is_answered(path: &Path, stranger: &Unrecorded) -> bool {
    path.result.end.header.dst.address != stranger.address || !is_unanswered(path)
}

/// Whether the engine has a packet leave to where nobody answers it.
fn is_unanswered(path: &Path) -> bool {
    path.result.end.outcome == Outcome::Left && path.result.reply.is_none()
}

impl Whole {
    /// Gives an address that nobody recorded to a namespace: that of its router if it lies behind one.
    fn settle(&mut self, stranger: &Unrecorded, recorded: usize, answered: bool) {
        let next_hop = stranger.router.unwrap_or(stranger.address);
        let network = &mut self.scenario.network;
        let at = (stranger.host.0 as usize, stranger.interface);
        let gateway = network.hosts[at.0].link(at.1).cloned();
        let Some(gateway) = gateway else { return };
        let name = format!("outside {next_hop}@{}", end_name(&network.hosts[at.0].name, at.1));
        let known = network.hosts.iter().position(|host| host.name == name);
        let index = known.unwrap_or_else(|| {
            let number = network.hosts.len() - recorded;
            network.hosts.push(outsider(&name, next_hop, &gateway, number));
            wire_up(network, &name, at, stranger.port);
            network.hosts.len() - 1
        });
        if stranger.router.is_some() && answered {
            self.beyond.insert(stranger.address);
            add_address(&mut network.hosts[index].links[1], stranger.address, None);
        }
    }

    /// Has those outside who answer others know no way back to the sender of a packet.
    fn silence(&mut self, header: &Header, recorded: usize) {
        let asked = |host: &&mut Snapshot| {
            host.links.iter().flat_map(|link| &link.addresses).any(|own| own.local == header.dst.address)
        };
        for host in self.scenario.network.hosts.iter_mut().skip(recorded).filter(asked) {
            let destination = IpNet::from(header.src.address);
            let route = straight(destination, InterfaceName::LO);
            let nowhere = Route { kind: RouteType::Blackhole, next_hops: Vec::new(), ..route };
            if !host.routes.contains(&nowhere) {
                host.routes.push(nowhere);
            }
        }
    }

    /// Has a sender outside send to the interface that its flow enters by, whatever its subnet says.
    fn lead_in(&mut self, flow: &Flow, trace: &FlowTrace) {
        let Some(sender) = trace.paths.first().and_then(|path| sender_outside(path, trace)) else { return };
        let host = &self.scenario.network.hosts[sender.host.0 as usize];
        let interface = flow.enters.as_ref().map_or(sender.interface, |(_, name)| *name);
        let spokesman = host.link(interface).and_then(|link| link.master).unwrap_or(interface);
        let mac = host.link(spokesman).and_then(|link| link.mac);
        let name = end_name(&host.name, sender.interface);
        let next_hop = sender.router.unwrap_or(sender.address);
        let name = format!("outside {next_hop}@{name}");
        let Some(outsider) = self.scenario.network.hosts.iter_mut().find(|host| host.name == name) else {
            return;
        };
        let link = &mut outsider.links[1];
        link.mac = flow.src_mac.or(link.mac);
        let (link, destination) = (link.name, IpNet::from(flow.dst));
        if outsider.routes.iter().all(|route| route.destination != destination) {
            outsider.routes.push(straight(destination, link));
        }
        if let Some(mac) = mac {
            let (failed, permanent, proxy) = (false, true, false);
            let entry = Neighbour { address: flow.dst, link, mac: Some(mac), failed, permanent, proxy };
            outsider.neighbours.push(entry);
        }
    }

    /// Has the flows that enter sent by those who stand for their senders.
    fn send_from_outside(&mut self, traces: &[Option<FlowTrace>]) {
        let network = &self.scenario.network;
        for (step, trace) in self.scenario.steps.iter_mut().zip(traces) {
            let (Some(trace), Action::Flow(FlowAction::Flow(flow))) = (trace, &mut step.action) else {
                continue;
            };
            let Some(sender) = trace.paths.first().and_then(|path| sender_outside(path, trace)) else {
                continue;
            };
            let host = &network.hosts[sender.host.0 as usize];
            let next_hop = sender.router.unwrap_or(sender.address);
            let name = format!("outside {next_hop}@{}", end_name(&host.name, sender.interface));
            flow.from = Some(name);
            flow.enters = None;
        }
    }

    /// What was seen, in the words of the prediction: who stands for others has the name of their addresses,
    /// and what a router takes for somebody beyond it has left.
    #[must_use]
    pub fn told(&self, mut seen: Observation) -> Observation {
        if let Some(arrival) = &mut seen.arrived
            && self.outside.contains(&arrival.host)
        {
            let address = arrival.header.dst.address;
            if self.beyond.contains(&address) {
                seen.arrived = None;
            } else {
                arrival.host = address.to_string();
            }
        }
        match &mut seen.back {
            Some(Back::Answer { host, header } | Back::Reset { host, header })
                if self.outside.contains(host) =>
            {
                *host = header.dst.address.to_string();
            }
            Some(Back::Icmp { host, about, .. }) if self.outside.contains(host) => {
                *host = about.src.address.to_string();
            }
            _ => {}
        }
        seen
    }
}

/// The sender of a flow, if nobody recorded it.
fn sender_outside<'p>(path: &'p Path, trace: &FlowTrace) -> Option<&'p Unrecorded> {
    let source = trace.sent.src.address;
    let first = path.hops.first()?;
    let sent_here = first.in_interface.is_none() && matches!(first.host, Place::Host(_));
    if sent_here {
        return None;
    }
    path.unrecorded.first().filter(|stranger| stranger.address == source)
}

fn end_name(host: &str, interface: InterfaceName) -> String {
    format!("{host}:{interface}")
}

/// Makes links of kinds that can't be rebuilt plain ones, gives each a hardware address, and says so.
fn plain_links(host: &mut Snapshot) -> Vec<String> {
    let mut notes = Vec::new();
    let bridges: Vec<InterfaceName> = host
        .links
        .iter()
        .filter(|link| link.kind.as_deref() == Some("bridge"))
        .map(|link| link.name)
        .collect();
    for link in &mut host.links {
        if let Some(kind) = link.kind.take_if(|kind| !matches!(kind.as_str(), "veth" | "dummy" | "bridge")) {
            notes.push(format!("{}: {} is a {kind}, rebuilt as a plain wire", host.name, link.name));
        }
        if let Some(master) = link.master.take_if(|master| !bridges.contains(master)) {
            notes.push(format!("{}: {} is rebuilt outside of {master}", host.name, link.name));
        }
        if !link.loopback && link.mac.is_none() {
            let [a, b, c, d] = link.index.to_be_bytes();
            link.mac = Some(Mac([0x02, 0xfe, a, b, c, d]));
        }
    }
    notes
}

/// Gives who is on a wire with a bridge itself a port of the bridge.
fn ports_of_bridges(network: &mut Network) {
    let is_bridge = |network: &Network, end: &SegmentEnd| {
        let link = network.host(&end.host).and_then(|host| host.link(end.interface));
        link.is_some_and(|link| link.kind.as_deref() == Some("bridge"))
    };
    let segments = std::mem::take(&mut network.segments);
    for segment in segments {
        let (bridges, mut others): (Vec<_>, Vec<_>) =
            segment.ends.into_iter().partition(|end| is_bridge(network, end));
        if bridges.is_empty() {
            network.segments.push(Segment { ends: others });
            continue;
        }
        // Bridges that share a subnet with nobody between them are on one wire.
        if others.is_empty() && bridges.len() > 1 {
            others.extend(bridges.iter().filter_map(|end| add_port(network, &end.host, end.interface)));
            network.segments.push(Segment { ends: others });
            continue;
        }
        for end in others {
            let Some(bridge) = bridges.first() else { continue };
            let Some(port) = add_port(network, &bridge.host, bridge.interface) else { continue };
            network.segments.push(Segment { ends: vec![port, end] });
        }
    }
}

/// A port of a bridge that nothing is plugged into.
fn spare_port(network: &Network, host: &str, bridge: InterfaceName) -> Option<SegmentEnd> {
    let ports = network.host(host)?.links.iter().filter(|link| link.master == Some(bridge));
    let mut ends = ports.map(|port| SegmentEnd { host: host.to_owned(), interface: port.name });
    ends.find(|end| {
        network.segments.iter().all(|segment| segment.ends.len() < 2 || !segment.ends.contains(end))
    })
}

/// Adds a port to a bridge, in hairpin mode if all its others are.
fn add_port(network: &mut Network, host: &str, bridge: InterfaceName) -> Option<SegmentEnd> {
    let host = network.hosts.iter_mut().find(|known| known.name == host)?;
    let number = (1..).find(|number| {
        InterfaceName::new(&format!("np{number}")).is_some_and(|name| host.link(name).is_none())
    })?;
    let name = InterfaceName::new(&format!("np{number}"))?;
    let index = host.links.iter().map(|link| link.index).max().unwrap_or(1) + 1;
    let mtu = host.link(bridge).map_or(1500, |link| link.mtu);
    let [a, b, c, d] = index.to_be_bytes();
    let mut link = plain_link(name, index, mtu, Mac([0x02, 0xfd, a, b, c, d]));
    link.master = Some(bridge);
    let mut others = host.links.iter().filter(|link| link.master == Some(bridge)).peekable();
    let hairpin = others.peek().is_some() && others.all(|port| port.detail.hairpin == Some(true));
    link.detail.hairpin = Some(hairpin);
    host.links.push(link);
    Some(SegmentEnd { host: host.name.clone(), interface: name })
}

fn plain_link(name: InterfaceName, index: u32, mtu: u32, mac: Mac) -> Link {
    Link {
        index,
        name,
        kind: None,
        up: true,
        loopback: false,
        mtu,
        mac: Some(mac),
        peer_index: None,
        peer_namespace: None,
        master: None,
        detail: natpath_model::LinkDetail::default(),
        addresses: Vec::new(),
    }
}

/// A host that stands for those at and behind a next hop.
fn outsider(name: &str, next_hop: IpAddr, gateway: &Link, number: usize) -> Snapshot {
    let lo = Link { loopback: true, mac: None, ..plain_link(InterfaceName::LO, 1, 65536, Mac([0; 6])) };
    let [a, b] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    let eth0 = InterfaceName::new("eth0").unwrap_or(InterfaceName::LO);
    let mut link = plain_link(eth0, 2, gateway.mtu, Mac([0x02, 0xff, 0, 0, a, b]));
    add_address(&mut link, next_hop, Some(gateway));
    let mut host = Snapshot { name: name.to_owned(), links: vec![lo, link], ..Snapshot::default() };
    host.given.insert(Item::Sockets);
    for family in Family::ALL {
        let of_family = |address: &&Address| Family::of(address.local) == family;
        let Some(router) = gateway.addresses.iter().find(of_family) else { continue };
        let Ok(everywhere) = IpNet::new(family.unspecified(), 0) else { continue };
        let mut route = straight(everywhere, eth0);
        route.scope = Scope::GLOBAL;
        if let Some(hop) = route.next_hops.first_mut() {
            hop.gateway = Some(router.local);
            hop.on_link = true;
        }
        host.routes.push(route);
    }
    host
}

/// Adds an address, with the subnet that a neighbour's interface has it in.
fn add_address(link: &mut Link, address: IpAddr, neighbour: Option<&Link>) {
    if link.addresses.iter().any(|own| own.local == address) {
        return;
    }
    let subnets = neighbour.into_iter().flat_map(|link| &link.addresses);
    let subnet = subnets.filter_map(Address::subnet).find(|subnet| subnet.contains(&address));
    let prefix_length = subnet.map_or(Family::of(address).bits(), |subnet| subnet.prefix_len());
    link.addresses.push(Address::new(address, prefix_length));
}

/// Puts the last host's eth0 on the wire of an interface; of a bridge, behind one of its ports.
fn wire_up(
    network: &mut Network,
    name: &str,
    (host, interface): (usize, InterfaceName),
    port: Option<InterfaceName>,
) {
    let host = network.hosts[host].name.clone();
    let eth0 = InterfaceName::new("eth0").unwrap_or(InterfaceName::LO);
    let own = SegmentEnd { host: name.to_owned(), interface: eth0 };
    let link = network.host(&host).and_then(|host| host.link(interface));
    let is_bridge = link.is_some_and(|link| link.kind.as_deref() == Some("bridge"));
    let at = match port {
        Some(port) => Some(SegmentEnd { host, interface: port }),
        None if is_bridge => {
            spare_port(network, &host, interface).or_else(|| add_port(network, &host, interface))
        }
        None => Some(SegmentEnd { host, interface }),
    };
    let Some(at) = at else { return };
    match network.segments.iter_mut().find(|segment| segment.ends.contains(&at)) {
        Some(segment) => segment.ends.push(own),
        None => network.segments.push(Segment { ends: vec![at, own] }),
    }
}

/// A route to those on the wire.
fn straight(destination: IpNet, link: InterfaceName) -> Route {
    Route {
        destination,
        table: table_id::MAIN,
        kind: RouteType::Unicast,
        tos: 0,
        metric: 0,
        prefer_source: None,
        scope: Scope::LINK,
        mtu: None,
        next_hops: vec![NextHop { gateway: None, link: Some(link), weight: 1, dead: false, on_link: false }],
        line: 1,
    }
}

/// The sockets that the engine assumes.
struct Listened {
    /// For recorded hosts whose sockets were not.
    recorded: Vec<(usize, Vec<Socket>)>,
    /// For those nobody recorded.
    outside: Vec<Socket>,
}

/// Finds the sockets that take the predicted packets and that no file lists.
fn listened(scenario: &Scenario, traces: &[Option<FlowTrace>]) -> Listened {
    let mut listened = Listened { recorded: Vec::new(), outside: Vec::new() };
    let socket = |protocol: Protocol, port: u16| Socket {
        protocol,
        bind: Bind::AnyBoth,
        port,
        interface: None,
        process: None,
        transparent: None,
    };
    for path in traces.iter().flatten().flat_map(|trace| &trace.paths) {
        let end = &path.result.end;
        let (Protocol::TCP | Protocol::UDP) = end.header.protocol else { continue };
        let port = proxy_port(path).unwrap_or(end.header.dst.port.value);
        let socket = socket(end.header.protocol, port);
        match (end.outcome, end.at.host) {
            (Outcome::Left, _) | (Outcome::Delivered, Place::Assumed(_)) => {
                let known = listened.outside.contains(&socket);
                listened.outside.extend((!known).then_some(socket));
            }
            (Outcome::Delivered, Place::Host(id)) => {
                let host = id.0 as usize;
                if scenario.network.hosts[host].given.has(Item::Sockets) {
                    continue;
                }
                match listened.recorded.iter_mut().find(|(known, _)| *known == host) {
                    Some((_, sockets)) if sockets.contains(&socket) => {}
                    Some((_, sockets)) => sockets.push(socket),
                    None => listened.recorded.push((host, vec![socket])),
                }
            }
            _ => {}
        }
    }
    listened
}

/// The port of the socket that TPROXY has given a path's first packet to.
fn proxy_port(path: &Path) -> Option<u16> {
    path.hops.last()?.steps.iter().rev().find_map(|step| match step {
        Step::Rule { effect: Effect::Tproxy { port, .. }, .. } => Some(*port),
        _ => None,
    })
}
