//! The lines of a hop: number, what was asked, what it answered, and below it the rule in its own words.

use natpath_engine::trace::{Effect, Header, Hop, NotReached, Outcome, Place, RouteStep, Step};
use natpath_model::{Direction, Hook, Manip, RuleRef};

use super::phase::{ChainPhase, Depth, Phase, is_worth_a_line, phases};
use super::style::{bad, dim, note};
use super::words;
use crate::render::miss;
use crate::render::view::{RuleView, View};

/// A line of a hop, with what stands below it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Whether it gets a number: the first line of each phase does.
    pub(crate) numbered: bool,
    /// What was asked: a table and chain, the routes, a socket.
    pub(crate) label: String,
    /// What it answered.
    pub(crate) text: String,
    /// The rule.
    pub(crate) below: Vec<String>,
}

/// The lines of a hop.
pub(crate) fn lines(view: &View<'_>, hop: &Hop, depth: Depth) -> Vec<Line> {
    let mut lines = Vec::new();
    for phase in phases(hop, depth) {
        match phase {
            Phase::Chain(chain) => lines.extend(chain_lines(view, hop.host, &chain, depth)),
            Phase::Quiet(chains) => lines.push(quiet_line(view, hop.host, &chains)),
            Phase::Step(step) => lines.extend(step_line(view, step)),
        }
    }
    lines
}

/// `raw, mangle PREROUTING   no rule matches (4 tried)`.
fn quiet_line(view: &View<'_>, host: Place, chains: &[ChainPhase<'_>]) -> Line {
    let tables: Vec<_> = chains.iter().map(|chain| table_name(view, host, chain.table)).collect();
    let label = format!("{} {}", tables.join(", "), chains[0].hook.chain_name());
    let (tried, matched) = chains
        .iter()
        .map(ChainPhase::counts)
        .fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    let text = match matched {
        0 if tried == 0 => "no rules".to_owned(),
        0 => format!("no rule matches ({tried} tried)"),
        _ => format!("no rule decides ({tried} tried, {matched} matched)"),
    };
    Line { numbered: true, label, text: dim(&text), below: Vec::new() }
}

fn chain_lines(view: &View<'_>, host: Place, chain: &ChainPhase<'_>, depth: Depth) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut calls = Calls::default();
    for step in &chain.rules {
        if let Step::Rule { rule, .. } | Step::Miss { rule, .. } | Step::NotReached { rule, .. } = step {
            calls.enter(*rule);
            if is_worth_a_line(step, depth)
                && let Some(at) = view.rule(host, *rule)
            {
                lines.push(rule_line(view, host, chain, step, &at, &calls));
            }
        }
        if let Step::Rule { rule, effect: Effect::Jump(target) | Effect::Goto(target), .. } = step {
            calls.call(view, host, *rule, *target);
        }
    }
    if chain.dropped_by_policy() {
        let label = format!("{} {}", table_name(view, host, chain.table), chain.hook.chain_name());
        let text = format!("{} by the chain's policy ({} tried)", bad("DROP"), chain.counts().0);
        lines.push(Line { label, text, ..Line::default() });
    } else if lines.is_empty() {
        lines.push(quiet_line(view, host, std::slice::from_ref(chain)));
    }
    if let Some(first) = lines.iter_mut().find(|line| !line.text.contains("NOT REACHED")) {
        first.numbered = true;
    }
    lines
}

/// The user chains between a base chain and the rule at hand.
#[derive(Default)]
struct Calls {
    stack: Vec<(natpath_model::ChainId, String)>,
}

impl Calls {
    /// Leaves the chains that a rule of `rule`'s chain can't be called from.
    fn enter(&mut self, rule: RuleRef) {
        let depth = self.stack.iter().rposition(|(chain, _)| *chain == rule.chain).map_or(0, |at| at + 1);
        self.stack.truncate(depth);
    }

    fn call(&mut self, view: &View<'_>, host: Place, rule: RuleRef, target: natpath_model::ChainId) {
        let chains = view.table(host, rule.table).map(|table| &table.chains);
        if let Some(chain) = chains.and_then(|chains| chains.get(target.0 as usize)) {
            self.stack.push((target, chain.name.clone()));
        }
    }

