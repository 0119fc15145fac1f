//! TPROXY: a packet is given to a local socket, which takes it whatever its destination is. Follows xt_TPROXY.c
//! and nf_tproxy_ipv4.c of Linux 6.18, and its IPv6 sister.
//!
//! Routing goes on as for any packet. Where it does not end at this host the packet is dropped, for nothing is
//! forwarded that belongs to a socket.

use std::net::IpAddr;

use natpath_model::{Bind, Endpoint, Family, IntervalSet, Item, Protocol, RuleRef, Socket, Tproxy};

use crate::fib::first_primary_address;
use crate::host::LinkId;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::trace::{Assumption, Effect};

/// The socket that a packet was given to (`skb->sk`), and the rule that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The rule.
    pub rule: RuleRef,
    /// The socket.
    pub socket: AssignedSocket,
}

/// A socket that takes packets for addresses that are not its host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssignedSocket {
    /// The one of a TCP connection with these ends.
    Connection {
        /// Its own.
        own: Endpoint,
        /// The other.
        other: Endpoint,
    },
    /// One that listens: its place in the snapshot's list; `None` where that list was not recorded and a
    /// listener is assumed.
    Listener(Option<usize>),
}

/// What a look-up of a socket found.
enum Found {
    Nothing,
    /// A socket that may only have addresses of the host.
    Plain,
    Transparent(AssignedSocket),
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Gives a packet to the socket that a rule names; whether there is one that may take it.
    pub(crate) fn tproxy(&mut self, skb: &mut Skb, rule: RuleRef, proxy: &Tproxy) -> (bool, Effect) {
        let header = skb.packet.header();
        // 1) The connection that an earlier packet has begun, then a listener.
        let found = match self.connection_of(skb) {
            Found::Nothing => self.listener_for(skb, proxy),
            found => found,
        };
        let port = if proxy.port == 0 { header.dst.port.value } else { proxy.port };
        let Found::Transparent(socket) = found else { return (false, Effect::NoProxy(port)) };
        // 2) The mark, by which the packet is to be routed here.
        let was = skb.mark;
        skb.mark = (was & !proxy.clear) ^ proxy.xor;
        skb.assigned = Some(Assigned { rule, socket });
        (true, Effect::Tproxy { port, mark: (was, skb.mark) })
    }

    /// Whether a packet that is routed on belongs to a socket of this host: by TPROXY, or because it is of a
    /// connection.
    pub(crate) fn belongs_to_socket(&self, skb: &Skb) -> bool {
        skb.assigned.is_some()
            || !matches!(self.connection_of(skb), Found::Nothing) && self.finds_sockets_early()
    }

    /// Whether a segment takes the route of the one before it to its socket, past all look-ups
    /// (`tcp_v4_early_demux`).
    pub(crate) fn has_early_route(&self, skb: &Skb, link: LinkId) -> bool {
        let header = skb.packet.header();
        header.protocol == Protocol::TCP
            && skb.assigned.is_none()
            && self.state.memory.received_by(header.dst, header.src, link)
            && self.finds_sockets_early()
    }

    fn finds_sockets_early(&self) -> bool {
        let keys = ["net.ipv4.ip_early_demux", "net.ipv4.tcp_early_demux"];
        keys.iter().all(|key| self.host.sysctl(key, 1) != 0)
    }

    /// The socket of a TCP connection. Those of UDP that clients use here are not connected, and don't count.
    fn connection_of(&self, skb: &Skb) -> Found {
        let header = skb.packet.header();
        let (own, other) = (header.dst, header.src);
        if header.protocol != Protocol::TCP {
            return Found::Nothing;
        }
        match self.state.memory.sender(header.protocol, own, other) {
            None => Found::Nothing,
            Some(sender) if sender.transparent.holds() => {
                Found::Transparent(AssignedSocket::Connection { own, other })
            }
            Some(_) => Found::Plain,
        }
    }

    fn listener_for(&mut self, skb: &Skb, proxy: &Tproxy) -> Found {
        let header = skb.packet.header();
        let own = Endpoint {
            address: proxy.address.unwrap_or_else(|| self.proxy_address(skb)),
            port: if proxy.port == 0 { header.dst.port } else { natpath_model::Port::new(proxy.port) },
        };
        if self.host.missing(Item::Sockets) {
            self.assume(Item::Sockets);
            return Found::Transparent(AssignedSocket::Listener(None));
        }
        let Some(index) = self.find_listener(skb, header.protocol, own) else { return Found::Nothing };
        match self.host.snapshot.sockets[index].transparent {
            Some(false) => Found::Plain,
            Some(true) => Found::Transparent(AssignedSocket::Listener(Some(index))),
            None => {
                let (host, port) = (self.host.snapshot.name.clone(), own.port.value);
                self.env.assumptions.insert(Assumption::Transparent { host, port });
                Found::Transparent(AssignedSocket::Listener(Some(index)))
            }
        }
    }

    /// The address of the interface that a packet came by, on which the proxy is looked for
    /// (`nf_tproxy_laddr4`).
    fn proxy_address(&self, skb: &Skb) -> IpAddr {
        let family = Family::of(skb.packet.dst);
        let link = skb.in_link.map(|link| self.host.link(link));
        link.and_then(|link| first_primary_address(link, family)).unwrap_or(skb.packet.dst)
    }

    /// The place of the socket that listens for an address and port, one that is bound to the address first.
    pub(crate) fn find_listener(&mut self, skb: &Skb, protocol: Protocol, own: Endpoint) -> Option<usize> {
        let link = skb.in_link.map(|link| self.host.link(link).name);
        let fits = |socket: &Socket| {
            socket.protocol == protocol
                && socket.bind.takes(own.address)
                && (socket.interface.is_none() || socket.interface == link)
        };
        let listed = self.host.snapshot.sockets.iter().enumerate();
        let mut sockets: Vec<_> = listed.filter(|(_, socket)| fits(socket)).collect();
        sockets.sort_by_key(|(_, socket)| !matches!(socket.bind, Bind::Address(_)));
        sockets.into_iter().find_map(|(index, socket)| {
            self.env.compare(own.port, &IntervalSet::single(socket.port.into())).then_some(index)
        })
    }
}
