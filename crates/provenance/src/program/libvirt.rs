//! libvirt's virtual networks.
//!
//! Facts: libvirt documentation, "Firewall and network filtering in libvirt"; libvirt/libvirt,
//! src/network/network_iptables.c (chains LIBVIRT_INP, _OUT, _FWI, _FWO, _FWX, _PRT) and network_nftables.c
//! (table `libvirt_network`).

use super::Program;
use crate::pattern::p;
use crate::signature::Signature;

pub(super) const SIGNATURE: Signature = Signature {
    tables: &[p("libvirt_network", "virtual networks")],
    table_chains: &[
        p("guest_input", "to guests of virtual networks"),
        p("guest_output", "from guests of virtual networks"),
        p("guest_cross", "between guests of a virtual network"),
        p("guest_nat", "masquerading of virtual networks"),
    ],
    chains: &[
        p("LIBVIRT_INP", "guests' access to DNS and DHCP on this host"),
        p("LIBVIRT_OUT", "answers of DNS and DHCP to guests"),
        p("LIBVIRT_FWI", "to guests of virtual networks"),
        p("LIBVIRT_FWO", "from guests of virtual networks"),
        p("LIBVIRT_FWX", "between guests of a virtual network"),
        p("LIBVIRT_PRT", "masquerading of virtual networks"),
    ],
    rules: &[
        p("LIBVIRT_INP -i * *", "network $1, guests' access to DNS and DHCP on this host"),
        p("LIBVIRT_OUT -o * *", "network $1, answers of DNS and DHCP to guests"),
        p("LIBVIRT_FWX -i * -o *", "network $1, between its guests"),
        p("LIBVIRT_FWI -o * *", "network $1, to its guests"),
        p("LIBVIRT_FWI * -o * *", "network $2, to its guests"),
        p("LIBVIRT_FWO -i * *", "network $1, from its guests"),
        p("LIBVIRT_FWO -s * -i * *", "network $2, from its guests"),
        p("LIBVIRT_PRT -s * -d * -j RETURN", "network $1, multicast and broadcast stay untranslated"),
        p("LIBVIRT_PRT -s * ! -d * -j *", "network $1, masquerading"),
        p("LIBVIRT_PRT -o * * -j CHECKSUM *", "network $1, checksums of DHCP"),
    ],
    interfaces: &[p("virbr*-nic", "virtual network virbr$1"), p("virbr*", "virtual network virbr$1"), p("vnet*", "guest")],
    ..Signature::of(Program::Libvirt)
};

#[cfg(test)]
mod tests {
    use crate::tests::check;

    #[test]
    fn networks_by_their_bridge() {
        check(
            "*filter
            :FORWARD ACCEPT [0:0]
            :LIBVIRT_FWI - [0:0]
            :LIBVIRT_FWO - [0:0]
            :LIBVIRT_INP - [0:0]
            -A FORWARD -j LIBVIRT_FWI  => libvirt: to guests of virtual networks
            -A LIBVIRT_FWI -d 192.168.140.0/24 -i eth1 -o virbr2 -j ACCEPT  => libvirt: network virbr2, to its guests
            -A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable  => libvirt: network virbr0, to its guests
            -A LIBVIRT_FWO -s 192.168.122.0/24 -i virbr0 -j ACCEPT  => libvirt: network virbr0, from its guests
            -A LIBVIRT_INP -i virbr3 -p udp -m udp --dport 53 -j ACCEPT  => libvirt: network virbr3, guests' access to DNS and DHCP on this host
            COMMIT
            *nat
            :LIBVIRT_PRT - [0:0]
            -A LIBVIRT_PRT -s 192.168.122.0/24 -d 224.0.0.0/24 -j RETURN  => libvirt: network 192.168.122.0/24, multicast and broadcast stay untranslated
            -A LIBVIRT_PRT -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535  => libvirt: network 192.168.122.0/24, masquerading
            COMMIT",
        );
    }
}
