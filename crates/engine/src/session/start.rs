//! Where a flow starts.

use std::net::IpAddr;

use natpath_model::{Family, Flow, InterfaceName, Item, Protocol};

use super::Session;
use crate::host::LinkId;
use crate::run::Sender;
use crate::trace::HostId;

/// Why a flow can't be traced at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// A host that the flow names is not in the network.
    #[error("no host is called \"{name}\": the network has {known}")]
    NoHost {
        /// The name.
        name: String,
        /// The hosts there are.
        known: String,
    },
    /// An interface that the flow names is not on the host.
    #[error("{host} has no interface \"{interface}\": it has {known}")]
    NoInterface {
        /// The host.
        host: String,
        /// The interface.
        interface: InterfaceName,
        /// The interfaces there are.
        known: String,
    },
    /// Several hosts have the source address.
    #[error("{address} is an address of {hosts}: say which sends with --from HOST")]
    SeveralSenders {
        /// The address.
        address: IpAddr,
        /// The hosts.
        hosts: String,
    },
    /// No host has the source address, and no interface or several lead to it.
    #[error(
        "{address} is no address of a host here{way}: say where it enters with --in HOST:INTERFACE, or who sends it with --from HOST"
    )]
    NoEntry {
        /// The address.
        address: IpAddr,
        /// What is known of the ways to it.
        way: String,
    },
    /// The source is the kernel's choice, but of which host is not said.
    #[error("the source is left to the kernel, but of which host is not said: add --from HOST")]
    NoSender,
    /// A frame would reach no recorded host.
    #[error("no recorded host is on the wire of {interface} for that destination")]
    NoReceiver {
        /// The interface.
        interface: InterfaceName,
    },
    /// There are no hosts.
    #[error("the network has no hosts")]
    NoHosts,
    /// No flow has this name.
    #[error("no flow is named {id}: write `id={id}` at the end of its line")]
    NoFlow {
        /// The name.
        id: String,
    },
    /// The protocol has no server that speaks first.
    #[error("{protocol} has no server that speaks by itself: only the client can send more")]
    NoServer {
        /// The protocol.
        protocol: Protocol,
    },
}

/// What is said for the interfaces of a host that nobody recorded them of.
const NO_LINKS: &str = "none, for it has no addr.json, the output of `ip -j -d addr`";

impl Session<'_> {
    /// Finds out where a flow starts.
    pub(super) fn sender(&self, flow: &Flow) -> Result<Sender, FlowError> {
        if self.world.hosts.is_empty() {
            return Err(FlowError::NoHosts);
        }
        if let Some(name) = &flow.from {
            return self.host_named(name).map(Sender::Host);
        }
        if let Some((name, interface)) = &flow.enters {
            let host = self.host_named(name)?;
            let link = self.link_named(host, *interface)?;
            // A port takes frames for its bridge.
            let link = self.world.bridge_of((host, link)).unwrap_or(link);
            let address = flow.src.ok_or(FlowError::NoSender)?;
            return Ok(Sender::Outside { address, enters: (host, link) });
        }
        let Some(address) = flow.src else {
            return match &self.world.hosts[..] {
                [only] => Ok(Sender::Host(only.id)),
                _ => Err(FlowError::NoSender),
            };
        };
        let owners: Vec<_> = self.world.owners(address).collect();
        match &owners[..] {
            [owner] => return Ok(Sender::Host(owner.id)),
            [] => {}
            several => {
                let names: Vec<&str> = several.iter().map(|host| host.snapshot.name.as_str()).collect();
                return Err(FlowError::SeveralSenders { address, hosts: names.join(" and ") });
            }
        }
        self.entry_for(flow, address)
    }

    /// The only interface whose route leads to an address outside.
    fn entry_for(&self, flow: &Flow, address: IpAddr) -> Result<Sender, FlowError> {
        let mut ways = Vec::new();
        for host in &self.world.hosts {
            let Some(end) = host.way_to(address, flow.mark) else { continue };
            let beyond_recorded = matches!(
                self.world.neighbour((host.id, end.0), end.1),
                crate::world::Neighbour::End(_) | crate::world::Neighbour::Nobody
            );
            if !beyond_recorded {
                ways.push((host.id, end.0));
            }
        }
        match &ways[..] {
            [enters] => Ok(Sender::Outside { address, enters: *enters }),
            [] => Err(FlowError::NoEntry { address, way: self.no_way() }),
            several => {
                let name = |(host, link): &(HostId, LinkId)| {
                    format!(
                        "{}:{}",
                        self.world.host(*host).snapshot.name,
                        self.world.link((*host, *link)).name
                    )
                };
                let names: Vec<String> = several.iter().map(name).collect();
                Err(FlowError::NoEntry { address, way: format!("; {} lead to it", names.join(" and ")) })
            }
        }
    }

    /// That no interface leads to an address, and whose interfaces and routes are not known.
    fn no_way(&self) -> String {
        let unknown = self.world.hosts.iter().filter_map(|host| {
            let item =
                [Item::Links, Item::Routes(Family::Ip4)].into_iter().find(|item| host.missing(*item))?;
            Some(format!("{} has no {}", host.snapshot.name, item.file()))
        });
        match &unknown.collect::<Vec<_>>()[..] {
            [] => " and no interface leads to it".to_owned(),
            unknown => format!(" and no known interface leads to it ({})", unknown.join(", ")),
        }
    }

    pub(super) fn host_named(&self, name: &str) -> Result<HostId, FlowError> {
        self.world.hosts.iter().find(|host| host.snapshot.name == name).map(|host| host.id).ok_or_else(|| {
            let known: Vec<&str> = self.world.hosts.iter().map(|host| host.snapshot.name.as_str()).collect();
            FlowError::NoHost { name: name.to_owned(), known: known.join(", ") }
        })
    }

    pub(super) fn link_named(&self, host: HostId, interface: InterfaceName) -> Result<LinkId, FlowError> {
        let host = self.world.host(host);
        host.link_named(interface).ok_or_else(|| {
            let known: Vec<String> = host.snapshot.links.iter().map(|link| link.name.to_string()).collect();
            let known = if host.missing(Item::Links) { NO_LINKS.to_owned() } else { known.join(", ") };
            FlowError::NoInterface { host: host.snapshot.name.clone(), interface, known }
        })
    }
}
