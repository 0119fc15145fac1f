//! A host that gets a packet for another and does not forward (ip_forward.c; devinet.c, `IN_DEV_FORWARD`).

use natpath_model::Family;

use crate::finding::Evidence;
use crate::trace::{Hint, Place, Step, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let end = evidence.failed_end();
    let Place::Host(host) = end.at.host else { return None };
    if end.why != Some(Why::NoForwarding) {
        return None;
    }
    let (_, hop) = evidence.failed_hops().last()?;
    if hop.steps.iter().any(|step| matches!(step, Step::Bridged { stopped: Some(_), .. })) {
        return None;
    }
    let interface = end.at.interface?;
    let sysctls = &evidence.world.host(host).snapshot.sysctls;
    let family = Family::of(end.header.dst.address);
    let key = match family {
        Family::Ip6 => "net.ipv6.conf.all.forwarding".to_owned(),
        // The one for all is written to each interface; a later one of its own decides.
        Family::Ip4 if sysctls.number("net.ipv4.ip_forward") == Some(1) => {
            format!("net.ipv4.conf.{}.forwarding", interface.to_string().replace('.', "/"))
        }
        Family::Ip4 => "net.ipv4.ip_forward".to_owned(),
    };
    Some(Hint {
        host,
        headline: format!(
            "{} is not the destination of what came in by {interface} for {}, and {key} is 0",
            evidence.name(host),
            end.header.dst.address
        ),
        help: "let it forward".to_owned(),
        rules: Vec::new(),
        fix: Some(format!("sysctl -w {key}=1")),
    })
}
