//! The standard plugins of the container network interface, as Kubernetes nodes and older Podmans run them.
//!
//! Facts: containernetworking/plugins, plugins/meta/portmap/portmap_iptables.go (CNI-HOSTPORT-*, CNI-DN-*,
//! mark 0x2000), pkg/ip/ipmasq_iptables_linux.go (CNI- and 24 digits) and ipmasq_nftables_linux.go (table
//! `cni_plugins_masquerade`), plugins/meta/firewall/iptables.go (CNI-FORWARD, CNI-ADMIN),
//! plugins/main/bridge (cni0, `veth` and 8 digits).

use super::Program;
use crate::pattern::p;
use crate::signature::{Signature, mark};

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[
        p("cni_plugins_masquerade", "masquerading of containers"),
        p("cni_hostport", "published container port (portmap)"),
    ],
    chains: &[
        p("CNI-HOSTPORT-DNAT", "published container ports (portmap)"),
        p("CNI-HOSTPORT-SETMARK", "marks published ports' traffic for masquerading (portmap)"),
        p("CNI-HOSTPORT-MASQ", "masquerading of published ports' traffic (portmap)"),
        p("CNI-DN-*", "published container port (portmap)"),
        p("CNI-FORWARD", "forwarding of containers (firewall plugin)"),
        p("CNI-ADMIN", "administrator's rule (CNI-ADMIN)"),
        p("CNI-ISOLATION-STAGE-*", "network isolation (firewall plugin)"),
        p("CNI-########################", "masquerading of a container"),
    ],
    comments: &[
        p("dnat name: \"*\" id: \"*\"", "published port of a container on network $1 (portmap)"),
        p("name: \"*\" id: \"*\"", "masquerading of a container on network $1"),
    ],
    claims: &[
        p("CNI firewall plugin rules", "forwarding of containers (firewall plugin)"),
        p("CNI portfwd requiring masquerade", "masquerading of published ports' traffic (portmap)"),
    ],
    marks: &[mark(0x2000, 0x2000, "to be masqueraded")],
    interfaces: &[p("cni0", "pods' bridge"), p("cni-podman*", "container network $1")],
    ..Signature::of(Program::Cni)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn published_ports() {
        check(
            r#"*nat
            :PREROUTING ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            :CNI-1d96a4c7e0d1b705cc10f1f7 - [0:0]
            :CNI-DN-1d96a4c7e0d1b705cc10f - [0:0]
            :CNI-HOSTPORT-DNAT - [0:0]
            :CNI-HOSTPORT-MASQ - [0:0]
            -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT  => CNI: published container ports (portmap)
            -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ  => CNI: masquerading of published ports' traffic (portmap)
            -A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \"podnet\" id: \"c1\"" -j CNI-1d96a4c7e0d1b705cc10f1f7  => CNI: masquerading of a container
            -A CNI-1d96a4c7e0d1b705cc10f1f7 ! -d 224.0.0.0/4 -m comment --comment "name: \"podnet\" id: \"c1\"" -j MASQUERADE  => CNI: masquerading of a container on network podnet
            -A CNI-DN-1d96a4c7e0d1b705cc10f -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.88.0.2:80  => CNI: published container port (portmap)
            -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"podnet\" id: \"c1\"" -m multiport --dports 8080 -j CNI-DN-1d96a4c7e0d1b705cc10f  => CNI: published port of a container on network podnet (portmap)
            COMMIT"#,
        );
    }
}
