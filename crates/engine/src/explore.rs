//! All courses of a flow from one history: the run is repeated for each combination of picks.

use crate::choice::{Choices, Pick};
use crate::flow::{self, FlowRun, Start};
use crate::run::State;
use crate::trace::{Assumption, Outcome, PathResult};
use crate::world::World;

/// The most runs of one flow from one history.
const MAX_RUNS: usize = 4096;

/// One course, with its probability in its history.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) probability: f64,
    pub(crate) run: FlowRun,
}

/// Runs a flow for every combination of picks.
pub(crate) fn explore(world: &World<'_>, start: &Start<'_>, state: &State) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut script = Some(Vec::new());
    while let Some(picks) = script {
        let run = flow::run(world, start, state.clone(), Choices::scripted(picks));
        script = run.env.choices.following();
        leaves.push(Leaf { probability: run.env.choices.probability(), run });
        if script.is_some() && leaves.len() >= MAX_RUNS {
            return settle_doubts(cut_short(leaves), true);
        }
    }
    settle_doubts(leaves, false)
}

/// Courses that are not all: they say so, and their probabilities are made to sum to 1.
fn cut_short(mut leaves: Vec<Leaf>) -> Vec<Leaf> {
    let total: f64 = leaves.iter().map(|leaf| leaf.probability).sum();
    for leaf in &mut leaves {
        leaf.probability /= total;
        leaf.run.env.assumptions.insert(Assumption::CoursesCut { tried: MAX_RUNS });
    }
    leaves
}

/// Constructs of unknown effect were tried both ways. Where all ways give the same results they do not
/// matter; otherwise the flow is undecided.
fn settle_doubts(leaves: Vec<Leaf>, incomplete: bool) -> Vec<Leaf> {
    if leaves.iter().all(|leaf| doubts(leaf).is_empty()) {
        return leaves;
    }
    let mut groups: Vec<(Vec<Assumption>, Vec<Leaf>)> = Vec::new();
    for leaf in leaves {
        let doubts = doubts(&leaf);
        match groups.iter_mut().find(|(known, _)| *known == doubts) {
            Some((_, group)) => group.push(leaf),
            None => groups.push((doubts, vec![leaf])),
        }
    }
    let same = !incomplete && groups.windows(2).all(|pair| same_results(&pair[0].1, &pair[1].1));
    let mut asked: Vec<Assumption> = groups.iter().flat_map(|(doubts, _)| doubts.clone()).map(open).collect();
    asked.sort();
    asked.dedup();
    // The first way, where nothing of unknown effect applies, stands for all.
    let mut first = groups.swap_remove(0).1;
    if same {
        return first;
    }
    first.truncate(1);
    for leaf in &mut first {
        leaf.probability = 1.0;
        leaf.run.env.assumptions.extend(asked.clone());
        leaf.run.result.works = false;
        leaf.run.result.broken = None;
        leaf.run.result.end.outcome = Outcome::Undecided;
        leaf.run.result.end.why = None;
        leaf.run.result.end.rule = None;
    }
    first
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

fn same_results(a: &[Leaf], b: &[Leaf]) -> bool {
    let total = |leaves: &[Leaf], result: &PathResult| -> f64 {
        leaves.iter().filter(|leaf| leaf.run.result == *result).map(|leaf| leaf.probability).sum()
    };
    a.iter().chain(b).all(|leaf| {
        let result = &leaf.run.result;
        (total(a, result) - total(b, result)).abs() < 1e-9
    })
}
