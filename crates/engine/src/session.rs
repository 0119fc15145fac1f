//! Flows in order over one state.

use natpath_model::{Counter, Flow, Network, RuleRef};

use crate::trace::{FlowTrace, HostId};

/// Flows traced one after the other: each finds the conntrack entries and counters that the earlier ones
/// left. State is kept as *histories*, one for each combination of what chance decided so far.
#[derive(Debug)]
pub struct Session<'a> {
    network: &'a Network,
}

/// Why a flow can't be traced at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// It is not clear where the flow starts.
    #[error("{0}")]
    Start(String),
}

impl<'a> Session<'a> {
    /// Starts with what the snapshots say.
    #[must_use]
    pub fn new(network: &'a Network) -> Self {
        Self { network }
    }

    /// Sends a flow through the network, over every history.
    ///
    /// # Errors
    /// If the flow names a host or interface that is not there, or does not say clearly where it starts.
    pub fn trace(&mut self, _flow: &Flow) -> Result<FlowTrace, FlowError> {
        let _ = self.network;
        Err(FlowError::Start(String::new()))
    }

    /// The packets and bytes that a rule has counted since the session began, in the most probable history.
    #[must_use]
    pub fn counted(&self, _host: HostId, _rule: RuleRef) -> Counter {
        Counter::default()
    }
}
