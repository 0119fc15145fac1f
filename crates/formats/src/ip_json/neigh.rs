//! `ip -j neigh`: the neighbour table.

use std::net::IpAddr;

use natpath_model::{Diagnostic, Neighbour};
use serde::Deserialize;

use super::each;
use super::words::{interface, present};

#[derive(Deserialize)]
struct NeighbourRow {
    dst: IpAddr,
    dev: String,
    lladdr: Option<String>,
    #[serde(default)]
    state: Vec<String>,
    #[serde(default, deserialize_with = "present")]
    proxy: bool,
}

/// Reads neighbours in listed order.
///
/// # Errors
/// If the text is not a JSON list.
pub fn parse(text: &str, file_name: &str) -> Result<(Vec<Neighbour>, Vec<Diagnostic>), Diagnostic> {
    each(text, file_name, |row| {
        let read: NeighbourRow = row.read(file_name)?;
        let link = interface(&read.dev).ok_or_else(|| {
            let message = format!("expected an interface name, found `{}`", read.dev);
            row.fault(file_name, message, "is this the output of `ip -j neigh`?")
        })?;
        let has = |state: &str| read.state.iter().any(|given| given == state);
        Ok(Neighbour {
            address: read.dst,
            link,
            // A tunnel's link-layer address is an IP address.
            mac: read.lladdr.and_then(|text| text.parse().ok()),
            failed: has("FAILED"),
            permanent: has("PERMANENT"),
            proxy: read.proxy,
        })
    })
}
