//! Frames between hosts: over wires, through bridges, to those nobody recorded and from them.

use std::net::IpAddr;

use natpath_model::{Address, Mac};

use super::{Beyond, Event, Frame, Outside, Run, Sender, on_the_wire};
use crate::bridge::Bridged;
use crate::host::LinkId;
use crate::packet::{Packet, icmp};
use crate::skb::{Made, Reason, Skb};
use crate::trace::{Assumption, At, End, Hop, Outcome, Place, Step, StoppedBy, Why};
use crate::world::{End as WireEnd, Neighbour, Next, Station, Unrecorded};

impl Run<'_, '_> {
    /// Puts a packet that a host sends on a wire.
    pub(super) fn transmit(
        &mut self,
        journey: usize,
        from: WireEnd,
        skb: &Skb,
        next_hop: IpAddr,
        via_gateway: bool,
    ) {
        let packet = skb.packet;
        let Some(to) = self.station(from, next_hop, via_gateway, packet.dst) else {
            // ip_finish_output: the neighbour is never resolved; the sender hears of it.
            let skb = *skb;
            let error = icmp::host_unreachable(packet.family());
            let ((), steps, made) = self.pass(from.0, |pass| pass.send_error(&skb, error, 0, false));
            if let Some(hop) = self.journeys[journey].hops.last_mut() {
                hop.steps.extend(steps);
            }
            self.cause(journey, from.0, made);
            let interface = Some(self.world.link(from).name);
            self.end_at(journey, from.0, interface, &packet, Reason::of(Outcome::NoNeighbor));
            return;
        };
        let src_mac = self.world.link(from).mac;
        self.put(journey, from, Frame { packet, mark: skb.mark, src_mac, from: Station::End(from), to });
    }

    /// Who gets what is sent from an interface to a next hop; `None` if nobody does.
    fn station(
        &mut self,
        from: WireEnd,
        next_hop: IpAddr,
        via_gateway: bool,
        dst: IpAddr,
    ) -> Option<Station> {
        // 1) A sender outside is where its packet came from, whoever else is on that wire.
        if let (Sender::Outside { address, enters }, Some(sender)) = (self.sender, self.outside.first())
            && dst == address
            && (from == enters || (next_hop == dst && self.world.share_domain(from, enters)))
        {
            return Some(Station::Unrecorded(sender.station));
        }
        // 2) Those who were recorded.
        match self.world.neighbour(from, next_hop) {
            Neighbour::End(end) => return Some(Station::End(end)),
            Neighbour::Nobody => return None,
            Neighbour::Unrecorded => {}
        }
        // 3) Those who were not: where they were found before, or where there is room.
        let link = self.world.link(from);
        let router = via_gateway || is_tunnel(link);
        let known = self.outside.iter().find(|known| {
            known.address == next_hop
                && !known.station.router
                && self.world.share_domain(from, known.station.at)
        });
        let station = match known {
            Some(known) if !router => known.station,
            _ => self.world.place_unrecorded(from, next_hop, router),
        };
        let (at, interface) = (station.at, self.world.link(station.at).name);
        let host = self.world.host(at.0).snapshot.name.clone();
        self.env.assumptions.insert(if router {
            Assumption::OutsideAnswers { host, interface }
        } else {
            Assumption::AssumedHost { address: next_hop, host, interface }
        });
        let address = if router { dst } else { next_hop };
        if !self.outside.iter().any(|known| known.address == address) {
            self.outside.push(Outside { address, station, gateway: from });
        }
        Some(Station::Unrecorded(station))
    }

    /// Sends a frame from an interface of a host on its way.
    pub(super) fn put(&mut self, journey: usize, from: WireEnd, frame: Frame) {
        match self.world.onward(from, &frame.to) {
            Some((_, next)) => self.pass_on(journey, from, next, frame),
            None => self.lose(journey, from, &frame.packet),
        }
    }

    /// Hands a frame to who is next.
    fn pass_on(&mut self, journey: usize, from: WireEnd, next: Next, frame: Frame) {
        match next {
            Next::End(at) => {
                // veth.c, `skb_scrub_packet`: the mark is lost only where the packet changes namespaces.
                let mark = if at.0 == from.0 { frame.mark } else { 0 };
                let frame = Frame { packet: on_the_wire(frame.packet), mark, ..frame };
                self.queue.push_back(Event::Frame { journey, at, frame });
            }
            Next::Unrecorded(station) if station.router => {
                let interface = Some(self.world.link(from).name);
                self.end_at(journey, from.0, interface, &frame.packet, Reason::of(Outcome::Left));
                self.journeys[journey].packet = frame.packet;
                if self.beyond == Beyond::Answers {
                    self.react_outside(journey, frame.packet.dst, frame.packet);
                }
            }
            Next::Unrecorded(station) => self.deliver_outside(journey, station.address, frame.packet),
        }
    }

    /// A frame that no way leads to its station for.
    fn lose(&mut self, journey: usize, from: WireEnd, packet: &Packet) {
        let interface = Some(self.world.link(from).name);
        self.end_at(journey, from.0, interface, packet, Reason::of(Outcome::NoNeighbor));
    }

