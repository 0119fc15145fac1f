//! `-m socket` (xt_socket.c, nf_socket_ipv4.c).

use natpath_model::xt::SocketTest;
use natpath_model::{Bind, Direction, Endpoint, Item, Protocol, Statement, Status};

use super::Answer;
use crate::conntrack::{CtInfo, Tracked};
use crate::packet::Transport;
use crate::pass::{Observer, Pass};
use crate::skb::{Skb, Transparent};
use crate::tproxy::AssignedSocket;

impl<O: Observer> Pass<'_, '_, O> {
    pub(super) fn has_socket(&mut self, skb: &Skb, test: SocketTest) -> Answer {
        // 1) The one that TPROXY has given it to.
        match skb.assigned.map(|assigned| assigned.socket) {
            Some(AssignedSocket::Listener(Some(index))) => return self.found_listener(index, test),
            Some(AssignedSocket::Listener(None)) => return unrecorded(),
            Some(AssignedSocket::Connection { .. }) => return found(test, true, Transparent::Known(true)),
            None => {}
        }
        let Some((protocol, own, other)) = self.wanted(skb) else { return Answer::Is(false) };
        // 2) A connection's own socket, which is bound to its address.
        if let Some(sender) = self.state.memory.sender(protocol, own, other) {
            return found(test, true, sender.transparent);
        }
        // 3) One that listens.
        if self.host.missing(Item::Sockets) {
            return unrecorded();
        }
        match self.find_listener(skb, protocol, own) {
            Some(index) => self.found_listener(index, test),
            None => Answer::Is(false),
        }
    }

    fn found_listener(&self, index: usize, test: SocketTest) -> Answer {
        let socket = &self.host.snapshot.sockets[index];
        let counts = test.no_wildcard || matches!(socket.bind, Bind::Address(_));
        found(test, counts, self.transparency(index))
    }

    /// Whether a listed socket is transparent; where no listing says so, one is that a TPROXY rule names.
    pub(crate) fn transparency(&self, index: usize) -> Transparent {
        let socket = &self.host.snapshot.sockets[index];
        let names = |statement: &Statement| matches!(statement, Statement::Tproxy(proxy) if proxy.port == socket.port);
        match socket.transparent {
            Some(known) => Transparent::Known(known),
            None => {
                let mut rules = self.host.snapshot.ruleset.rules();
                Transparent::Assumed(rules.any(|(_, rule)| rule.statements.iter().any(names)))
            }
        }
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

    /// Takes note of the socket that sends a packet, if it is one of its own for the connection.
    pub(crate) fn note_socket(&mut self, skb: &Skb) {
        let Some(sender) = skb.sender else { return };
        let header = skb.packet.header();
        match skb.packet.transport {
            Transport::Tcp { flags, .. } if !flags.has(crate::packet::TcpFlags::RST) => {}
            // A server of UDP answers from the socket that listens.
            Transport::Ports { protocol: Protocol::UDP, .. } if sender.of_client => {}
            _ => return,
        }
        self.state.memory.sends(header.protocol, header.src, header.dst, sender);
    }
}

fn unrecorded() -> Answer {
    Answer::Unknown("depends on sockets, which are not recorded".to_owned())
}

/// The answer where there is a socket, which counts or does not.
fn found(test: SocketTest, counts: bool, transparent: Transparent) -> Answer {
    match transparent {
        _ if !counts || !test.transparent => Answer::Is(counts),
        Transparent::Known(transparent) => Answer::Is(transparent),
        Transparent::Assumed(transparent) => {
            Answer::Assumed(transparent, "no listing says which sockets are transparent".to_owned())
        }
    }
}
