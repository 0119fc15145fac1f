//! Why a packet ended, as half a sentence.

use natpath_engine::trace::{Assumption, ChainEnd, Effect, End, Hop, Outcome, Place, Step, StoppedBy, Why};
use natpath_model::{InterfaceName, RouteType};

use super::{has_finding, refusal};
use crate::render::text::wrap::GLUE;
use crate::render::text::{assumed, words};
use crate::render::view::View;

/// Why a packet ended.
pub(super) fn of(view: &View<'_>, end: &End, hops: &[Hop]) -> String {
    let host = view.place(end.at.host);
    let header = end.header;
    let interface = end.at.interface.map_or("an interface".to_owned(), |name| name.to_string());
    match end.outcome {
        Outcome::Delivered => format!("{} on {host} takes it", view.dst(header)),
        Outcome::NoListener => {
            format!("nothing listens on {} {} of {host}", header.protocol, view.dst(header))
        }
        Outcome::Dropped => dropped(view, end, &host, &interface, hops),
        Outcome::Rejected if end.why == Some(Why::RouteType) => unroutable(view, end, hops),
        Outcome::Rejected => format!("a rule of {host} rejects it{}", maker(view, end)),
        Outcome::NoRoute => match hops.last().and_then(failing_route) {
            Some(RouteType::Unreachable) => {
                format!("an unreachable route of {host} covers {}", header.dst.address)
            }
            _ => format!("{host} has no route to {}", header.dst.address),
        },
        Outcome::NoNeighbor => format!("nobody owns {}", header.dst.address),
        Outcome::TtlExceeded if has_finding(view, &["nat-loop"]) => {
            format!("it goes round in a loop, and its time to live runs out at {host}")
        }
        Outcome::TtlExceeded => format!("its time to live runs out at {host}"),
        Outcome::TooBig => {
            let way = hops.last().and_then(way_out).map_or(interface, |name| name.to_string());
            format!("it is too big for {host} {way} and must not be fragmented")
        }
        Outcome::LocalError => {
            format!("{host} can't send it, {}", refusal::reason(view, end, hops.last()))
        }
        Outcome::Left => format!("it leaves {host} by {interface} for outside"),
        Outcome::Undecided => format!("it depends on {}", constructs(view, &host)),
    }
}

/// The program that made the rule which ended a packet: ` (Docker: network isolation)`.
fn maker(view: &View<'_>, end: &End) -> String {
    let rule = end.rule.and_then(|(host, at)| view.rule(Place::Host(host), at));
    let known = rule.and_then(|rule| rule.provenance());
    known.map_or(String::new(), |known| format!(" ({known})"))
}

/// How routing ended a packet whose destination the sentence has named.
pub(super) fn unroutable(view: &View<'_>, end: &End, hops: &[Hop]) -> String {
    let host = view.place(end.at.host);
    let looked_up = hops.last().and_then(looked_up);
    match (end.outcome, looked_up) {
        (Outcome::Rejected, Some(None)) => format!("an ip rule of {host} prohibits it"),
        (Outcome::Rejected, _) => format!("a prohibit route of {host} rejects it"),
        (Outcome::Dropped, Some(None)) => format!("an ip rule of {host} discards it"),
        (Outcome::Dropped, _) => format!("a route of {host} discards it"),
        (_, Some(Some(RouteType::Unreachable))) => format!("an unreachable route of {host} covers it"),
        _ => format!("{host} has no route to it"),
    }
}

/// The interface that a packet was to leave by.
pub(super) fn way_out(hop: &Hop) -> Option<InterfaceName> {
    hop.steps.iter().rev().find_map(|step| match step {
        Step::Route(route) => route.found.as_ref()?.interface,
        _ => None,
    })
}

/// The kind of the last route that was found for a packet.
pub(super) fn failing_route(hop: &Hop) -> Option<RouteType> {
    looked_up(hop).flatten()
}

/// What the last look-up for a packet gave, if there was one.
fn looked_up(hop: &Hop) -> Option<Option<RouteType>> {
    hop.steps.iter().rev().find_map(|step| match step {
        Step::Route(route) => Some(route.found.as_ref().map(|found| found.kind)),
        _ => None,
    })
}

