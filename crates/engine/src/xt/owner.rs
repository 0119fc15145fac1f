//! `-m owner` (xt_owner.c, `owner_mt`).

use natpath_model::xt::Owner;

use crate::packet::{TcpFlags, Transport};
use crate::skb::Skb;

/// The socket that a packet was sent from.
enum Sender {
    /// None: it came in from elsewhere, or a reset of REJECT.
    Nobody,
    /// The kernel's own, which belongs to no program.
    Kernel,
    /// A program's, with its user and group.
    Program(u32, u32),
}

pub(super) fn holds(skb: &Skb, owner: &Owner) -> bool {
    let ranges = [owner.uid, owner.gid];
    let negated = |range: &natpath_model::xt::IdRange| range.negated;
    match sender(skb) {
        // Only what is negated holds of nobody.
        Sender::Nobody => ranges.iter().flatten().all(negated) && owner.socket_exists != Some(false),
        _ if owner.socket_exists == Some(true) => false,
        Sender::Kernel => ranges.iter().flatten().all(negated),
        Sender::Program(uid, gid) => {
            owner.uid.is_none_or(|range| range.takes(uid)) && owner.gid.is_none_or(|range| range.takes(gid))
        }
    }
}

fn sender(skb: &Skb) -> Sender {
    if skb.in_link.is_some() {
        return Sender::Nobody;
    }
    match (skb.sender, skb.packet.transport) {
        // Echo replies and errors come from the kernel's socket for ICMP, resets that fit no socket from
        // its one for TCP.
        (_, Transport::Error { .. }) => Sender::Kernel,
        (_, Transport::Query { kind, .. })
            if kind == crate::packet::icmp::echo_reply(skb.packet.family()) =>
        {
            Sender::Kernel
        }
        (Some(_), Transport::Tcp { flags, .. }) if flags.has(TcpFlags::RST) => Sender::Kernel,
        (Some(socket), _) => Sender::Program(socket.uid, socket.gid),
        (None, _) => Sender::Nobody,
    }
}
