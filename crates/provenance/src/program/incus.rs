//! Incus: its managed bridges, forwards and access lists.
//!
//! Facts: lxc/incus, internal/server/firewall/drivers/drivers_nftables.go (table `incus`, chains KIND.NETWORK)
//! and drivers_xtables.go beside it (comments "generated for Incus network NAME"); Incus documentation, "How to
//! configure your firewall" and "How to configure network forwards".

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("incus", "managed network")],
    table_chains: &[
        p("pstrt.*", "network $1, masquerading"),
        p("fwdprert.*", "network forward to $1"),
        p("fwdout.*", "network forward to $1, for this host itself"),
        p("fwdpstrt.*", "network forward to $1, for its own instances"),
        p("fwd.*", "network $1, forwarding"),
        p("in.*", "network $1, access to DNS and DHCP on this host"),
        p("out.*", "network $1, answers of DNS and DHCP"),
        p("aclin.*", "network $1, access list"),
        p("aclout.*", "network $1, access list"),
        p("aclfwd.*", "network $1, access list"),
        p("acl.*", "network $1, access list"),
        p("prert.*", "proxy device $1"),
    ],
    claims: &[
        p("generated for Incus network *", "network $1"),
        p("generated for Incus network-forward *", "network forward to $1"),
        p("generated for Incus container *", "container $1"),
    ],
    interfaces: &[p("incusbr*", "managed network incusbr$1")],
    ..Signature::of(Program::Incus)
};

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_nft};

    #[test]
    fn networks_and_forwards() {
        check_nft(
            "incus",
            &[
                ("fwdprert.br0", "ip daddr 198.51.100.1 tcp dport 8080 dnat ip to 10.66.0.50:80", None, "Incus: network forward to br0"),
                ("pstrt.br0", "ip saddr 10.66.0.0/24 masquerade", None, "Incus: network br0, masquerading"),
                ("aclfwd.br0", "iifname \"br0\" jump acl.br0", None, "Incus: network br0, access list"),
            ],
        );
        check(
            r#"*filter
            :FORWARD ACCEPT [0:0]
            -A FORWARD -o incusbr0 -m comment --comment "generated for Incus network incusbr0" -j ACCEPT  => Incus: network incusbr0
            COMMIT"#,
        );
    }
}
