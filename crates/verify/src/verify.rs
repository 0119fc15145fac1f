//! Rebuilds a recorded network, sends flows through it and says where the prediction parts from the kernel.

use anyhow::{Context, Result, bail};
use natpath_model::Backend;

use crate::compare::{self, Compared};
use crate::judge::{engine, kernel};
use crate::kernel::World;
use crate::scenario::Scenario;
use crate::whole;

/// How the prediction fared.
#[derive(Debug)]
pub struct Report {
    /// What of the recorded network is rebuilt as something else, or not at all.
    pub notes: Vec<String>,
    /// What both say of each flow.
    pub flows: Vec<Compared>,
    /// The number of rules whose packets were counted.
    pub rules: usize,
    /// Where the counters of rules differ.
    pub counters: Vec<String>,
}

impl Report {
    /// Whether the kernel did nothing that was not predicted.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let open = self.flows.iter().any(Compared::is_undecided);
        self.flows.iter().all(|flow| flow.taken.is_some() || flow.is_undecided())
            && (open || self.counters.is_empty())
    }
}

/// Rebuilds a network on this machine, sends its flows and compares. Says before each flow which it is, from 0.
///
/// # Errors
/// If the network can't be rebuilt here, or a flow can't be traced or sent.
pub fn verify(scenario: &Scenario, begins: impl FnMut(usize)) -> Result<Report> {
    for host in &scenario.network.hosts {
        if host.ruleset.tables.iter().any(|table| table.backend == Backend::Nft) {
            bail!("{}: tables that nft made are not rebuilt", host.name);
        }
    }
    let said = engine::run(scenario)?;
    let whole = whole::make(scenario, &said.traces);
    let world = World::build(&whole.scenario.network).context("the network can't be rebuilt here")?;
    let mut run = kernel::play(&whole.scenario, &world, begins)?;
    for seen in &mut run.seen {
        *seen = seen.take().map(|seen| whole.told(seen));
    }
    let said = engine::run_along(scenario, &run.seen)?;
    let (flows, differences) = compare::all(scenario, &said, &run);
    let rules = run.counters.iter().map(std::collections::BTreeMap::len).sum();
    let notes = whole.notes.iter().chain(&world.missing).cloned().collect();
    Ok(Report { notes, flows, rules, counters: differences })
}
