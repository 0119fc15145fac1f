//! wg-quick.
//!
//! Facts: WireGuard/wireguard-tools, src/wg-quick/linux.bash, function add_default (comments
//! "wg-quick(8) rule for NAME", tables `wg-quick-NAME`); wg-quick(8), section EXAMPLES, for the PostUp rule
//! that stops whatever does not go through the tunnel. Other PostUp rules are the administrator's own words.

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("wg-quick-*", "tunnel $1")],
    table_chains: &[
        p("preraw", "protection of the tunnel's addresses"),
        p("premangle", "mark of the tunnel's own packets"),
        p("postmangle", "mark of the tunnel's own packets"),
    ],
    claims: &[p("wg-quick(8) rule for *", "tunnel $1")],
    rules: &[p(
        "OUTPUT ! -o * -m mark ! --mark * -m addrtype ! --dst-type LOCAL -j REJECT*",
        "kill switch of tunnel $1 (PostUp)",
    )],
    interfaces: &[p("wg*", "WireGuard tunnel wg$1")],
    ..Signature::of(Program::WgQuick)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn a_tunnel_for_everything() {
        check(
            r#"*raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -d 10.7.0.1/32 ! -i wg0 -m addrtype ! --src-type LOCAL -m comment --comment "wg-quick(8) rule for wg0" -j DROP  => wg-quick: tunnel wg0
            COMMIT
            *filter
            :FORWARD DROP [0:0]
            :OUTPUT ACCEPT [0:0]
            -A FORWARD -i wg0 -j ACCEPT  => nobody
            -A OUTPUT ! -o wg0 -m mark ! --mark 0xca6c -m addrtype ! --dst-type LOCAL -j REJECT --reject-with icmp-port-unreachable  => wg-quick: kill switch of tunnel wg0 (PostUp)
            COMMIT"#,
        );
    }
}
