//! The JSON of a trace, schema `natpath.trace/1`. Its types are its own: the engine's may change, a field
//! here is never renamed.
//!
//! ```text
//!  Document ── flows ── paths ─┬─ outcome, at, there, reply, broken
//!                              ├─ conntrack: entries the flow made
//!                              └─ hops, reply_hops ── steps (step.rs)
//! ```

mod header;
mod step;
#[cfg(test)]
mod tests;

use std::io;

use natpath_engine::trace::{Broken, End, Entry, Finding, Hint, Hop, HostId, Path, Place, Reply};
use natpath_model::flow::Side;
use natpath_model::{Network, RuleRef, Status, ZoneDirection};
use serde::Serialize;

use self::header::{HeaderJson, RuleJson, TupleJson};
use self::step::StepJson;
use crate::render::view::{Traced, View};

const SCHEMA: &str = "natpath.trace/1";

/// Writes the whole document. Rules that were tried in vain are in it only if `verbose`.
pub(crate) fn write(
    out: &mut impl io::Write,
    network: &Network,
    traces: &[Traced<'_>],
    verbose: bool,
) -> io::Result<()> {
    let flows = traces.iter().map(|traced| FlowJson::new(network, traced, verbose)).collect();
    serde_json::to_writer_pretty(&mut *out, &Document { schema: SCHEMA, flows })?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    flows: Vec<FlowJson>,
}

#[derive(Serialize)]
struct FlowJson {
    flow: Option<TupleJson>,
    /// The flow's name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Who sends more data on the connection of the flow of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<&'static str>,
    paths: Vec<PathJson>,
}

impl FlowJson {
    fn new(network: &Network, traced: &Traced<'_>, verbose: bool) -> Self {
        let view = |path| View::new(network, traced, path, &[]);
        let views: Vec<_> = traced.trace.paths.iter().map(view).collect();
        Self {
            flow: views.first().map(|view| TupleJson::new(view, traced.trace.sent)),
            id: traced.flow.id.clone(),
            more: traced.more.map(|side| match side {
                Side::Client => "client",
                Side::Server => "server",
            }),
            paths: views.iter().map(|view| PathJson::new(view, verbose)).collect(),
        }
    }
}

#[derive(Serialize)]
struct PathJson {
    probability: f64,
    outcome: &'static str,
    at: AtJson,
    there: TupleJson,
    reply: Option<ReplyJson>,
    id: String,
    given: Vec<String>,
    works: bool,
    why: Option<&'static str>,
    rule: Option<RuleJson>,
    broken: Option<BrokenJson>,
    conntrack: Vec<EntryJson>,
    hops: Vec<HopJson>,
    reply_hops: Vec<HopJson>,
    findings: Vec<FindingJson>,
    hints: Vec<HintJson>,
    assumptions: Vec<String>,
}

impl PathJson {
    fn new(view: &View<'_>, verbose: bool) -> Self {
        let Path {
            id,
            given,
            probability,
            result,
            hops,
            reply_hops,
            findings,
            hints,
            assumptions,
            drawn: _,
            unrecorded: _,
        } = view.path;
        Self {
            probability: *probability,
            outcome: result.end.outcome.word(),
            at: AtJson::new(view, &result.end),
            there: TupleJson::new(view, result.end.header),
            reply: result.reply.as_ref().map(|reply| ReplyJson::new(view, reply)),
            id: id.clone(),
            given: given.clone(),
            works: result.works,
            why: result.end.why.map(natpath_engine::trace::Why::word),
            rule: deciding_rule(view, result.end.rule),
            broken: result.broken.as_ref().map(|broken| BrokenJson::new(view, broken, verbose)),
            conntrack: result.conntrack.iter().map(|entry| EntryJson::new(view, entry)).collect(),
            hops: HopJson::all(view, hops, verbose),
            reply_hops: HopJson::all(view, reply_hops, verbose),
            findings: findings.iter().map(|finding| FindingJson::new(view, finding)).collect(),
            hints: hints.iter().map(|hint| HintJson::new(view, hint)).collect(),
            assumptions: assumptions.iter().map(ToString::to_string).collect(),
        }
    }
}

fn deciding_rule(view: &View<'_>, rule: Option<(HostId, RuleRef)>) -> Option<RuleJson> {
    rule.and_then(|(host, at)| RuleJson::new(view, Place::Host(host), at))
}

#[derive(Serialize)]
struct AtJson {
    host: String,
    interface: Option<String>,
}

impl AtJson {
    fn new(view: &View<'_>, end: &End) -> Self {
        let interface = match end.at.host {
            Place::Host(_) => end.at.interface.map(|name| name.to_string()),
            Place::Assumed(_) => None,
        };
        Self { host: view.place(end.at.host), interface }
    }
}

#[derive(Serialize)]
struct ReplyJson {
    outcome: &'static str,
    #[serde(flatten)]
    header: HeaderJson,
    icmp: Option<IcmpJson>,
    reset: bool,
    why: Option<&'static str>,
    rule: Option<RuleJson>,
    at: AtJson,
}

#[derive(Serialize)]
struct IcmpJson {
    r#type: u8,
    code: u8,
    from: String,
    about: TupleJson,
}

impl ReplyJson {
    fn new(view: &View<'_>, reply: &Reply) -> Self {
        let asked = view.path.result.end.header.protocol;
        let header = match reply.icmp {
            Some(_) => HeaderJson::of_error(asked, reply.end.header),
            None => HeaderJson::new(view, reply.end.header),
        };
        Self {
            outcome: reply.end.outcome.word(),
            header,
            icmp: reply.icmp.map(|icmp| IcmpJson {
                r#type: icmp.kind,
                code: icmp.code,
                from: icmp.from.to_string(),
                about: TupleJson::new(view, icmp.about),
            }),
            reset: reply.reset,
            why: reply.end.why.map(natpath_engine::trace::Why::word),
            rule: deciding_rule(view, reply.end.rule),
            at: AtJson::new(view, &reply.end),
        }
    }
}

#[derive(Serialize)]
struct BrokenJson {
    packet: &'static str,
    outcome: &'static str,
    why: Option<&'static str>,
    rule: Option<RuleJson>,
    at: AtJson,
    hops: Vec<HopJson>,
}

impl BrokenJson {
    fn new(view: &View<'_>, broken: &Broken, verbose: bool) -> Self {
        Self {
            packet: broken.packet.word(),
            outcome: broken.end.outcome.word(),
            why: broken.end.why.map(natpath_engine::trace::Why::word),
            rule: deciding_rule(view, broken.end.rule),
            at: AtJson::new(view, &broken.end),
            hops: HopJson::all(view, &broken.hops, verbose),
        }
    }
}

/// A conntrack entry; its zone under the key that conntrack(8) prints it with.
#[derive(Serialize)]
struct EntryJson {
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<u16>,
    #[serde(rename = "zone-orig", skip_serializing_if = "Option::is_none")]
    zone_original: Option<u16>,
    #[serde(rename = "zone-reply", skip_serializing_if = "Option::is_none")]
    zone_reply: Option<u16>,
    original: TupleJson,
    reply: TupleJson,
    status: Vec<&'static str>,
    mark: u32,
}

impl EntryJson {
    fn new(view: &View<'_>, entry: &Entry) -> Self {
        let zone = |direction| (entry.zone_direction == direction).then_some(entry.zone.0);
        let status = [(Status::DST_NAT, "dnat"), (Status::SRC_NAT, "snat")];
        Self {
            host: view.host_name(entry.host),
            zone: zone(ZoneDirection::Both),
            zone_original: zone(ZoneDirection::Original),
            zone_reply: zone(ZoneDirection::Reply),
            original: TupleJson::new(view, entry.original.into()),
            reply: TupleJson::new(view, entry.reply.into()),
            status: status.iter().filter(|(bit, _)| entry.status.has(*bit)).map(|(_, word)| *word).collect(),
            mark: entry.mark,
        }
    }
}

#[derive(Serialize)]
struct HopJson {
    host: String,
    r#in: Option<String>,
    out: Option<String>,
    steps: Vec<StepJson>,
}

impl HopJson {
    fn all(view: &View<'_>, hops: &[Hop], verbose: bool) -> Vec<Self> {
        hops.iter().map(|hop| Self::new(view, hop, verbose)).collect()
    }

    fn new(view: &View<'_>, hop: &Hop, verbose: bool) -> Self {
        Self {
            host: view.place(hop.host),
            r#in: hop.in_interface.map(|name| name.to_string()),
            out: hop.out_interface.map(|name| name.to_string()),
            steps: step::all(view, hop, verbose),
        }
    }
}

#[derive(Serialize)]
struct FindingJson {
    code: &'static str,
    host: String,
    headline: String,
    help: String,
    rules: Vec<RuleJson>,
    fix: Option<String>,
}

impl FindingJson {
    fn new(view: &View<'_>, finding: &Finding) -> Self {
        let host = Place::Host(finding.host);
        Self {
            code: finding.code,
            host: view.host_name(finding.host),
            headline: finding.headline.clone(),
            help: finding.help.clone(),
            rules: finding.rules.iter().filter_map(|at| RuleJson::new(view, host, *at)).collect(),
            fix: finding.fix.clone(),
        }
    }
}

#[derive(Serialize)]
struct HintJson {
    host: String,
    headline: String,
    help: String,
    rules: Vec<RuleJson>,
    fix: Option<String>,
}

impl HintJson {
    fn new(view: &View<'_>, hint: &Hint) -> Self {
        let host = Place::Host(hint.host);
        Self {
            host: view.host_name(hint.host),
            headline: hint.headline.clone(),
            help: hint.help.clone(),
            rules: hint.rules.iter().filter_map(|at| RuleJson::new(view, host, *at)).collect(),
            fix: hint.fix.clone(),
        }
    }
}