    /// A bridge takes a frame by a port.
    pub(super) fn cross(&mut self, journey: usize, at: WireEnd, port: Option<LinkId>, frame: Frame) {
        let (host, bridge) = at;
        self.journeys[journey].came = Some((at, frame.from));
        let skb = Skb { mark: frame.mark, src_mac: frame.src_mac, ..Skb::new(frame.packet) };
        let to_host = frame.to == Station::End(at);
        let (bridged, mut steps, mut caused) =
            self.pass(host, |pass| pass.bridge_in(skb, bridge, port, to_host));
        // 1) For whom it is.
        let (mut skb, to) = match bridged {
            Bridged::Host(fate) => return self.follow(journey, host, Some(bridge), fate, steps, caused),
            Bridged::Onward(skb) => (skb, Some(frame.to)),
            Bridged::Elsewhere(skb, next_hop, via_gateway) => {
                (skb, self.station(at, next_hop, via_gateway, skb.packet.dst))
            }
        };
        // 2) By which port, if it may leave by that.
        let onward = to.and_then(|to| Some((to, self.world.onward(at, &to)?)));
        let stopped = match &onward {
            None => Some(StoppedBy::NoPort),
            Some((to, (out, _))) => self.stopped_by(at, (port, *out), &frame.from, to),
        };
        let out = onward.and_then(|(_, (out, _))| out);
        let name = |port: LinkId| self.world.link((host, port)).name;
        steps.push(Step::Bridged { in_port: port.map(name), out_port: out.map(name), stopped });
        // 3) FORWARD and POSTROUTING.
        let result = match stopped {
            Some(StoppedBy::UnknownPort) => Err(Reason::of(Outcome::Undecided)),
            Some(_) => Err(Reason::dropped(Why::NoForwarding)),
            None => {
                let (result, more, later) =
                    self.pass(host, |pass| pass.bridge_out(&mut skb, bridge, out.into()));
                steps.extend(more);
                caused.made.extend(later.made);
                caused.sent.extend(later.sent);
                result
            }
        };
        if let Err(reason) = result {
            steps.push(Step::Ended { outcome: reason.outcome, why: reason.why });
        }
        let name = Some(self.world.link(at).name);
        let out_interface = name.filter(|_| result.is_ok());
        self.journeys[journey].hops.push(Hop {
            host: Place::Host(host),
            in_interface: name,
            out_interface,
            steps,
        });
        self.journeys[journey].packet = skb.packet;
        self.cause(journey, host, caused);
        match (result, onward) {
            (Ok(()), Some((to, (_, next)))) => {
                let frame = Frame { packet: skb.packet, mark: skb.mark, to, ..frame };
                self.pass_on(journey, at, next, frame);
            }
            (Ok(()), None) => self.lose(journey, at, &skb.packet),
            (Err(reason), _) => self.end_at(journey, host, name, &skb.packet, reason),
        }
    }

    /// What keeps a frame from leaving a bridge by a port (br_forward.c, `should_deliver`).
    fn stopped_by(
        &mut self,
        at: WireEnd,
        (port, out): (Option<LinkId>, Option<LinkId>),
        from: &Station,
        to: &Station,
    ) -> Option<StoppedBy> {
        let host = self.world.host(at.0);
        let detail = |port: LinkId| &host.link(port).detail;
        let is = |port: Option<LinkId>, flag: fn(&natpath_model::LinkDetail) -> bool| {
            port.is_some_and(|port| flag(detail(port)))
        };
        if is(port, |detail| detail.blocked) || is(out, |detail| detail.blocked) {
            return Some(StoppedBy::Blocked);
        }
        if is(port, |detail| detail.isolated) && is(out, |detail| detail.isolated) {
            return Some(StoppedBy::Isolated);
        }
        let hairpin = |port: LinkId| detail(port).hairpin == Some(true);
        if let (Some(port), Some(out)) = (port, out) {
            return (port == out && !hairpin(port)).then_some(StoppedBy::SamePort);
        }
        // Behind which port somebody sits does not matter if all, or none, send back what they take.
        let spare: Vec<bool> = host.ports(at.1).map(hairpin).collect();
        if !spare.is_empty() && spare.iter().all(|hairpin| *hairpin) {
            return None;
        }
        let same = match (from, to) {
            (Station::End(from), Station::End(to)) => from == to,
            (Station::Unrecorded(from), Station::Unrecorded(to)) => from.address == to.address,
            _ => false,
        };
        if same && spare.iter().any(|hairpin| *hairpin) {
            self.guess_port(at, to);
            return Some(StoppedBy::UnknownPort);
        }
        if same {
            return Some(StoppedBy::SamePort);
        }
        self.guess_port(at, from);
        self.guess_port(at, to);
        None
    }

    /// Notes that somebody is taken to be alone behind a port of a bridge.
    fn guess_port(&mut self, at: WireEnd, station: &Station) {
        let Station::Unrecorded(Unrecorded { address, port: None, .. }) = station else { return };
        let host = self.world.host(at.0).snapshot.name.clone();
        let bridge = self.world.link(at).name;
        self.env.assumptions.insert(Assumption::BehindBridge { address: *address, host, bridge });
    }

