//! Routing a packet that came in (route.c, `ip_route_input_slow`; route.c of IPv6, `ip6_route_input`):
//! is it for this host, for another, or a packet that can't be?

use std::net::IpAddr;

use natpath_model::{Family, Item, RouteType, Scope};

use super::{Failed, FlowKey, Found};
use crate::host::{Host, LinkId};
use crate::packet::Packet;
use crate::trace::Why;

/// Where an incoming packet goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum InputRoute<'a> {
    /// To this host.
    Local(Option<Found<'a>>),
    /// To another, and whether its sender could have reached the next hop directly.
    Forward { found: Found<'a>, redirect: bool },
}

/// Why an incoming packet goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputError {
    /// It is dropped in silence.
    Drop(Why),
    /// Its sender is told that there is no way.
    Unroutable(Failed),
}

impl<'a> Host<'a> {
    /// Routes a packet that came in by a link.
    pub(crate) fn route_input(
        &self,
        packet: &Packet,
        mark: u32,
        link: LinkId,
        assume: &mut dyn FnMut(Item),
    ) -> Result<InputRoute<'a>, InputError> {
        match packet.family() {
            Family::Ip4 => self.route_input_v4(packet, mark, link, assume),
            Family::Ip6 => self.route_input_v6(packet, mark, link, assume),
        }
    }

    fn route_input_v4(
        &self,
        packet: &Packet,
        mark: u32,
        link: LinkId,
        assume: &mut dyn FnMut(Item),
    ) -> Result<InputRoute<'a>, InputError> {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (packet.src, packet.dst) else {
            return Err(InputError::Drop(Why::Invalid));
        };
        let martian_source = Err(InputError::Drop(Why::MartianSource));
        let martian_destination = Err(InputError::Drop(Why::MartianDestination));
        // 1) Addresses that no packet on a wire may have.
        if src.is_multicast() || src.is_broadcast() {
            return martian_source;
        }
        if dst.is_broadcast() || (src.is_unspecified() && dst.is_unspecified()) {
            return Ok(InputRoute::Local(None));
        }
        if src.is_unspecified() {
            return martian_source;
        }
        if dst.is_unspecified() {
            return martian_destination;
        }
        if dst.is_loopback() || src.is_loopback() {
            if self.missing(Item::Sysctls) {
                assume(Item::Sysctls);
            }
            if !self.either(Family::Ip4, link, "route_localnet", false) {
                return if dst.is_loopback() { martian_destination } else { martian_source };
            }
        }
        // 2) The route.
        self.lean_on_routes(Family::Ip4, assume);
        let key = self.input_key(packet, mark, link);
        let forwards = self.forwards(Family::Ip4, link);
        let found = match self.fib.lookup(&key) {
            Ok(found) => found,
            // ip_error: a host that does not forward does not answer either.
            Err(_) if !forwards => return Err(InputError::Drop(Why::NoForwarding)),
            Err(failed) => return Err(InputError::Unroutable(failed)),
        };
        match found.route.kind {
            RouteType::Broadcast => return Ok(InputRoute::Local(Some(found))),
            RouteType::Local => {
                self.validate_source(packet, mark, link, None)?;
                return Ok(InputRoute::Local(Some(found)));
            }
            _ => {}
        }
        if self.missing(Item::Sysctls) {
            assume(Item::Sysctls);
        }
        if !forwards {
            return Err(InputError::Drop(Why::NoForwarding));
        }
        if found.route.kind != RouteType::Unicast {
            return martian_destination;
        }
        // 3) The way back.
        let out = found.next_hop.and_then(|hop| hop.link).and_then(|name| self.link_named(name));
        let near = self.validate_source(packet, mark, link, out)?;
        let redirect = near && out == Some(link) && self.either(Family::Ip4, link, "send_redirects", true);
        Ok(InputRoute::Forward { found, redirect })
    }

    /// Whether a source address can come in by a link, and whether it is directly on it
    /// (fib_frontend.c, `fib_validate_source`).
    fn validate_source(
        &self,
        packet: &Packet,
        mark: u32,
        link: LinkId,
        out: Option<LinkId>,
    ) -> Result<bool, InputError> {
        let martian = Err(InputError::Drop(Why::MartianSource));
        let rp_filter = self.greater(Family::Ip4, link, "rp_filter");
        let accept_local = self.either(Family::Ip4, link, "accept_local", false);
        let redirects = out == Some(link) && self.either(Family::Ip4, link, "send_redirects", true);
        if rp_filter == 0 && !redirects {
            if accept_local {
                return Ok(false);
            }
            if !self.fib.has_custom_rules(Family::Ip4) && !self.has_custom_local_routes() {
                let own = |address: &natpath_model::Address| address.local == packet.src;
                let is_own = self.snapshot.links.iter().any(|link| link.addresses.iter().any(own));
                return if is_own { martian } else { Ok(false) };
            }
        }
        let in_name = self.link(link).name;
        let key = self.reverse_key(packet, mark, link, out);
        let strict = Err(InputError::Drop(Why::RpFilter));
        let Ok(back) = self.fib.lookup(&key) else {
            return if rp_filter == 0 { Ok(false) } else { strict };
        };
        match back.route.kind {
            RouteType::Unicast => {}
            RouteType::Local if accept_local => {}
            _ => return martian,
        }
        let near = |found: &Found<'_>| found.next_hop.is_some_and(|hop| hop.gateway.is_none());
        if back.route.next_hops.iter().any(|hop| hop.link == Some(in_name)) {
            return Ok(near(&back));
        }
        if !self.link(link).addresses.iter().any(|address| address.local.is_ipv4()) {
            return if rp_filter == 0 { Ok(false) } else { strict };
        }
        if rp_filter == 1 {
            return strict;
        }
        let by_link = FlowKey { out_interface: Some(in_name), ..key };
        Ok(self
            .fib
            .lookup(&by_link)
            .is_ok_and(|found| found.route.kind == RouteType::Unicast && near(&found)))
    }

    /// What the reverse path check asks for: the way of an answer, from the packet's destination as it is after
    /// translation.
    fn reverse_key(&self, packet: &Packet, mark: u32, link: LinkId, out: Option<LinkId>) -> FlowKey {
        let from = out.or_else(|| self.loopback()).unwrap_or(link);
        let valid_mark = self.either(Family::Ip4, link, "src_valid_mark", false);
        FlowKey {
            dst: packet.src,
            src: packet.dst,
            in_interface: self.link(from).name,
            out_interface: None,
            mark: if valid_mark { mark } else { 0 },
            tos: packet.tos,
            protocol: packet.protocol(),
            ports: packet.ports().map(|(src, dst)| (dst, src)),
            uid: None,
        }
    }

    /// The way back that the reverse path check found for a packet without a mark.
    pub(crate) fn way_back(&self, packet: &Packet, link: LinkId) -> Option<Found<'a>> {
        let found = self.fib.lookup(&self.input_key(packet, 0, link)).ok();
        let out = found.and_then(|found| found.next_hop?.link).and_then(|name| self.link_named(name));
        self.fib.lookup(&self.reverse_key(packet, 0, link, out)).ok()
    }

    /// Whether table local holds routes that the kernel did not make for its own addresses.
    fn has_custom_local_routes(&self) -> bool {
        self.snapshot.routes.iter().any(|route| {
            route.kind == RouteType::Local
                && route.destination.addr().is_ipv4()
                && !self.snapshot.links.iter().flat_map(|link| &link.addresses).any(|address| {
                    address.local == route.destination.addr()
                        || (address.scope == Scope::HOST && address.subnet() == Some(route.destination))
                })
        })
    }

    fn route_input_v6(
        &self,
        packet: &Packet,
        mark: u32,
        link: LinkId,
        assume: &mut dyn FnMut(Item),
    ) -> Result<InputRoute<'a>, InputError> {
        self.lean_on_routes(Family::Ip6, assume);
        let key = self.input_key(packet, mark, link);
        let IpAddr::V6(dst) = packet.dst else { return Err(InputError::Drop(Why::Invalid)) };
        // rt6_need_strict: such destinations are looked up on the in-interface only.
        let strict = dst.is_loopback() || dst.is_multicast() || dst.is_unicast_link_local();
        let key = FlowKey { out_interface: strict.then_some(key.in_interface), ..key };
        let found = self.fib.lookup(&key).map_err(InputError::Unroutable)?;
        match found.route.kind {
            RouteType::Local | RouteType::Anycast | RouteType::Multicast => {
                Ok(InputRoute::Local(Some(found)))
            }
            _ => {
                if self.missing(Item::Sysctls) {
                    assume(Item::Sysctls);
                }
                if !self.forwards(Family::Ip6, link) {
                    return Err(InputError::Drop(Why::NoForwarding));
                }
                let src = match packet.src {
                    IpAddr::V6(src) => src,
                    IpAddr::V4(_) => return Err(InputError::Drop(Why::Invalid)),
                };
                // ip6_forward: "this check is security critical".
                if src.is_unspecified() || src.is_multicast() || src.is_loopback() {
                    return Err(InputError::Drop(Why::MartianSource));
                }
                let out = found.next_hop.and_then(|hop| hop.link).and_then(|name| self.link_named(name));
                Ok(InputRoute::Forward {
                    found,
                    redirect: out == Some(link) && self.may_redirect_v6(&found, link),
                })
            }
        }
    }

    /// ndisc_send_redirect: a redirect needs a link-local address to come from, and names either the
    /// destination itself or a router by its link-local address.
    fn may_redirect_v6(&self, found: &Found<'_>, link: LinkId) -> bool {
        let is_link_local = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let has_own = self
            .link(link)
            .addresses
            .iter()
            .any(|address| is_link_local(address.local) && !address.tentative);
        let gateway = found.next_hop.and_then(|hop| hop.gateway);
        has_own && gateway.is_none_or(is_link_local)
    }

    /// The route that is an error, for an incoming packet that has no other.
    pub(crate) fn failing_input_route(&self, packet: &Packet, mark: u32, link: LinkId) -> Option<Found<'a>> {
        self.fib.lookup_or_why(&self.input_key(packet, mark, link)).err().and_then(|(_, by)| by)
    }

    fn input_key(&self, packet: &Packet, mark: u32, link: LinkId) -> FlowKey {
        FlowKey {
            dst: packet.dst,
            src: packet.src,
            in_interface: self.link(link).name,
            out_interface: None,
            mark,
            tos: packet.tos,
            protocol: packet.protocol(),
            ports: packet.ports(),
            uid: None,
        }
    }

    /// Notes the files that a look-up leans on and that were not recorded.
    pub(crate) fn lean_on_routes(&self, family: Family, assume: &mut dyn FnMut(Item)) {
        for item in [Item::Links, Item::Routes(family), Item::PolicyRules(family)] {
            if self.missing(item) {
                assume(item);
            }
        }
    }
}
