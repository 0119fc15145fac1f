//! kube-router's network policies, also as part of k3s.
//!
//! Facts: cloudnativelabs/kube-router, pkg/controllers/netpol/network_policy_controller.go, policy.go and
//! pod.go (chains KUBE-ROUTER-*, KUBE-POD-FW-*, KUBE-NWPLCY-*; comments; marks 0x10000 and 0x20000).

use super::Program;
use crate::pattern::p;
use crate::signature::{Signature, mark};

pub(super) const SIGNATURE: Signature = Signature {
    chains: &[
        p("KUBE-ROUTER-SERVICES", "Services of the node itself"),
        p("KUBE-ROUTER-*", "network policies"),
        p("KUBE-POD-FW-*", "network policies of a pod"),
        p("KUBE-NWPLCY-COMMON", "what every network policy allows"),
        p("KUBE-NWPLCY-DEFAULT", "pods without a network policy"),
        p("KUBE-NWPLCY-*", "a network policy"),
    ],
    comments: &[
        p("rule to ACCEPT * selected by policy name * namespace *", "network policy $3/$2"),
        p("rule to mark * selected by policy name * namespace *", "network policy $3/$2"),
        p("run through nw policy *", "network policy $1"),
        p("* POD name:* namespace: * to chain *", "network policies of pod $3/$2"),
        p("* POD name:* namespace: *", "network policies of pod $3/$2"),
    ],
    claims: &[p("kube-router netpol - *", "network policies")],
    marks: &[
        mark(0x10000, 0x10000, "allowed by a network policy"),
        mark(0x20000, 0x20000, "allowed by all network policies of its pod"),
    ],
    interfaces: &[p("kube-bridge", "pods' bridge"), p("kube-dummy-if", "addresses of Services")],
    ..Signature::of(Program::KubeRouter)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn policies_and_pods() {
        check(
            r#"*filter
            :FORWARD ACCEPT [0:0]
            :KUBE-NWPLCY-5FDQC2PXZP5O5OS4 - [0:0]
            :KUBE-POD-FW-PPOCLULJJ34YI6BK - [0:0]
            :KUBE-ROUTER-FORWARD - [0:0]
            -A FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD  => kube-router: network policies
            -A KUBE-NWPLCY-5FDQC2PXZP5O5OS4 -p tcp -m comment --comment "rule to ACCEPT traffic from source pods to dest pods selected by policy name db-allow-web namespace shop" -j MARK --set-xmark 0x10000/0x10000  => kube-router: network policy shop/db-allow-web
            -A KUBE-POD-FW-PPOCLULJJ34YI6BK -m comment --comment "rule to REJECT traffic destined for POD name:db-0 namespace: shop" -j REJECT  => kube-router: network policies of pod shop/db-0
            -A KUBE-ROUTER-FORWARD -d 10.42.0.30/32 -m comment --comment "rule to jump traffic destined to POD name:db-0 namespace: shop to chain KUBE-POD-FW-PPOCLULJJ34YI6BK" -j KUBE-POD-FW-PPOCLULJJ34YI6BK  => kube-router: network policies of pod shop/db-0
            COMMIT"#,
        );
    }
}
