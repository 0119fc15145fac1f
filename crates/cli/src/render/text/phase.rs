//! The steps of a hop gathered into phases: all that happens in one base chain is one phase, quiet chains
//! of one hook are one phase together, and every other step that is worth a line is one of its own.

use natpath_engine::trace::{Assumption, ChainEnd, Effect, Hop, Outcome, Step, Why};
use natpath_model::{CtStates, Hook, RouteType, RuleRef};

/// How much of a hop is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Only what changed or stopped the packet: the way back.
    Brief,
    /// What decided.
    Normal,
    /// Every rule that was tried, and connection tracking.
    Verbose,
}

/// A part of a hop that gets lines of its own.
#[derive(Debug)]
pub(crate) enum Phase<'a> {
    /// A base chain in which something happened.
    Chain(ChainPhase<'a>),
    /// Base chains of one hook in which nothing did.
    Quiet(Vec<ChainPhase<'a>>),
    /// Another step.
    Step(&'a Step),
}

/// What happened in one base chain.
#[derive(Debug)]
pub(crate) struct ChainPhase<'a> {
    /// The hook.
    pub(crate) hook: Hook,
    /// The number of the table.
    pub(crate) table: u32,
    /// The chain's own step, if the engine gave one.
    pub(crate) summary: Option<&'a Step>,
    /// Rules that applied, missed or were not reached, in order.
    pub(crate) rules: Vec<&'a Step>,
}

impl ChainPhase<'_> {
    /// The number of rules that were tried and of those that applied.
    pub(crate) fn counts(&self) -> (u32, u32) {
        match self.summary {
            Some(Step::Chain { tried, matched, .. }) => (*tried, *matched),
            _ => (0, 0),
        }
    }

    /// Whether the chain's policy dropped the packet.
    pub(crate) fn dropped_by_policy(&self) -> bool {
        matches!(self.summary, Some(Step::Chain { end: ChainEnd::PolicyDrop, .. }))
    }

    /// The rule that ended the walk and of which no step tells: a translation that was not set up.
    pub(crate) fn decided_in_silence(&self) -> Option<RuleRef> {
        let Some(Step::Chain { end: ChainEnd::Rule(at), .. }) = self.summary else { return None };
        let told = |step: &&Step| matches!(step, Step::Rule { rule, .. } if rule == at);
        (!self.rules.iter().any(told)).then_some(*at)
    }

    fn is_quiet(&self, depth: Depth) -> bool {
        depth != Depth::Verbose
            && !self.dropped_by_policy()
            && self.decided_in_silence().is_none()
            && !self.rules.iter().any(|step| is_worth_a_line(step, depth))
    }
}

/// Whether a rule's step is shown at this depth.
pub(crate) fn is_worth_a_line(step: &Step, depth: Depth) -> bool {
    match (step, depth) {
        (Step::Rule { .. } | Step::Miss { .. } | Step::NotReached { .. }, Depth::Verbose) => true,
        (Step::Rule { effect, .. }, Depth::Normal) => match effect {
            Effect::Counted | Effect::Return | Effect::Jump(_) | Effect::Goto(_) | Effect::Log => false,
            Effect::Mark(from, to) | Effect::Connmark(from, to) => from != to,
            Effect::Tos(from, to) | Effect::Ttl(from, to) => from != to,
            _ => true,
        },
        (Step::Rule { effect, before, after, .. }, Depth::Brief) => {
            before != after
                || matches!(effect, Effect::Drop | Effect::NoProxy(_) | Effect::Reject | Effect::Unknown)
        }
        (Step::NotReached { .. }, Depth::Normal) => true,
        _ => false,
    }
}

/// The phases of a hop, in order.
pub(crate) fn phases(hop: &Hop, depth: Depth) -> Vec<Phase<'_>> {
    let mut phases = Vec::new();
    for step in &hop.steps {
        match step {
            Step::Chain { hook, table, .. } => {
                let chain = open_chain(&mut phases, *hook, *table, true);
                chain.summary = Some(step);
            }
            Step::Rule { hook, rule, .. }
            | Step::Miss { hook, rule, .. }
            | Step::NotReached { hook, rule, .. } => {
                open_chain(&mut phases, *hook, rule.table, false).rules.push(step);
            }
            _ if is_shown(step, hop, depth) => phases.push(Phase::Step(step)),
            _ => {}
        }
    }
    merge_quiet(phases, depth)
}

