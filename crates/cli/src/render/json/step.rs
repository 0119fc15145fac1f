//! Steps in JSON: each has a `kind`, and after it what that kind of step knows.

mod convert;

use natpath_engine::trace::{Effect, Header, Hop, Place, Step};
use natpath_model::RuleRef;
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
        table: Option<u32>,
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

/// The fields that a step changed, on one side of it; empty where it changed none.
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
    /// Both sides of a change from one header to another.
    fn between(view: &View<'_>, before: Header, after: Header) -> (Self, Self) {
        (Self::one_side(view, before, after), Self::one_side(view, after, before))
    }

    /// The fields of `this` that `other` has otherwise.
    fn one_side(view: &View<'_>, this: Header, other: Header) -> Self {
        let port = |this: natpath_model::Port, other| (this != other).then(|| PortJson::new(view, this));
        let mut changes = Self {
            src: (this.src.address != other.src.address).then(|| this.src.address.to_string()),
            dst: (this.dst.address != other.dst.address).then(|| this.dst.address.to_string()),
            ..Self::default()
        };
        if this.protocol.is_icmp() {
            changes.icmp_id = port(this.src.port, other.src.port);
        } else {
            changes.sport = port(this.src.port, other.src.port);
            changes.dport = port(this.dst.port, other.dst.port);
        }
        changes
    }

    /// Both sides of what a rule did: to the header, and to what the packet carries beside it.
    fn of_rule(view: &View<'_>, effect: Effect, before: Header, after: Header) -> (Self, Self) {
        let (mut old, mut new) = Self::between(view, before, after);
        match effect {
            Effect::Mark(from, to) => (old.mark, new.mark) = (Some(from), Some(to)),
            Effect::Connmark(from, to) => (old.connmark, new.connmark) = (Some(from), Some(to)),
            Effect::Zone(zone) => new.zone = Some(zone.0),
            _ => {}
        }
        (old, new)
    }
}
