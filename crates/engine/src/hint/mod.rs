//! What explains a result and is no fault with a code, one file a kind. A hint is given only where it bears
//! on what became of the flow.

mod early_drop;
mod hairpin_port;
mod near_miss;
mod socket_lb;
mod unanswered;

use crate::finding::Evidence;
use crate::trace::{Finding, Hint};

/// All hints of a path that its findings leave room for.
pub(crate) fn find(evidence: &Evidence<'_, '_>, findings: &[Finding]) -> Vec<Hint> {
    let mut found = near_miss::find(evidence);
    if !findings.is_empty() {
        // The remedy is that of the fault.
        for hint in &mut found {
            hint.help.clear();
            hint.fix = None;
        }
    }
    found.extend(hairpin_port::find(evidence));
    if findings.is_empty() {
        found.extend(early_drop::find(evidence));
        found.extend(unanswered::find(evidence));
        found.extend(socket_lb::find(evidence));
    }
    found
}
