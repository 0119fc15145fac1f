//! An address that a translation gave and that leads nowhere, on a host of Cilium's: its socket load balancing
//! translates the addresses of Services when a local program connects, and never a packet that is forwarded
//! (Cilium documentation, "Kubernetes Without kube-proxy", "Socket LoadBalancer Bypass in Pod Namespace").

use natpath_model::{InterfaceName, Manip};

use crate::finding::Evidence;
use crate::trace::{Hint, Outcome};

/// The interface that Cilium gives each node.
const CILIUM_HOST: &str = "cilium_host";

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let end = &evidence.run.result.end;
    let leads_nowhere = matches!(
        end.outcome,
        Outcome::NoRoute | Outcome::NoNeighbor | Outcome::Left | Outcome::Dropped | Outcome::TtlExceeded
    ) && end.rule.is_none();
    let translation = evidence.translations(Manip::Dst).pop().filter(|_| leads_nowhere)?;
    let cilium = InterfaceName::new(CILIUM_HOST)?;
    let mut after = evidence.hops().skip_while(|(host, _)| *host != translation.host);
    let (host, _) = after.find(|(host, _)| evidence.world.host(*host).link_named(cilium).is_some())?;
    let is_owned = evidence.world.owners(translation.after.dst.address).next().is_some();
    if is_owned {
        return None;
    }
    let (node, forwards) = (evidence.name(host), evidence.name(translation.host));
    let (target, place) = (translation.after.dst.address, evidence.place(translation.host, translation.rule));
    Some(Hint {
        host: translation.host,
        headline: format!(
            "nobody here owns {target}, to which {place} of {forwards} translates, and no rule of {node} knows it: if it is \
             a Service's, Cilium on {node} translates it where a program connects, not in what is forwarded"
        ),
        help: format!(
            "have Cilium translate packets of pods as well (socketLB.hostNamespaceOnly=true), or let {place} of {forwards} \
             go to an endpoint"
        ),
        rules: vec![translation.rule],
        fix: None,
    })
}
