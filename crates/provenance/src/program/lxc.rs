//! lxc-net, the service of LXC that makes the bridge lxcbr0.
//!
//! Facts: lxc/lxc, config/init/common/lxc-net.in: functions start_nftables (tables `lxc`) and start_iptables.

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("lxc", "containers' bridge")],
    table_chains: &[
        p("input", "containers' access to DNS and DHCP on this host"),
        p("forward", "forwarding of containers"),
        p("postrouting", "masquerading of containers"),
    ],
    rules: &[
        p("INPUT -i lxcbr0 * -j ACCEPT", "containers' access to DNS and DHCP on this host"),
        p("FORWARD -i lxcbr0 -j ACCEPT", "forwarding of containers"),
        p("FORWARD -o lxcbr0 -j ACCEPT", "forwarding of containers"),
        p("POSTROUTING -o lxcbr0 * -j CHECKSUM *", "checksums of DHCP"),
    ],
    interfaces: &[p("lxcbr0", "containers' bridge")],
    ..Signature::of(Program::Lxc)
};

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_nft};

    #[test]
    fn both_front_ends() {
        check_nft(
            "lxc",
            &[("postrouting", "ip saddr 10.0.3.0/24 masquerade", None, "LXC: masquerading of containers")],
        );
        check("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i lxcbr0 -j ACCEPT  => LXC: forwarding of containers\nCOMMIT");
    }
}
