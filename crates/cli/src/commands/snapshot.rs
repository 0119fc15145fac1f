//! `natpath snapshot`: records the running host and all its network namespaces by calling the standard tools,
//! or prints a script that does.

mod namespaces;
mod record;
mod script;
mod tools;
mod topology;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::print;
use crate::args::SnapshotArguments;
use record::{Place, Recorder, add_to, make_directory, say};
use topology::Wires;

/// Runs the command.
pub(crate) fn run(arguments: &SnapshotArguments) -> Result<ExitCode> {
    if let Some(out) = &arguments.out {
        let missing = record(out)?;
        if !missing.is_empty() {
            say(&format!("not installed, so not recorded: {}", missing.join(" ")));
        }
    } else {
        print(script::text().as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Records the running host into a directory that is removed when the value is dropped.
pub(crate) fn running_host() -> Result<TempDir> {
    let directory =
        tempfile::Builder::new().prefix("natpath-").tempdir().context("no temporary directory")?;
    record(directory.path())?;
    Ok(directory)
}

/// Records the running host, and gives back the tools that are not installed.
fn record(out: &Path) -> Result<Vec<String>> {
    if !is_empty(out)? {
        bail!("{} is not an empty directory\n  help: give another, or empty it", out.display());
    }
    make_directory(out)?;
    let mut recorder = Recorder::new();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let node = namespaces::clean(match name.trim() {
        "" => "host",
        name => name,
    });
    let mut wires = Wires::default();
    recorder.host(&node, &Place::Here, &out.join(&node))?;
    wires.note(&recorder, &node, &Place::Here);
    for namespace in namespaces::find(&recorder) {
        let host = format!("{node}/ns/{}", namespace.name);
        let place = Place::Inside(namespace.path);
        recorder.host(&host, &place, &out.join(&node).join("ns").join(&namespace.name))?;
        wires.note(&recorder, &host, &place);
    }
    if let Some(text) = wires.topology() {
        add_to(&out.join("topology.json"), text.as_bytes())?;
    }
    Ok(recorder.missing.into_iter().collect())
}

/// Whether nothing is at a path that would be written over.
fn is_empty(out: &Path) -> Result<bool> {
    match fs::read_dir(out) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", out.display())),
    }
}
