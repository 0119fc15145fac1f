//! The lines of a hop: number, what was asked, what it answered, and below it the rule in its own words.

use natpath_engine::trace::{Effect, Header, Hop, NotReached, Place, Step};
use natpath_model::{Manip, RouteType};

use super::calls::Calls;
use super::phase::{ChainPhase, Depth, Phase, is_worth_a_line, phases};
use super::style::{bad, dim, note};
use super::wrap::GLUE;
use super::{phase, quiet, step, taken, words};
use crate::render::miss;
use crate::render::odds::Odds;
use crate::render::view::{RuleView, View};

/// A line of a hop, with what stands below it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whether it gets a number: the first line of each phase does.
    pub(crate) numbered: bool,
    /// What was asked: a table and chain, the routes, a socket.
    pub(crate) label: String,
    /// What it answered.
    pub(crate) text: String,
    /// How the rule came to be asked.
    pub(crate) by: Vec<String>,
    /// The rule, which is never broken into lines: a reader looks for it in a file.
    pub(crate) rule: Option<String>,
}

/// The lines of a hop. On the way back a hop where nothing happened shows where it sends the answer.
pub(crate) fn lines(view: &View<'_>, hop: &Hop, depth: Depth) -> Vec<Line> {
    let mut lines = Vec::new();
    for phase in phases(hop, depth) {
        match phase {
            Phase::Chain(chain) => lines.extend(chain_lines(view, hop, &chain, depth)),
            Phase::Quiet(chains) => lines.push(quiet_line(view, hop.host, &chains)),
            Phase::Step(step) => lines.extend(step::line(view, hop, step)),
        }
    }
    if lines.is_empty() && depth == Depth::Brief {
        let ways = hop.steps.iter().filter(|step| is_way_out(step));
        lines.extend(ways.filter_map(|step| step::line(view, hop, step)));
    }
    lines
}

fn is_way_out(step: &Step) -> bool {
    match step {
        Step::Route(route) => route.found.as_ref().is_some_and(|found| found.kind == RouteType::Unicast),
        Step::Bridged { .. } => true,
        _ => false,
    }
}

/// `raw, mangle PREROUTING   no rule matches (4 tried)`.
fn quiet_line(view: &View<'_>, host: Place, chains: &[ChainPhase<'_>]) -> Line {
    let mut tables: Vec<_> = chains.iter().map(|chain| table_name(view, host, chain.table)).collect();
    // `legacy raw, mangle PREROUTING`: what a kind of tables has in common is said once.
    for index in (1..tables.len()).rev() {
        if let (Some((kind, _)), Some((other, name))) =
            (tables[index - 1].split_once(' '), tables[index].split_once(' '))
            && kind == other
        {
            tables[index] = name.to_owned();
        }
    }
    let label = format!("{} {}", tables.join(", "), chains[0].hook.chain_name());
    Line { numbered: true, label, text: dim(&quiet::text(view, host, chains)), ..Line::default() }
}

fn chain_lines(view: &View<'_>, hop: &Hop, chain: &ChainPhase<'_>, depth: Depth) -> Vec<Line> {
    let host = hop.host;
    let mut lines = Vec::new();
    let mut calls = Calls::default();
    let mut reached = None;
    for step in &chain.rules {
        if let Step::Rule { rule, .. } | Step::Miss { rule, .. } | Step::NotReached { rule, .. } = step {
            calls.enter(*rule);
            if is_worth_a_line(step, depth)
                && let Some(at) = view.rule(host, *rule)
            {
                if !matches!(step, Step::NotReached { .. }) {
                    reached = reached.or(Some(lines.len()));
                }
                let mut line =
                    rule_line(view, host, chain, &at, &calls, rule_text(view, host, step, &at, depth));
                if matches!((step, depth), (Step::Rule { .. }, Depth::Normal)) {
                    line.by.extend(by_chance(view, &at, &calls));
                }
                lines.push(line);
            }
        }
        calls.pass(view, host, step);
    }
    if let Some(rule) = chain.decided_in_silence()
        && let Some(at) = view.rule(host, rule)
    {
        calls.enter(rule);
        let end = phase::end(hop).map(|(outcome, why)| bad(&words::ended(outcome, why)));
        let text = end.unwrap_or_else(|| "translates nothing".to_owned());
        reached = reached.or(Some(lines.len()));
        lines.push(rule_line(view, host, chain, &at, &calls, text));
    }
    if chain.dropped_by_policy() {
        let label = format!("{} {}", table_name(view, host, chain.table), chain.hook.chain_name());
        let text = format!("{} by the chain's policy ({} tried)", bad("DROP"), chain.counts().0);
        reached = reached.or(Some(lines.len()));
        lines.push(Line { label, text, ..Line::default() });
    } else if lines.is_empty() {
        lines.push(quiet_line(view, host, std::slice::from_ref(chain)));
    }
    if let Some(first) = reached.and_then(|at| lines.get_mut(at)) {
        first.numbered = true;
    }
    lines
}

/// What became of a packet at a rule.
fn rule_text(view: &View<'_>, host: Place, step: &Step, rule: &RuleView<'_>, depth: Depth) -> String {
    match step {
        Step::Rule { effect, before, after, .. } => {
            let text = effect_text(view, host, rule, *effect, *before, *after);
            match Odds::of_rule(rule.rule).filter(|_| depth == Depth::Verbose) {
                Some(odds) => format!("{text}, {}: taken", chance(odds)),
                None => text,
            }
        }
        Step::Miss { failed, .. } => dim(&miss_text(rule, *failed)),
        Step::NotReached { why, .. } => not_reached(view, host, *why),
        _ => String::new(),
    }
}

