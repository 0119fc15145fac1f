//! Reads a directory of dumps: a host, or a network of hosts.
//!
//! ```text
//!  net/                    a network
//!  ├─ topology.json        who shares a wire
//!  ├─ node1/               a host: any of the files that `KNOWN` lists, each also as .gz
//!  │  ├─ iptables-save
//!  │  └─ addr.json ...
//!  └─ node2/ ...
//! ```

mod files;
mod host;
mod nft;

use std::path::{Path, PathBuf};

use natpath_model::{Diagnostic, Network, Severity, Snapshot};

use crate::topology;
use files::{is_host, read_text};
use host::HostReader;

/// Why a directory could not be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}; {help}", path.display())]
pub struct ReadError {
    /// The directory or file.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl ReadError {
    fn new(path: &Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into(), help: help.into() }
    }
}

/// Reads a network: a directory with one sub-directory per host, or the directory of one host.
///
/// # Errors
/// If there is no such directory, or neither it nor any directory in it has a file that is known.
pub fn read_network(dir: &Path) -> Result<Network, ReadError> {
    let mut network = Network::default();
    if is_host(dir) {
        network.hosts.push(read_host(dir, &directory_name(dir))?);
    } else {
        for host in sub_directories(dir)? {
            if is_host(&host) {
                network.hosts.push(read_host(&host, &directory_name(&host))?);
            } else {
                network.diagnostics.push(warning(&host, "empty-host", "has no file that natpath reads"));
            }
        }
    }
    if network.hosts.is_empty() {
        let help = "put the output of `iptables-save -c`, `ip -j -d addr` and so on into it, under the names \
                    iptables-save, addr.json ..., or into one directory for each host";
        return Err(ReadError::new(dir, "no file of any host is here", help));
    }
    network.hosts.sort_by(|a, b| a.name.cmp(&b.name));
    check_names(dir, &network.hosts)?;
    read_topology(dir, &mut network);
    Ok(network)
}

/// Reads the directory of one host; `name` is used unless a file `name` says otherwise.
///
/// # Errors
/// If the directory has no file that is known.
pub fn read_host(dir: &Path, name: &str) -> Result<Snapshot, ReadError> {
    if !dir.is_dir() {
        return Err(ReadError::new(dir, "this is no directory", "give the directory of a host"));
    }
    if !is_host(dir) {
        let help = "put the output of `iptables-save -c`, `ip -j -d addr` and so on into it, under the names \
                    iptables-save, addr.json ...";
        return Err(ReadError::new(dir, "no file of a host is here", help));
    }
    Ok(HostReader::new(dir, name).read())
}

/// The last part of a path, also of `.` and `..`.
fn directory_name(dir: &Path) -> String {
    let full = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    full.file_name().map_or_else(|| "host".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The directories in a directory, by name, without hidden ones.
fn sub_directories(dir: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let entries = std::fs::read_dir(dir).map_err(|error| {
        ReadError::new(
            dir,
            error.to_string(),
            "give the directory of a host, or of one directory for each host",
        )
    })?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

fn check_names(dir: &Path, hosts: &[Snapshot]) -> Result<(), ReadError> {
    match hosts.windows(2).find(|pair| pair[0].name == pair[1].name) {
        None => Ok(()),
        Some(pair) => {
            let message = format!("two hosts have the name {}", pair[0].name);
            Err(ReadError::new(dir, message, "write another into the file `name` of one of them"))
        }
    }
}

fn read_topology(dir: &Path, network: &mut Network) {
    let Some(read) = read_text(dir, "topology.json", &mut network.diagnostics) else { return };
    match topology::parse(&read.text, &read.path) {
        Ok((segments, mut diagnostics)) => {
            let ends = segments.iter().flat_map(|segment| &segment.ends);
            for end in ends.filter(|end| network.host(&end.host).is_none()) {
                let message = format!("names the host {}, which is not here", end.host);
                diagnostics.push(warning(&dir.join("topology.json"), "unknown-host", message));
            }
            network.segments = segments;
            network.diagnostics.append(&mut diagnostics);
        }
        Err(diagnostic) => network.diagnostics.push(diagnostic),
    }
}

fn warning(path: &Path, code: &'static str, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        code,
        file: path.display().to_string(),
        line: 0,
        column: 0,
        message: message.into(),
        help: String::new(),
        construct: None,
        text: String::new(),
    }
}

#[cfg(test)]
mod tests;
