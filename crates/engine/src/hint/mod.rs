//! What explains a result and is no fault with a code, one file a kind. A hint is given only where it bears
//! on what became of the flow.

mod answers;
mod before_output;
mod forwarding;
mod hairpin_port;
mod invalid;
mod mark_in_nat;
mod near_miss;
mod no_way_back;
mod not_undone;
mod socket_lb;
mod stopped;
mod unanswered;
mod unrecorded;

use crate::finding::Evidence;
use crate::trace::{Finding, Hint};

/// Looks for one kind of hint.
type Finder = fn(&Evidence<'_, '_>) -> Option<Hint>;

/// Those that leave the word to a fault, the more telling first: only the first that finds something speaks.
const FINDERS: [Finder; 11] = [
    unrecorded::find,
    invalid::find,
    mark_in_nat::find,
    not_undone::find,
    answers::find,
    no_way_back::find,
    forwarding::find,
    before_output::find,
    unanswered::find,
    socket_lb::find,
    stopped::find,
];

/// All hints of a path that its findings leave room for.
pub(crate) fn find(evidence: &Evidence<'_, '_>, findings: &[Finding]) -> Vec<Hint> {
    let mut found = near_miss::find(evidence);
    found.extend(hairpin_port::find(evidence));
    if !findings.is_empty() {
        // The remedy is that of the fault.
        for hint in &mut found {
            hint.help.clear();
            hint.fix = None;
        }
    } else if found.is_empty() && !evidence.run.result.works {
        found.extend(FINDERS.iter().find_map(|find| find(evidence)));
    }
    found
}