/// The phase of a base chain: the last one of that table and hook, or a fresh one where there is none or
/// where it has a summary of its own and `fresh_summary` brings another.
fn open_chain<'p, 'a>(
    phases: &'p mut Vec<Phase<'a>>,
    hook: Hook,
    table: u32,
    fresh_summary: bool,
) -> &'p mut ChainPhase<'a> {
    let last = phases.iter().rposition(|phase| matches!(phase, Phase::Chain(_)));
    let reuse = last.filter(|last| match &phases[*last] {
        Phase::Chain(chain) => {
            chain.hook == hook && chain.table == table && !(fresh_summary && chain.summary.is_some())
        }
        Phase::Quiet(_) | Phase::Step(_) => false,
    });
    let at = reuse.unwrap_or_else(|| {
        // A rule's answer to the sender is made while the rule runs, but reads better after it.
        let answered = matches!(phases.last(), Some(Phase::Step(Step::Answered { .. })));
        let at = phases.len() - usize::from(answered);
        phases.insert(at, Phase::Chain(ChainPhase { hook, table, summary: None, rules: Vec::new() }));
        at
    });
    match &mut phases[at] {
        Phase::Chain(chain) => chain,
        Phase::Quiet(_) | Phase::Step(_) => unreachable!("only chain phases are opened"),
    }
}

fn merge_quiet(phases: Vec<Phase<'_>>, depth: Depth) -> Vec<Phase<'_>> {
    let mut merged: Vec<Phase<'_>> = Vec::with_capacity(phases.len());
    for phase in phases {
        let chain = match phase {
            Phase::Chain(chain) if chain.is_quiet(depth) => chain,
            other => {
                merged.push(other);
                continue;
            }
        };
        if depth == Depth::Brief || chain.counts().0 == 0 {
            continue;
        }
        match merged.last_mut() {
            Some(Phase::Quiet(quiet)) if quiet[0].hook == chain.hook => quiet.push(chain),
            _ => merged.push(Phase::Quiet(vec![chain])),
        }
    }
    merged
}

/// Whether a step that is no rule's is shown.
fn is_shown(step: &Step, hop: &Hop, depth: Depth) -> bool {
    if depth == Depth::Verbose {
        return true;
    }
    match step {
        Step::Conntrack { state, entry, .. } => {
            let odd = state.0 & (CtStates::INVALID.0 | CtStates::UNTRACKED.0) != 0;
            odd || (depth == Depth::Normal && entry.is_some())
        }
        Step::Route(route) => {
            let kind = route.found.as_ref().map(|found| found.kind);
            depth == Depth::Normal || !matches!(kind, Some(RouteType::Unicast | RouteType::Local))
        }
        Step::Socket { .. } => depth == Depth::Normal,
        Step::Ended { outcome, why } => !is_said_already(hop, *outcome, *why),
        Step::Ttl(_) | Step::Confirmed { .. } => false,
        Step::Bridged { stopped, .. } => depth == Depth::Normal || stopped.is_some(),
        // An ICMP error of this host's has nothing to translate but the header it quotes.
        Step::Translated { before, after, .. } => before != after,
        Step::PortChanged { .. } | Step::SourceCheck { .. } | Step::Answered { .. } | Step::OfSocket => true,
        // The others stand at the end; this one changes what the rules around it mean.
        Step::Assumed(Assumption::Opaque { .. }) => true,
        Step::Assumed(_) => end(hop).is_some_and(|(outcome, _)| outcome == Outcome::Undecided),
        Step::Chain { .. } | Step::Rule { .. } | Step::Miss { .. } | Step::NotReached { .. } => false,
    }
}

/// Whether another step of the hop says how the packet ended.
fn is_said_already(hop: &Hop, outcome: Outcome, why: Option<Why>) -> bool {
    let is_doubt = |step: &Step| matches!(step, Step::Assumed(_));
    matches!(outcome, Outcome::Delivered | Outcome::NoListener)
        || outcome == Outcome::Undecided && hop.steps.iter().any(is_doubt)
        || hop.steps.iter().any(|step| match step {
            Step::Rule { effect, .. } => {
                matches!(effect, Effect::Drop | Effect::NoProxy(_) | Effect::Reject)
            }
            Step::Chain { end: ChainEnd::PolicyDrop, .. } => true,
            Step::Chain { end: ChainEnd::Rule(_), .. } => why == Some(Why::RedirectNoAddress),
            Step::SourceCheck { .. } | Step::Answered { .. } | Step::OfSocket => true,
            Step::Bridged { stopped, .. } => stopped.is_some(),
            Step::Route(route) => match &route.found {
                None => outcome == Outcome::NoRoute || why.is_some(),
                Some(found) => {
                    let refused = matches!(why, Some(Why::RouteType | Why::Errno("EINVAL" | "EACCES")));
                    (refused || outcome == Outcome::NoRoute)
                        && !matches!(found.kind, RouteType::Unicast | RouteType::Local)
                }
            },
            _ => false,
        })
}

/// How the packet ended in a hop, if it did.
pub(crate) fn end(hop: &Hop) -> Option<(Outcome, Option<Why>)> {
    hop.steps.iter().rev().find_map(|step| match step {
        Step::Ended { outcome, why } => Some((*outcome, *why)),
        _ => None,
    })
}
