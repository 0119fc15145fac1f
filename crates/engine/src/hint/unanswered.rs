//! An address that nobody on a wire answers for, though a host there would translate it: a rule alone does
//! not make its address one's own (arp.c, `arp_process`, asks the routes).

use natpath_model::{Family, Hook, InterfaceName};

use crate::finding::Evidence;
use crate::pass::Pass;
use crate::skb::Skb;
use crate::trace::{Hint, HostId, Outcome, Place};
use natpath_model::RuleRef;

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let end = &evidence.run.result.end;
    let Place::Host(asks) = end.at.host else { return None };
    if end.outcome != Outcome::NoNeighbor {
        return None;
    }
    let address = end.header.dst.address;
    let (host, link, rule) = translator(evidence, asks, end.at.interface?)?;
    let (name, width) = (evidence.name(host), Family::of(address).bits());
    let place = evidence.place(host, rule);
    let protocol = match Family::of(address) {
        Family::Ip4 => "ARP",
        Family::Ip6 => "neighbour discovery",
    };
    Some(Hint {
        host,
        headline: format!(
            "{place} of {name} would translate {address}, but the packet never gets there: {name} does not have the \
             address, so it does not answer {protocol} for it"
        ),
        help: format!("give {name} the address, or route it to {name}"),
        rules: vec![rule],
        fix: Some(format!("ip addr add {address}/{width} dev {link}")),
    })
}

/// The host on the same wire whose nat rules would translate the packet, its interface there and the rule.
fn translator(
    evidence: &Evidence<'_, '_>,
    asks: HostId,
    interface: InterfaceName,
) -> Option<(HostId, InterfaceName, RuleRef)> {
    let world = evidence.world;
    let from = (asks, world.host(asks).link_named(interface)?);
    let packet = evidence.first().packet;
    for host in world.hosts.iter().filter(|host| host.id != asks) {
        for (index, link) in host.snapshot.links.iter().enumerate() {
            let at = crate::host::LinkId(index);
            if !world.share_domain(from, (host.id, at)) {
                continue;
            }
            let mut state = evidence.run.state.hosts[host.id.0 as usize].clone();
            let mut env = evidence.run.env.without_notes();
            let mut unwatched = ();
            let pass = Pass::new(host, &mut state, &mut env, &mut unwatched);
            let skb = Skb { in_link: Some(at), ..Skb::new(packet) };
            if let Some(would) = pass.what_if(Hook::Prerouting, &skb)
                && would.after.dst != packet.header().dst
                && pass.names_destination(&would.way)
            {
                return Some((host.id, link.name, would.rule));
            }
        }
    }
    None
}
