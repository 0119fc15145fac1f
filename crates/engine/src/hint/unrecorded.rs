//! A host without a route that nobody recorded the routes of.

use natpath_model::{Family, Item};

use crate::finding::Evidence;
use crate::trace::{Hint, Outcome, Place};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let end = evidence.failed_end();
    let Place::Host(host) = end.at.host else { return None };
    if end.outcome != Outcome::NoRoute {
        return None;
    }
    let family = Family::of(end.header.dst.address);
    let known = evidence.world.host(host);
    let (missing, unknown, command) = if known.missing(Item::Links) {
        (Item::Links, "its interfaces and routes are not known", "ip -j -d addr")
    } else if known.missing(Item::Routes(family)) {
        let command = match family {
            Family::Ip4 => "ip -j route show table all",
            Family::Ip6 => "ip -6 -j route show table all",
        };
        (Item::Routes(family), "only the routes of its addresses are known", command)
    } else {
        return None;
    };
    let file = missing.file();
    Some(Hint {
        host,
        headline: format!("{} has no {file}: {unknown}", evidence.name(host)),
        help: "record them and trace again".to_owned(),
        rules: Vec::new(),
        fix: Some(format!("{command} > {file}")),
    })
}
