//! FireHOL. It writes a host's whole ruleset, so what nobody else made is its own.
//!
//! Facts: firehol.conf(5), firehol-interface(5), firehol-router(5), firehol-protection(5); firehol/firehol,
//! sbin/firehol (chains in_NAME, out_NAME, pr_NAME_*, SMART_REJECT, BLACKLIST.*, WRONGMAC; log prefixes
//! "UNMATCHED").

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    anchors: &["SMART_REJECT", "pr_*_nsn#", "BLACKLIST.*.in"],
    plain_chains: &[
        p("in_*", "interface or router $1, incoming"),
        p("out_*", "interface or router $1, outgoing"),
        p("pr_*_*", "protection of $1"),
        p("BLACKLIST.*", "blacklist"),
        p("WRONGMAC", "helper mac: address with another MAC"),
        p("SMART_REJECT", "policy reject"),
    ],
    rules: &[
        p("* --log-prefix \"* UNMATCHED *", "packets that nothing allows"),
        p("* --log-prefix \"* INVALID *", "invalid packets"),
    ],
    rest: Some("ruleset of this host"),
    ..Signature::of(Program::Firehol)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn interfaces_and_routers() {
        check(
            r#"*filter
            :FORWARD DROP [0:0]
            :SMART_REJECT - [0:0]
            :in_net2lan - [0:0]
            :pr_internet_nsn3 - [0:0]
            -A FORWARD -i eth0 -o eth1 -j in_net2lan  => FireHOL: interface or router net2lan, incoming
            -A FORWARD -m limit --limit 1/sec -j LOG --log-prefix "DROP UNMATCHED PASS-unknown:"  => FireHOL: packets that nothing allows
            -A FORWARD -j DROP  => FireHOL: ruleset of this host
            -A pr_internet_nsn3 -j DROP  => FireHOL: protection of internet
            COMMIT"#,
        );
    }
}
