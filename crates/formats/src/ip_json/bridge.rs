//! `bridge -j -d link` and `bridge -j fdb`: ports with their flags, and the hardware addresses behind them.

use natpath_model::{Diagnostic, Forwarding, InterfaceName, LinkDetail, Mac};
use serde::Deserialize;

use super::addr::PortRow;
use super::words::interface;
use super::{Row, each};

/// A port as `bridge link` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The port.
    pub name: InterfaceName,
    /// Its bridge.
    pub master: Option<InterfaceName>,
    /// How it behaves.
    pub detail: LinkDetail,
}

#[derive(Deserialize)]
struct LinkRow {
    ifname: String,
    master: Option<String>,
    #[serde(flatten)]
    port: PortRow,
}

#[derive(Deserialize)]
struct ForwardingRow {
    mac: String,
    ifname: String,
    master: Option<String>,
    state: Option<String>,
}

/// Reads the ports of bridges, in listed order.
///
/// # Errors
/// If the text is not a JSON list.
pub fn parse_links(text: &str, file_name: &str) -> Result<(Vec<Port>, Vec<Diagnostic>), Diagnostic> {
    each(text, file_name, |row| {
        let read: LinkRow = row.read(file_name)?;
        let mut detail = LinkDetail::default();
        read.port.apply(&mut detail);
        Ok(Port {
            name: named(row, &read.ifname, file_name)?,
            master: read.master.as_deref().map(|name| named(row, name, file_name)).transpose()?,
            detail,
        })
    })
}

/// Reads the hardware addresses that bridges know. What a device itself listens to, and has no bridge, is
/// passed over.
///
/// # Errors
/// If the text is not a JSON list.
pub fn parse_fdb(text: &str, file_name: &str) -> Result<(Vec<Forwarding>, Vec<Diagnostic>), Diagnostic> {
    let (found, diagnostics) = each(text, file_name, |row| {
        let read: ForwardingRow = row.read(file_name)?;
        let mac: Mac = read.mac.parse().map_err(|_| {
            let message = format!("expected a hardware address, found `{}`", read.mac);
            row.fault(file_name, message, "is this the output of `bridge -j fdb`?")
        })?;
        let port = named(row, &read.ifname, file_name)?;
        // Static entries of a bridge are `static`; `permanent` ones are the host's own.
        let own = read.state.as_deref() == Some("permanent");
        Ok(read.master.is_some().then_some(Forwarding { mac, port, own }))
    })?;
    Ok((found.into_iter().flatten().collect(), diagnostics))
}

fn named(row: &Row<'_>, name: &str, file_name: &str) -> Result<InterfaceName, Diagnostic> {
    interface(name).ok_or_else(|| {
        let message = format!("expected an interface name of at most 15 bytes, found `{name}`");
        row.fault(file_name, message, "is this the output of `bridge -j`?")
    })
}
