//! Reads a directory of dumps: a host, or a network of hosts.
//!
//! ```text
//!  net/                    a network
//!  ├─ topology.json        who shares a wire
//!  ├─ node1/               a host: any of the files that `KNOWN` lists, each also as .gz
//!  │  ├─ iptables-save
//!  │  └─ addr.json ...
//!  │  └─ ns/               network namespaces of it, each a host: `node1/ns/web`
//!  │     └─ web/ ...
//!  └─ node2/ ...
//! ```

mod account;
mod files;
mod host;
mod load;
mod nft;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use natpath_model::{Diagnostic, Network, Severity, Snapshot};

pub use account::{Accounted, Unit, Unsupported};
pub use load::{Dump, DumpKind, Loaded, with_rules};

use crate::topology;
use files::{is_host, read_text};
use host::HostReader;

/// The directory in a host's that holds its network namespaces.
const NAMESPACES: &str = "ns";

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
    Reader::read(dir).map(|reader| reader.network)
}

/// A network, and what became of each of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The network.
    pub network: Network,
    /// The files of each host, in the order of the network's hosts.
    pub hosts: Vec<Vec<Accounted>>,
    /// The files that belong to no host.
    pub files: Vec<Accounted>,
}

/// Reads a network and accounts for all its files.
///
/// # Errors
/// As [`read_network`].
pub fn inspect_network(dir: &Path) -> Result<Inspection, ReadError> {
    let Reader { network, directories } = Reader::read(dir)?;
    let mut hosts: Vec<_> =
        network.hosts.iter().map(|host| account::host(&directories[&host.name], host)).collect();
    let own: Vec<String> = sub_directories(dir)?.iter().map(|path| directory_name(path)).collect();
    let mut files = account::network(dir, &own, &network.segments, &network.diagnostics);
    // A host that was given directly has its wires beside its own files.
    if let Some(at) = network.hosts.iter().position(|host| directories[&host.name] == dir) {
        for account in std::mem::take(&mut files).into_iter().filter(|account| account.kind == "topology") {
            hosts[at].retain(|other| other.file != account.file);
            hosts[at].push(account);
        }
        hosts[at].sort_by(|a, b| a.file.cmp(&b.file));
    }
    Ok(Inspection { network, hosts, files })
}

/// Reads the directories of a network.
struct Reader {
    network: Network,
    /// Where each host was read.
    directories: HashMap<String, PathBuf>,
}

impl Reader {
    fn read(dir: &Path) -> Result<Self, ReadError> {
        let mut reader = Self { network: Network::default(), directories: HashMap::new() };
        if is_host(dir) || (!has_hosts(dir) && has_hosts(&dir.join(NAMESPACES))) {
            reader.host(dir, &directory_name(dir))?;
        } else {
            for host in sub_directories(dir)? {
                reader.host(&host, &directory_name(&host))?;
            }
        }
        let network = &mut reader.network;
        if network.hosts.is_empty() {
            let help = "put the output of `iptables-save -c`, `ip -j -d addr` and so on into it, under the names \
                        iptables-save, addr.json ..., or into one directory for each host";
            return Err(ReadError::new(dir, "no file of any host is here", help));
        }
        network.hosts.sort_by(|a, b| a.name.cmp(&b.name));
        check_names(dir, &network.hosts)?;
        read_topology(dir, network);
        Ok(reader)
    }

    /// Reads a host and its namespaces.
    fn host(&mut self, dir: &Path, name: &str) -> Result<(), ReadError> {
        let namespaces = dir.join(NAMESPACES);
        let mut name = name.to_owned();
        if is_host(dir) {
            let host = read_host(dir, &name)?;
            name.clone_from(&host.name);
            self.keep(dir, host);
        } else if !has_hosts(&namespaces) {
            let found = warning(dir, "empty-host", "has no file that natpath reads");
            self.network.diagnostics.push(found);
        }
        if !namespaces.is_dir() {
            return Ok(());
        }
        for inside in sub_directories(&namespaces)?.into_iter().filter(|inside| is_host(inside)) {
            let full = format!("{name}/{NAMESPACES}/{}", directory_name(&inside));
            self.keep(&inside, read_host(&inside, &full)?);
        }
        Ok(())
    }

    fn keep(&mut self, dir: &Path, host: Snapshot) {
        self.directories.insert(host.name.clone(), dir.to_owned());
        self.network.hosts.push(host);
    }
}

/// Whether some directory in a directory is a host's.
fn has_hosts(dir: &Path) -> bool {
    sub_directories(dir).is_ok_and(|all| all.iter().any(|path| is_host(path)))
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
