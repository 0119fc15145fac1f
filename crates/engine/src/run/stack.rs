//! What a node's own stack does with the packets that reach it.

use std::net::IpAddr;

use natpath_model::Item;

use super::{Journey, Run, State};
use crate::conntrack::Tracked;
use crate::endpoint::{Answer, Listener, Reaction, Role, SocketState};
use crate::packet::{Packet, TcpFlags, icmp};
use crate::skb::{Reason, Skb, Transparent};
use crate::tproxy::AssignedSocket;
use crate::trace::{Assumption, Header, HostId, Outcome, Place, Step, Why};

impl Run<'_, '_> {
    /// Asks a host's stack what it does with a packet.
    pub(super) fn give_to_stack(&mut self, journey: usize, host: HostId, skb: &Skb) -> (Step, Reaction) {
        let (mut packet, asks) = (skb.packet, self.asks(journey));
        let (listener, process) = match skb.assigned.map(|assigned| assigned.socket) {
            Some(AssignedSocket::Listener(index)) => self.assigned_listener(host, index),
            Some(AssignedSocket::Connection { own, other }) => {
                // Whatever a translation has made of its header since, it is this connection's.
                packet.rewrite(natpath_model::Manip::Dst, own);
                packet.rewrite(natpath_model::Manip::Src, other);
                (Listener::Nobody, None)
            }
            None => self.listener(host, skb),
        };
        let reaction = self.state.sockets.deliver(Place::Host(host), &packet, listener, asks);
        (Step::Socket { listening: reaction.taken, process }, reaction)
    }

    /// Whether the client's socket is transparent: only such a one can send from an address that its host
    /// lacks, as a flow may ask for (`--from`).
    pub(crate) fn client_is_transparent(&self) -> Transparent {
        let is_foreign = match (self.sender, self.flow.from.is_some(), self.flow.src) {
            (super::Sender::Host(host), true, Some(src)) => !self.world.host(host).fib.is_local(src),
            _ => false,
        };
        Transparent::Known(is_foreign)
    }

    /// Whether a server that gets the packet answers it: not if it comes from a server itself.
    fn asks(&self, journey: usize) -> bool {
        let Journey { role, sent, .. } = &self.journeys[journey];
        let is_clients = (sent.dst.address, sent.dst.port.value) == (self.flow.dst, self.flow.dst_port);
        *role == Role::First && is_clients
    }

    /// The listener that TPROXY gave a packet to, and its program.
    fn assigned_listener(&mut self, host: HostId, index: Option<usize>) -> (Listener, Option<String>) {
        let Some(index) = index else { return (Listener::Assigned(Transparent::Assumed(true)), None) };
        let process = self.world.host(host).snapshot.sockets[index].process.clone();
        let transparent = match self.pass(host, |pass| pass.transparency(index)).0 {
            Transparent::Assumed(_) => Transparent::Assumed(true),
            known @ Transparent::Known(_) => known,
        };
        (Listener::Assigned(transparent), process)
    }

    /// Whoever takes packets for this destination on the host, and its program.
    fn listener(&mut self, host: HostId, skb: &Skb) -> (Listener, Option<String>) {
        let known_host = self.world.host(host);
        let packet = &skb.packet;
        let header = packet.header();
        let plain = Listener::Listens(Transparent::Known(false));
        if packet.ports().is_none() {
            return (plain, None);
        }
        // A server that is asked at an address which is not the host's is one that may answer from there.
        let is_foreign = !known_host.fib.is_local(packet.dst);
        let is_first = packet.tcp_flags().is_none_or(TcpFlags::begin);
        if !known_host.snapshot.given.has(Item::Sockets) {
            let known =
                self.state.sockets.find(Place::Host(host), header.protocol, header.dst, header.src).is_some();
            if is_first && !known && !self.is_own_client(host, &header) {
                let name = known_host.snapshot.name.clone();
                self.env.assumptions.insert(Assumption::Missing { host: name, item: Item::Sockets });
            }
            let assumed = Listener::Listens(Transparent::Assumed(is_foreign));
            return (if is_first { assumed } else { Listener::Nobody }, None);
        }
        let ((found, transparent), ..) = self.pass(host, |pass| {
            let found = pass.find_listener(skb, header.protocol, header.dst);
            (found, found.map(|index| pass.transparency(index)))
        });
        let (Some(index), Some(mut transparent)) = (found, transparent) else {
            return (Listener::Nobody, None);
        };
        if is_foreign && is_first && matches!(transparent, Transparent::Assumed(_)) {
            transparent = Transparent::Assumed(true);
            let (host, port) = (known_host.snapshot.name.clone(), header.dst.port.value);
            self.env.assumptions.insert(Assumption::Transparent { host, port });
        }
        (Listener::Listens(transparent), known_host.snapshot.sockets[index].process.clone())
    }

