//! `rp-filter`: the reverse path check drops the packet or its answer (fib_frontend.c,
//! `fib_validate_source`).

use natpath_model::{Family, Manip};

use super::{Evidence, on, shown};
use crate::trace::{Finding, Outcome, Place, Why};

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let result = &evidence.run.result;
    let ends = [
        Some(("the packet", &result.end)),
        result.reply.as_ref().map(|reply| ("the answer", &reply.end)),
        result.broken.as_ref().map(|broken| ("a later packet", &broken.end)),
    ];
    let (which, end) = ends
        .into_iter()
        .flatten()
        .find(|(_, end)| end.outcome == Outcome::Dropped && end.why == Some(Why::RpFilter))?;
    let Place::Host(host) = end.at.host else { return None };
    let interface = end.at.interface?;
    let link = evidence.world.host(host).link_named(interface)?;
    let strict = evidence.world.host(host).greater(Family::Ip4, link, "rp_filter") == 1;
    let src = shown(&end.header, Manip::Src);
    let why = if strict {
        format!("the route back to {} does not leave by it (rp_filter is 1, strict)", end.header.src.address)
    } else {
        format!("there is no route back to {} (rp_filter is 2, loose)", end.header.src.address)
    };
    let (help, fix) = if strict {
        let name = interface.to_string().replace('.', "/");
        let help = "use loose mode, or add the route; the greater of conf.all and the interface's value counts, and \
                    marks count only with src_valid_mark"
            .to_owned();
        (help, Some(format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2")))
    } else {
        ("add a route to the source".to_owned(), None)
    };
    Some(Finding {
        code: "rp-filter",
        host,
        headline: format!(
            "{which} from {src}{} is dropped by the reverse path check: {why}",
            on(Some(interface))
        ),
        help,
        rules: Vec::new(),
        fix,
    })
}