/// The constructs that a result depends on: `-m set and -j TPROXY on router`.
pub(super) fn constructs(view: &View<'_>, host: &str) -> String {
    let mut open: Vec<(String, Vec<String>)> = Vec::new();
    for assumption in assumed::open(&view.path.assumptions) {
        let (host, construct) = match assumption {
            Assumption::Opaque { host, construct, .. } => (host, construct.replace(' ', GLUE)),
            Assumption::Bypass { host, what, .. } => (host, what),
            _ => continue,
        };
        match open.iter_mut().find(|(known, _)| *known == host) {
            Some((_, constructs)) if constructs.contains(&construct) => {}
            Some((_, constructs)) => constructs.push(construct),
            None => open.push((host, vec![construct])),
        }
    }
    if open.is_empty() {
        return format!("what {host} does, which natpath can't decide");
    }
    let told = open.iter().map(|(host, constructs)| format!("{} on {host}", words::listed(constructs)));
    words::listed(&told.collect::<Vec<_>>())
}

fn dropped(view: &View<'_>, end: &End, host: &str, interface: &str, hops: &[Hop]) -> String {
    let (src, dst) = (end.header.src.address, end.header.dst.address);
    match end.why {
        Some(Why::Rule) => match wanted_proxy(hops) {
            Some(port) => format!("no transparent socket of {host} listens on port {port} for TPROXY"),
            None => format!("a rule of {host} drops it{}", maker(view, end)),
        },
        Some(Why::Policy) => match policy_chain(view, hops) {
            Some(chain) => format!("the policy of {chain} on {host} drops it"),
            None => format!("a chain's policy on {host} drops it"),
        },
        Some(Why::RpFilter) => {
            format!("{host} drops it by rp_filter: the way back to {src} is not by {interface}")
        }
        Some(Why::MartianSource) if is_made_here(end, hops) => {
            format!("{host} lets nothing out with the source {src}")
        }
        Some(Why::MartianSource) => {
            format!("{host} drops it: source {src} can't come in by {interface} (martian source)")
        }
        Some(Why::MartianDestination) => {
            format!(
                "{host} drops it: nothing that comes in by {interface} may go to {dst} (martian destination)"
            )
        }
        Some(Why::NoForwarding) => match stopped_by(hops) {
            Some(StoppedBy::SamePort | StoppedBy::Isolated) => {
                format!("bridge {interface} of {host} does not pass it on")
            }
            Some(stopped) => format!("bridge {interface} of {host} does not pass it on: {stopped}"),
            None => format!("{host} does not forward packets (ip forwarding is off)"),
        },
        Some(Why::NoPorts) => format!("{host} finds no free port for the translation"),
        Some(Why::RedirectNoAddress) => format!("{host} {interface} has no address to translate to"),
        Some(Why::Invalid) => format!("{host} drops it as invalid"),
        Some(Why::RouteType) if is_of_socket(hops) => {
            format!(
                "it belongs to a socket of {host}, but its route leads away, and {host} does not forward such packets"
            )
        }
        Some(Why::RouteType) => unroutable(view, end, hops),
        Some(Why::WrongSource) => format!("it comes from {src}, which nobody asked"),
        Some(Why::Errno(error)) => format!("{host} fails with {error}"),
        None => format!("{host} drops it"),
    }
}

/// What kept a frame from leaving the last bridge.
fn stopped_by(hops: &[Hop]) -> Option<StoppedBy> {
    hops.last()?.steps.iter().rev().find_map(|step| match step {
        Step::Bridged { stopped, .. } => *stopped,
        _ => None,
    })
}

/// Whether the host at which a packet ended is the one that made it.
pub(super) fn is_made_here(end: &End, hops: &[Hop]) -> bool {
    matches!(hops, [only] if only.host == end.at.host && only.in_interface.is_none())
}

/// The port on which TPROXY has found no socket for a packet.
fn wanted_proxy(hops: &[Hop]) -> Option<u16> {
    hops.last()?.steps.iter().find_map(|step| match step {
        Step::Rule { effect: Effect::NoProxy(port), .. } => Some(*port),
        _ => None,
    })
}

/// Whether a packet was dropped because it belongs to a socket and its route leads away.
pub(super) fn is_of_socket(hops: &[Hop]) -> bool {
    hops.last().is_some_and(|hop| hop.steps.iter().any(|step| matches!(step, Step::OfSocket)))
}

/// The chain whose policy dropped a packet: `filter FORWARD`.
fn policy_chain(view: &View<'_>, hops: &[Hop]) -> Option<String> {
    let hop = hops.last()?;
    hop.steps.iter().rev().find_map(|step| match step {
        Step::Chain { hook, table, end: ChainEnd::PolicyDrop, .. } => {
            let table = view.table(hop.host, *table)?;
            Some(format!("{} {}", words::table(table), hook.chain_name()))
        }
        _ => None,
    })
}
