//! Choosing one of a link's addresses: for a sender, for MASQUERADE, for REDIRECT.

use std::net::{IpAddr, Ipv6Addr};

use natpath_model::{Address, Family, Link, Scope, Snapshot};

use super::reaches;

/// The address an IPv4 sender gets on a link towards a next hop (devinet.c, `inet_select_addr`): the first
/// that is not secondary and whose subnet holds the next hop, else the first, else another link's.
pub(crate) fn address_on(
    snapshot: &Snapshot,
    link: &Link,
    towards: Option<IpAddr>,
    scope: Scope,
) -> Option<IpAddr> {
    let usable =
        |address: &&Address| address.local.is_ipv4() && !address.secondary && reaches(address.scope, scope);
    let own = || link.addresses.iter().filter(usable);
    if let Some(towards) = towards
        && let Some(near) = own().find(|address| address.subnet().is_some_and(|net| net.contains(&towards)))
    {
        return Some(near.local);
    }
    if let Some(first) = own().next() {
        return Some(first.local);
    }
    snapshot
        .links
        .iter()
        .flat_map(|other| &other.addresses)
        .filter(usable)
        .find(|address| address.scope != Scope::LINK)
        .map(|address| address.local)
}

/// The address that MASQUERADE writes (nf_nat_masquerade.c): chosen for the next hop, not the route's `src`.
pub(crate) fn masquerade_address(
    snapshot: &Snapshot,
    link: &Link,
    next_hop: IpAddr,
    dst: IpAddr,
) -> Option<IpAddr> {
    match Family::of(dst) {
        Family::Ip4 => address_on(snapshot, link, Some(next_hop), Scope::GLOBAL),
        Family::Ip6 => source_v6(snapshot, link, dst),
    }
}

/// The address that REDIRECT writes for packets from the wire (nf_nat_redirect.c): the first of the link.
pub(crate) fn first_address(link: &Link, family: Family) -> Option<IpAddr> {
    let mut addresses =
        link.addresses.iter().filter(|address| Family::of(address.local) == family && !address.tentative);
    match family {
        Family::Ip4 => addresses.next(),
        // The kernel keeps IPv6 addresses by scope, the widest first; a link-local one serves only a
        // link-local destination.
        Family::Ip6 => addresses.find(|address| address.scope != Scope::LINK),
    }
    .map(|address| address.local)
}

/// Whether a link itself has this address.
pub(crate) fn local_on(link: &Link, address: IpAddr) -> bool {
    link.addresses.iter().any(|own| own.local == address)
}

/// The address an IPv6 sender gets on a link (addrconf.c, `ipv6_dev_get_saddr`; RFC 6724, section 5): the best of
/// all links' addresses, but for a link-local destination of that link's own.
pub(crate) fn source_v6(snapshot: &Snapshot, link: &Link, dst: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(dst) = dst else { return None };
    let near = dst.is_multicast() || scope_v6(dst) <= LINK_LOCAL;
    let links = snapshot.links.iter().filter(|other| !near || other.name == link.name);
    links
        .flat_map(|other| other.addresses.iter().map(move |address| (other.name == link.name, address)))
        .filter(|(_, address)| !address.tentative)
        .filter_map(|(on_link, address)| match address.local {
            IpAddr::V6(local) => Some((preference(local, address, on_link, dst), local)),
            IpAddr::V4(_) => None,
        })
        // The first of equals wins, as in the kernel's list.
        .reduce(|best, other| if other.0 > best.0 { other } else { best })
        .map(|(_, local)| IpAddr::V6(local))
}

/// Greater is better: rules 1, 2, 3, 5, 6 and 8.
type Preference = (bool, i16, bool, bool, bool, u32);

fn preference(src: Ipv6Addr, address: &Address, on_link: bool, dst: Ipv6Addr) -> Preference {
    let (src_scope, dst_scope) = (scope_v6(src), scope_v6(dst));
    // Among those wide enough the narrowest is best, and any of them better than the others.
    let nearness = if src_scope >= dst_scope { -i16::from(src_scope) } else { i16::from(src_scope) - 128 };
    let same_label = label(src) == label(dst);
    let common = (u128::from(src) ^ u128::from(dst)).leading_zeros().min(address.prefix_length.into());
    (src == dst, nearness, !address.deprecated, on_link, same_label, common)
}

/// The scope of an address that only its link knows.
const LINK_LOCAL: u8 = 2;

/// The scope of RFC 4007: 1 interface, 2 link, 5 site, 14 global. The kernel gives ::1 that of a link.
fn scope_v6(address: Ipv6Addr) -> u8 {
    if address.is_loopback() || address.is_unicast_link_local() {
        LINK_LOCAL
    } else if address.is_multicast() {
        address.octets()[1] & 15
    } else if address.octets()[0] == 0xfe && address.octets()[1] & 0xc0 == 0xc0 {
        5
    } else {
        14
    }
}

/// The label of the default policy table (RFC 6724, 2.1).
fn label(address: Ipv6Addr) -> u8 {
    let segments = address.segments();
    if address.is_loopback() {
        0
    } else if address.to_ipv4_mapped().is_some() {
        4
    } else if segments[0] == 0x2002 {
        2
    } else if segments[0] == 0x2001 && segments[1] == 0 {
        5
    } else if segments[0] & 0xfe00 == 0xfc00 {
        13
    } else {
        1
    }
}
