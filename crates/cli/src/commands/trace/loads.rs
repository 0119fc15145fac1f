//! The dumps of `load` lines, read before anything is traced.
//!
//! A file is looked for beside the file of flows, then in the working directory, then in the host's own
//! directory; a directory stands for all dumps in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use natpath_formats::flows::{FlowAction, FlowLine};
use natpath_formats::snapshot::{Dump, Loaded, with_rules};
use natpath_model::Network;

use super::name_of;
use crate::args::TraceArguments;

/// What a `load` line makes of its host.
pub(super) struct Load {
    /// The files, as they were written.
    pub(super) files: String,
    pub(super) loaded: Loaded,
}

/// Reads the dumps of all `load` lines, by the number of the line.
pub(super) fn read(
    network: &Network,
    lines: &[FlowLine],
    arguments: &TraceArguments,
) -> Result<BTreeMap<u32, Load>> {
    let mut loads: BTreeMap<u32, Load> = BTreeMap::new();
    let flows = arguments.flows.as_deref().unwrap_or(Path::new("-"));
    for FlowLine { line, action, .. } in lines {
        let FlowAction::Load { host, files } = action else { continue };
        let place = || format!("{}:{line}", name_of(flows));
        let recorded =
            network.host(host).ok_or_else(|| anyhow!("{}: {}", place(), no_host(host, network)))?;
        let earlier = loads.values().rev().map(|load| &load.loaded.host).find(|loaded| loaded.name == *host);
        let mut dumps = Vec::new();
        for file in files {
            let path = find(file, &places(flows, arguments.net.as_deref(), host)).with_context(place)?;
            dumps.extend(Dump::read(&path).with_context(place)?);
        }
        let loaded = with_rules(earlier.unwrap_or(recorded), &dumps).with_context(place)?;
        loads.insert(*line, Load { files: files.join(" "), loaded });
    }
    Ok(loads)
}

/// The directories in which a dump may be.
fn places(flows: &Path, net: Option<&Path>, host: &str) -> Vec<PathBuf> {
    let beside = flows.parent().filter(|_| flows != Path::new("-")).map(Path::to_owned);
    let of_host = net.map(|net| {
        let own = net.join(host);
        if own.is_dir() { own } else { net.to_owned() }
    });
    let mut places: Vec<PathBuf> = beside.into_iter().chain([PathBuf::new()]).chain(of_host).collect();
    places.dedup();
    places
}

fn find(file: &str, places: &[PathBuf]) -> Result<PathBuf> {
    match places.iter().map(|place| place.join(file)).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => {
            let shown = |place: &PathBuf| {
                let text = place.display().to_string();
                if text.is_empty() { ".".to_owned() } else { text }
            };
            let places: Vec<_> = places.iter().map(shown).collect();
            bail!("there is no dump {file}: looked for it in {}", places.join(", "));
        }
    }
}

fn no_host(name: &str, network: &Network) -> String {
    let known: Vec<&str> = network.hosts.iter().map(|host| host.name.as_str()).collect();
    format!("no host is called \"{name}\": the network has {}", known.join(", "))
}
