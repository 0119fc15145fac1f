//! The ranges of MASQUERADE, REDIRECT and NETMAP: addresses that the host, not the rule, supplies.

use std::net::IpAddr;

use ipnet::IpNet;
use natpath_model::{Family, Hook, Item, Manip, NatRange, net};

use crate::fib;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::trace::Why;

impl<O: Observer> Pass<'_, '_, O> {
    /// nf_nat_masquerade.c: an address of the out-interface, chosen for the next hop. `Ok(None)`: nothing is
    /// to be done.
    pub(super) fn masquerade_range(&mut self, skb: &Skb, range: &NatRange) -> Result<Option<NatRange>, Why> {
        if skb.packet.src.is_unspecified() {
            return Ok(None);
        }
        if self.host.missing(Item::Links) {
            self.assume(Item::Links);
        }
        let link = skb.out_link.ok_or(Why::RedirectNoAddress)?;
        let next_hop = skb.next_hop.unwrap_or(skb.packet.dst);
        let link = self.host.link(link);
        let address = fib::masquerade_address(self.host.snapshot, link, next_hop, skb.packet.dst)
            .ok_or(Why::RedirectNoAddress)?;
        Ok(Some(NatRange { addresses: Some((address, address)), ..*range }))
    }

    /// nf_nat_redirect.c: loopback for packets made here, else the in-interface's first address.
    pub(super) fn redirect_range(
        &mut self,
        hook: Hook,
        skb: &Skb,
        range: &NatRange,
    ) -> Result<NatRange, Why> {
        let family = skb.packet.family();
        let address = match skb.in_link {
            _ if hook == Hook::Output => family.loopback(),
            Some(link) => fib::first_address(self.host.link(link), family).ok_or(Why::RedirectNoAddress)?,
            None => return Err(Why::RedirectNoAddress),
        };
        Ok(NatRange { addresses: Some((address, address)), ..*range })
    }
}

/// xt_NETMAP.c: the rule's network with the packet's host bits.
pub(super) fn netmap_range(skb: &Skb, manip: Manip, prefix: IpNet) -> NatRange {
    let old = match manip {
        Manip::Src => skb.packet.src,
        Manip::Dst => skb.packet.dst,
    };
    let family = Family::of(prefix.addr());
    let host_bits = net::bits(prefix.hostmask());
    let address: IpAddr = family.address(net::bits(prefix.network()) | (net::bits(old) & host_bits));
    NatRange { addresses: Some((address, address)), ..NatRange::default() }
}
