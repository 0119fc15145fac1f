//! Istio: sidecars and, in ambient mode, ztunnel.
//!
//! Facts: istio/istio, tools/istio-iptables/pkg/constants/constants.go (chains ISTIO_*, mark 1337),
//! tools/istio-nftables/pkg/constants (tables `istio-proxy-*`), cni/pkg/iptables/iptables.go (ambient: marks
//! 0x539 and 0x111 under 0xfff, chain ISTIO_PRERT); Istio documentation, "Ports used by Istio".

use super::Program;
use crate::pattern::p;
use crate::signature::{Signature, mark};

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("istio-*", "redirection to the proxy")],
    table_chains: &[
        p("istio-inbound", "incoming to the sidecar"),
        p("istio-in-redirect", "incoming to the sidecar"),
        p("istio-output-dns", "outgoing DNS to the sidecar"),
        p("istio-output", "outgoing to the sidecar"),
        p("istio-redirect", "outgoing to the sidecar"),
        p("istio-prerouting", "incoming to ztunnel"),
    ],
    chains: &[
        p("ISTIO_INBOUND", "incoming to the sidecar"),
        p("ISTIO_IN_REDIRECT", "incoming to the sidecar"),
        p("ISTIO_TPROXY", "incoming to the sidecar (TPROXY)"),
        p("ISTIO_DIVERT", "known connections to the sidecar (TPROXY)"),
        p("ISTIO_OUTPUT_DNS", "outgoing DNS to the sidecar"),
        p("ISTIO_OUTPUT", "outgoing to the proxy"),
        p("ISTIO_REDIRECT", "outgoing to the sidecar"),
        p("ISTIO_DROP", "invalid packets"),
        p("ISTIO_PRERT", "incoming to ztunnel"),
        p("ISTIO_POSTRT", "health checks of the node"),
    ],
    anchors: &["ISTIO_INBOUND", "ISTIO_OUTPUT", "ISTIO_PRERT"],
    rules: &[
        p("PREROUTING -i * -j RETURN", "interface $1 is left alone"),
        p("OUTPUT -o * -j RETURN", "interface $1 is left alone"),
        p("PREROUTING * --mark 0x539 -j CONNMARK --save-mark *", "remembers connections to the sidecar (TPROXY)"),
        p("OUTPUT * --mark 0x539 -j *", "answers of connections to the sidecar (TPROXY)"),
        p("OUTPUT * --uid-owner * -j MARK --set-xmark 0x53a/*", "sidecar's own calls to its pod (TPROXY)"),
        p("OUTPUT * --gid-owner * -j MARK --set-xmark 0x53a/*", "sidecar's own calls to its pod (TPROXY)"),
    ],
    marks: &[
        mark(0x539, u32::MAX, "of the sidecar (TPROXY)"),
        mark(0x53a, u32::MAX, "from the sidecar to its own pod (TPROXY)"),
        mark(0x539, 0xfff, "from ztunnel"),
        mark(0x111, 0xfff, "of a connection that ztunnel made"),
    ],
    ..Signature::of(Program::Istio)
};

#[cfg(test)]
mod tests {
    use super::Program;
    use crate::tests::{check, check_mark, check_nft};

    #[test]
    fn sidecar() {
        check(
            "*nat
            :PREROUTING ACCEPT [0:0]
            :ISTIO_INBOUND - [0:0]
            :ISTIO_IN_REDIRECT - [0:0]
            :ISTIO_REDIRECT - [0:0]
            -A PREROUTING -i eth7 -j RETURN  => Istio: interface eth7 is left alone
            -A PREROUTING -p tcp -j ISTIO_INBOUND  => Istio: incoming to the sidecar
            -A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006  => Istio: incoming to the sidecar
            -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001  => Istio: outgoing to the sidecar
            COMMIT",
        );
        let expected = "Istio: incoming to the sidecar";
        check_nft("istio-proxy-nat", &[("istio-in-redirect", "redirect to :15006", None, expected)]);
    }

    #[test]
    fn marks() {
        let page = "*mangle\n:ISTIO_DIVERT - [0:0]\nCOMMIT";
        check_mark(page, 1337, u32::MAX, Some((Program::Istio, "of the sidecar (TPROXY)")));
        check_mark(page, 0x539, 0xfff, Some((Program::Istio, "from ztunnel")));
    }
}
