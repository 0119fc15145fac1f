//! `-m cgroup`, `-m cluster`, `-m tcpmss`, `-m ipvs`.

use std::net::IpAddr;

use natpath_model::xt::Cluster;

use super::Answer;
use crate::jhash::jhash_1word;
use crate::packet::{Packet, TcpFlags};
use crate::pass::{Observer, Pass};
use crate::skb::Skb;

/// xt_cgroup.c: a packet that no socket of this host sends is in no group, and so in none of the others.
pub(super) fn in_control_group(skb: &Skb) -> Answer {
    let has_socket = match skb.in_link {
        None => skb.sender.is_some(),
        // In INPUT it has the socket of its connection, or that of TPROXY.
        Some(_) => skb.assigned.is_some() || is_of_connection(&skb.packet),
    };
    match has_socket {
        true => {
            Answer::Unknown("depends on the control group of the socket, which is not recorded".to_owned())
        }
        false => Answer::Is(false),
    }
}

fn is_of_connection(packet: &Packet) -> bool {
    packet.tcp_flags().is_some_and(|flags| !flags.has(TcpFlags::SYN) || flags.has(TcpFlags::ACK))
}

/// xt_tcpmss.c: only the segments that begin a connection say it.
pub(super) fn segment_size(packet: &Packet, negated: bool) -> Answer {
    match packet.tcp_flags() {
        Some(flags) if flags.has(TcpFlags::SYN) => {
            Answer::Unknown("depends on the largest segment that the sender takes".to_owned())
        }
        _ => Answer::Is(negated),
    }
}

impl<O: Observer> Pass<'_, '_, O> {
    /// xt_cluster.c: the node is chosen by a hash of the connection's first source.
    pub(super) fn in_cluster(&self, skb: &Skb, cluster: Cluster) -> bool {
        let Some((id, _)) = skb.tracked.entry() else { return false };
        // xt_cluster_hash_ipv6: of IPv6 only the first word counts, for the length is given in another unit.
        let first: [u8; 4] = match self.state.conntrack.entry(id).original.src.address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => ((u128::from(v6) >> 96) as u32).to_be_bytes(),
        };
        let hash = jhash_1word(u32::from_le_bytes(first), cluster.seed);
        let node = (u64::from(hash) * u64::from(cluster.nodes)) >> 32;
        let is_own = 1u32.checked_shl(node as u32).is_some_and(|bit| bit & cluster.own != 0);
        is_own != cluster.negated
    }
}
