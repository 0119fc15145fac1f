//! The ICMP tracker: which queries begin a connection (nf_conntrack_proto_icmp.c, ..._icmpv6.c).

use natpath_model::Protocol;

use crate::packet::{Packet, Transport};

/// Whether an ICMP message is a query that may begin an entry.
pub(super) fn begins(packet: &Packet) -> bool {
    match packet.transport {
        Transport::Query { kind, .. } if packet.protocol() == Protocol::ICMP => {
            matches!(kind, 8 | 13 | 15 | 17)
        }
        Transport::Query { kind, .. } => matches!(kind, 128 | 139),
        _ => true,
    }
}

/// Whether an ICMPv6 message is exempt: neighbour discovery and multicast listener reports.
pub(super) fn is_untracked(packet: &Packet) -> bool {
    packet.protocol() == Protocol::ICMPV6 && matches!(packet.icmp(), Some((130..=132 | 133..=137 | 143, _)))
}
