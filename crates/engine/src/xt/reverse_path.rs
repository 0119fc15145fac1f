//! `-m rpfilter` (ipt_rpfilter.c, ip6t_rpfilter.c).

use std::net::IpAddr;

use natpath_model::xt::ReversePath;
use natpath_model::{Family, InterfaceName, RouteType};

use crate::fib::FlowKey;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;

impl<O: Observer> Pass<'_, '_, O> {
    pub(super) fn reverse_path(&mut self, skb: &Skb, path: ReversePath) -> bool {
        let Some(link) = skb.in_link else { return !path.inverted };
        let packet = &skb.packet;
        let own = self.host.link(link);
        if own.loopback {
            return !path.inverted;
        }
        let family = packet.family();
        let unspecified = packet.src.is_unspecified();
        let to_many = packet.dst.is_multicast() || packet.dst == IpAddr::from([255; 4]);
        if unspecified && (family == Family::Ip6 || to_many) {
            return !path.inverted;
        }
        self.assuming(|host, assume| host.lean_on_routes(family, assume));
        let link_local = matches!(packet.src, IpAddr::V6(src) if src.is_unicast_link_local());
        // IPv6 looks only at routes of the interface itself, if any other would not do.
        let by_link = family == Family::Ip6 && (link_local || !path.loose);
        let key = FlowKey {
            dst: packet.src,
            src: if packet.dst.is_multicast() { family.unspecified() } else { packet.dst },
            in_interface: InterfaceName::LO,
            out_interface: by_link.then_some(own.name),
            mark: if path.valid_mark { skb.mark } else { 0 },
            tos: packet.tos,
            protocol: packet.protocol(),
            ports: None,
            uid: None,
        };
        let holds = self.host.fib.lookup(&key).is_ok_and(|found| match found.route.kind {
            RouteType::Local if family == Family::Ip6 => path.accept_local,
            RouteType::Local if !path.accept_local => false,
            RouteType::Local | RouteType::Unicast => {
                path.loose || found.route.next_hops.iter().any(|hop| hop.link == Some(own.name))
            }
            _ => false,
        });
        holds != path.inverted
    }
}
