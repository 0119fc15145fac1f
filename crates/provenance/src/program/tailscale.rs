//! Tailscale.
//!
//! Facts: tailscale/tailscale, util/linuxfw/iptables_runner.go and nftables_runner.go (chains ts-input,
//! ts-forward, ts-postrouting) and util/linuxfw/linuxfw.go (marks under 0xff0000: 0x40000 for subnet routes,
//! 0x80000 for packets of tailscaled itself).

use super::Program;
use crate::pattern::p;
use crate::signature::{Signature, mark};

pub(super) const SIGNATURE: Signature = Signature {
    chains: &[
        p("ts-input", "access from the tailnet to this host"),
        p("ts-forward", "forwarding from and to the tailnet"),
        p("ts-postrouting", "masquerading of the tailnet's packets"),
    ],
    rules: &[
        p("ts-forward -i * -j MARK *", "marks packets from the tailnet for masquerading"),
        p("ts-* -s 100.64.0.0/10 * -j DROP", "protection from forged tailnet addresses"),
    ],
    marks: &[
        mark(0x40000, 0xff_0000, "from the tailnet, to be masqueraded"),
        mark(0x80000, 0xff_0000, "from tailscaled itself, past the tailnet's routes"),
    ],
    interfaces: &[p("tailscale*", "tailnet")],
    ..Signature::of(Program::Tailscale)
};

#[cfg(test)]
mod tests {
    use super::Program;
    use crate::tests::{check, check_mark};

    #[test]
    fn forwarding_by_mark() {
        let page = "*filter
            :FORWARD DROP [0:0]
            :ts-forward - [0:0]
            -A FORWARD -j ts-forward  => Tailscale: forwarding from and to the tailnet
            -A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000  => Tailscale: marks packets from the tailnet for masquerading
            -A ts-forward -s 100.64.0.0/10 -o tailscale0 -j DROP  => Tailscale: protection from forged tailnet addresses
            -A ts-forward -o tailscale0 -j ACCEPT  => Tailscale: forwarding from and to the tailnet
            COMMIT";
        check(page);
        let expected = Some((Program::Tailscale, "from the tailnet, to be masqueraded"));
        check_mark(page, 0x40000, 0xff_0000, expected);
    }
}
