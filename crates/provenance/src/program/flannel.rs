//! flannel, also as part of k3s.
//!
//! Facts: flannel-io/flannel, pkg/trafficmngr/iptables/iptables.go (chains FLANNEL-POSTRTG, FLANNEL-FWD,
//! comments "flanneld masq", "flanneld forward") and pkg/trafficmngr/nftables/nftables.go (tables
//! `flannel-ipv4`, `flannel-ipv6`); pkg/backend (interfaces).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("flannel-ipv*", "pods' network")],
    table_chains: &[p("postrtg", "masquerading of pods"), p("forward", "forwarding of pods")],
    chains: &[p("FLANNEL-POSTRTG", "masquerading of pods"), p("FLANNEL-FWD", "forwarding of pods")],
    claims: &[p("flanneld masq", "masquerading of pods"), p("flanneld forward", "forwarding of pods")],
    interfaces: &[p("flannel.*", "pods' network over VXLAN"), p("flannel-wg*", "pods' network over WireGuard")],
    ..Signature::of(Program::Flannel)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn masquerading() {
        check(
            r#"*nat
            :POSTROUTING ACCEPT [0:0]
            :FLANNEL-POSTRTG - [0:0]
            -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG  => flannel: masquerading of pods
            -A FLANNEL-POSTRTG -s 10.42.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE  => flannel: masquerading of pods
            COMMIT"#,
        );
    }
}
