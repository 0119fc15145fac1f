//! `natpath inspect`: what was read from each file of a snapshot, and what could not be.

mod json;
mod text;

use std::process::ExitCode;

use anyhow::Result;
use natpath_formats::snapshot::{Accounted, Inspection, inspect_network};

use super::print;
use super::snapshot::running_host;
use crate::UNUSABLE;
use crate::args::InspectArguments;

/// Runs the command.
pub(crate) fn run(arguments: &InspectArguments) -> Result<ExitCode> {
    let inspection = match &arguments.net {
        Some(dir) => inspect_network(dir)?,
        None => inspect_network(running_host()?.path())?,
    };
    let shown = match arguments.json {
        true => json::render(&inspection)?,
        false => text::render(&inspection, arguments.verbose),
    };
    print(shown.as_bytes())?;
    if is_unreadable(&inspection) {
        anstream::eprintln!("natpath: no file of any host can be read");
        return Ok(ExitCode::from(UNUSABLE));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there are errors and nothing else.
fn is_unreadable(inspection: &Inspection) -> bool {
    let files = || inspection.hosts.iter().flatten();
    let reads = |account: &Accounted| account.items > 0 || (account.total == 0 && account.errors.is_empty());
    files().any(|account| !account.errors.is_empty()) && !files().any(reads)
}
