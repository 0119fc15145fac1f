//! Asks the kernel.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use natpath_formats::flows::FlowAction;

use super::KernelRun;
use crate::kernel::{World, rules};
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
    let mut stage = Stage::open(&world, &scenario.network)?;
    let mut seen = Vec::new();
    for step in &scenario.steps {
        seen.push(
            act(&mut stage, &step.action)
                .with_context(|| format!("{}:{}: {}", scenario.file, step.line, step.text))?,
        );
    }
    let counters = scenario
        .network
        .hosts
        .iter()
        .zip(&world.hosts)
        .map(|(host, namespace)| rules::counters(namespace, host))
        .collect::<Result<_>>()?;
    Ok(KernelRun { seen, counters })
}

fn act(stage: &mut Stage<'_>, action: &Action) -> Result<Option<crate::observe::Observation>> {
    match action {
        Action::Flow(FlowAction::Flow(flow)) => stage.flow(flow).map(Some),
        Action::Flow(FlowAction::Wait(time)) => {
            stage.wait(Duration::from_millis(*time));
            Ok(None)
        }
        Action::Packet(packet) => stage.packet(packet).map(Some),
        Action::Flow(
            FlowAction::Load { .. }
            | FlowAction::Forget { .. }
            | FlowAction::More { .. }
            | FlowAction::Close { .. },
        ) => bail!("this line is not played on the kernel"),
    }
}
