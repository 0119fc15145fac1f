//! A snapshot's directory with a `flows` file, as a scenario. Dumps to load are found from that directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use natpath_formats::flows::{self, FlowAction, FlowLine};
use natpath_formats::snapshot::{self, Dump};
use natpath_model::{Network, Severity};

use crate::scenario::{Action, Scenario, Step};

/// Reads a network's directory with its `flows` file as a scenario that expects nothing.
///
/// # Errors
/// If the network or the flows can't be read.
pub fn read(directory: &Path) -> Result<Scenario> {
    let network = snapshot::read_network(directory).map_err(|error| anyhow::anyhow!("{error}"))?;
    let path = directory.join("flows");
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let file = path.display().to_string();
    let (lines, diagnostics) = flows::parse(&text, &file);
    if let Some(fault) = diagnostics.iter().find(|found| found.severity == Severity::Error) {
        bail!("{fault}");
    }
    scenario(network, &file, directory, lines)
}

/// Flows through a network as a scenario that expects nothing. Dumps that `load` lines name are in `directory`.
///
/// # Errors
/// If such a dump can't be read.
pub fn scenario(network: Network, file: &str, directory: &Path, lines: Vec<FlowLine>) -> Result<Scenario> {
    let step = |line: FlowLine| Step {
        line: line.line,
        text: line.text,
        action: Action::Flow(line.action),
        expected: Vec::new(),
    };
    let steps: Vec<Step> = lines.into_iter().map(step).collect();
    let mut scenario = Scenario {
        title: file.to_owned(),
        file: file.to_owned(),
        text: String::new(),
        rows: Vec::new(),
        network,
        dumps: dumps(directory, &steps)?,
        loads: BTreeMap::new(),
        steps,
        counters: None,
    };
    scenario.resolve_loads()?;
    Ok(scenario)
}

/// Reads all dumps that `load` lines name.
fn dumps(directory: &Path, steps: &[Step]) -> Result<BTreeMap<String, Vec<Dump>>> {
    let mut dumps = BTreeMap::new();
    for step in steps {
        let Action::Flow(FlowAction::Load { files, .. }) = &step.action else { continue };
        for file in files {
            dumps.insert(file.clone(), Dump::read(&directory.join(file))?);
        }
    }
    Ok(dumps)
}
