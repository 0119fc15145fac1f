//! LXD: its managed bridges, forwards and access lists.
//!
//! Facts: canonical/lxd, lxd/firewall/drivers/drivers_nftables.go (table `lxd`, chains KIND.NETWORK)
//! and drivers_xtables.go beside it (comments "generated for LXD network NAME"); LXD documentation, "How to
//! configure your firewall" and "How to configure network forwards".

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("lxd", "managed network")],
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
        p("generated for LXD network *", "network $1"),
        p("generated for LXD network-forward *", "network forward to $1"),
        p("generated for LXD container *", "container $1"),
    ],
    interfaces: &[p("lxdbr*", "managed network lxdbr$1")],
    ..Signature::of(Program::Lxd)
};

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_nft};

    #[test]
    fn networks_and_forwards() {
        check_nft(
            "lxd",
            &[
                ("fwdprert.br0", "ip daddr 198.51.100.1 tcp dport 8080 dnat ip to 10.66.0.50:80", None, "LXD: network forward to br0"),
                ("pstrt.br0", "ip saddr 10.66.0.0/24 masquerade", None, "LXD: network br0, masquerading"),
                ("aclfwd.br0", "iifname \"br0\" jump acl.br0", None, "LXD: network br0, access list"),
            ],
        );
        check(
            r#"*filter
            :FORWARD ACCEPT [0:0]
            -A FORWARD -o lxdbr0 -m comment --comment "generated for LXD network lxdbr0" -j ACCEPT  => LXD: network lxdbr0
            COMMIT"#,
        );
    }
}
