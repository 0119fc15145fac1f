//! Flows in order over one state.

use std::net::IpAddr;

use natpath_model::{Counter, Flow, InterfaceName, Network, RuleRef, Snapshot};

use crate::conntrack::ConntrackTable;
use crate::explore::{self, Leaf};
use crate::finding::{self, Evidence};
use crate::flow::{self, Start};
use crate::host::LinkId;
use crate::packet::Packet;
use crate::run::{Sender, State};
use crate::state::HostState;
use crate::trace::{Assumption, FlowTrace, HostId, Path, PathResult};
use crate::world::World;

/// The most histories that are kept.
const MAX_HISTORIES: usize = 64;

/// Flows traced one after the other: each finds the conntrack entries and counters that the earlier ones
/// left. State is kept as *histories*, one for each combination of what chance decided so far.
#[derive(Debug)]
pub struct Session<'a> {
    world: World<'a>,
    histories: Vec<History>,
    flows: usize,
    cut: bool,
}

/// One course of all flows so far.
#[derive(Debug, Clone)]
pub struct History {
    /// Its probability.
    pub probability: f64,
    /// The path that each flow took, by id; `None` where several led to the same state.
    pub paths: Vec<Option<String>>,
    state: State,
}

impl History {
    /// The packets and bytes that a rule has counted in this history.
    #[must_use]
    pub fn counted(&self, host: HostId, rule: RuleRef) -> Counter {
        let host = self.state.hosts.get(host.0 as usize);
        host.and_then(|host| host.counters.get(&rule)).copied().unwrap_or_default()
    }
}

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
}

impl<'a> Session<'a> {
    /// Starts with what the snapshots say.
    #[must_use]
    pub fn new(network: &'a Network) -> Self {
        let world = World::new(network);
        let before = |host: &Snapshot| HostState {
            conntrack: ConntrackTable::with(&host.connections),
            ..HostState::default()
        };
        let state = State { hosts: network.hosts.iter().map(before).collect(), ..State::default() };
        let first = History { probability: 1.0, paths: Vec::new(), state };
        Self { world, histories: vec![first], flows: 0, cut: false }
    }

    /// Sends a flow through the network, over every history.
    ///
    /// # Errors
    /// If the flow names a host or interface that is not there, or does not say clearly where it starts.
    pub fn trace(&mut self, flow: &Flow) -> Result<FlowTrace, FlowError> {
        let sender = self.sender(flow)?;
        Ok(self.run(&Start { flow, sender, frame: None }))
    }

    /// Puts a single frame on the wire of a host's interface, past that host's own stack.
    ///
    /// # Errors
    /// If there is no such host or interface.
    pub fn inject(
        &mut self,
        host: &str,
        interface: InterfaceName,
        packet: Packet,
    ) -> Result<FlowTrace, FlowError> {
        let id = self.host_named(host)?;
        let link = self.link_named(id, interface)?;
        let header = packet.header();
        let mut flow = Flow::new(header.protocol, Some(packet.src), None, packet.dst, header.dst.port.value);
        flow.from = Some(host.to_owned());
        let at = self.world.receiver((id, link), packet.dst).ok_or(FlowError::NoReceiver { interface })?;
        Ok(self.run(&Start { flow: &flow, sender: Sender::Host(id), frame: Some(((id, link), at, packet)) }))
    }

    fn run(&mut self, start: &Start<'_>) -> FlowTrace {
        let flow = start.flow;
        self.flows += 1;
        let mut leaves: Vec<(usize, Leaf)> = Vec::new();
        for (index, history) in self.histories.iter_mut().enumerate() {
            if let Some(at) = flow.at {
                history.state.now = history.state.now.max(crate::time::Instant(at));
            }
            let found = explore::explore(&self.world, start, &history.state);
            leaves.extend(found.into_iter().map(|leaf| (index, leaf)));
        }
        self.gather(start, leaves)
    }

    /// The histories, the most probable first.
    pub fn histories(&self) -> impl Iterator<Item = &History> {
        self.histories.iter()
    }

    /// The packets and bytes that a rule has counted since the session began, in the most probable history.
    #[must_use]
    pub fn counted(&self, host: HostId, rule: RuleRef) -> Counter {
        self.histories.first().map(|history| history.counted(host, rule)).unwrap_or_default()
    }

    /// Lets simulated time pass.
    pub fn wait(&mut self, milliseconds: u64) {
        for history in &mut self.histories {
            history.state.now.0 = history.state.now.0.saturating_add(milliseconds);
        }
    }

