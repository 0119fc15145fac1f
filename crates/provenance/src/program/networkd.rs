//! systemd-networkd (IPMasquerade=) and systemd-nspawn (--port).
//!
//! Facts: systemd/systemd, src/shared/firewall-util-nft.c (tables `io.systemd.nat`, chains prerouting, output,
//! postrouting); systemd.network(5), IPMasquerade=.

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("io.systemd.nat", "address translation")],
    table_chains: &[
        p("prerouting", "published container port"),
        p("output", "published container port, for this host itself"),
        p("postrouting", "masquerading (IPMasquerade=)"),
    ],
    ..Signature::of(Program::Networkd)
};

#[cfg(test)]
mod tests {
    use crate::tests::check_nft;

    #[test]
    fn masquerading() {
        let expected = "systemd-networkd: masquerading (IPMasquerade=)";
        check_nft("io.systemd.nat", &[("postrouting", "ip saddr @masq_saddr masquerade", None, expected)]);
    }
}