    fn names(&self) -> String {
        self.stack.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" → ")
    }
}

fn rule_line(
    view: &View<'_>,
    host: Place,
    chain: &ChainPhase<'_>,
    step: &Step,
    rule: &RuleView<'_>,
    calls: &Calls,
) -> Line {
    let text = match step {
        Step::Rule { effect, before, after, .. } => effect_text(view, host, rule, *effect, *before, *after),
        Step::Miss { failed, .. } => dim(&format!("does not match: {}", miss::failed(rule, *failed))),
        Step::NotReached { why, .. } => not_reached(view, host, *why),
        _ => String::new(),
    };
    let mut label = format!("{} {}", table_name(view, host, chain.table), chain.hook.chain_name());
    let mut below = Vec::new();
    if calls.stack.is_empty() {
        label += &format!(" #{}", rule.number);
    } else {
        below.push(dim(&format!("by {}", calls.names())));
    }
    below.push(dim(&format!("{}  ({})", rule.text, rule.place())));
    Line { numbered: false, label, text, below }
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
        Effect::Notrack => note("NOTRACK: no connection tracking, so no translation"),
        Effect::Zone(zone) => format!("zone {}", zone.0),
        Effect::Dnat => to("DNAT", Manip::Dst),
        Effect::Redirect => to("REDIRECT", Manip::Dst),
        Effect::Snat => to("SNAT", Manip::Src),
        Effect::Masquerade => to("MASQUERADE", Manip::Src),
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

fn table_name(view: &View<'_>, host: Place, table: u32) -> String {
    view.table(host, table).map_or_else(|| format!("table {table}"), words::table)
}

/// The line of a step that is no rule's.
fn step_line(view: &View<'_>, step: &Step) -> Option<Line> {
    let line = |label: &str, text: String| {
        Some(Line { numbered: true, label: label.to_owned(), text, below: Vec::new() })
    };
    let at = |what: &str, hook: Hook| format!("{what} {}", hook.chain_name());
    match step {
        Step::Conntrack { hook, state, direction, entry } => {
            let way = match direction {
                Some(Direction::Reply) => ", reply",
                Some(Direction::Original) | None => "",
            };
            let of = entry.map_or(String::new(), |(original, _)| {
                format!(" of a known connection: {}", view.header(original.into()))
            });
            line(&at("conntrack", *hook), format!("{}{way}{of}", words::states(*state)))
        }
        Step::Translated { hook, manip, undone, before, after } => {
            line(&at("nat", *hook), translated(view, *manip, *undone, *before, *after))
        }
        Step::PortChanged { hook, before, after } => {
            let text = format!("source port taken: {} → {}", view.src(*before), view.src(*after));
            line(&at("nat", *hook), text)
        }
        Step::Route(route) => {
            line(if route.again { "route again" } else { "route" }, route_text(view, route))
        }
        Step::SourceCheck { why } => line("source check", bad(&format!("fails: {}", why.word()))),
        Step::Ttl(ttl) => line("time to live", ttl.to_string()),
        Step::Answered { icmp } => line("answers", answered(view, *icmp)),
        Step::Socket { listening, process } => line("socket", socket(*listening, process.as_deref())),
        Step::Confirmed { original, reply } => {
            let text = format!("new: {}, replies {}", view.header((*original).into()), {
                view.header((*reply).into())
            });
            line("conntrack", text)
        }
        Step::Assumed(assumption) => line("assumed", note(&assumption.to_string())),
        Step::Ended { outcome, why } => {
            let why = why.map_or(String::new(), |why| format!(" ({})", why.word()));
            let text = format!("{}{why}", words::ended(*outcome));
            line("ends", if *outcome == Outcome::Left { text } else { bad(&text) })
        }
        Step::Chain { .. } | Step::Rule { .. } | Step::Miss { .. } | Step::NotReached { .. } => None,
    }
}

fn route_text(view: &View<'_>, route: &RouteStep) -> String {
    let text = words::route(route);
    match (route.source, &route.found) {
        (_, None) => bad(&text),
        (Some(source), Some(_)) if view.flow.src.is_none() => format!("{text}, source {source}"),
        (_, Some(_)) => text,
    }
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
