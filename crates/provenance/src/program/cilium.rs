//! Cilium. Most of what it does happens in BPF; these are the rules it leaves to netfilter.
//!
//! Facts: cilium/cilium, pkg/datapath/iptables/iptables.go (chains CILIUM_*, OLD_CILIUM_* during an update;
//! comments "cilium: ...", "cilium-feeder: CHAIN") and pkg/datapath/linux/linux_defaults/mark.go and bpf/lib/common.h
//! (marks under 0xf00).

use super::Program;
use crate::pattern::p;
use crate::signature::{Signature, mark};

pub(super) const SIGNATURE: Signature = Signature {
    chains: &[
        p("*CILIUM_POST_nat", "masquerading of pods"),
        p("*CILIUM_PRE_mangle", "hands packets to the proxy"),
        p("*CILIUM_PRE_raw", "proxy's traffic is not tracked"),
        p("*CILIUM_OUTPUT_raw", "proxy's traffic is not tracked"),
        p("*CILIUM_FORWARD", "forwarding of pods"),
        p("*CILIUM_INPUT", "proxy's traffic"),
        p("*CILIUM_OUTPUT", "this host's own traffic"),
        p("CILIUM_*", "chain CILIUM_$1"),
        p("OLD_CILIUM_*", "chain OLD_CILIUM_$1"),
    ],
    comments: &[p("cilium: *", "$1")],
    marks: &[
        mark(0x200, 0xf00, "to the proxy"),
        mark(0xa00, 0xf00, "from the proxy, incoming"),
        mark(0xb00, 0xf00, "from the proxy, outgoing"),
        mark(0xc00, 0xf00, "from this host"),
        mark(0xd00, 0xf00, "decrypted"),
        mark(0xe00, 0xf00, "to be encrypted"),
        mark(0xf00, 0xf00, "with the identity of its pod"),
    ],
    interfaces: &[
        p("cilium_host", "this host towards pods"),
        p("cilium_net", "this host towards pods"),
        p("cilium_vxlan", "pods' network over VXLAN"),
        p("cilium_geneve", "pods' network over Geneve"),
        p("cilium_wg*", "pods' network over WireGuard"),
        p("lxc_health", "health check"),
        p("lxc############", "pod"),
    ],
    ..Signature::of(Program::Cilium)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn its_comments_say_it() {
        check(
            r#"*nat
            :POSTROUTING ACCEPT [0:0]
            :CILIUM_POST_nat - [0:0]
            -A POSTROUTING -m comment --comment "cilium-feeder: CILIUM_POST_nat" -j CILIUM_POST_nat  => Cilium: masquerading of pods
            -A POSTROUTING -m mark --mark 0x21 -j MASQUERADE  => nobody
            -A CILIUM_POST_nat -m comment --comment "exclude proxy return traffic from masquerade" -j ACCEPT  => Cilium: masquerading of pods
            -A CILIUM_POST_nat -s 10.42.0.0/24 ! -d 10.42.0.0/24 ! -o cilium_+ -m comment --comment "cilium masquerade non-cluster" -j MASQUERADE  => Cilium: masquerading of pods
            COMMIT
            *filter
            :CILIUM_FORWARD - [0:0]
            -A CILIUM_FORWARD -o cilium_host -m comment --comment "cilium: any->cluster on cilium_host forward accept" -j ACCEPT  => Cilium: any->cluster on cilium_host forward accept
            COMMIT"#,
        );
    }
}
