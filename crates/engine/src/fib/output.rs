//! Routing a packet that this host makes (route.c, `ip_route_output_key_hash_rcu`; `ip6_route_output`):
//! which interface, which source address, and which error the sender hears.

use std::net::IpAddr;

use natpath_model::{Family, InterfaceName, Item, Protocol, RouteType, Scope};

use super::{Failed, FlowKey, Found, address};
use crate::host::{Host, LinkId};
use crate::packet::Packet;
use crate::trace::{Outcome, Why};

/// Where a packet of this host's goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputRoute<'a> {
    /// The link it leaves by; lo for a local destination.
    pub(crate) link: LinkId,
    /// Whether this host takes it itself.
    pub(crate) local: bool,
    /// The router, if the destination is not on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// The source address.
    pub(crate) src: IpAddr,
    /// The route; `None` where the socket's interface was taken without one.
    pub(crate) found: Option<Found<'a>>,
}

/// Why it can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputError {
    /// The look-up failed.
    Failed(Failed),
    /// The system call returns EINVAL.
    Invalid,
    /// No address can be its source.
    NoSource,
}

impl OutputError {
    /// How the flow ends for its sender.
    pub(crate) fn outcome(self) -> (Outcome, Option<Why>) {
        match self {
            Self::Failed(Failed::NoRoute | Failed::Unreachable) => (Outcome::NoRoute, None),
            Self::Failed(Failed::Blackhole) | Self::Invalid => {
                (Outcome::LocalError, Some(Why::Errno("EINVAL")))
            }
            Self::Failed(Failed::Prohibit) => (Outcome::LocalError, Some(Why::Errno("EACCES"))),
            Self::NoSource => (Outcome::LocalError, Some(Why::Errno("EADDRNOTAVAIL"))),
        }
    }
}

/// What is asked of an output route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputKey {
    pub(crate) dst: IpAddr,
    /// The source, if it is settled.
    pub(crate) src: Option<IpAddr>,
    /// Whether the source may be an address this host lacks (`FLOWI_FLAG_ANYSRC`).
    pub(crate) any_source: bool,
    pub(crate) bound: Option<InterfaceName>,
    pub(crate) mark: u32,
    pub(crate) tos: u8,
    pub(crate) protocol: Protocol,
    pub(crate) ports: Option<(natpath_model::Port, natpath_model::Port)>,
    pub(crate) uid: Option<u32>,
    /// Which next hop of a multipath route is taken, counted among those that can be used.
    pub(crate) hop: usize,
}

