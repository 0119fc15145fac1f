//! What becomes of a path in one sentence, because of what, and what to do about it.

mod because;
mod cause;
mod more;
mod refusal;
#[cfg(test)]
mod tests;

use natpath_engine::trace::{Broken, End, FlowPacket, Header, Outcome, PathResult, Place, Reply, Why};
use natpath_model::Protocol;

use super::words;
use crate::render::view::View;

/// The findings on an address that only a translation makes real.
const VIRTUAL: [&str; 2] = ["dead-dnat", "virtual-target"];

/// The judgement on a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Good or bad.
    pub(crate) tone: Tone,
    /// What the client sees, and the cause.
    pub(crate) text: String,
    /// What lies behind it, each a sentence.
    pub(crate) because: Vec<String>,
    /// What to do.
    pub(crate) fix: Vec<Fix>,
}

/// What to do about a fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    /// A line for a shell.
    Command(String),
    /// A sentence.
    Advice(String),
}

/// How a verdict sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The path works.
    Works,
    /// It does not.
    Fails,
    /// It can't be told.
    Undecided,
}

/// Judges a path.
pub(crate) fn verdict(view: &View<'_>) -> Verdict {
    let result = &view.path.result;
    let tone = match (result.works, doubtful(result)) {
        (true, _) => Tone::Works,
        (false, true) => Tone::Undecided,
        (false, false) => Tone::Fails,
    };
    let text = match (view.more, result.works) {
        (Some(side), works) if !doubtful(result) => more::text(view, side, works),
        (_, true) => works(view),
        (_, false) => fails(view),
    };
    Verdict { tone, text, because: because::because(view), fix: because::fix(view) }
}

/// Whether the result depends on what can't be decided.
fn doubtful(result: &PathResult) -> bool {
    let later = result.broken.as_ref().map(|broken| &broken.end);
    let back = result.reply.as_ref().map(|reply| &reply.end);
    [Some(&result.end), later, back].into_iter().flatten().any(|end| end.outcome == Outcome::Undecided)
}

fn works(view: &View<'_>) -> String {
    let result = &view.path.result;
    let there = view.dst(result.end.header);
    let host = view.place(result.end.at.host);
    let who = match (result.end.outcome, result.end.at.host, result.end.at.interface) {
        (Outcome::Left, _, Some(interface)) => format!("{there} beyond {host} {interface}"),
        (Outcome::Left, ..) => format!("{there} beyond {host}"),
        (_, Place::Assumed(_), _) => there,
        (_, Place::Host(_), _) => format!("{there} on {host}"),
    };
    match result.reply.as_ref().map(|reply| reply.end.header) {
        Some(header) => format!("works: {who} answers, the client sees {}", view.src(header)),
        None => format!("works: {who} takes it"),
    }
}

fn fails(view: &View<'_>) -> String {
    let result = &view.path.result;
    let end = &result.end;
    let reply = result.reply.as_ref();
    if doubtful(result) {
        return undecided(view, end, result.broken.as_ref());
    }
    match (end.outcome, &result.broken) {
        (Outcome::Delivered, Some(broken)) => broken_text(view, broken),
        (Outcome::Delivered, None) => match reply {
            Some(reply) if reply.end.outcome != Outcome::Delivered => {
                let cause = cause::of(view, &reply.end, &view.path.reply_hops);
                format!("{}: the answer is lost, {cause}", silence(end))
            }
            Some(_) => format!("connection opens, then breaks before {} sends data", view.place(end.at.host)),
            None => format!(
                "{}: {} takes the packet for one of a connection it knows already, and does not answer it",
                silence(end),
                view.place(end.at.host)
            ),
        },
        (Outcome::Left, broken) => left(view, end, reply, broken.as_ref()),
        _ => {
            let cause = match (nobody(view, end), refusal::heard_by_sender(view, end)) {
                (_, Some(refusal)) => return refusal,
                (Some(nobody), None) => {
                    format!("{nobody}, {}", cause::unroutable(view, end, &view.path.hops))
                }
                (None, None) => cause::of(view, end, &view.path.hops),
            };
            let lost = match reply {
                Some(reply) if reply.end.outcome != Outcome::Delivered => {
                    let cause = cause::of(view, &reply.end, &view.path.reply_hops);
                    format!("; the error sent back is lost, {cause}")
                }
                _ => String::new(),
            };
            format!("{}: {cause}{lost}", client(end, reply))
        }
    }
}

/// The remark that no recorded host has the address that a translation gave, where routing ends the packet.
fn nobody(view: &View<'_>, end: &End) -> Option<String> {
    let address = end.header.dst.address;
    let is_routing = end.outcome == Outcome::NoRoute
        || end.why == Some(Why::RouteType)
        || end.outcome == Outcome::LocalError && refusal::is_routing(view, end);
    let is_virtual = has_finding(view, &VIRTUAL);
    let is_translated = address != view.flow.dst || is_virtual;
    let mut owned = view.network.hosts.iter().flat_map(|host| &host.links).flat_map(|link| &link.addresses);
    let is_nobodys = is_routing && is_translated && !owned.any(|own| own.local == address);
    // Without a rule that was to translate it further the address may well be somebody's.
    let who = if is_virtual { "nobody" } else { "no recorded host" };
    is_nobodys.then(|| format!("{who} owns {address}"))
}