    /// Sends a packet that a bridge answers a frame with, past all hooks.
    pub(super) fn answer_straight(&mut self, journey: usize, at: WireEnd, to: Station, made: &Made) {
        let packet = Packet { src: made.src.unwrap_or(made.packet.src), ..made.packet };
        self.journeys[journey].packet = packet;
        let interface = Some(self.world.link(at).name);
        let hop =
            Hop { host: Place::Host(at.0), in_interface: None, out_interface: interface, steps: Vec::new() };
        self.journeys[journey].hops.push(hop);
        let frame = Frame { packet, mark: 0, src_mac: self.world.link(at).mac, from: Station::End(at), to };
        self.put(journey, at, frame);
    }

    /// An unrecorded host sends: to its own subnet directly, else to the host it is behind.
    pub(super) fn send_from_outside(&mut self, journey: usize, address: IpAddr, packet: Packet) {
        self.journeys[journey].packet = packet;
        let Some(sender) = self.outside.iter().find(|known| known.address == address).copied() else {
            return;
        };
        let hop =
            Hop { host: Place::Assumed(address), in_interface: None, out_interface: None, steps: Vec::new() };
        self.journeys[journey].hops.push(hop);
        // What the flow says of its first packet is so for the others of its connection.
        let is_sender = matches!(self.sender, Sender::Outside { address: own, .. } if own == address);
        let entering = is_sender && packet.dst == self.flow.dst && self.flow.enters.is_some();
        let src_mac = self.flow.src_mac.filter(|_| is_sender);
        self.emit(journey, &sender, packet, src_mac, entering);
    }

    /// Puts a packet of an unrecorded host on its wire. `entering`: the flow itself says that it enters by
    /// the interface, so that it is sent to that unless a bridge tells otherwise.
    pub(super) fn emit(
        &mut self,
        journey: usize,
        sender: &Outside,
        packet: Packet,
        src_mac: Option<Mac>,
        entering: bool,
    ) {
        let (station, gateway) = (sender.station, sender.gateway);
        let is_bridge = self.world.host(station.at.0).is_bridge(station.at.1);
        // A router on a wire has its subnet as well; beyond a tunnel nobody asks for neighbours.
        let near = |address: &Address| {
            let has = |net: ipnet::IpNet| station.router || net.contains(&sender.address);
            address.subnet().is_some_and(|net| has(net) && net.contains(&packet.dst))
        };
        let direct = (is_bridge || !entering)
            && !is_tunnel(self.world.link(gateway))
            && self.world.link(gateway).addresses.iter().any(near)
            && !self.world.answers(gateway, packet.dst);
        // A router out there asks for the address on the wire, and nobody answers.
        let is_sender = matches!(self.sender, Sender::Outside { address, .. } if address == packet.dst);
        let unanswered = direct && station.router && !is_sender && !self.world.takes(gateway, packet.dst);
        let to = if unanswered {
            None
        } else if direct {
            self.station(gateway, packet.dst, false, packet.dst)
        } else {
            Some(Station::End(gateway))
        };
        let Some(to) = to else {
            let at = At { host: Place::Assumed(sender.address), interface: None };
            let header = packet.header();
            return self
                .finish(journey, End { outcome: Outcome::NoNeighbor, why: None, rule: None, at, header });
        };
        let packet = if entering || journey == 0 { packet } else { on_the_wire(packet) };
        let frame = Frame { packet, mark: 0, src_mac, from: Station::Unrecorded(station), to };
        let at = station.at;
        // Those behind one port hear each other without the bridge.
        if let Station::Unrecorded(other) = to
            && station.port.is_some()
            && (other.at, other.port) == (at, station.port)
            && other.address != station.address
        {
            self.pass_on(journey, at, Next::Unrecorded(other), frame);
        } else if is_bridge {
            self.cross(journey, at, station.port, frame);
        } else if to == Station::End(at) {
            self.queue.push_back(Event::Frame { journey, at, frame });
        } else {
            self.put(journey, at, frame);
        }
    }

    /// An unrecorded host takes a packet: it answers on every port.
    fn deliver_outside(&mut self, journey: usize, address: IpAddr, packet: Packet) {
        self.journeys[journey].packet = packet;
        let place = Place::Assumed(address);
        let hop = Hop { host: place, in_interface: None, out_interface: None, steps: Vec::new() };
        self.journeys[journey].hops.push(hop);
        let end = End {
            outcome: Outcome::Delivered,
            why: None,
            rule: None,
            at: At { host: place, interface: None },
            header: packet.header(),
        };
        self.finish(journey, end);
        self.react_outside(journey, address, packet);
    }
}

/// Links whose other end is a tunnel's, not a neighbour.
fn is_tunnel(link: &natpath_model::Link) -> bool {
    const KINDS: [&str; 10] =
        ["wireguard", "tun", "gre", "gretap", "ipip", "sit", "ip6tnl", "vti", "xfrm", "ppp"];
    link.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind))
}
