//! `-m socket` (xt_socket.c, nf_socket_ipv4.c).

use natpath_model::xt::SocketTest;
use natpath_model::{Bind, Direction, Endpoint, Item, Protocol, Status};

use super::Answer;
use super::memory::ends;
use crate::conntrack::{CtInfo, Tracked};
use crate::packet::Transport;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;

impl<O: Observer> Pass<'_, '_, O> {
    pub(super) fn has_socket(&mut self, skb: &Skb, test: SocketTest) -> Answer {
        let Some((protocol, own, other)) = self.wanted(skb) else { return Answer::Is(false) };
        // 1) A connection's own socket, which is bound to its address.
        if self.state.memory.sockets.contains(&(protocol, ends(own, other))) {
            return found(test, true);
        }
        // 2) One that listens.
        if self.host.missing(Item::Sockets) {
            return Answer::Unknown("depends on sockets, which are not recorded".to_owned());
        }
        let link = skb.in_link.map(|link| self.host.link(link).name);
        let fits = |socket: &&natpath_model::Socket| {
            socket.protocol == protocol
                && socket.bind.takes(own.address)
                && (socket.interface.is_none() || socket.interface == link)
        };
        let mut sockets: Vec<_> = self.host.snapshot.sockets.iter().filter(fits).collect();
        // One that is bound to the address is preferred.
        sockets.sort_by_key(|socket| !matches!(socket.bind, Bind::Address(_)));
        for socket in sockets {
            let port = natpath_model::IntervalSet::single(socket.port.into());
            if self.env.compare(own.port, &port) {
                let counts = test.no_wildcard || matches!(socket.bind, Bind::Address(_));
                return found(test, counts);
            }
        }
        Answer::Is(false)
    }

    /// The ends of the socket that is looked for: its own, then the other. For a reply to a connection
    /// whose source is translated that is the connection's own source.
    fn wanted(&self, skb: &Skb) -> Option<(Protocol, Endpoint, Endpoint)> {
        let header = skb.packet.header();
        let (mut own, other) = match skb.packet.transport {
            Transport::Tcp { .. } | Transport::Ports { protocol: Protocol::UDP, .. } => {
                (header.dst, header.src)
            }
            // An error is for the socket that sent what it is about.
            Transport::Error { quoted, .. } => (quoted.tuple.src, quoted.tuple.dst),
            _ => return None,
        };
        let protocol = skb.packet.quoted().map_or(header.protocol, |quoted| quoted.tuple.protocol);
        if let Tracked::Entry { id, direction: Direction::Reply, info } = skb.tracked {
            let entry = self.state.conntrack.entry(id);
            let fits = matches!(info, CtInfo::Established | CtInfo::Related);
            if fits && entry.status.has(Status::SRC_NAT_DONE) {
                own = entry.original.src;
            }
        }
        Some((protocol, own, other))
    }

    /// Takes note of the socket that sends a packet.
    pub(crate) fn note_socket(&mut self, skb: &Skb) {
        let header = skb.packet.header();
        let listens = |protocol, port| {
            self.host.snapshot.sockets.iter().any(|socket| socket.protocol == protocol && socket.port == port)
        };
        match skb.packet.transport {
            Transport::Tcp { flags, .. } if !flags.has(crate::packet::TcpFlags::RST) => {}
            // A server answers from the socket that listens.
            Transport::Ports { protocol: Protocol::UDP, src, .. } if !listens(Protocol::UDP, src.value) => {}
            _ => return,
        }
        if skb.owner.is_some() {
            self.state.memory.sends(header.protocol, header.src, header.dst);
        }
    }
}

/// The answer where there is a socket, which counts or does not.
fn found(test: SocketTest, counts: bool) -> Answer {
    if counts && test.transparent {
        return Answer::Assumed(false, "no listing says which sockets are transparent".to_owned());
    }
    Answer::Is(counts)
}
