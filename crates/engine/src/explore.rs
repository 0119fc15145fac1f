//! All courses of a flow from one history: the run is repeated for each combination of picks.

use crate::choice::{Choices, Pick};
use crate::endpoint::Role;
use crate::finding::{self, Evidence};
use crate::flow::{self, FlowRun, Start};
use crate::run::{Beyond, State};
use crate::trace::{Assumption, At, Broken, End, FlowPacket, Hop, Outcome, PathResult, Reply, Step};
use crate::world::World;

/// The most runs of one flow from one history.
const MAX_RUNS: usize = 4096;

/// The most steps that the courses of one line may have together, so that those of a long way (a loop of routes,
/// thousands of rules) don't fill the memory.
pub(crate) const MAX_STEPS: usize = 1 << 22;

/// One course, with its probability in its history.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) probability: f64,
    pub(crate) run: FlowRun,
}

/// Runs a flow for every combination of picks, as far as the courses have no more than so many steps together.
pub(crate) fn explore(world: &World<'_>, start: &Start<'_>, state: &State, max_steps: usize) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut steps = 0;
    let mut script = Some(Vec::new());
    while let Some(picks) = script {
        let run = run(world, start, state, &picks);
        script = run.env.choices.following();
        steps +=
            run.journeys.iter().flat_map(|journey| &journey.hops).map(|hop| hop.steps.len()).sum::<usize>();
        leaves.push(Leaf { probability: run.env.choices.probability(), run });
        if script.is_some() && (leaves.len() >= MAX_RUNS || steps >= max_steps) {
            return settle_doubts(cut_short(leaves), true);
        }
    }
    settle_doubts(leaves, false)
}

/// Runs a flow once. The outside answers, unless a fault shows that it can't.
fn run(world: &World<'_>, start: &Start<'_>, state: &State, picks: &[usize]) -> FlowRun {
    let with = |beyond| flow::run(world, start, state.clone(), Choices::scripted(picks.to_vec()), beyond);
    let run = with(Beyond::Answers);
    // What a server sends on its own asks for no answer.
    let is_unmade = || {
        let found = finding::find(&Evidence { world, sender: start.sender, run: &run });
        finding::unmakes(&run.result, &found)
    };
    if start.act.is_by_client() && run.result.end.outcome == Outcome::Left && is_unmade() {
        with(Beyond::IsSilent)
    } else {
        run
    }
}

/// Courses that are not all: they say so, and their probabilities are made to sum to 1.
fn cut_short(mut leaves: Vec<Leaf>) -> Vec<Leaf> {
    let total: f64 = leaves.iter().map(|leaf| leaf.probability).sum();
    let tried = leaves.len();
    for leaf in &mut leaves {
        leaf.probability /= total;
        leaf.run.env.assumptions.insert(Assumption::CoursesCut { tried });
    }
    leaves
}

/// Constructs of unknown effect were tried both ways. Where all ways give the same results they do not
/// matter; otherwise the flow is undecided.
fn settle_doubts(leaves: Vec<Leaf>, incomplete: bool) -> Vec<Leaf> {
    if leaves.iter().all(|leaf| doubts(leaf).is_empty()) {
        return leaves;
    }
    let same_end = leaves.windows(2).all(|pair| pair[0].run.result.end == pair[1].run.result.end);
    let mut groups: Vec<(Vec<Assumption>, Vec<Leaf>)> = Vec::new();
    for leaf in leaves {
        let doubts = doubts(&leaf);
        match groups.iter_mut().find(|(known, _)| *known == doubts) {
            Some((_, group)) => group.push(leaf),
            None => groups.push((doubts, vec![leaf])),
        }
    }
    let same =
        !incomplete && groups.windows(2).all(|pair| same_results(&results(&pair[0].1), &results(&pair[1].1)));
    let mut asked: Vec<Assumption> = groups.iter().flat_map(|(doubts, _)| doubts.clone()).map(open).collect();
    asked.sort();
    asked.dedup();
    let same_but_marks = !incomplete
        && groups.windows(2).all(|pair| same_results(&unmarked(&pair[0].1), &unmarked(&pair[1].1)));
    // The first way, where nothing of unknown effect applies, stands for all.
    let mut first = groups.swap_remove(0).1;
    if same {
        return first;
    }
    if same_but_marks {
        // What differs is what later packets are told of the connection: they lean on it as well.
        for leaf in &mut first {
            leaf.run.env.assumptions.extend(asked.iter().cloned().map(not_applied));
            leaf.run.state.leans.extend(asked.iter().cloned().map(not_applied));
        }
        return first;
    }
    first.truncate(1);
    for leaf in &mut first {
        leaf.probability = 1.0;
        leaf.run.env.assumptions.extend(asked.clone());
        if same_end {
            leave_answer_open(&mut leaf.run);
        } else {
            leave_open(&mut leaf.run);
        }
    }
    first
}

