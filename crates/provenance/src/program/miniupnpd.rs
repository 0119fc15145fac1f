//! miniupnpd.
//!
//! Facts: miniupnp/miniupnp, miniupnpd/netfilter/ (iptables_init.sh: chains MINIUPNPD,
//! MINIUPNPD-POSTROUTING, MINIUPNPD-PCP-PEER) and miniupnpd/netfilter_nft/scripts/nft_init.sh (chains
//! miniupnpd, prerouting_miniupnpd, postrouting_miniupnpd); on OpenWrt upnp_forward, upnp_prerouting,
//! upnp_postrouting.

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    chains: &[
        p("MINIUPNPD", "port mapping"),
        p("MINIUPNPD-POSTROUTING", "port mapping, outward"),
        p("MINIUPNPD-PCP-PEER", "port mapping, outward (PCP PEER)"),
        p("miniupnpd", "port mapping"),
        p("prerouting_miniupnpd", "port mapping"),
        p("postrouting_miniupnpd", "port mapping, outward"),
        p("upnp_forward", "port mapping"),
        p("upnp_prerouting", "port mapping"),
        p("upnp_postrouting", "port mapping, outward"),
    ],
    ..Signature::of(Program::Miniupnpd)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn mappings() {
        check(
            "*nat
            :PREROUTING ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            :MINIUPNPD - [0:0]
            :MINIUPNPD-POSTROUTING - [0:0]
            -A PREROUTING -i eth0 -j MINIUPNPD  => miniupnpd: port mapping
            -A POSTROUTING -s 192.168.77.0/24 -o eth0 -j MASQUERADE  => nobody
            -A MINIUPNPD -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.77.10:8080  => miniupnpd: port mapping
            -A MINIUPNPD-POSTROUTING -s 192.168.77.10/32 -p tcp -m tcp --sport 8080 -j MASQUERADE --to-ports 8080  => miniupnpd: port mapping, outward
            COMMIT",
        );
    }
}
