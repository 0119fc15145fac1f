//! firewalld.
//!
//! Facts: firewalld/firewalld, src/firewall/core/nftables.py (table `firewalld`, chains TABLE_HOOK_ZONE_PART)
//! and src/firewall/core/ipXtables.py (chains HOOK_ZONE_PART); firewalld.policies(5) and firewalld.zones(5)
//! for the parts pre, log, deny, allow, post.

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("firewalld", "rules for all zones")],
    table_chains: &[
        p("*_ZONES", "dispatch by zone"),
        p("*_ZONES_SOURCE", "dispatch by zone"),
        p("*_POLICIES*", "dispatch by zone and policy"),
        p("*_PREROUTING", "rules for all zones"),
        p("*_POSTROUTING", "rules for all zones"),
        p("*_INPUT", "rules for all zones"),
        p("*_FORWARD", "rules for all zones"),
        p("*_OUTPUT", "rules for all zones"),
        p("*_*_policy_*_pre", "policy $3"),
        p("*_*_policy_*_log", "policy $3, logging"),
        p("*_*_policy_*_deny", "policy $3, deny"),
        p("nat_PRE_policy_*_allow", "policy $1, port forward"),
        p("nat_POST_policy_*_allow", "policy $1, masquerading"),
        p("*_*_policy_*_allow", "policy $3, allow"),
        p("*_*_policy_*_post", "policy $3"),
        p("*_*_policy_*", "policy $3"),
        p("*_*_*_pre", "zone $3"),
        p("*_*_*_log", "zone $3, logging"),
        p("*_*_*_deny", "zone $3, deny"),
        p("nat_PRE_*_allow", "zone $1, port forward"),
        p("nat_POST_*_allow", "zone $1, masquerading"),
        p("*_*_*_allow", "zone $3, allow"),
        p("*_*_*_post", "zone $3"),
        p("*_*_*", "zone $3"),
    ],
    anchors: &["INPUT_ZONES", "FORWARD_IN_ZONES", "FORWARD_ZONES", "PREROUTING_ZONES", "POSTROUTING_ZONES"],
    plain_chains: &[
        p("*_ZONES", "dispatch by zone"),
        p("*_ZONES_SOURCE", "dispatch by zone"),
        p("*_POLICIES*", "dispatch by policy"),
        p("*_direct", "direct rule"),
        p("*_policy_*_log", "policy $2, logging"),
        p("*_policy_*_deny", "policy $2, deny"),
        p("PRE_policy_*_allow", "policy $1, port forward"),
        p("POST_policy_*_allow", "policy $1, masquerading"),
        p("*_policy_*_allow", "policy $2, allow"),
        p("*_policy_*_pre", "policy $2"),
        p("*_policy_*_post", "policy $2"),
        p("*_policy_*", "policy $2"),
        p("IN_*_log", "zone $1, logging"),
        p("IN_*_deny", "zone $1, deny"),
        p("IN_*_allow", "zone $1, allow"),
        p("IN_*_pre", "zone $1"),
        p("IN_*_post", "zone $1"),
        p("IN_*", "zone $1"),
        p("FWD*_*_allow", "zone $2, allow"),
        p("FWD*_*", "zone $2"),
        p("PRE_*_allow", "zone $1, port forward"),
        p("PRE_*", "zone $1"),
        p("POST_*_allow", "zone $1, masquerading"),
        p("POST_*", "zone $1"),
    ],
    ..Signature::of(Program::Firewalld)
};

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_nft};

    #[test]
    fn zones_and_policies_of_nft() {
        check_nft(
            "firewalld",
            &[
                ("nat_PRE_external_allow", "tcp dport 8080 dnat to 192.168.77.10:80", None, "firewalld: zone external, port forward"),
                ("nat_POST_external_allow", "oifname != \"lo\" masquerade", None, "firewalld: zone external, masquerading"),
                ("filter_IN_public_allow", "tcp dport 22 accept", None, "firewalld: zone public, allow"),
                ("filter_IN_public", "jump filter_IN_public_pre", None, "firewalld: zone public"),
                ("filter_FWD_policy_int2ext", "accept", None, "firewalld: policy int2ext"),
                ("filter_IN_policy_allow-host-ipv6_allow", "accept", None, "firewalld: policy allow-host-ipv6, allow"),
                ("filter_INPUT_POLICIES", "iifname \"eth0\" jump filter_IN_external", None, "firewalld: dispatch by zone and policy"),
                ("filter_INPUT", "ct state invalid drop", None, "firewalld: rules for all zones"),
            ],
        );
    }

    #[test]
    fn zones_of_iptables() {
        check(
            "*filter
            :INPUT ACCEPT [0:0]
            :INPUT_ZONES - [0:0]
            :IN_public - [0:0]
            :IN_public_allow - [0:0]
            -A INPUT -j INPUT_ZONES  => firewalld: dispatch by zone
            -A INPUT_ZONES -i eth0 -g IN_public  => firewalld: dispatch by zone
            -A IN_public_allow -p tcp -m tcp --dport 22 -j ACCEPT  => firewalld: zone public, allow
            COMMIT",
        );
    }
}
