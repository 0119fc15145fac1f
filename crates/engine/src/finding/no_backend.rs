//! `no-backend`: a virtual address without any usable endpoint on this host. kube-proxy says so in the comment
//! of the rule that stops the packet; IPVS by a virtual service without real servers (ip_vs_core.c,
//! `ip_vs_leave`).

use natpath_model::{BypassKind, Manip};

use super::{Evidence, shown};
use crate::trace::{Assumption, Finding, Outcome};

/// How kube-proxy's comments end, and whether endpoints elsewhere may be left.
const COMMENTS: [(&str, bool); 2] = [("has no local endpoints", true), ("has no endpoints", false)];

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    of_kube_proxy(evidence).or_else(|| of_ipvs(evidence))
}

fn of_kube_proxy(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let end = &evidence.run.result.end;
    let stopped = matches!(end.outcome, Outcome::Dropped | Outcome::Rejected);
    let (host, rule) = end.rule.filter(|_| stopped)?;
    let comment = evidence.rule(host, rule).comment.as_deref()?;
    let (service, local) =
        COMMENTS.iter().find_map(|(words, local)| Some((comment.strip_suffix(words)?.trim_end(), *local)))?;
    let (name, target) = (evidence.name(host), shown(&end.header, Manip::Dst));
    let (what, help) = if local {
        ("endpoint on this node", "run a pod of it here, or set its traffic policy to Cluster")
    } else {
        ("endpoint", "see that its selector finds pods, and that they are ready")
    };
    Some(Finding {
        code: "no-backend",
        host,
        headline: format!(
            "Service {service} has no {what}, so {} of {name} stops what asks for {target}",
            evidence.place(host, rule)
        ),
        help: help.to_owned(),
        rules: vec![rule],
        fix: None,
    })
}

/// The packet ended where IPVS would have taken it.
fn of_ipvs(evidence: &Evidence<'_, '_>) -> Option<Finding> {
    let met = evidence.run.env.assumptions.iter().find_map(|assumption| match assumption {
        Assumption::Bypass { host, place, .. } => Some((host, place)),
        _ => None,
    })?;
    let host = evidence.world.hosts.iter().find(|host| host.snapshot.name == *met.0)?;
    let bypass =
        host.snapshot.bypasses.iter().find(|bypass| format!("{}:{}", bypass.file, bypass.line) == *met.1)?;
    let BypassKind::VirtualService { protocol, address, port, servers: 0 } = bypass.kind else { return None };
    let name = &host.snapshot.name;
    Some(Finding {
        code: "no-backend",
        host: host.id,
        headline: format!(
            "{protocol} {address}:{port} is a virtual service of IPVS on {name} without a usable real server \
             ({}): IPVS takes the packet and refuses it, wherever else the address leads",
            met.1
        ),
        help: "run an endpoint on this node, or set the Service's externalTrafficPolicy to Cluster"
            .to_owned(),
        rules: Vec::new(),
        fix: None,
    })
}
