//! Calico's felix.
//!
//! Facts: projectcalico/calico, felix/rules/rule_defs.go (chain names) and felix/rules/static.go (comments; each
//! rule also has its hash in one, "cali:..."), felix/fv/cali-iptables-dump.txt (marks as they are given out by
//! default); Calico documentation, "Configuring Felix", IptablesMarkMask.

use super::Program;
use crate::pattern::p;
use crate::signature::{Signature, mark};

pub(super) const SIGNATURE: Signature = Signature {
    chains: &[
        p("cali-tw-*", "policies to workload cali$1"),
        p("cali-fw-*", "policies from workload cali$1"),
        p("cali-pi-*", "policy $1, incoming"),
        p("cali-po-*", "policy $1, outgoing"),
        p("cali-pri-*", "profile $1, incoming"),
        p("cali-pro-*", "profile $1, outgoing"),
        p("cali-from-wl-dispatch*", "policies of workloads"),
        p("cali-to-wl-dispatch*", "policies of workloads"),
        p("cali-wl-to-host", "workloads' access to this host"),
        p("cali-from-host-endpoint*", "policies of host endpoints"),
        p("cali-to-host-endpoint*", "policies of host endpoints"),
        p("cali-from-hep-forward*", "policies of host endpoints, forwarding"),
        p("cali-to-hep-forward*", "policies of host endpoints, forwarding"),
        p("cali-th-*", "policies to host endpoint $1"),
        p("cali-fh-*", "policies from host endpoint $1"),
        p("cali-fip-dnat", "floating IP"),
        p("cali-fip-snat", "floating IP"),
        p("cali-nat-outgoing", "masquerading of workloads"),
        p("cali-rpf-skip", "workloads that may forge addresses"),
        p("cali-cidr-block", "blocked networks"),
        p("cali-failsafe-*", "failsafe ports"),
        p("cali-POSTROUTING", "after routing"),
        p("cali-PREROUTING", "before routing"),
        p("cali-INPUT", "access to this host"),
        p("cali-OUTPUT", "this host's own traffic"),
        p("cali-FORWARD", "forwarding"),
        p("cali-*", "chain cali-$1"),
    ],
    comments: &[
        p("cali:* Policy explicitly accepted packet.", "accepted by policy"),
        p("cali:* Host endpoint policy accepted packet.", "accepted by policy of a host endpoint"),
        p("cali:* Unknown interface", "workload that is not known"),
        p("cali:* Drop IPv* packets from non-allowed hosts", "tunnels only from nodes of the cluster"),
        p("cali:* Allow IPv* packets from allowed hosts", "tunnels from nodes of the cluster"),
        p("cali:* Configured DefaultEndpointToHostAction", "default for workloads' access to this host"),
    ],
    rules: &[
        p("cali-PREROUTING *-m rpfilter * -j DROP", "protection from forged addresses of workloads"),
        p("cali-* --dport 4789 *-j NOTRACK", "tunnel packets are not tracked"),
        p("cali-* --dport 4789 *-j CT --notrack", "tunnel packets are not tracked"),
        p("cali-POSTROUTING -o *.cali* -j MASQUERADE*", "masquerading into the tunnel"),
    ],
    claims: &[
        p("cali:* Policy explicitly accepted packet.", "accepted by policy"),
        p("cali:*", "policies of workloads"),
    ],
    marks: &[
        mark(0x10000, 0x10000, "accepted by policy"),
        mark(0x20000, 0x20000, "passed on to the next policy tier"),
        mark(0x80000, 0x80000, "from a workload"),
    ],
    interfaces: &[
        p("vxlan.calico", "pods' network over VXLAN"),
        p("vxlan-v6.calico", "pods' network over VXLAN"),
        p("wireguard.cali", "pods' network over WireGuard"),
        p("cali*", "workload"),
    ],
    ..Signature::of(Program::Calico)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn workloads_and_policies() {
        check(
            r#"*filter
            :FORWARD ACCEPT [0:0]
            :cali-FORWARD - [0:0]
            :cali-from-wl-dispatch - [0:0]
            :cali-tw-1a2b3c4d5e6 - [0:0]
            -A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD  => Calico: forwarding
            -A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m comment --comment "Policy explicitly accepted packet." -m mark --mark 0x10000/0x10000 -j ACCEPT  => Calico: accepted by policy
            -A cali-FORWARD -i cali+ -m comment --comment "cali:tAzwBLPaV-j53OOZ" -j cali-from-wl-dispatch  => Calico: forwarding
            -A cali-from-wl-dispatch -m comment --comment "cali:zTj6P0TIgYvgz-md" -m comment --comment "Unknown interface" -j DROP  => Calico: workload that is not known
            -A cali-tw-1a2b3c4d5e6 -m comment --comment "cali:abcdefghijklmnop" -j DROP  => Calico: policies to workload cali1a2b3c4d5e6
            COMMIT"#,
        );
    }
}
