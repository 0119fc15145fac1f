//! Flows in order over one state.

mod history;
mod lines;
mod start;
mod unread;

use std::collections::BTreeMap;

use natpath_model::{Counter, Flow, InterfaceName, Network, RuleRef, Snapshot};

use crate::explore::{self, Leaf};
use crate::flow::{Act, Start};
use crate::packet::Packet;
use crate::run::{Sender, State};
use crate::state::HostState;
use crate::time::Instant;
use crate::trace::{FlowTrace, HostId};
use crate::world::World;

pub use lines::{EntryPattern, Switched};
pub use start::FlowError;

/// The most histories that are kept.
const MAX_HISTORIES: usize = 64;

/// Flows traced one after the other: each finds the conntrack entries and counters that the earlier ones
/// left. State is kept as *histories*, one for each combination of what chance decided so far.
#[derive(Debug)]
pub struct Session<'a> {
    world: World<'a>,
    histories: Vec<History>,
    /// The flows that are reported.
    flows: usize,
    /// All lines that sent something.
    lines: u32,
    /// The flows that have a name, and where they start.
    named: BTreeMap<String, (Flow, Sender)>,
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

impl<'a> Session<'a> {
    /// Starts with what the snapshots say.
    #[must_use]
    pub fn new(network: &'a Network) -> Self {
        let world = World::new(network);
        let hosts = network.hosts.iter().map(HostState::recorded).collect();
        let state = State { hosts, ..State::default() };
        let first = History { probability: 1.0, paths: Vec::new(), state };
        Self { world, histories: vec![first], flows: 0, lines: 0, named: BTreeMap::new(), cut: false }
    }

    /// Sends a flow through the network, over every history.
    ///
    /// # Errors
    /// If the flow names a host or interface that is not there, or does not say clearly where it starts.
    pub fn trace(&mut self, flow: &Flow) -> Result<FlowTrace, FlowError> {
        let sender = self.sender(flow)?;
        if let Some(id) = &flow.id {
            self.named.insert(id.clone(), (flow.clone(), sender));
        }
        if let Some(at) = flow.at {
            for history in &mut self.histories {
                history.state.now = history.state.now.max(Instant(at));
            }
        }
        Ok(self.report(flow, sender, Act::Open))
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
        Ok(self.report(&flow, Sender::Host(id), Act::Frame((id, link), at, packet)))
    }

    /// Runs a line over every history, and joins its courses into paths.
    fn report(&mut self, flow: &Flow, sender: Sender, act: Act<'_>) -> FlowTrace {
        let start = self.begin(flow, sender, act);
        self.flows += 1;
        let leaves = self.explore(&start);
        self.gather(&start, leaves)
    }

    fn begin<'f>(&mut self, flow: &'f Flow, sender: Sender, act: Act<'f>) -> Start<'f> {
        self.lines = self.lines.saturating_add(1);
        Start { flow, sender, act, number: self.lines }
    }

    /// All courses of a line, each with the number of the history it follows.
    fn explore(&self, start: &Start<'_>) -> Vec<(usize, Leaf)> {
        let max_steps = explore::MAX_STEPS / self.histories.len().max(1);
        let of_history = |(index, history): (usize, &History)| {
            let found = explore::explore(&self.world, start, &history.state, max_steps);
            found.into_iter().map(move |leaf| (index, leaf))
        };
        self.histories.iter().enumerate().flat_map(of_history).collect()
    }

    /// The snapshot of a host as it is now: with the rules that were loaded last.
    #[must_use]
    pub fn snapshot(&self, host: HostId) -> Option<&'a Snapshot> {
        self.world.hosts.get(host.0 as usize).map(|host| host.snapshot)
    }

    /// The histories, the most probable first.
    pub fn histories(&self) -> impl Iterator<Item = &History> {
        self.histories.iter()
    }

    /// Leaves only the histories in which the last flow took this path, as somebody has seen it do.
    pub fn given(&mut self, path: &str) {
        let took = |history: &History| {
            history.paths.last().is_some_and(|last| last.as_deref().is_none_or(|last| last == path))
        };
        if !self.histories.iter().any(took) {
            return;
        }
        self.histories.retain(took);
        let total: f64 = self.histories.iter().map(|history| history.probability).sum();
        self.histories.iter_mut().for_each(|history| history.probability /= total);
    }

    /// The packets and bytes that a rule has counted since it was loaded, in the most probable history.
    #[must_use]
    pub fn counted(&self, host: HostId, rule: RuleRef) -> Counter {
        self.histories.first().map(|history| history.counted(host, rule)).unwrap_or_default()
    }
}
