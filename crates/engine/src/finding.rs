//! Faults that show on a traced path.

use natpath_model::Flow;

use crate::flow::FlowRun;
use crate::trace::{Finding, PathResult};
use crate::world::World;

pub(crate) fn find(_world: &World<'_>, _flow: &Flow, _run: &FlowRun) -> Vec<Finding> {
    Vec::new()
}

pub(crate) fn unmakes(_result: &PathResult, _findings: &[Finding]) -> bool {
    false
}