    /// Joins the courses of all histories into paths, and makes the histories of the next flow.
    fn gather(&mut self, start: &Start<'_>, leaves: Vec<(usize, Leaf)>) -> FlowTrace {
        let mut results: Vec<PathResult> = Vec::new();
        let mut kinds: Vec<usize> = Vec::with_capacity(leaves.len());
        for (_, leaf) in &leaves {
            let kind = results.iter().position(|known| *known == leaf.run.result).unwrap_or_else(|| {
                results.push(leaf.run.result.clone());
                results.len() - 1
            });
            kinds.push(kind);
        }
        let needed = self.needed_flows(&leaves, &kinds, results.len());
        // 1) A path for each result, given the earlier paths it depends on.
        let mut groups: Vec<(Vec<Option<String>>, usize, Vec<usize>)> = Vec::new();
        for (index, (history, _)) in leaves.iter().enumerate() {
            let given: Vec<_> =
                needed.iter().map(|flow| self.histories[*history].paths[*flow].clone()).collect();
            match groups.iter_mut().find(|(known, kind, _)| *known == given && *kind == kinds[index]) {
                Some((.., members)) => members.push(index),
                None => groups.push((given, kinds[index], vec![index])),
            }
        }
        let joint = |index: usize| self.histories[leaves[index].0].probability * leaves[index].1.probability;
        let mut groups: Vec<_> = groups
            .into_iter()
            .map(|(given, _, members)| {
                (members.iter().map(|index| joint(*index)).sum::<f64>(), given, members)
            })
            .collect();
        groups.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut ids = vec![String::new(); leaves.len()];
        let mut paths = Vec::new();
        for (number, (probability, given, members)) in groups.iter().enumerate() {
            let id = format!("{}.{}", self.flows, number + 1);
            members.iter().for_each(|index| ids[*index].clone_from(&id));
            let leaf = &leaves[members[0]].1;
            let given = given.iter().flatten().cloned().collect();
            paths.push(self.path(start, leaf, id, given, *probability));
        }
        let sent = leaves[0].1.run.sent;
        // 2) The histories that follow.
        self.histories = self.following(leaves, &ids);
        FlowTrace { sent, paths }
    }

    fn path(&self, start: &Start<'_>, leaf: &Leaf, id: String, given: Vec<String>, probability: f64) -> Path {
        let run = &leaf.run;
        let mut assumptions: Vec<Assumption> = run.env.assumptions.iter().cloned().collect();
        if self.cut {
            assumptions.push(Assumption::HistoriesCut { kept: MAX_HISTORIES });
        }
        let findings = finding::find(&Evidence { world: &self.world, sender: start.sender, run });
        if finding::unmakes(&run.result, &findings) {
            // Nobody out there has the address, so nobody answers.
            assumptions.retain(|assumption| !matches!(assumption, Assumption::OutsideAnswers { .. }));
        }
        Path {
            id,
            given,
            probability,
            result: run.result.clone(),
            hops: run.journeys[0].hops.clone(),
            reply_hops: run.reply.map(|reply| run.journeys[reply].hops.clone()).unwrap_or_default(),
            findings,
            assumptions,
            drawn: flow::all_drawn(&run.env.drawn),
        }
    }

    /// The fewest earlier flows whose paths tell how probable each result is.
    fn needed_flows(&self, leaves: &[(usize, Leaf)], kinds: &[usize], results: usize) -> Vec<usize> {
        let mut distributions = vec![vec![0.0; results]; self.histories.len()];
        for ((history, leaf), kind) in leaves.iter().zip(kinds) {
            distributions[*history][*kind] += leaf.probability;
        }
        let explains = |flows: &[usize]| {
            let of = |history: usize| flows.iter().map(move |flow| &self.histories[history].paths[*flow]);
            (0..distributions.len()).all(|a| {
                (0..a).all(|b| {
                    let alike =
                        distributions[a].iter().zip(&distributions[b]).all(|(a, b)| (a - b).abs() < 1e-9);
                    alike || of(a).ne(of(b))
                })
            })
        };
        let mut flows: Vec<usize> = (0..self.flows - 1).collect();
        for flow in (0..self.flows - 1).rev() {
            let fewer: Vec<usize> = flows.iter().copied().filter(|other| *other != flow).collect();
            if explains(&fewer) {
                flows = fewer;
            }
        }
        flows
    }

    fn following(&mut self, leaves: Vec<(usize, Leaf)>, ids: &[String]) -> Vec<History> {
        let mut histories: Vec<History> = Vec::new();
        for ((index, leaf), id) in leaves.into_iter().zip(ids) {
            let before = &self.histories[index];
            let probability = before.probability * leaf.probability;
            let mut paths = before.paths.clone();
            paths.push(Some(id.clone()));
            match histories.iter_mut().find(|known| known.state == leaf.run.state) {
                Some(known) => {
                    known.probability += probability;
                    for (known, path) in known.paths.iter_mut().zip(paths) {
                        if *known != path {
                            *known = None;
                        }
                    }
                }
                None => histories.push(History { probability, paths, state: leaf.run.state }),
            }
        }
        histories.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        if histories.len() > MAX_HISTORIES {
            histories.truncate(MAX_HISTORIES);
            self.cut = true;
            let total: f64 = histories.iter().map(|history| history.probability).sum();
            histories.iter_mut().for_each(|history| history.probability /= total);
        }
        histories
    }

    /// Finds out where a flow starts.
    fn sender(&self, flow: &Flow) -> Result<Sender, FlowError> {
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
            [] => Err(FlowError::NoEntry { address, way: " and no interface leads to it".to_owned() }),
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

    fn host_named(&self, name: &str) -> Result<HostId, FlowError> {
        self.world.hosts.iter().find(|host| host.snapshot.name == name).map(|host| host.id).ok_or_else(|| {
            let known: Vec<&str> = self.world.hosts.iter().map(|host| host.snapshot.name.as_str()).collect();
            FlowError::NoHost { name: name.to_owned(), known: known.join(", ") }
        })
    }

    fn link_named(&self, host: HostId, interface: InterfaceName) -> Result<LinkId, FlowError> {
        let host = self.world.host(host);
        host.link_named(interface).ok_or_else(|| {
            let known: Vec<String> = host.snapshot.links.iter().map(|link| link.name.to_string()).collect();
            let known =
                if known.is_empty() { "none, for it has no addr.json".to_owned() } else { known.join(", ") };
            FlowError::NoInterface { host: host.snapshot.name.clone(), interface, known }
        })
    }
}
