//! arno-iptables-firewall. It writes a host's whole ruleset, so what nobody else made is its own.
//!
//! Facts: arno-iptables-firewall(8); arno-iptables-firewall/aif, bin/arno-iptables-firewall and
//! share/arno-iptables-firewall/environment (chains *_CHAIN, *_CHK, HOST_BLOCK_*; log prefixes "AIF:").

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    anchors: &["BASE_INPUT_CHAIN", "BASE_FORWARD_CHAIN", "EXT_INPUT_CHAIN"],
    plain_chains: &[
        p("EXT_*_CHAIN", "external interface"),
        p("INT_*_CHAIN", "internal interface"),
        p("LAN_INET_FORWARD_CHAIN", "internal network to the Internet"),
        p("LAN_LAN_FORWARD_CHAIN", "between internal networks"),
        p("*DMZ*_CHAIN", "demilitarised zone"),
        p("BASE_*_CHAIN", "known connections"),
        p("CONNTRACK_HELPER", "connections of helpers"),
        p("HOST_BLOCK_*", "blocked hosts"),
        p("RESERVED_NET_CHK", "reserved addresses"),
        p("SPOOF_CHK", "protection from forged addresses"),
        p("VALID_CHK", "protection from malformed packets"),
        p("POST_INPUT_DROP_CHAIN", "packets that nothing allows"),
        p("*_CHAIN", "plugins"),
    ],
    rules: &[p("* --log-prefix \"AIF:*", "logging")],
    rest: Some("ruleset of this host"),
    ..Signature::of(Program::Arno)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn interfaces() {
        check(
            r#"*filter
            :INPUT DROP [0:0]
            :BASE_INPUT_CHAIN - [0:0]
            :EXT_INPUT_CHAIN - [0:0]
            -A INPUT -i eth0 ! -p icmp -m conntrack --ctstate NEW -j EXT_INPUT_CHAIN  => arno-iptables-firewall: external interface
            -A INPUT -m limit --limit 1/sec -j LOG --log-prefix "AIF:Dropped INPUT packet: " --log-level 6  => arno-iptables-firewall: logging
            -A INPUT -j DROP  => arno-iptables-firewall: ruleset of this host
            -A EXT_INPUT_CHAIN -p tcp -m tcp --dport 22 -j ACCEPT  => arno-iptables-firewall: external interface
            COMMIT"#,
        );
    }
}
