//! fail2ban.
//!
//! Facts: fail2ban/fail2ban, config/action.d/iptables.conf and iptables-ipset.conf (chains and ipsets f2b-JAIL)
//! and nftables.conf (table `f2b-table`, sets addr-set-JAIL, addr6-set-JAIL).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("f2b-table", "banned addresses")],
    chains: &[p("f2b-*", "jail $1"), p("fail2ban-*", "jail $1")],
    rules: &[
        p("*--match-set f2b-* src*", "jail $2"),
        p("f2b-chain *@addr-set-* *", "jail $2"),
        p("f2b-chain *@addr6-set-* *", "jail $2"),
    ],
    ..Signature::of(Program::Fail2ban)
};

#[cfg(test)]
mod tests {
    use crate::tests::{check, check_nft};

    #[test]
    fn jails_of_chains_and_sets() {
        check(
            "*filter
            :INPUT ACCEPT [0:0]
            :f2b-sshd - [0:0]
            -A INPUT -m set --match-set f2b-setall src -j REJECT --reject-with icmp-port-unreachable  => fail2ban: jail setall
            -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd  => fail2ban: jail sshd
            -A INPUT -p tcp -m tcp --dport 25 -j ACCEPT  => nobody
            -A f2b-sshd -s 203.0.113.70/32 -j REJECT --reject-with icmp-port-unreachable  => fail2ban: jail sshd
            COMMIT",
        );
    }

    #[test]
    fn jails_of_nft() {
        check_nft(
            "f2b-table",
            &[("f2b-chain", "tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable", None, "fail2ban: jail sshd")],
        );
    }
}
