//! What of the recorded files could not be read, of the hosts that a flow's packets came to.

use std::collections::BTreeSet;
use std::path::Path;

use natpath_model::{Diagnostic, Severity};

use crate::flow::FlowRun;
use crate::trace::{Assumption, HostId, Place};
use crate::world::World;

/// One assumption for each file that was not read as a whole, at its first fault.
pub(super) fn find(world: &World<'_>, run: &FlowRun) -> Vec<Assumption> {
    let hops = run.journeys.iter().flat_map(|journey| &journey.hops);
    let visited: BTreeSet<HostId> = hops
        .filter_map(|hop| match hop.host {
            Place::Host(host) => Some(host),
            Place::Assumed(_) => None,
        })
        .collect();
    let mut found = Vec::new();
    for snapshot in visited.into_iter().map(|host| world.host(host).snapshot) {
        let mut files = BTreeSet::new();
        let faults = snapshot.diagnostics.iter().filter(|fault| fault.severity == Severity::Error);
        for fault in faults.filter(|fault| files.insert(fault.file.as_str())) {
            found.push(Assumption::Unread { host: snapshot.name.clone(), place: place_of(fault) });
        }
    }
    found
}

/// `iptables-save:12`, or the file's name where the whole file is meant.
fn place_of(fault: &Diagnostic) -> String {
    let name =
        Path::new(&fault.file).file_name().map_or(fault.file.as_str().into(), |name| name.to_string_lossy());
    match fault.line {
        0 => name.into_owned(),
        line => format!("{name}:{line}"),
    }
}
