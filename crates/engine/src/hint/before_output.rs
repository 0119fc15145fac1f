//! A destination that OUTPUT would translate, but the host has no route to it as it is asked for: the route is
//! looked up first (route.c, `ip_route_output_key`).

use natpath_model::Hook;

use crate::finding::Evidence;
use crate::pass::Pass;
use crate::run::Sender;
use crate::skb::Skb;
use crate::trace::{Hint, Outcome, Step};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let end = &evidence.run.result.end;
    let Sender::Host(host) = evidence.sender else { return None };
    let (at, hop) = evidence.hops().next()?;
    let unsent = at == host
        && matches!(end.outcome, Outcome::NoRoute | Outcome::LocalError)
        && !hop.steps.iter().any(|step| matches!(step, Step::Chain { .. }));
    if !unsent {
        return None;
    }
    let mut state = evidence.run.state.hosts[host.0 as usize].clone();
    let mut env = evidence.run.env.without_notes();
    let mut unwatched = ();
    let packet = evidence.first().packet;
    let world_host = evidence.world.host(host);
    let pass = Pass::new(world_host, &mut state, &mut env, &mut unwatched);
    let would = pass.what_if(Hook::Output, &Skb::new(packet))?;
    let asked = packet.dst;
    if would.after.dst.address == asked {
        return None;
    }
    let (name, place) = (evidence.name(host), evidence.place(host, would.rule));
    Some(Hint {
        host,
        headline: format!(
            "{place} would translate {asked} in OUTPUT, but {name} looks for a route first, and has none to {asked}"
        ),
        help: format!(
            "give {name} any route to {asked}, as a default route is: OUTPUT looks for the final one"
        ),
        rules: vec![would.rule],
        fix: None,
    })
}
