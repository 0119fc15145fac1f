//! A server, or a router on the way back, that has no route to the client that nobody hides behind its own
//! address.

use natpath_model::Family;

use crate::finding::Evidence;
use crate::run::Sender;
use crate::trace::{FlowPacket, Hint, Outcome, Place};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let broken = evidence.run.result.broken.as_ref()?;
    let end = &broken.end;
    let is_answer = broken.packet == FlowPacket::Answer && end.outcome == Outcome::NoRoute;
    let Place::Host(host) = end.at.host else { return None };
    let (client, name) = (end.header.dst.address, evidence.name(host));
    let is_elsewhere = match evidence.sender {
        Sender::Host(_) => evidence.world.owners(client).next().is_some(),
        Sender::Outside { .. } => true,
    };
    if client != evidence.first().sent.src.address || !is_elsewhere {
        return None;
    }
    // The way the request came to this host: its last hop before.
    let hops: Vec<_> = evidence.hops().collect();
    let at = hops.iter().position(|(other, _)| *other == host).filter(|at| *at > 0 && is_answer)?;
    let ((before, hop), (_, here)) = (hops[at - 1], hops[at]);
    let (out, incoming) = (hop.out_interface?, here.in_interface?);
    let family = Family::of(client);
    let world = evidence.world;
    let links = [(before, out), (host, incoming)]
        .map(|(host, name)| world.host(host).link_named(name).map(|link| world.host(host).link(link)));
    let [Some(theirs), Some(ours)] = links else { return None };
    let via = theirs.addresses.iter().find(|address| {
        Family::of(address.local) == family
            && ours.addresses.iter().any(|own| own.subnet().is_some_and(|net| net.contains(&address.local)))
    })?;
    Some(Hint {
        host,
        headline: format!(
            "{name} knows no way to the client {client}, whose packet came from {} with its own source",
            evidence.name(before)
        ),
        help: format!(
            "give {name} a route to {client}, or masquerade what {} sends out by {out}",
            evidence.name(before)
        ),
        rules: Vec::new(),
        fix: Some(format!("ip route add {client}/{} via {} dev {incoming}", family.bits(), via.local)),
    })
}
