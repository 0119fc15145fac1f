//! NetworkManager's shared connections (`ipv4.method shared`).
//!
//! Facts: NetworkManager/NetworkManager, src/core/nm-firewall-utils.c (tables and comments `nm-shared-NAME`,
//! chains nm-sh-in-NAME, nm-sh-fw-NAME).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("nm-shared-*", "connection shared on $1")],
    chains: &[
        p("nm-sh-in-*", "connection shared on $1, access to DNS and DHCP on this host"),
        p("nm-sh-fw-*", "connection shared on $1, forwarding"),
    ],
    claims: &[p("nm-shared-*", "connection shared on $1")],
    ..Signature::of(Program::NetworkManager)
};

#[cfg(test)]
mod tests {
    use crate::tests::check_nft;

    #[test]
    fn a_shared_bridge() {
        let expected = "NetworkManager: connection shared on nmbr0";
        check_nft("nm-shared-nmbr0", &[("nat_postrouting", "ip saddr 10.42.0.0/24 masquerade", None, expected)]);
    }
}
