//! A bridge that does not send a frame back out of the port it came in by, or from one isolated port to
//! another (br_forward.c, `should_deliver`).

use crate::finding::Evidence;
use crate::trace::{Hint, Step, StoppedBy};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let (host, hop) = evidence.failed_hops().last()?;
    let (port, stopped) = hop.steps.iter().rev().find_map(|step| match step {
        Step::Bridged { in_port, stopped: Some(stopped), .. } => Some((*in_port, *stopped)),
        _ => None,
    })?;
    let bridge = hop.in_interface?;
    let name = port.map_or("its port".to_owned(), |port| port.to_string());
    let (headline, help, fix) = match stopped {
        StoppedBy::SamePort => (
            format!(
                "bridge {bridge} does not send a frame back out of {name}, by which it came in: the port is not in \
                 hairpin mode"
            ),
            "put the port into hairpin mode",
            port.map(|port| format!("bridge link set dev {port} hairpin on")),
        ),
        StoppedBy::Isolated => (
            format!(
                "bridge {bridge} sends no frame from one isolated port to another, and {name} is isolated"
            ),
            "take the isolation off one of the two ports",
            port.map(|port| format!("bridge link set dev {port} isolated off")),
        ),
        StoppedBy::Blocked | StoppedBy::NoPort | StoppedBy::UnknownPort => return None,
    };
    Some(Hint { host, headline, help: help.to_owned(), rules: Vec::new(), fix })
}
