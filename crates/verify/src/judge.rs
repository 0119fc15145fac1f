//! The two judges of a scenario, and what they say in one form.

pub mod engine;
pub mod kernel;

use crate::kernel::rules::Counters;
use crate::observe::Observation;

/// What the kernel did with a scenario.
#[derive(Debug, Clone)]
pub struct KernelRun {
    /// What was seen of each step; `None` for a step that shows nothing.
    pub seen: Vec<Option<Observation>>,
    /// The counters of each host's rules at the end.
    pub counters: Vec<Counters>,
}
