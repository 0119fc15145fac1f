//! Asks the kernel.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use natpath_formats::flows::FlowAction;

use super::KernelRun;
use crate::kernel::{World, rules};
use crate::observe::{Observation, SeenClosing};
use crate::scenario::{Action, Scenario};
use crate::traffic::Stage;

/// Builds the scenario's network, sends its flows and reads what came of them.
///
/// # Errors
/// If the network can't be built or a flow can't be sent; what the kernel does with it is no error.
pub fn run(scenario: &Scenario) -> Result<KernelRun> {
    let world = World::build(&scenario.network)?;
    if let [first, ..] = &world.missing[..] {
        bail!("{first}");
    }
    play(scenario, &world, |_| {})
}

/// Sends a scenario's flows through a network that runs; says before each step which it is, from 0.
///
/// # Errors
/// If a flow can't be sent; what the kernel does with it is no error.
pub fn play(scenario: &Scenario, world: &World, mut begins: impl FnMut(usize)) -> Result<KernelRun> {
    let mut stage = Stage::open(world, &scenario.network)?;
    let mut run = KernelRun { seen: Vec::new(), closings: Vec::new(), counters: Vec::new() };
    for (index, step) in scenario.steps.iter().enumerate() {
        begins(index);
        let seen = act(&mut stage, scenario, index)
            .with_context(|| format!("{}:{}: {}", scenario.file, step.line, step.text))?;
        run.seen.push(seen.0);
        run.closings.push(seen.1);
    }
    run.counters = scenario
        .last_hosts()
        .zip(&world.hosts)
        .map(|(host, namespace)| rules::counters(namespace, host))
        .collect::<Result<_>>()?;
    Ok(run)
}

/// What is seen of a step: of a flow, or of the end of a connection.
pub type Seen = (Option<Observation>, Option<SeenClosing>);

/// Takes one of a scenario's steps, by its place among them.
///
/// # Errors
/// If it can't be taken; what the kernel does with it is no error.
pub fn act(stage: &mut Stage<'_>, scenario: &Scenario, index: usize) -> Result<Seen> {
    let step = scenario.steps.get(index).context("there is no such step")?;
    let action = match &step.action {
        Action::Packet(packet) => return stage.packet(packet).map(|seen| (Some(seen), None)),
        Action::Flow(action) => action,
    };
    match action {
        FlowAction::Flow(flow) => return stage.flow(flow).map(|seen| (Some(seen), None)),
        FlowAction::More { id, side } => return stage.more(id, *side).map(|seen| (Some(seen), None)),
        FlowAction::Close { id, how } => return stage.close(id, *how).map(|seen| (None, Some(seen))),
        FlowAction::Wait(time) => stage.wait(Duration::from_millis(*time)),
        FlowAction::Load { files, .. } => {
            let after = scenario.loads.get(&index).context("the rules to load were not read")?;
            stage.load(&after.host, &scenario.dumps_named(files)?)?;
        }
        FlowAction::Forget { host, protocol, src, dst } => stage.forget(host, *protocol, *src, *dst)?,
    }
    Ok((None, None))
}
