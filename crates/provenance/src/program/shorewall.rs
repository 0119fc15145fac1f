//! Shorewall. It compiles a host's whole ruleset, so what nobody else made is its own.
//!
//! Facts: shorewall(8); Shorewall documentation, "Anatomy of Shorewall" and "Shorewall Internals"; Shorewall,
//! Perl/Shorewall/Chains.pm (zone chains ZONE-ZONE, ZONE_frwd, ZONE_dnat, ZONE_masq; chains dynamic, reject,
//! smurfs, tcpflags, log*; the chain `shorewall` that keeps the time of the start; `%` and `~` for actions).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    anchors: &["shorewall"],
    plain_chains: &[
        p("shorewall", "time of its start"),
        p("sha-*", "state of its script"),
        p("*_frwd", "zone $1, forwarding"),
        p("*_input", "zone $1 to this host"),
        p("*_output", "zone $1 from this host"),
        p("*_dnat", "zone $1, DNAT and REDIRECT rules"),
        p("*_masq", "interface $1, SNAT rules"),
        p("dynamic", "dynamic blacklist"),
        p("blacklst", "blacklist"),
        p("reject", "REJECT policy"),
        p("smurfs", "smurf protection"),
        p("smurflog", "smurf protection"),
        p("tcpflags", "TCP flags protection"),
        p("logflags", "TCP flags protection"),
        p("logdrop", "logging"),
        p("logreject", "logging"),
        p("Limit*", "action Limit"),
        p("*2*", "zone $1 to $2"),
        p("*-*", "zone $1 to $2"),
    ],
    rest: Some("ruleset of this host"),
    ..Signature::of(Program::Shorewall)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn zones() {
        check(
            "*nat
            :PREROUTING ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            :net_dnat - [0:0]
            -A PREROUTING -i eth0 -j net_dnat  => shorewall: zone net, DNAT and REDIRECT rules
            -A POSTROUTING -s 192.168.77.0/24 -o eth0 -j MASQUERADE  => shorewall: ruleset of this host
            -A net_dnat -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.77.10:80  => shorewall: zone net, DNAT and REDIRECT rules
            COMMIT
            *filter
            :FORWARD DROP [0:0]
            :net-loc - [0:0]
            :reject - [0:0]
            :shorewall - [0:0]
            -A FORWARD -g reject  => shorewall: REJECT policy
            -A net-loc -d 192.168.77.10/32 -p tcp -m tcp --dport 80 -j ACCEPT  => shorewall: zone net to loc
            COMMIT",
        );
    }

    #[test]
    fn without_its_own_chain_such_names_are_nobodys() {
        check("*filter\n:net-loc - [0:0]\n-A net-loc -j DROP  => nobody\nCOMMIT");
    }
}
