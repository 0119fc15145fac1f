//! `ip -j -d addr`: links and their addresses.

use std::net::IpAddr;

use natpath_model::{Address, Diagnostic, Family, Link, LinkDetail, Scope};
use serde::Deserialize;

use super::words::{Word, interface, scope};
use super::{Row, each};

#[derive(Deserialize)]
struct LinkRow {
    ifindex: u32,
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    link_type: String,
    address: Option<String>,
    link: Option<String>,
    link_index: Option<u32>,
    link_netnsid: Option<i32>,
    master: Option<String>,
    linkinfo: Option<LinkInfo>,
    #[serde(default)]
    addr_info: Vec<AddressRow>,
}

#[derive(Deserialize)]
struct LinkInfo {
    info_kind: Option<String>,
    info_data: Option<KindRow>,
    info_slave_kind: Option<String>,
    info_slave_data: Option<PortRow>,
}

/// What is particular to a bridge or a tunnel.
#[derive(Deserialize, Default)]
#[serde(default)]
struct KindRow {
    nf_call_iptables: Option<Flag>,
    nf_call_ip6tables: Option<Flag>,
    id: Option<u32>,
    local: Option<Word>,
    remote: Option<Word>,
}

/// What is particular to a bridge's port; `bridge -d link` says the same.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PortRow {
    hairpin: Option<Flag>,
    isolated: Option<Flag>,
    state: Option<String>,
}

/// iproute2 prints some flags as numbers.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u64),
}

impl Flag {
    fn is_set(self) -> bool {
        match self {
            Self::Bool(set) => set,
            Self::Number(number) => number != 0,
        }
    }
}

impl PortRow {
    /// Adds what is known of a port.
    pub(super) fn apply(&self, detail: &mut LinkDetail) {
        if let Some(hairpin) = self.hairpin {
            detail.hairpin = Some(hairpin.is_set());
        }
        if let Some(isolated) = self.isolated {
            detail.isolated = isolated.is_set();
        }
        if let Some(state) = &self.state {
            detail.blocked = state != "forwarding";
        }
    }
}

impl KindRow {
    fn detail(&self) -> LinkDetail {
        let set = |flag: Option<Flag>| flag.is_some_and(Flag::is_set);
        let address = |word: &Option<Word>| match word {
            Some(Word::Text(text)) => text.parse().ok(),
            Some(Word::Number(_)) | None => None,
        };
        LinkDetail {
            calls: [set(self.nf_call_iptables), set(self.nf_call_ip6tables)],
            tunnel_id: self.id,
            tunnel_local: address(&self.local),
            tunnel_remote: address(&self.remote),
            ..LinkDetail::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct AddressRow {
    local: Option<IpAddr>,
    address: Option<IpAddr>,
    prefixlen: Option<u8>,
    broadcast: Option<IpAddr>,
    scope: Option<Word>,
    secondary: bool,
    deprecated: bool,
    tentative: bool,
    dadfailed: bool,
    noprefixroute: bool,
}

/// Reads links with their addresses, in listed order.
///
/// # Errors
/// If the text is not a JSON list.
pub fn parse(text: &str, file_name: &str) -> Result<(Vec<Link>, Vec<Diagnostic>), Diagnostic> {
    let mut ends = Vec::new();
    let (mut links, mut diagnostics) = each(text, file_name, |row| {
        let read: LinkRow = row.read(file_name)?;
        let end = read.link.clone();
        let link = link(row, read, file_name)?;
        ends.push(end);
        Ok(link)
    })?;
    join_veths(&mut links, &ends);
    diagnostics.extend(twins(&links, file_name));
    Ok((links, diagnostics))
}

fn link(row: &Row<'_>, read: LinkRow, file_name: &str) -> Result<Link, Diagnostic> {
    let named = |name: &str| {
        let message = format!("expected an interface name of at most 15 bytes, found `{name}`");
        interface(name).ok_or_else(|| row.fault(file_name, message, "is this the output of `ip -j -d addr`?"))
    };
    let has = |flag: &str| read.flags.iter().any(|given| given == flag);
    let info = read.linkinfo.as_ref();
    let kind = info.and_then(|info| info.info_kind.clone());
    let mut detail = info.and_then(|info| info.info_data.as_ref()).map(KindRow::detail).unwrap_or_default();
    if let Some(info) = info.filter(|info| info.info_slave_kind.as_deref() == Some("bridge"))
        && let Some(port) = &info.info_slave_data
    {
        port.apply(&mut detail);
    }
    let addresses =
        read.addr_info.iter().map(|item| address(row, item, file_name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Link {
        index: read.ifindex,
        name: named(&read.ifname)?,
        up: has("UP"),
        loopback: has("LOOPBACK") || read.link_type == "loopback",
        mtu: read.mtu,
        mac: read.address.and_then(|text| text.parse().ok()),
        peer_index: read.link_index.filter(|_| kind.as_deref() == Some("veth")),
        peer_namespace: read.link_netnsid,
        master: read.master.as_deref().map(named).transpose()?,
        detail,
        kind,
        addresses: addresses.into_iter().flatten().collect(),
    })
}

/// `None` for an empty row, which older iproute2 prints.
fn address(row: &Row<'_>, read: &AddressRow, file_name: &str) -> Result<Option<Address>, Diagnostic> {
    let Some(local) = read.local else { return Ok(None) };
    let bits = Family::of(local).bits();
    let prefix_length = read.prefixlen.unwrap_or(bits);
    if prefix_length > bits {
        let message = format!("expected a prefix length up to {bits} for {local}, found {prefix_length}");
        return Err(row.fault(file_name, message, "is this the output of `ip -j -d addr`?"));
    }
    Ok(Some(Address {
        local,
        prefix_length,
        peer: read.address.filter(|peer| *peer != local),
        broadcast: read.broadcast,
        scope: read.scope.as_ref().and_then(scope).unwrap_or(Scope::GLOBAL),
        secondary: read.secondary,
        deprecated: read.deprecated,
        tentative: read.tentative || read.dadfailed,
        no_prefix_route: read.noprefixroute,
    }))
}

/// A veth whose other end is in the same namespace names it instead of giving its number.
fn join_veths(links: &mut [Link], ends: &[Option<String>]) {
    for at in 0..links.len() {
        if links[at].kind.as_deref() != Some("veth") || links[at].peer_index.is_some() {
            continue;
        }
        let end = ends.get(at).and_then(|end| end.as_deref()).and_then(interface);
        links[at].peer_index = links.iter().find(|link| Some(link.name) == end).map(|link| link.index);
    }
}

fn twins<'a>(links: &'a [Link], file_name: &'a str) -> impl Iterator<Item = Diagnostic> + 'a {
    links
        .iter()
        .enumerate()
        .filter(|(at, link)| links[..*at].iter().any(|other| other.name == link.name))
        .map(|(_, link)| {
            let message = format!("interface {} is listed twice", link.name);
            crate::diagnose::syntax(
                file_name,
                (0, 0),
                message,
                "give one `ip -j -d addr` of one namespace",
                "",
            )
        })
}
