//! Headers, ports and rules in JSON.

use natpath_engine::trace::{Header, Place};
use natpath_model::{Port, Protocol, RuleRef};
use serde::Serialize;

use crate::render::view::View;

/// A header with its protocol: `{"proto","src","sport","dst","dport"}`, for ICMP
/// `{"proto","src","dst","icmp_id"}`.
#[derive(Serialize)]
pub(crate) struct TupleJson {
    proto: String,
    #[serde(flatten)]
    header: HeaderJson,
}

impl TupleJson {
    /// The header as it is on this path.
    pub(crate) fn new(view: &View<'_>, header: Header) -> Self {
        Self { proto: header.protocol.to_string(), header: HeaderJson::new(view, header) }
    }
}

/// A header without its protocol: two ports, or for ICMP one identifier. Null is what a packet lacks.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum HeaderJson {
    Ports { src: String, sport: Option<PortJson>, dst: String, dport: Option<PortJson> },
    Query { src: String, dst: String, icmp_id: Option<PortJson> },
}

impl HeaderJson {
    /// The header as it is on this path.
    pub(crate) fn new(view: &View<'_>, header: Header) -> Self {
        let port = |port| Some(PortJson::new(view, port));
        let (src, dst) = (header.src.address.to_string(), header.dst.address.to_string());
        if header.protocol.is_icmp() {
            Self::Query { src, dst, icmp_id: port(header.src.port) }
        } else if header.protocol.has_ports() {
            Self::Ports { src, sport: port(header.src.port), dst, dport: port(header.dst.port) }
        } else {
            Self::Ports { src, sport: None, dst, dport: None }
        }
    }

    /// The addresses of an ICMP error, under the keys that a flow of this protocol has.
    pub(crate) fn of_error(asked: Protocol, error: Header) -> Self {
        let (src, dst) = (error.src.address.to_string(), error.dst.address.to_string());
        if asked.is_icmp() {
            Self::Query { src, dst, icmp_id: None }
        } else {
            Self::Ports { src, sport: None, dst, dport: None }
        }
    }
}

/// A port: a number, or the interval that chance draws it from and the number of the draw.
#[derive(Serialize, PartialEq)]
#[serde(untagged)]
pub(crate) enum PortJson {
    Known(u16),
    Drawn { any: [u16; 2], same: u16 },
}

impl PortJson {
    /// The port as it is on this path.
    pub(crate) fn new(view: &View<'_>, port: Port) -> Self {
        match (view.drawn(port), port.drawn) {
            (Some(drawn), Some(number)) => Self::Drawn { any: [drawn.low, drawn.high], same: number.get() },
            _ => Self::Known(port.value),
        }
    }
}

/// A rule by its text and place.
#[derive(Serialize)]
pub(crate) struct RuleJson {
    text: String,
    file: String,
    line: u32,
    handle: Option<u64>,
    comment: Option<String>,
    provenance: Option<ProvenanceJson>,
}

/// The program that made a rule, and what for.
#[derive(Serialize)]
struct ProvenanceJson {
    program: &'static str,
    what: String,
}

impl RuleJson {
    /// The rule a reference points to on a host; `None` on a host that nobody recorded.
    pub(crate) fn new(view: &View<'_>, place: Place, at: RuleRef) -> Option<Self> {
        let rule = view.rule(place, at)?;
        Some(Self {
            text: rule.text.to_owned(),
            file: rule.file.to_owned(),
            line: rule.line,
            handle: rule.rule.handle,
            comment: rule.rule.comment.clone(),
            provenance: rule
                .provenance()
                .map(|known| ProvenanceJson { program: known.program.id(), what: known.what }),
        })
    }
}