/// The first packet's course is known up to the doubtful construct.
fn leave_open(run: &mut FlowRun) {
    let (journey, end) = doubtful_end(run);
    if journey == 0 {
        cut_at_doubt(&mut run.journeys[0].hops);
    }
    run.reply = None;
    run.result = PathResult {
        end,
        reply: None,
        works: false,
        broken: None,
        conntrack: Vec::new(),
        drawn: run.result.drawn.clone(),
    };
}

/// Only the answer, or a later packet, meets the doubtful construct.
fn leave_answer_open(run: &mut FlowRun) {
    let (journey, end) = doubtful_end(run);
    let (packet, hops) = match run.journeys[journey].role {
        Role::Needed(packet) => (packet, run.journeys[journey].hops.clone()),
        Role::First | Role::Other => (FlowPacket::Answer, Vec::new()),
    };
    run.result.works = false;
    if packet == FlowPacket::Answer {
        run.result.reply = Some(Reply { end: end.clone(), icmp: None, reset: false });
    }
    run.result.broken = Some(Broken { packet, end, hops });
}

/// Where a packet first met a construct of unknown effect, with the header it had there.
fn doubtful_end(run: &FlowRun) -> (usize, End) {
    for (index, journey) in run.journeys.iter().enumerate() {
        let mut header = None;
        for hop in &journey.hops {
            for step in &hop.steps {
                match step {
                    Step::Rule { after, .. }
                    | Step::Translated { after, .. }
                    | Step::PortChanged { after, .. } => {
                        header = Some(*after);
                    }
                    Step::Assumed(_) => {
                        let at = At { host: hop.host, interface: hop.in_interface };
                        let header = header.unwrap_or(journey.sent);
                        return (
                            index,
                            End { outcome: Outcome::Undecided, why: None, rule: None, at, header },
                        );
                    }
                    _ => {}
                }
            }
        }
    }
    (0, End { outcome: Outcome::Undecided, why: None, rule: None, ..run.result.end.clone() })
}

/// Drops what was only assumed to follow.
fn cut_at_doubt(hops: &mut Vec<Hop>) {
    let doubtful = |step: &Step| matches!(step, Step::Assumed(_));
    let Some(at) = hops.iter().position(|hop| hop.steps.iter().any(doubtful)) else { return };
    hops.truncate(at + 1);
    let hop = &mut hops[at];
    let step = hop.steps.iter().position(doubtful).map_or(hop.steps.len(), |step| step + 1);
    hop.steps.truncate(step);
    hop.out_interface = None;
    hop.steps.push(Step::Ended { outcome: Outcome::Undecided, why: None });
}

fn doubts(leaf: &Leaf) -> Vec<Assumption> {
    leaf.run.env.choices.taken().iter().filter_map(|Pick { assumption, .. }| assumption.clone()).collect()
}

fn open(assumption: Assumption) -> Assumption {
    match assumption {
        Assumption::Opaque { host, construct, place, reason, .. } => {
            Assumption::Opaque { host, construct, place, reason, applies: None }
        }
        other => other,
    }
}

fn not_applied(assumption: Assumption) -> Assumption {
    match assumption {
        Assumption::Opaque { host, construct, place, reason, .. } => {
            Assumption::Opaque { host, construct, place, reason, applies: Some(false) }
        }
        other => other,
    }
}

/// The results of courses with their probabilities.
type Results = Vec<(PathResult, f64)>;

fn results(leaves: &[Leaf]) -> Results {
    leaves.iter().map(|leaf| (leaf.run.result.clone(), leaf.probability)).collect()
}

/// The results without the marks of connections.
fn unmarked(leaves: &[Leaf]) -> Results {
    let mut results = results(leaves);
    for entry in results.iter_mut().flat_map(|(result, _)| &mut result.conntrack) {
        entry.mark = 0;
    }
    results
}

fn same_results(a: &Results, b: &Results) -> bool {
    let total = |results: &Results, result: &PathResult| -> f64 {
        results.iter().filter(|(other, _)| other == result).map(|(_, probability)| probability).sum()
    };
    a.iter().chain(b).all(|(result, _)| (total(a, result) - total(b, result)).abs() < 1e-9)
}