    fn is_own_client(&self, host: HostId, header: &Header) -> bool {
        self.sender == super::Sender::Host(host) && Some(header.dst.address) == self.flow.src
    }

    /// What follows from what a host's stack did with a packet.
    pub(super) fn delivered(&mut self, journey: usize, host: HostId, skb: &Skb, reaction: Reaction) {
        self.journeys[journey].packet = skb.packet;
        let reason = if reaction.taken {
            Reason::of(Outcome::Delivered)
        } else if skb.packet.bad_checksum {
            Reason::dropped(Why::Invalid)
        } else {
            Reason::of(Outcome::NoListener)
        };
        let interface = skb.in_link.map(|link| self.world.link((host, link)).name);
        self.end_at(journey, host, interface, &skb.packet, reason);
        if reaction.taken {
            self.note_route(host, skb);
        }
        if skb.packet.tcp_flags().is_some_and(|flags| flags.has(TcpFlags::RST)) {
            self.forget_closed();
        }
        self.answer(journey, Place::Host(host), reaction);
        if reaction.unreachable {
            // __udp4_lib_rcv: the packet has let go of its connection by now.
            let skb = Skb { tracked: Tracked::No, ..*skb };
            let error = icmp::port_unreachable(skb.packet.family());
            let ((), _, made) = self.pass(host, |pass| pass.send_error(&skb, error, 0, true));
            self.cause(journey, host, made);
        }
    }

    /// Notes the way by which a segment came to its connection's socket.
    fn note_route(&mut self, host: HostId, skb: &Skb) {
        let header = skb.packet.header();
        let begins = |flags: TcpFlags| flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK);
        let is_drawn = header.src.port.drawn.is_some() || header.dst.port.drawn.is_some();
        if let (Some(flags), Some(link)) = (skb.packet.tcp_flags(), skb.in_link)
            && !begins(flags)
            && !flags.has(TcpFlags::RST)
            && !is_drawn
        {
            self.state.hosts[host.0 as usize].memory.receives(header.dst, header.src, link);
        }
    }

    /// Has the hosts forget the sockets that are closed.
    pub(crate) fn forget_closed(&mut self) {
        let State { hosts, sockets, .. } = &mut self.state;
        for (host, number) in hosts.iter_mut().zip(0u32..) {
            let node = Place::Host(HostId(number));
            host.memory.keep_sockets(|protocol, own, other| {
                let socket = sockets.find(node, protocol, own, other);
                socket.is_some_and(|socket| socket.state != SocketState::Reset)
            });
        }
    }

    /// Somebody outside takes a packet and answers it.
    pub(super) fn react_outside(&mut self, journey: usize, address: IpAddr, packet: Packet) {
        let (place, asks) = (Place::Assumed(address), self.asks(journey));
        let listener = Listener::Listens(Transparent::Known(true));
        let reaction = self.state.sockets.deliver(place, &packet, listener, asks);
        self.answer(journey, place, reaction);
    }

    fn answer(&mut self, journey: usize, from: Place, reaction: Reaction) {
        if let Some(Answer { packet, role, transparent }) = reaction.answer {
            self.send(from, packet, role, transparent, Some(journey));
        }
    }
}
