//! A snapshot's directory with a `flows` file, as a scenario.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use natpath_formats::flows::{self, FlowAction};
use natpath_formats::snapshot;
use natpath_model::Severity;

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
    let steps = lines
        .into_iter()
        .map(|line| Step {
            line: line.line,
            text: line.text,
            action: Action::Flow(line.action),
            expected: Vec::new(),
        })
        .filter(|step| !matches!(step.action, Action::Flow(FlowAction::Load { .. })))
        .collect();
    Ok(Scenario { title: file.clone(), file, text, rows: Vec::new(), network, steps, counters: None })
}
