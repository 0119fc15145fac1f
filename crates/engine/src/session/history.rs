//! The courses that all flows so far may have taken, and the paths that they are joined into.

use super::{History, MAX_HISTORIES, Session};
use crate::explore::Leaf;
use crate::finding::{self, Evidence};
use crate::flow::{self, Act, Start};
use crate::trace::{Assumption, FlowTrace, Path, PathResult};

impl Session<'_> {
    /// Joins the courses of all histories into paths, and makes the histories of the next flow.
    pub(super) fn gather(&mut self, start: &Start<'_>, leaves: Vec<(usize, Leaf)>) -> FlowTrace {
        let mut results: Vec<PathResult> = Vec::new();
        let mut kinds: Vec<usize> = Vec::with_capacity(leaves.len());
        for (_, leaf) in &leaves {
            let kind = results.iter().position(|known| *known == leaf.run.result).unwrap_or_else(|| {
                results.push(leaf.run.result.clone());
                results.len() - 1
            });
            kinds.push(kind);
        }
        let needed = self.needed_flows(&leaves, &kinds, results.len());
        // 1) A path for each result, given the earlier paths it depends on.
        let mut groups: Vec<(Vec<Option<String>>, usize, Vec<usize>)> = Vec::new();
        for (index, (history, _)) in leaves.iter().enumerate() {
            let given: Vec<_> =
                needed.iter().map(|flow| self.histories[*history].paths[*flow].clone()).collect();
            match groups.iter_mut().find(|(known, kind, _)| *known == given && *kind == kinds[index]) {
                Some((.., members)) => members.push(index),
                None => groups.push((given, kinds[index], vec![index])),
            }
        }
        let joint = |index: usize| self.histories[leaves[index].0].probability * leaves[index].1.probability;
        let mut groups: Vec<_> = groups
            .into_iter()
            .map(|(given, _, members)| {
                (members.iter().map(|index| joint(*index)).sum::<f64>(), given, members)
            })
            .collect();
        groups.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut ids = vec![String::new(); leaves.len()];
        let mut paths = Vec::new();
        for (number, (probability, given, members)) in groups.iter().enumerate() {
            let id = format!("{}.{}", self.flows, number + 1);
            members.iter().for_each(|index| ids[*index].clone_from(&id));
            let leaf = &leaves[members[0]].1;
            let given = given.iter().flatten().cloned().collect();
            paths.push(self.path(start, leaf, id, given, *probability));
        }
        let sent = leaves[0].1.run.sent;
        // 2) The histories that follow.
        self.histories = self.following(leaves, Some(&ids));
        FlowTrace { sent, paths }
    }

    fn path(&self, start: &Start<'_>, leaf: &Leaf, id: String, given: Vec<String>, probability: f64) -> Path {
        let run = &leaf.run;
        let mut assumptions: Vec<Assumption> = run.env.assumptions.iter().cloned().collect();
        if self.cut {
            assumptions.push(Assumption::HistoriesCut { kept: MAX_HISTORIES });
        }
        // What a server sends first on its own is no question whose answer could go astray.
        let findings = if start.act.is_by_client() {
            let is_new = !matches!(start.act, Act::More(..));
            finding::find(&Evidence { world: &self.world, sender: start.sender, run, is_new })
        } else {
            Vec::new()
        };
        let mut result = run.result.clone();
        let mut reply_hops = run.reply.map(|reply| run.journeys[reply].hops.clone()).unwrap_or_default();
        if finding::unmakes(&result, &findings) {
            // Nobody out there has the address, so nobody answers.
            result.works = false;
            result.reply = None;
            reply_hops.clear();
            assumptions.retain(|assumption| !matches!(assumption, Assumption::OutsideAnswers { .. }));
        }
        Path {
            id,
            given,
            probability,
            result,
            hops: run.journeys[0].hops.clone(),
            reply_hops,
            findings,
            assumptions,
            drawn: flow::all_drawn(&run.env.drawn),
        }
    }

    /// The fewest earlier flows whose paths tell how probable each result is.
    fn needed_flows(&self, leaves: &[(usize, Leaf)], kinds: &[usize], results: usize) -> Vec<usize> {
        let mut distributions = vec![vec![0.0; results]; self.histories.len()];
        for ((history, leaf), kind) in leaves.iter().zip(kinds) {
            distributions[*history][*kind] += leaf.probability;
        }
        let explains = |flows: &[usize]| {
            let of = |history: usize| flows.iter().map(move |flow| &self.histories[history].paths[*flow]);
            (0..distributions.len()).all(|a| {
                (0..a).all(|b| {
                    let alike =
                        distributions[a].iter().zip(&distributions[b]).all(|(a, b)| (a - b).abs() < 1e-9);
                    alike || of(a).ne(of(b))
                })
            })
        };
        let mut flows: Vec<usize> = (0..self.flows - 1).collect();
        for flow in (0..self.flows - 1).rev() {
            let fewer: Vec<usize> = flows.iter().copied().filter(|other| *other != flow).collect();
            if explains(&fewer) {
                flows = fewer;
            }
        }
        flows
    }

    /// The histories after a line; `ids` are those of its paths, where it is reported.
    pub(super) fn following(&mut self, leaves: Vec<(usize, Leaf)>, ids: Option<&[String]>) -> Vec<History> {
        let mut histories: Vec<History> = Vec::new();
        for (number, (index, leaf)) in leaves.into_iter().enumerate() {
            let before = &self.histories[index];
            let mut paths = before.paths.clone();
            paths.extend(ids.map(|ids| Some(ids[number].clone())));
            let probability = before.probability * leaf.probability;
            let next = History { probability, paths, state: leaf.run.state };
            match histories.iter_mut().find(|known| known.is_as(&next)) {
                Some(known) => known.join(next),
                None => histories.push(next),
            }
        }
        histories.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        if histories.len() > MAX_HISTORIES {
            histories.truncate(MAX_HISTORIES);
            self.cut = true;
            let total: f64 = histories.iter().map(|history| history.probability).sum();
            histories.iter_mut().for_each(|history| history.probability /= total);
        }
        histories
    }
}

impl History {
    /// Whether nothing tells another history from this one any more. What chance has settled for good tells
    /// them apart if it led to different paths.
    fn is_as(&self, other: &Self) -> bool {
        self.state.is_as(&other.state)
            && (self.state.settled == other.state.settled || self.paths == other.paths)
    }

    fn join(&mut self, other: Self) {
        self.probability += other.probability;
        self.state.settled = self.state.settled.common(&other.state.settled);
        for (known, path) in self.paths.iter_mut().zip(other.paths) {
            if *known != path {
                *known = None;
            }
        }
    }
}
