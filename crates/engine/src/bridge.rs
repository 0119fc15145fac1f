//! Frames that a bridge of a host takes, and the hooks of IP that br_netfilter shows them to.
//!
//! ```text
//!  port ─→ PREROUTING ─┬─ for the host ────────────────────→ routed as from any interface (see `path`)
//!                      └─ for another ─→ FORWARD ─→ POSTROUTING ─→ port
//! ```
//!
//! The hooks see the bridge as interface, in and out. A frame whose destination PREROUTING has translated is
//! routed to learn where it goes, and stays bridged if that is by the same bridge. Follows
//! br_netfilter_hooks.c and br_forward.c of Linux 6.18.

use std::net::IpAddr;

use natpath_model::{Family, Hook};

use crate::fib::{InputError, InputRoute};
use crate::host::LinkId;
use crate::pass::{Observer, Pass};
use crate::skb::{BridgePort, Fate, PhysDev, Reason, Skb};
use crate::trace::Why;

/// What became of a frame that came in by a port.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bridged {
    /// The host itself has dealt with it.
    Host(Fate),
    /// It goes on to the station that it was sent to.
    Onward(Skb),
    /// It goes on by the same bridge to another next hop; whether that is a router.
    Elsewhere(Skb, IpAddr, bool),
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Takes a frame by a port of a bridge. `to_host`: it was sent to the bridge's own hardware address.
    pub(crate) fn bridge_in(
        &mut self,
        mut skb: Skb,
        bridge: LinkId,
        port: Option<LinkId>,
        to_host: bool,
    ) -> Bridged {
        if let Some(port) = port {
            self.meet_device(port, true);
        }
        if !self.host.calls_hooks(skb.packet.family(), bridge) {
            return if to_host { Bridged::Host(self.receive(skb, bridge)) } else { Bridged::Onward(skb) };
        }
        skb.in_link = Some(bridge);
        skb.physdev = Some(PhysDev { in_port: port.into(), out_port: None });
        let dst = skb.packet.dst;
        if let Err(reason) = self.run_hook(Hook::Prerouting, &mut skb) {
            return Bridged::Host(self.ended(skb, reason));
        }
        if skb.packet.dst != dst {
            if let Some((next_hop, via_gateway)) = self.stays_on(&skb, bridge) {
                skb.next_hop = Some(next_hop);
                return Bridged::Elsewhere(skb, next_hop, via_gateway);
            }
        } else if !to_host {
            return Bridged::Onward(skb);
        }
        // ip_sabotage_in: PREROUTING is not run again.
        Bridged::Host(self.route_in(skb, bridge, 0))
    }

    /// The next hop of a translated frame that leaves by the bridge it came in by.
    fn stays_on(&mut self, skb: &Skb, bridge: LinkId) -> Option<(IpAddr, bool)> {
        let packet = &skb.packet;
        let route = self.assuming(|host, assume| host.route_input(packet, skb.mark, bridge, assume));
        let found = match route {
            Ok(InputRoute::Forward { found, .. }) => self.settle_hop(found, packet),
            // ip6_forward asks whether the host forwards, and a bridged frame does not come there.
            Err(InputError::Drop(Why::NoForwarding)) if packet.family() == Family::Ip6 => {
                let (link, next_hop) = self.host.way_to(packet.dst, skb.mark)?;
                return (link == bridge).then_some((next_hop, next_hop != packet.dst));
            }
            _ => return None,
        };
        let (out, next_hop, via_gateway) = self.way_out(&found, packet.dst)?;
        if out != bridge {
            return None;
        }
        self.show_route(skb, Some(found), None, false);
        Some((next_hop, via_gateway))
    }

    /// FORWARD and POSTROUTING of a frame that a bridge sends on by a port.
    pub(crate) fn bridge_out(
        &mut self,
        skb: &mut Skb,
        bridge: LinkId,
        port: BridgePort,
    ) -> Result<(), Reason> {
        if let BridgePort::Known(port) = port {
            self.meet_device(port, false);
        }
        let Some(physdev) = &mut skb.physdev else { return Ok(()) };
        physdev.out_port = Some(port);
        skb.out_link = Some(bridge);
        skb.next_hop = skb.next_hop.or(Some(skb.packet.dst));
        self.run_hook(Hook::Forward, skb)?;
        self.run_hook(Hook::Postrouting, skb)
    }
}
