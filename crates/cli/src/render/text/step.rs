//! The line of a step that is no rule's: a route, a socket, connection tracking, an end.

use std::net::IpAddr;

use natpath_engine::trace::{Assumption, Header, Hop, Outcome, RouteStep, Step, Why};
use natpath_model::{CtStates, Direction, Hook, Manip, RouteType};

use super::lines::Line;
use super::style::{bad, note};
use super::{phase, taken, words};
use crate::render::view::View;

/// The line of a step that is no rule's.
pub(crate) fn line(view: &View<'_>, hop: &Hop, step: &Step) -> Option<Line> {
    let line = |label: &str, text: String| {
        Some(Line { numbered: true, label: label.to_owned(), text, ..Line::default() })
    };
    let at = |what: &str, hook: Hook| format!("{what} {}", hook.chain_name());
    match step {
        Step::Conntrack { hook, state, direction, entry } => {
            let way = match direction {
                Some(Direction::Reply) => ", reply",
                Some(Direction::Original) | None => "",
            };
            let unanswered = if *state == CtStates::NEW { " without answers" } else { "" };
            let of = entry.map_or(String::new(), |(original, _)| {
                format!(", of a known connection{unanswered}: {}", view.header(original.into()))
            });
            line(&at("conntrack", *hook), format!("{}{way}{of}", words::states(*state)))
        }
        Step::Translated { hook, manip, undone, before, after } => {
            line(&at("nat", *hook), translated(view, *manip, *undone, *before, *after))
        }
        Step::PortChanged { hook, before, after } => {
            line(&at("nat", *hook), taken::redrawn(view, *before, *after))
        }
        Step::Route(route) => {
            line(if route.again { "route again" } else { "route" }, route_text(view, hop, route))
        }
        Step::SourceCheck { why } => line("source check", bad(&words::source_check(*why, hop.in_interface))),
        Step::Ttl(ttl) => line("time to live", ttl.to_string()),
        Step::Answered { icmp } => line("answers", answered(view, *icmp)),
        Step::Socket { listening, process } => line("socket", socket(*listening, process.as_deref())),
        Step::OfSocket => {
            line("socket", bad("it belongs to a socket of this host, but its route leads away: dropped"))
        }
        Step::Bridged { in_port, out_port, stopped } => {
            let name = |port: &Option<natpath_model::InterfaceName>, other: &str| {
                port.map_or(format!("{other} port"), |port| port.to_string())
            };
            match stopped {
                None => {
                    let past = if passes_rules(view, hop) { "" } else { ", past this host's rules" };
                    line("bridge", format!("{} → {}{past}", name(in_port, "a"), name(out_port, "another")))
                }
                Some(by) => line("bridge", bad(&by.to_string())),
            }
        }
        Step::Confirmed { original, reply } => {
            let text = format!("new: {}, replies {}", view.header((*original).into()), {
                view.header((*reply).into())
            });
            line("conntrack", text)
        }
        Step::Assumed(assumption) => line("in doubt", note(&in_doubt(view, assumption))),
        Step::Ended { outcome, why } => {
            let text = words::ended(*outcome, *why);
            line("ends", if *outcome == Outcome::Left { text } else { bad(&text) })
        }
        Step::Chain { .. } | Step::Rule { .. } | Step::Miss { .. } | Step::NotReached { .. } => None,
    }
}

/// Whether a bridged frame met the hooks of its host, if that has any rules.
fn passes_rules(view: &View<'_>, hop: &Hop) -> bool {
    hop.steps.iter().any(|step| matches!(step, Step::Chain { .. })) || view.table(hop.host, 0).is_none()
}

