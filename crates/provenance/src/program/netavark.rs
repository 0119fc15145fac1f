//! netavark, the networks of Podman since version 4.
//!
//! Facts: containers/netavark, src/firewall/varktables/types.rs (NETAVARK-HOSTPORT-*, NETAVARK-DN-*,
//! NETAVARK_FORWARD, mark 0x2000) and src/firewall/nft.rs (table `netavark`).

use super::Program;
use crate::pattern::p;
use crate::signature::{Signature, mark};

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("netavark", "container networks")],
    chains: &[
        p("NETAVARK-HOSTPORT-DNAT", "published container ports"),
        p("NETAVARK-HOSTPORT-SETMARK", "marks published ports' traffic for masquerading"),
        p("NETAVARK-HOSTPORT-MASQ", "masquerading of published ports' traffic"),
        p("NETAVARK-DN-*", "published container port"),
        p("NETAVARK_FORWARD", "forwarding of container networks"),
        p("NETAVARK_INPUT", "containers' access to the host"),
        p("NETAVARK_ISOLATION_*", "network isolation"),
        p("NETAVARK-ISOLATION-*", "network isolation"),
        p("NETAVARK-*", "masquerading of a container network"),
    ],
    comments: &[p("dnat name: * id: *", "published port of a container on network $1")],
    claims: &[p("netavark firewall plugin rules", "forwarding of container networks")],
    marks: &[mark(0x2000, 0x2000, "to be masqueraded")],
    interfaces: &[p("podman#", "container network")],
    ..Signature::of(Program::Netavark)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn published_ports() {
        check(
            r#"*nat
            :POSTROUTING ACCEPT [0:0]
            :NETAVARK-1D8721804F16F - [0:0]
            :NETAVARK-DN-1D8721804F16F - [0:0]
            :NETAVARK-HOSTPORT-DNAT - [0:0]
            -A POSTROUTING -s 10.88.0.0/16 -j NETAVARK-1D8721804F16F  => netavark: masquerading of a container network
            -A NETAVARK-DN-1D8721804F16F -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.88.0.2:80  => netavark: published container port
            -A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -m comment --comment "dnat name: podman id: db676605a3c6" -j NETAVARK-DN-1D8721804F16F  => netavark: published port of a container on network podman
            COMMIT"#,
        );
    }
}