impl<'a> Host<'a> {
    /// Routes a packet of this host's.
    pub(crate) fn route_output(
        &self,
        key: &OutputKey,
        assume: &mut dyn FnMut(Item),
    ) -> Result<OutputRoute<'a>, OutputError> {
        let family = Family::of(key.dst);
        self.lean_on_routes(family, assume);
        // 1) The source, if given, must be one that can be used.
        if let Some(src) = key.src {
            if src.is_multicast() || matches!(src, IpAddr::V4(v4) if v4.is_broadcast()) {
                return Err(OutputError::Invalid);
            }
            if !key.any_source && !self.fib.is_local(src) {
                return Err(OutputError::Invalid);
            }
        }
        // 2) The route.
        let flow = FlowKey {
            dst: key.dst,
            src: key.src.unwrap_or(family.unspecified()),
            in_interface: InterfaceName::LO,
            out_interface: key.bound,
            mark: key.mark,
            tos: key.tos,
            protocol: key.protocol,
            ports: key.ports,
            uid: key.uid,
        };
        let found = match self.fib.lookup(&flow) {
            Ok(found) => found,
            Err(failed) => return self.without_route(key, failed),
        };
        // 3) A local destination goes through lo.
        if found.route.kind == RouteType::Local {
            let link = self.loopback().ok_or(OutputError::Failed(Failed::NoRoute))?;
            let src =
                key.src.or(found.route.prefer_source.filter(|_| family == Family::Ip4)).unwrap_or(key.dst);
            return Ok(OutputRoute { link, local: true, gateway: None, src, found: Some(found) });
        }
        let found = found.with_hop(key.hop);
        let hop = found.next_hop.ok_or(OutputError::Failed(Failed::NoRoute))?;
        let link =
            hop.link.and_then(|name| self.link_named(name)).ok_or(OutputError::Failed(Failed::NoRoute))?;
        let gateway = hop.gateway;
        // 4) The source address, if it is not settled.
        let src = match key.src {
            Some(src) => src,
            None => self.choose_source(key, &found, link, gateway).ok_or(OutputError::NoSource)?,
        };
        self.refuse_loopback_source(src, link, assume)?;
        Ok(OutputRoute { link, local: false, gateway, src, found: Some(found) })
    }

    fn choose_source(
        &self,
        key: &OutputKey,
        found: &Found<'a>,
        link: LinkId,
        gateway: Option<IpAddr>,
    ) -> Option<IpAddr> {
        if let Some(preferred) = found.route.prefer_source {
            return Some(preferred);
        }
        match Family::of(key.dst) {
            Family::Ip4 => {
                let towards = gateway.filter(IpAddr::is_ipv4);
                let scope = found.route.scope.min(Scope::LINK);
                address::address_on(self.snapshot, self.link(link), towards, scope)
            }
            Family::Ip6 => address::source_v6(self.snapshot, self.link(link), key.dst),
        }
    }

    /// `__mkroute_output`: a loopback source leaves only where route_localnet allows it. IPv6 has no such
    /// check; its receivers drop the packet.
    fn refuse_loopback_source(
        &self,
        src: IpAddr,
        link: LinkId,
        assume: &mut dyn FnMut(Item),
    ) -> Result<(), OutputError> {
        if !matches!(src, IpAddr::V4(v4) if v4.is_loopback()) || self.link(link).loopback {
            return Ok(());
        }
        if self.missing(Item::Sysctls) {
            assume(Item::Sysctls);
        }
        if self.either(Family::Ip4, link, "route_localnet", false) {
            Ok(())
        } else {
            Err(OutputError::Invalid)
        }
    }

    /// A socket bound to an interface sends to it even without a route: the destination is taken to be on
    /// the link.
    fn without_route(&self, key: &OutputKey, failed: Failed) -> Result<OutputRoute<'a>, OutputError> {
        let bound = key.bound.and_then(|name| self.link_named(name));
        let (Some(link), Family::Ip4) = (bound, Family::of(key.dst)) else {
            return Err(OutputError::Failed(failed));
        };
        let src = match key.src {
            Some(src) => src,
            None => address::address_on(self.snapshot, self.link(link), None, Scope::LINK)
                .ok_or(OutputError::NoSource)?,
        };
        Ok(OutputRoute { link, local: false, gateway: None, src, found: None })
    }

    /// The route that is an error, for a packet of this host's that has no other.
    pub(crate) fn failing_output_route(&self, packet: &Packet, mark: u32) -> Option<Found<'a>> {
        let key = FlowKey {
            dst: packet.dst,
            src: packet.src,
            in_interface: InterfaceName::LO,
            out_interface: None,
            mark,
            tos: packet.tos & 0x1e,
            protocol: packet.protocol(),
            ports: packet.ports(),
            uid: None,
        };
        self.fib.lookup_or_why(&key).err().and_then(|(_, by)| by)
    }

    /// The link and next hop by which a packet to an address would leave.
    pub(crate) fn way_to(&self, address: IpAddr, mark: u32) -> Option<(LinkId, IpAddr)> {
        let found = self.way(address, mark)?;
        let hop = found.next_hop.filter(|_| found.route.kind == RouteType::Unicast)?;
        let link = self.link_named(hop.link?)?;
        Some((link, hop.gateway.unwrap_or(address)))
    }

    /// The route of a packet without a mark that this host sends to an address.
    pub(crate) fn route_to(&self, address: IpAddr) -> Option<Found<'a>> {
        self.way(address, 0)
    }

    fn way(&self, address: IpAddr, mark: u32) -> Option<Found<'a>> {
        let key = FlowKey {
            dst: address,
            src: Family::of(address).unspecified(),
            in_interface: InterfaceName::LO,
            out_interface: None,
            mark,
            tos: 0,
            protocol: Protocol(0),
            ports: None,
            uid: None,
        };
        self.fib.lookup(&key).ok()
    }
}