/// A construct that can't be decided, on its own host.
fn in_doubt(view: &View<'_>, assumption: &Assumption) -> String {
    let (construct, place, reason, applies) = match assumption {
        Assumption::Opaque { construct, place, reason, applies, .. } => (construct, place, reason, applies),
        Assumption::Bypass { what, place, .. } => return format!("{what} ({place}) acts beside netfilter"),
        _ => return assumption.to_string(),
    };
    let is_it = |open: &Assumption| match open {
        Assumption::Opaque { place: other, applies: None, .. } => other == place,
        _ => false,
    };
    let taken = match applies {
        _ if view.path.assumptions.iter().any(is_it) => "the result depends on it",
        Some(true) => "assumed to match",
        Some(false) => "assumed not to match",
        None => "the result depends on it",
    };
    format!("{construct} ({place}) {reason}; {taken}")
}

fn route_text(view: &View<'_>, hop: &Hop, route: &RouteStep) -> String {
    let text = words::route(route);
    let Some(found) = &route.found else { return bad(&no_route(view, hop, route).unwrap_or(text)) };
    match (found.kind, route.source.filter(|_| view.flow.src.is_none())) {
        (RouteType::Unicast | RouteType::Local, Some(source)) if view.path.hops.first() == Some(hop) => {
            format!("{text}, src {source}")
        }
        (RouteType::Unicast | RouteType::Local, _) => text,
        _ => bad(&text),
    }
}

/// What kept a look-up from giving a route, where it is not that there is none.
fn no_route(view: &View<'_>, hop: &Hop, route: &RouteStep) -> Option<String> {
    let destination = route.destination;
    match phase::end(hop)? {
        (Outcome::Dropped, Some(Why::RouteType)) | (Outcome::LocalError, Some(Why::Errno("EINVAL")))
            if !refuses_source(view.path.result.end.header, phase::end(hop)?.1) =>
        {
            Some(format!("{destination}: an ip rule discards it"))
        }
        (Outcome::Rejected, _) | (Outcome::LocalError, Some(Why::Errno("EACCES"))) => {
            Some(format!("{destination}: an ip rule prohibits it"))
        }
        (Outcome::Dropped | Outcome::LocalError, why) if refuses_source(view.path.result.end.header, why) => {
            Some(words::source_check(Why::MartianSource, hop.in_interface))
        }
        (outcome @ (Outcome::Dropped | Outcome::LocalError), why) => Some(words::ended(outcome, why)),
        _ => None,
    }
}

/// Whether the kernel refuses to send because of the packet's source.
pub(crate) fn refuses_source(header: Header, why: Option<Why>) -> bool {
    let is_loopback = matches!(header.src.address, IpAddr::V4(v4) if v4.is_loopback());
    why == Some(Why::MartianSource) || why == Some(Why::Errno("EINVAL")) && is_loopback
}

fn translated(view: &View<'_>, manip: Manip, undone: bool, before: Header, after: Header) -> String {
    let (side, old, new) = match manip {
        Manip::Src => ("src", view.src(before), view.src(after)),
        Manip::Dst => ("dst", view.dst(before), view.dst(after)),
    };
    let word = match (manip, undone) {
        (Manip::Src, true) => "un-DNAT",
        (Manip::Dst, true) => "un-SNAT",
        (Manip::Src, false) => "SNAT as decided",
        (Manip::Dst, false) => "DNAT as decided",
    };
    if before == after {
        return format!("{word}  in the header that the error quotes");
    }
    format!("{word}  {side} {old} → {new}")
}

fn answered(view: &View<'_>, icmp: Option<(u8, u8)>) -> String {
    match icmp {
        None => "TCP reset".to_owned(),
        Some((kind, code)) => {
            let family = view.path.result.end.header.src.address;
            format!("\"{}\" (ICMP {kind}/{code})", words::icmp_error(family, kind, code))
        }
    }
}

fn socket(listening: bool, process: Option<&str>) -> String {
    match (listening, process) {
        (true, Some(process)) => format!("taken by {process}"),
        (true, None) => "taken".to_owned(),
        (false, _) => bad("nobody listens"),
    }
}
