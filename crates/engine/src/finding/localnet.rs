//! `localnet`: DNAT to 127/8, or of a packet from it, while route_localnet is 0 (route.c:
//! `ip_route_input_slow` and `__mkroute_output` refuse it).

use std::net::IpAddr;

use natpath_model::{InterfaceName, Manip};

use super::{Evidence, shown};
use crate::trace::{Finding, Outcome, Place, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    let refused =
        matches!(end.why, Some(Why::MartianDestination | Why::MartianSource | Why::Errno("EINVAL")))
            && matches!(end.outcome, Outcome::Dropped | Outcome::LocalError);
    let is_loopback = |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.is_loopback());
    let translation = evidence.translations(Manip::Dst).pop()?;
    let (to, from) = (translation.after.dst.address, end.header.src.address);
    // Elsewhere a source of 127/8 is refused for having left its host at all.
    if !refused || end.at.host != Place::Host(translation.host) || !(is_loopback(to) || is_loopback(from)) {
        return None;
    }
    let target = shown(&translation.after, Manip::Dst);
    let (headline, interface) = if is_loopback(to) {
        let headline = format!(
            "the packet is translated to {target}, which may not come from a wire while route_localnet is 0"
        );
        (headline, end.at.interface)
    } else {
        let headline = format!(
            "the packet to {target} keeps its source {from}, which may not leave while route_localnet is 0"
        );
        (headline, out_interface(evidence))
    };
    let interface =
        interface.map_or_else(|| "all".to_owned(), |interface| interface.to_string().replace('.', "/"));
    Some(Finding {
        code: "localnet",
        host: translation.host,
        headline,
        help: "allow it, and see that nobody else can reach what listens on 127.0.0.1; or translate to an address of \
               the interface"
            .to_owned(),
        rules: vec![translation.rule],
        fix: Some(format!("sysctl -w net.ipv4.conf.{interface}.route_localnet=1")),
    })
}

/// The interface that the new destination is behind.
fn out_interface(evidence: &Evidence<'_, '_>) -> Option<InterfaceName> {
    let (host, _) = evidence.hops().last()?;
    let host = evidence.world.host(host);
    let (link, _) = host.way_to(evidence.run.result.end.header.dst.address, 0)?;
    Some(host.link(link).name)
}