fn rule_line(
    view: &View<'_>,
    host: Place,
    chain: &ChainPhase<'_>,
    rule: &RuleView<'_>,
    calls: &Calls,
    mut text: String,
) -> Line {
    text += &made_by(rule, &text);
    let mut label = format!("{} {}", table_name(view, host, chain.table), chain.hook.chain_name());
    let mut by = Vec::new();
    if rule.is_in_base_chain() {
        label += &format!(" #{}", rule.number);
    } else {
        // A rule that was not reached was not called either, and has its own chain only.
        let names = Some(calls.names()).filter(|names| !names.is_empty());
        let names = names.as_ref().unwrap_or(&rule.chain.name);
        by.push(dim(&format!("by {names}{GLUE}#{}", rule.number)));
    }
    Line { numbered: false, label, text, by, rule: Some(dim(&format!("{}  {}", rule.place(), rule.text))) }
}

/// The program that made a rule, as a remark on what became of a packet there: an endpoint that this says is
/// not said again.
fn made_by(rule: &RuleView<'_>, text: &str) -> String {
    let Some(known) = rule.provenance().map(|known| known.to_string()) else { return String::new() };
    let short = match known.split_once(", endpoint ") {
        Some((service, endpoint)) if text.contains(endpoint) => service,
        Some(_) | None => &known,
    };
    dim(&format!("  ({})", short.replace(' ', GLUE)))
}

/// What chance had to do with a rule, where another course was possible.
fn by_chance(view: &View<'_>, rule: &RuleView<'_>, calls: &Calls) -> Option<String> {
    let odds = calls.odds(rule.rule).filter(|_| view.path.probability < 1.0)?;
    let how = if odds.in_turns { "in turns" } else { "by chance" };
    Some(dim(&format!("{how}, {}", words::percent(odds.share))))
}

/// Why a rule did not apply.
fn miss_text(rule: &RuleView<'_>, failed: u32) -> String {
    match rule.rule.matches.get(failed as usize).and_then(Odds::of) {
        Some(odds) => format!("{}: not taken", chance(odds)),
        None => format!("does not match: {}", miss::failed(rule, failed)),
    }
}

/// `chance, 50 %`.
fn chance(odds: Odds) -> String {
    format!("{}, {}", if odds.in_turns { "in turns" } else { "chance" }, words::percent(odds.share))
}

/// What a rule did.
fn effect_text(
    view: &View<'_>,
    host: Place,
    rule: &RuleView<'_>,
    effect: Effect,
    before: Header,
    after: Header,
) -> String {
    let to = |word: &str, side| {
        let (old, new) = match side {
            Manip::Src => (view.src(before), view.src(after)),
            Manip::Dst => (view.dst(before), view.dst(after)),
        };
        if old == new && before == after {
            format!("{word}, still {new}")
        } else {
            format!("{word} → {new}")
        }
    };
    let changed = if before.src == after.src { Manip::Dst } else { Manip::Src };
    let chain = |id: natpath_model::ChainId| match rule.table.chains.get(id.0 as usize) {
        Some(chain) => chain.name.clone(),
        None => view.place(host),
    };
    match effect {
        Effect::Counted => "counted".to_owned(),
        Effect::Accept => "ACCEPT".to_owned(),
        Effect::Drop => bad("DROP"),
        Effect::Reject => bad("REJECT"),
        Effect::Return => "RETURN".to_owned(),
        Effect::Jump(target) => format!("to {}", chain(target)),
        Effect::Goto(target) => format!("to {} for good", chain(target)),
        Effect::Log => "LOG".to_owned(),
        Effect::Mark(from, to) => format!("MARK {from:#x} → {to:#x}"),
        Effect::Connmark(from, to) => format!("CONNMARK {from:#x} → {to:#x}"),
        Effect::Tos(from, to) => format!("TOS {from:#04x} → {to:#04x}"),
        Effect::Ttl(from, to) => format!("TTL {from} → {to}"),
        Effect::Set => "SET".to_owned(),
        Effect::Tproxy { port, mark: (from, to) } if from == to => format!("TPROXY → socket on port {port}"),
        Effect::Tproxy { port, mark: (from, to) } => {
            format!("TPROXY → socket on port {port}, MARK {from:#x} → {to:#x}")
        }
        Effect::NoProxy(port) => bad(&format!("DROP: no transparent socket on port {port}")),
        Effect::Notrack => note("NOTRACK: no connection tracking, so no translation"),
        Effect::Zone(zone) => format!("zone {}", zone.0),
        Effect::Dnat => to("DNAT", Manip::Dst),
        Effect::Redirect => to("REDIRECT", Manip::Dst),
        Effect::Snat => to("SNAT", Manip::Src) + &taken::by_rule(view, rule, before, after),
        Effect::Masquerade => to("MASQUERADE", Manip::Src) + &taken::by_rule(view, rule, before, after),
        Effect::Netmap => to("NETMAP", changed),
        Effect::Unknown => note("matches, with an effect that natpath does not know"),
    }
}

fn not_reached(view: &View<'_>, host: Place, why: NotReached) -> String {
    let reason = match why {
        NotReached::TranslatedBy(by) => match view.rule(host, by) {
            Some(by) => format!("{} has translated this connection already", by.place()),
            None => "this connection is translated already".to_owned(),
        },
        NotReached::DecidedEarlier => "the connection's first packet decided its translation".to_owned(),
        NotReached::NotTracked => "the packet is not tracked".to_owned(),
        NotReached::MadeHere => "made on this host, so OUTPUT decided, not PREROUTING".to_owned(),
    };
    format!("{}: {reason}", note("NOT REACHED"))
}

pub(crate) fn table_name(view: &View<'_>, host: Place, table: u32) -> String {
    view.table(host, table).map_or_else(|| format!("table {table}"), words::table)
}
