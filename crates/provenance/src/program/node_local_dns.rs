//! NodeLocal DNSCache.
//!
//! Facts: kubernetes/dns, cmd/node-cache/app/cache_app.go (comments "NodeLocal DNS Cache: skip conntrack" and
//! "NodeLocal DNS Cache: allow DNS traffic", interface nodelocaldns).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    claims: &[
        p("NodeLocal DNS Cache: skip conntrack", "DNS to the node's cache is not tracked"),
        p("NodeLocal DNS Cache: allow DNS traffic", "DNS to the node's cache is allowed"),
    ],
    interfaces: &[p("nodelocaldns", "addresses of the node's DNS cache")],
    ..Signature::of(Program::NodeLocalDns)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn untracked_dns() {
        check(
            r#"*raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j NOTRACK  => NodeLocal DNSCache: DNS to the node's cache is not tracked
            COMMIT"#,
        );
    }
}
