//! `rp-filter`: the reverse path check drops the packet or its answer (fib_frontend.c,
//! `fib_validate_source`). It comes after PREROUTING, so it asks for the way back from the destination as it
//! is translated.

use natpath_model::{Family, InterfaceName, Manip, table_id};

use super::{Evidence, on};
use crate::packet::Packet;
use crate::trace::{End, Finding, HostId, Outcome, Place, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let result = &evidence.run.result;
    let ends = [
        Some(("the packet", &result.end)),
        result.reply.as_ref().map(|reply| ("the answer", &reply.end)),
        result.broken.as_ref().map(|broken| ("a later packet", &broken.end)),
    ];
    let (which, end) = ends
        .into_iter()
        .flatten()
        .find(|(_, end)| end.outcome == Outcome::Dropped && end.why == Some(Why::RpFilter))?;
    let Place::Host(host) = end.at.host else { return None };
    let interface = end.at.interface?;
    let link = evidence.world.host(host).link_named(interface)?;
    let strict = evidence.world.host(host).greater(Family::Ip4, link, "rp_filter") == 1;
    let src = end.header.src.address;
    let why = if strict {
        let other = way_back(evidence, host, interface, end);
        format!("{other}, and rp_filter is 1, strict")
    } else {
        format!("there is no route back to {src} (rp_filter is 2, loose)")
    };
    let (help, fix) = if strict {
        let name = interface.to_string().replace('.', "/");
        let help = format!(
            "use loose mode, or have answers to {src} leave by {interface}: the greater of conf.all and the \
             interface's value counts, and marks count only with src_valid_mark"
        );
        (help, Some(format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2")))
    } else {
        ("add a route to the source".to_owned(), None)
    };
    Some(Finding {
        code: "rp-filter",
        host,
        headline: format!(
            "{which} from {src}{} is dropped by the reverse path check: {why}",
            on(Some(interface))
        ),
        help,
        rules: Vec::new(),
        fix,
    })
}

/// The way back that was found, and for what it was asked.
fn way_back(evidence: &Evidence<'_, '_>, host: HostId, interface: InterfaceName, end: &End) -> String {
    let (src, dst) = (end.header.src.address, end.header.dst.address);
    let translated = evidence
        .translations(Manip::Dst)
        .iter()
        .any(|translation| translation.host == host && translation.after.dst.address == dst);
    let from = if translated { format!("{dst}, the translated destination,") } else { dst.to_string() };
    let world_host = evidence.world.host(host);
    let packet = packet_of(evidence, end);
    let found = packet.zip(world_host.link_named(interface));
    let found = found.and_then(|(packet, link)| world_host.way_back(packet, link));
    let by = found.and_then(|found| Some((found.next_hop?.link?, found)));
    match by {
        Some((other, found)) if other != interface => {
            let table = match found.route.table {
                table_id::MAIN => "main".to_owned(),
                table => table.to_string(),
            };
            format!("the way back from {from} to {src} is by {other} (ip rule {}, table {table})", found.rule)
        }
        _ => format!("the way back from {from} to {src} is not by {interface}"),
    }
}

fn packet_of<'e>(evidence: &Evidence<'e, '_>, end: &End) -> Option<&'e Packet> {
    let journeys = &evidence.run.journeys;
    journeys.iter().find(|journey| journey.end.as_ref() == Some(end)).map(|journey| &journey.packet)
}
