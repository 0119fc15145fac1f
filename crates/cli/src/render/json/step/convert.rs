//! From the engine's steps to those of the JSON.

use natpath_engine::trace::{ChainEnd, Effect, NotReached, Place, RouteStep, Step};
use natpath_model::{CtStates, Direction, Hook, Manip, RuleRef, table_id};

use super::{ChainName, Changes, EntryTuples, IcmpKind, StepJson};
use crate::render::json::header::{RuleJson, TupleJson};
use crate::render::miss;
use crate::render::view::View;

/// One step of a packet at a host.
pub(super) fn step(view: &View<'_>, place: Place, step: &Step) -> StepJson {
    let rule_json = |at: RuleRef| RuleJson::new(view, place, at);
    let word = |hook: &Hook| hook.to_string();
    match step {
        Step::Conntrack { hook, state, direction, entry } => StepJson::Conntrack {
            hook: word(hook),
            state: states(*state),
            direction: direction.map(direction_word),
            entry: entry.map(|(original, reply)| EntryTuples {
                original: TupleJson::new(view, original.into()),
                reply: TupleJson::new(view, reply.into()),
            }),
        },
        Step::Chain { hook, table, chain, tried, matched, end } => {
            let (end, rule) = match end {
                ChainEnd::PolicyAccept => ("policy-accept", None),
                ChainEnd::PolicyDrop => ("policy-drop", None),
                ChainEnd::Rule(at) => ("rule", rule_json(*at)),
            };
            let chain = ChainName::new(view, place, *table, *chain);
            StepJson::Chain { hook: word(hook), chain, tried: *tried, matched: *matched, end, rule }
        }
        Step::Rule { hook, rule, effect, before, after } => {
            let (before, after) = Changes::of_rule(view, *hook, *effect, *before, *after);
            StepJson::Rule {
                hook: word(hook),
                chain: ChainName::of_rule(view, place, *rule),
                rule: rule_json(*rule),
                effect: effect.word(),
                target: target(view, place, *rule, *effect),
                before,
                after,
            }
        }
        Step::Miss { hook, rule, failed } => StepJson::Miss {
            hook: word(hook),
            chain: ChainName::of_rule(view, place, *rule),
            rule: rule_json(*rule),
            failed: view.rule(place, *rule).map(|rule| miss::failed(&rule, *failed)),
        },
        Step::NotReached { hook, rule, why } => {
            let (why, by) = match why {
                NotReached::TranslatedBy(by) => ("already-translated", rule_json(*by)),
                NotReached::DecidedEarlier => ("decided-earlier", None),
                NotReached::NotTracked => ("not-tracked", None),
                NotReached::MadeHere => ("made-here", None),
            };
            let chain = ChainName::of_rule(view, place, *rule);
            StepJson::NotReached { hook: word(hook), chain, rule: rule_json(*rule), why, by }
        }
        Step::Translated { hook, manip, undone, before, after } => {
            let (before, after) = Changes::between(view, Some(*manip), *before, *after);
            let manip = match manip {
                Manip::Src => "src",
                Manip::Dst => "dst",
            };
            StepJson::Translated { hook: word(hook), manip, undone: *undone, before, after }
        }
        Step::PortChanged { hook, before, after } => {
            let (before, after) = Changes::between(view, hook.manip(), *before, *after);
            StepJson::PortChanged { hook: word(hook), before, after }
        }
        Step::Route(route) => route_json(route),
        Step::SourceCheck { why } => StepJson::SourceCheck { why: why.word() },
        Step::Ttl(ttl) => StepJson::Ttl { ttl: *ttl },
        Step::Answered { icmp } => StepJson::Answered {
            icmp: icmp.map(|(kind, code)| IcmpKind { r#type: kind, code }),
            reset: icmp.is_none(),
        },
        Step::Socket { listening, process } => {
            StepJson::Socket { listening: *listening, process: process.clone() }
        }
        Step::OfSocket => StepJson::OfSocket,
        Step::Bridged { in_port, out_port, stopped } => StepJson::Bridged {
            in_port: in_port.map(|port| port.to_string()),
            out_port: out_port.map(|port| port.to_string()),
            stopped: stopped.map(|by| by.to_string()),
        },
        Step::Confirmed { original, reply } => StepJson::Confirmed {
            original: TupleJson::new(view, (*original).into()),
            reply: TupleJson::new(view, (*reply).into()),
        },
        Step::Assumed(assumption) => StepJson::Assumed { text: assumption.to_string() },
        Step::Ended { outcome, why } => {
            StepJson::Ended { outcome: outcome.word(), why: why.map(natpath_engine::trace::Why::word) }
        }
    }
}

fn route_json(route: &RouteStep) -> StepJson {
    let found = route.found.as_ref();
    StepJson::Route {
        destination: route.destination.to_string(),
        r#type: found.map(|found| found.kind.name()),
        table: found.map(|found| table_word(found.table)),
        policy_rule: found.map(|found| found.rule),
        prefix: found.map(|found| found.prefix.to_string()),
        via: found.and_then(|found| found.gateway).map(|gateway| gateway.to_string()),
        dev: found.and_then(|found| found.interface).map(|name| name.to_string()),
        line: found.map(|found| found.line).filter(|line| *line > 0),
        source: route.source.map(|source| source.to_string()),
        again: route.again,
    }
}

/// A routing table as `ip route` names it.
fn table_word(table: u32) -> String {
    match table {
        table_id::MAIN => "main".to_owned(),
        table_id::LOCAL => "local".to_owned(),
        table_id::DEFAULT => "default".to_owned(),
        number => number.to_string(),
    }
}

/// The chain that a jump or goto leads to, or the port of the socket that TPROXY looks for.
fn target(view: &View<'_>, place: Place, rule: RuleRef, effect: Effect) -> Option<String> {
    match effect {
        Effect::Jump(chain) | Effect::Goto(chain) => {
            Some(ChainName::new(view, place, rule.table, chain).chain)
        }
        Effect::Tproxy { port, .. } | Effect::NoProxy(port) => Some(port.to_string()),
        _ => None,
    }
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Original => "original",
        Direction::Reply => "reply",
    }
}

fn states(state: CtStates) -> Vec<&'static str> {
    CtStates::NAMES.iter().filter(|(_, bit)| state.0 & bit.0 != 0).map(|(name, _)| *name).collect()
}
