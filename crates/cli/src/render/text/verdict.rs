//! What becomes of a path in one sentence, because of what, and what to do about it.

#[cfg(test)]
mod tests;

use natpath_engine::trace::{
    Broken, ChainEnd, End, FlowPacket, Header, Hop, HostId, Outcome, Place, Reply, Step, Why,
};
use natpath_model::{Protocol, RuleRef};

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
    pub(crate) fix: Vec<String>,
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
    let tone = match (result.works, result.end.outcome) {
        (true, _) => Tone::Works,
        (false, Outcome::Undecided) => Tone::Undecided,
        (false, _) => Tone::Fails,
    };
    let text = if result.works { works(view) } else { fails(view) };
    Verdict { tone, text, because: because(view), fix: fix(view) }
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
    match (end.outcome, &result.broken) {
        (Outcome::Delivered, Some(broken)) => broken_text(view, broken),
        (Outcome::Delivered, None) => match reply {
            Some(reply) if reply.end.outcome != Outcome::Delivered => {
                format!("{}: the answer is lost, {}", silence(end), cause(view, &reply.end, &[]))
            }
            _ => format!("does not work, though {} gets the packet", view.place(end.at.host)),
        },
        (Outcome::Undecided, _) => format!("cannot be told: {}", cause(view, end, &view.path.hops)),
        (Outcome::LocalError, _) => {
            let error = end.why.map_or("an error", Why::word);
            format!("the client's own send fails with {error}")
        }
        (Outcome::Left, broken) => left(view, end, reply, broken.as_ref()),
        _ => {
            let cause = format!("{}{}", nobody(view, end), cause(view, end, &view.path.hops));
            let lost = match reply {
                Some(reply) if reply.end.outcome != Outcome::Delivered => {
                    format!("; the error sent back is lost, {}", self::cause(view, &reply.end, &[]))
                }
                _ => String::new(),
            };
            format!("{}: {cause}{lost}", client(end, reply))
        }
    }
}

/// The remark that no recorded host has the destination, where routing ends a packet that a further
/// translation was to save.
fn nobody(view: &View<'_>, end: &End) -> String {
    let address = end.header.dst.address;
    let unroutable = end.outcome == Outcome::NoRoute || end.why == Some(Why::RouteType);
    let mut owned = view.network.hosts.iter().flat_map(|host| &host.links).flat_map(|link| &link.addresses);
    if unroutable && has_finding(view, &VIRTUAL) && !owned.any(|own| own.local == address) {
        format!("nobody owns {address}, ")
    } else {
        String::new()
    }
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
    let cause = cause(view, &broken.end, &broken.hops);
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
        format!("{}: nobody owns {address}; the packet leaves {way}", silence(end))
    } else if has_finding(view, &["not-masqueraded"]) {
        let address = end.header.src.address;
        format!("{}: it leaves {way} with the private source {address}, no answer finds back", silence(end))
    } else if let Some(broken) = broken {
        format!("{}, after the packet left {way}", broken_text(view, broken))
    } else if let Some(reply) = reply.filter(|reply| reply.end.outcome != Outcome::Delivered) {
        let cause = cause(view, &reply.end, &view.path.reply_hops);
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

/// Why a packet ended, as half a sentence.
fn cause(view: &View<'_>, end: &End, hops: &[Hop]) -> String {
    let host = view.place(end.at.host);
    let header = end.header;
    let interface = end.at.interface.map_or("an interface".to_owned(), |name| name.to_string());
    match end.outcome {
        Outcome::Delivered => format!("{} on {host} takes it", view.dst(header)),
        Outcome::NoListener => {
            format!("nothing listens on {} {} of {host}", header.protocol, view.dst(header))
        }
        Outcome::Dropped => dropped(view, end, &host, &interface, hops),
        Outcome::Rejected if end.why == Some(Why::RouteType) => {
            format!("a prohibit route of {host} rejects it")
        }
        Outcome::Rejected => format!("a rule of {host} rejects it"),
        Outcome::NoRoute => format!("{host} has no route to {}", header.dst.address),
        Outcome::NoNeighbor => format!("nobody owns {}", header.dst.address),
        Outcome::TtlExceeded if has_finding(view, &["nat-loop"]) => {
            format!("the packet goes round in a loop until its time to live runs out at {host}")
        }
        Outcome::TtlExceeded => format!("its time to live runs out at {host}"),
        Outcome::TooBig => format!("it is too big for {host} {interface} and must not be fragmented"),
        Outcome::LocalError => {
            format!("{host} cannot send it ({})", end.why.map_or("an error", Why::word))
        }
        Outcome::Left => format!("it leaves {host} by {interface} for outside"),
        Outcome::Undecided => format!("{host} meets what natpath cannot decide"),
    }
}

fn dropped(view: &View<'_>, end: &End, host: &str, interface: &str, hops: &[Hop]) -> String {
    let (src, dst) = (end.header.src.address, end.header.dst.address);
    match end.why {
        Some(Why::Rule) => format!("a rule of {host} drops it"),
        Some(Why::Policy) => match policy_chain(view, hops) {
            Some(chain) => format!("the policy of {chain} on {host} drops it"),
            None => format!("a chain's policy on {host} drops it"),
        },
        Some(Why::RpFilter) => {
            format!("{host} drops it by rp_filter: the route back to {src} does not lead out of {interface}")
        }
        Some(Why::MartianSource) => {
            format!("{host} drops it: source {src} cannot come in by {interface} (martian source)")
        }
        Some(Why::MartianDestination) => {
            format!("{host} drops it: destination {dst} cannot be routed there (martian destination)")
        }
        Some(Why::NoForwarding) => format!("{host} does not forward packets (ip forwarding is off)"),
        Some(Why::NoPorts) => format!("{host} finds no free port for the translation"),
        Some(Why::RedirectNoAddress) => format!("{host} {interface} has no address to translate to"),
        Some(Why::Invalid) => format!("{host} drops it as invalid"),
        Some(Why::RouteType) => format!("a route of {host} discards it"),
        Some(Why::WrongSource) => format!("it comes from {src}, which nobody asked"),
        Some(Why::Errno(error)) => format!("{host} fails with {error}"),
        None => format!("{host} drops it"),
    }
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

/// The findings; without any, the rule that decided.
fn because(view: &View<'_>) -> Vec<String> {
    let result = &view.path.result;
    let findings: Vec<_> = view.path.findings.iter().map(|finding| finding.headline.clone()).collect();
    if !findings.is_empty() || result.works {
        return findings;
    }
    let ends = [
        result.broken.as_ref().map(|broken| &broken.end),
        Some(&result.end),
        result.reply.as_ref().map(|reply| &reply.end),
    ];
    let rule = ends.into_iter().flatten().find_map(|end| end.rule);
    rule.and_then(|rule| rule_text(view, rule)).into_iter().collect()
}

fn rule_text(view: &View<'_>, (host, at): (HostId, RuleRef)) -> Option<String> {
    let rule = view.rule(Place::Host(host), at)?;
    Some(format!("{} {}: {}", view.host_name(host), rule.place(), rule.text))
}

fn fix(view: &View<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &view.path.findings {
        match &finding.fix {
            Some(fix) => {
                let host = view.host_name(finding.host);
                lines.extend(fix.lines().map(|line| format!("{line}    # on {host}")));
            }
            None if !finding.help.is_empty() => lines.push(finding.help.clone()),
            None => {}
        }
    }
    lines
}
