//! Steps in JSON: each has a `kind`, and after it what that kind of step knows.

mod convert;

use natpath_engine::trace::{Effect, Header, Hop, Place, Step};
use natpath_model::{Endpoint, Hook, Manip, RuleRef};
use serde::Serialize;

use super::header::{PortJson, RuleJson, TupleJson};
use crate::render::view::View;

/// The steps of a hop; those of rules that did not apply only if `misses`.
pub(crate) fn all(view: &View<'_>, hop: &Hop, misses: bool) -> Vec<StepJson> {
    let shown = |step: &&Step| misses || !matches!(step, Step::Miss { .. });
    hop.steps.iter().filter(shown).map(|step| convert::step(view, hop.host, step)).collect()
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum StepJson {
    Conntrack {
        hook: String,
        state: Vec<&'static str>,
        direction: Option<&'static str>,
        entry: Option<EntryTuples>,
    },
    Chain {
        hook: String,
        #[serde(flatten)]
        chain: ChainName,
        tried: u32,
        matched: u32,
        end: &'static str,
        rule: Option<RuleJson>,
    },
    Rule {
        hook: String,
        #[serde(flatten)]
        chain: ChainName,
        rule: Option<RuleJson>,
        effect: &'static str,
        target: Option<String>,
        before: Changes,
        after: Changes,
    },
    Miss {
        hook: String,
        #[serde(flatten)]
        chain: ChainName,
        rule: Option<RuleJson>,
        failed: Option<String>,
    },
    NotReached {
        hook: String,
        #[serde(flatten)]
        chain: ChainName,
        rule: Option<RuleJson>,
        why: &'static str,
        by: Option<RuleJson>,
    },
    Translated {
        hook: String,
        manip: &'static str,
        undone: bool,
        before: Changes,
        after: Changes,
    },
    PortChanged {
        hook: String,
        before: Changes,
        after: Changes,
    },
    Route {
        destination: String,
        r#type: Option<&'static str>,
        table: Option<String>,
        policy_rule: Option<u32>,
        prefix: Option<String>,
        via: Option<String>,
        dev: Option<String>,
        line: Option<u32>,
        source: Option<String>,
        again: bool,
    },
    SourceCheck {
        why: &'static str,
    },
    Ttl {
        ttl: u8,
    },
    Answered {
        icmp: Option<IcmpKind>,
        reset: bool,
    },
    Socket {
        listening: bool,
        process: Option<String>,
    },
    OfSocket,
    Bridged {
        in_port: Option<String>,
        out_port: Option<String>,
        stopped: Option<String>,
    },
    Confirmed {
        original: TupleJson,
        reply: TupleJson,
    },
    Assumed {
        text: String,
    },
    Ended {
        outcome: &'static str,
        why: Option<&'static str>,
    },
}

#[derive(Serialize)]
pub(crate) struct EntryTuples {
    original: TupleJson,
    reply: TupleJson,
}

#[derive(Serialize)]
pub(crate) struct IcmpKind {
    r#type: u8,
    code: u8,
}

/// A chain by its names.
#[derive(Serialize)]
pub(crate) struct ChainName {
    family: String,
    table: String,
    chain: String,
}

impl ChainName {
    fn new(view: &View<'_>, place: Place, table: u32, chain: natpath_model::ChainId) -> Self {
        let table = view.table(place, table);
        let chain = table.and_then(|table| table.chains.get(chain.0 as usize));
        Self {
            family: table.map(|table| table.family.to_string()).unwrap_or_default(),
            table: table.map(|table| table.name.clone()).unwrap_or_default(),
            chain: chain.map(|chain| chain.name.clone()).unwrap_or_default(),
        }
    }

    fn of_rule(view: &View<'_>, place: Place, rule: RuleRef) -> Self {
        Self::new(view, place, rule.table, rule.chain)
    }
}

/// The sides that a step changed, each as a whole: address and port, for an ICMP query address and
/// identifier. Empty where it changed none.
#[derive(Serialize, Default)]
pub(crate) struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sport: Option<PortJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dport: Option<PortJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_id: Option<PortJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connmark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<u16>,
}

impl Changes {
    /// Both ends of a change from one header to another at a hook that translates `manip`.
    fn between(view: &View<'_>, manip: Option<Manip>, before: Header, after: Header) -> (Self, Self) {
        if before == after {
            return (Self::default(), Self::default());
        }
        Self::of_translation(view, manip, before, after)
    }

    /// The same, with the side that was translated also where it is as before.
    fn of_translation(view: &View<'_>, manip: Option<Manip>, before: Header, after: Header) -> (Self, Self) {
        let changed = |side: &Manip| {
            let (old, new) = (endpoint(before, *side), endpoint(after, *side));
            // An identifier is on both sides of a header, and no sign that both were translated.
            manip == Some(*side) || old.address != new.address || before.protocol.has_ports() && old != new
        };
        let sides: Vec<_> = [Manip::Src, Manip::Dst].into_iter().filter(changed).collect();
        (Self::new(view, before, &sides), Self::new(view, after, &sides))
    }

    fn new(view: &View<'_>, header: Header, sides: &[Manip]) -> Self {
        let mut changes = Self::default();
        for side in sides {
            let Endpoint { address, port } = endpoint(header, *side);
            let port = Some(PortJson::new(view, port));
            let (to_address, to_port) = match side {
                Manip::Src => (&mut changes.src, &mut changes.sport),
                Manip::Dst => (&mut changes.dst, &mut changes.dport),
            };
            *to_address = Some(address.to_string());
            if header.protocol.has_ports() {
                *to_port = port;
            } else if is_query(view, header) {
                changes.icmp_id = port;
            }
        }
        changes
    }

    /// Both ends of what a rule did: to the header, and to what the packet carries beside it.
    fn of_rule(view: &View<'_>, hook: Hook, effect: Effect, before: Header, after: Header) -> (Self, Self) {
        let (mut old, mut new) = match effect {
            Effect::Dnat | Effect::Snat | Effect::Masquerade | Effect::Redirect | Effect::Netmap => {
                Self::of_translation(view, hook.manip(), before, after)
            }
            _ => Self::between(view, None, before, after),
        };
        match effect {
            Effect::Mark(from, to) | Effect::Tproxy { mark: (from, to), .. } => {
                (old.mark, new.mark) = (Some(from), Some(to));
            }
            Effect::Connmark(from, to) => (old.connmark, new.connmark) = (Some(from), Some(to)),
            Effect::Zone(zone) => new.zone = Some(zone.0),
            _ => {}
        }
        (old, new)
    }
}

fn endpoint(header: Header, side: Manip) -> Endpoint {
    match side {
        Manip::Src => header.src,
        Manip::Dst => header.dst,
    }
}

/// Whether an ICMP packet is one of the flow's queries, and no error: that has no identifier.
fn is_query(view: &View<'_>, header: Header) -> bool {
    let port = header.src.port;
    let has_id = port.drawn.is_some() || port.value != 0 || view.flow.icmp_id == 0;
    header.protocol.is_icmp() && view.flow.protocol.is_icmp() && has_id
}
