//! A packet that its own host refuses to send: the sender hears of it at once, as an error of its system
//! call, and nothing is on the wire.

use natpath_engine::trace::{ChainEnd, Effect, End, Hop, Outcome, Step, Why};
use natpath_model::{Hook, Protocol, RouteType};

use super::cause::{failing_route, is_made_here, way_out};
use super::nobody;
use crate::render::text::step::refuses_source;
use crate::render::text::words;
use crate::render::view::View;

/// The verdict on a first packet that its sender could not send; `None` for one that got out, or that is
/// lost without a word.
pub(super) fn heard_by_sender(view: &View<'_>, end: &End) -> Option<String> {
    let hop = view.path.hops.first()?;
    let is_error = matches!(end.outcome, Outcome::NoRoute | Outcome::LocalError);
    if !is_error || !is_made_here(end, &view.path.hops) || is_tried_again(end, hop) {
        return None;
    }
    let host = view.place(end.at.host);
    Some(match nobody(view, end) {
        Some(nobody) => format!("{host} can't send: {nobody}, {}", reason_for(view, end, Some(hop), "it")),
        None => format!("{host} can't send: {}", reason(view, end, Some(hop))),
    })
}

/// TCP sends again and again what a route looked up after OUTPUT does not take; only the first look-up is
/// `connect`'s own.
fn is_tried_again(end: &End, hop: &Hop) -> bool {
    end.header.protocol == Protocol::TCP
        && hop.steps.iter().any(|step| matches!(step, Step::Route(route) if route.again))
}

/// Whether it is a route that refuses the packet.
pub(super) fn is_routing(view: &View<'_>, end: &End) -> bool {
    let errno = matches!(end.why, Some(Why::Errno("EINVAL" | "EACCES")));
    let hop = view.path.hops.last();
    errno && !refuses_source(end.header, end.why) && !hop.is_some_and(is_source_refused)
}

/// What the kernel has against the packet, and the error it gives.
pub(super) fn reason(view: &View<'_>, end: &End, hop: Option<&Hop>) -> String {
    reason_for(view, end, hop, &end.header.dst.address.to_string())
}

/// The same, with a word for the destination.
fn reason_for(view: &View<'_>, end: &End, hop: Option<&Hop>, dst: &str) -> String {
    let kind = hop.and_then(failing_route);
    let (reason, error) = match (end.outcome, end.why) {
        (Outcome::NoRoute, _) if kind == Some(RouteType::Unreachable) => {
            (format!("an unreachable route covers {dst}"), "EHOSTUNREACH")
        }
        (Outcome::NoRoute, _) => (format!("no route to {dst}"), "ENETUNREACH"),
        (_, Some(Why::Errno(error))) => (errno_text(view, end, hop, error, dst), error),
        _ => ("the send fails".to_owned(), "an error"),
    };
    let call = match end.header.protocol {
        Protocol::TCP | Protocol::SCTP => "connect",
        _ => "sendto",
    };
    format!("{reason} ({call} says {error})")
}

fn errno_text(view: &View<'_>, end: &End, hop: Option<&Hop>, error: &str, dst: &str) -> String {
    let src = end.header.src.address;
    let kind = hop.and_then(failing_route);
    match error {
        "EINVAL" if refuses_source(end.header, end.why) => {
            format!("the kernel refuses source {src} on the way out")
        }
        "EINVAL" if hop.is_some_and(is_source_refused) => {
            format!("the kernel refuses source {src}, which is not its own")
        }
        "EINVAL" if kind.is_some() => format!("a blackhole route covers {dst}"),
        "EINVAL" => format!("an ip rule discards what goes to {dst}"),
        "EACCES" if kind.is_some() => format!("a prohibit route covers {dst}"),
        "EACCES" => format!("an ip rule prohibits what goes to {dst}"),
        "EADDRNOTAVAIL" => format!("no address of its own can be the source towards {dst}"),
        "EMSGSIZE" => match hop.and_then(way_out).or(end.at.interface) {
            Some(interface) => format!("it is too big for {interface} and must not be fragmented"),
            None => "it is too big for the link and must not be fragmented".to_owned(),
        },
        "EPERM" => format!("{} refuses it", refuser(view, hop)),
        _ => "the send fails".to_owned(),
    }
}

/// What drops a datagram on its way out: `a rule in filter OUTPUT`.
fn refuser(view: &View<'_>, hop: Option<&Hop>) -> String {
    let Some(hop) = hop else { return "a rule".to_owned() };
    let chain = |table: u32, hook: Hook| {
        let table = view.table(hop.host, table).map_or(String::new(), |table| words::table(table) + " ");
        format!("{table}{}", hook.chain_name())
    };
    let found = hop.steps.iter().rev().find_map(|step| match step {
        Step::Rule { hook, rule, effect: Effect::Drop | Effect::Reject, .. } => {
            Some(format!("a rule in {}", chain(rule.table, *hook)))
        }
        Step::Chain { hook, table, end: ChainEnd::PolicyDrop, .. } => {
            Some(format!("the policy of {}", chain(*table, *hook)))
        }
        _ => None,
    });
    found.unwrap_or_else(|| "a translation without a free port".to_owned())
}

fn is_source_refused(hop: &Hop) -> bool {
    hop.steps.iter().any(|step| matches!(step, Step::SourceCheck { why: Why::MartianSource }))
}
