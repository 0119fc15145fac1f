//! `virtual-target`: DNAT to an address that only another translation makes real, and none will: the rule
//! that knows the address stands in a hook that this packet does not pass, or on a host it does not reach.

use natpath_model::{Hook, Manip, RuleRef};

use super::{Evidence, Translation, shown};
use crate::pass::Pass;
use crate::skb::Skb;
use crate::trace::{Finding, HostId, Outcome};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    if !matches!(
        end.outcome,
        Outcome::NoRoute | Outcome::NoNeighbor | Outcome::Left | Outcome::TtlExceeded | Outcome::Dropped
    ) || end.rule.is_some()
    {
        return None;
    }
    let translation = evidence.translations(Manip::Dst).pop()?;
    let (host, hook, rule) = maker(evidence, &translation)?;
    let target = shown(&translation.after, Manip::Dst);
    let place = evidence.place(host, rule);
    let reason = if host == translation.host {
        format!("that acts in {}, which this packet does not pass", hook.chain_name())
    } else {
        format!("on {}, which this packet does not reach", evidence.name(host))
    };
    Some(Finding {
        code: "virtual-target",
        host: translation.host,
        headline: format!("{target} is nobody's address: only {place} makes it real, {reason}"),
        help: format!(
            "let {} go to what {place} translates {target} to",
            evidence.place(translation.host, translation.rule)
        ),
        rules: vec![translation.rule],
        fix: None,
    })
}

/// The nat rule, on any host, that would translate the destination.
fn maker(evidence: &Evidence<'_, '_>, translation: &Translation) -> Option<(HostId, Hook, RuleRef)> {
    let mut packet = evidence.run.journeys[0].packet;
    packet.rewrite(Manip::Dst, translation.after.dst);
    for host in &evidence.world.hosts {
        for hook in [Hook::Prerouting, Hook::Output] {
            if host.id == translation.host && hook == translation.hook {
                continue;
            }
            let mut state = evidence.run.state.hosts[host.id.0 as usize].clone();
            let mut env = evidence.run.env.without_notes();
            let mut unwatched = ();
            let pass = Pass::new(host, &mut state, &mut env, &mut unwatched);
            if let Some(second) = pass.what_if(hook, &Skb::new(packet))
                && second.after.dst != translation.after.dst
                && pass.names_destination(&second.way)
            {
                return Some((host.id, hook, second.rule));
            }
        }
    }
    None
}
