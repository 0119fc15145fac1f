//! Reads a directory of dumps: a host, or a network of hosts.

use std::path::{Path, PathBuf};

use natpath_model::{Network, Snapshot};

/// Why a directory could not be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}; {help}")]
pub struct ReadError {
    /// The directory or file.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Reads a network: a directory with one sub-directory per host, or the directory of one host.
///
/// # Errors
/// If nothing in it can be read.
pub fn read_network(_dir: &Path) -> Result<Network, ReadError> {
    Ok(Network::default())
}

/// Reads the directory of one host; `name` is used unless a file `name` says otherwise.
///
/// # Errors
/// If nothing in it can be read.
pub fn read_host(_dir: &Path, _name: &str) -> Result<Snapshot, ReadError> {
    Ok(Snapshot::default())
}