/// What the client notices of a packet that was not delivered.
fn client(end: &End, reply: Option<&Reply>) -> String {
    match reply.filter(|reply| reply.end.outcome == Outcome::Delivered) {
        Some(reply) if reply.reset => "connection refused".to_owned(),
        Some(Reply { icmp: Some(icmp), .. }) => {
            let words = words::icmp_error(icmp.from, icmp.kind, icmp.code);
            format!("client gets \"{words}\" from {}", icmp.from)
        }
        Some(_) | None => silence(end),
    }
}

fn silence(end: &End) -> String {
    let connects = matches!(end.header.protocol, Protocol::TCP | Protocol::SCTP);
    if connects { "client times out" } else { "client gets no answer" }.to_owned()
}

/// A flow whose first packet arrived and whose next ones do not all.
fn broken_text(view: &View<'_>, broken: &Broken) -> String {
    let first = &view.path.result.end;
    if broken.end.why == Some(Why::WrongSource) {
        let reaction = if first.header.protocol == Protocol::TCP { "resets" } else { "ignores" };
        let (got, asked) = (broken.end.header, view.path.result.end.header);
        let expected = asked_address(view).unwrap_or_else(|| view.dst(asked));
        return format!("client {reaction} the answer: it comes from {}, not {expected}", view.src(got));
    }
    let cause = cause::of(view, &broken.end, &broken.hops);
    match broken.packet {
        FlowPacket::Answer => {
            format!("{}: the answer of {} is lost, {cause}", silence(first), view.dst(first.header))
        }
        FlowPacket::HandshakeAck => {
            format!("connection hangs: the client's ACK that ends the handshake is lost, {cause}")
        }
        FlowPacket::ClientData => format!("connection opens, then hangs: the client's data is lost, {cause}"),
        FlowPacket::ServerData => format!("connection opens, then hangs: the server's data is lost, {cause}"),
    }
}

/// The address and port the client asked for.
fn asked_address(view: &View<'_>) -> Option<String> {
    let protocol = view.flow.protocol;
    let src = natpath_model::Endpoint::new(view.flow.dst, view.flow.dst_port);
    Some(view.src(Header { protocol, src, dst: src }))
}

fn left(view: &View<'_>, end: &End, reply: Option<&Reply>, broken: Option<&Broken>) -> String {
    let host = view.place(end.at.host);
    let way = end.at.interface.map_or(host.clone(), |interface| format!("{host} by {interface}"));
    if leaves_for_nobody(view) {
        let address = end.header.dst.address;
        format!("{}: nobody owns {address}, the packet leaves {way}", silence(end))
    } else if has_finding(view, &["not-masqueraded"]) {
        let address = end.header.src.address;
        format!("{}: it leaves {way} with the private source {address}, no answer finds back", silence(end))
    } else if let Some(broken) = broken {
        format!("{}, after the packet left {way}", broken_text(view, broken))
    } else if let Some(reply) = reply.filter(|reply| reply.end.outcome != Outcome::Delivered) {
        let cause = cause::of(view, &reply.end, &view.path.reply_hops);
        format!("{}: the packet leaves {way}, the answer is lost, {cause}", silence(end))
    } else {
        format!("{}: the packet leaves {way} for {}", silence(end), view.dst(end.header))
    }
}

/// Whether the packet leaves for an address that nobody outside has, so that no answer is to be expected.
pub(crate) fn leaves_for_nobody(view: &View<'_>) -> bool {
    let left = view.path.result.end.outcome == Outcome::Left;
    left && !view.path.result.works && has_finding(view, &VIRTUAL)
}

fn has_finding(view: &View<'_>, codes: &[&str]) -> bool {
    view.path.findings.iter().any(|finding| codes.contains(&finding.code))
}

/// What is known where the rest depends on something that can't be decided.
fn undecided(view: &View<'_>, end: &End, broken: Option<&Broken>) -> String {
    let host = view.place(broken.map_or(end, |broken| &broken.end).at.host);
    let on = cause::constructs(view, &host);
    let there = view.dst(end.header);
    match broken.map(|broken| broken.packet) {
        _ if end.outcome == Outcome::Undecided => format!("can't be told: it depends on {on}"),
        Some(FlowPacket::Answer) | None => {
            format!("can't be told: the packet gets to {there}, but whether it is answered depends on {on}")
        }
        Some(FlowPacket::HandshakeAck) => {
            format!("can't be told: {there} answers, but whether the connection opens depends on {on}")
        }
        Some(FlowPacket::ClientData | FlowPacket::ServerData) => {
            format!("can't be told: the connection opens, but whether data passes depends on {on}")
        }
    }
}
