//! The programs that are known, each by one file of the same order: facts and where they are written down,
//! the table of patterns, tests with real rules.

use std::fmt;

use crate::signature::Signature;

macro_rules! programs {
    ($($module:ident $variant:ident $id:literal $name:literal $about:literal,)*) => {
        $(mod $module;)*

        /// A program that writes rules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Program {
            $(#[doc = $about] $variant,)*
        }

        impl Program {
            /// Its name for programs: `kube-proxy`.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }
        }

        impl fmt::Display for Program {
            /// Its name as its makers write it: `Docker`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $name,)*
                })
            }
        }

        /// All signatures. Those of names that nobody else uses come first in effect, so the order is free.
        pub(crate) static SIGNATURES: &[Signature] = &[$($module::SIGNATURE,)*];
    };
}

programs! {
    arno Arno "arno-iptables-firewall" "arno-iptables-firewall" "A firewall script.",
    calico Calico "calico" "Calico" "Network and policy of Kubernetes pods: felix.",
    cilium Cilium "cilium" "Cilium" "Network of Kubernetes pods by BPF, with a few rules of netfilter.",
    cni Cni "cni" "CNI" "The standard plugins of the container network interface: bridge, portmap, firewall.",
    docker Docker "docker" "Docker" "Docker Engine.",
    fail2ban Fail2ban "fail2ban" "fail2ban" "Bans addresses by what logs say.",
    ferm Ferm "ferm" "ferm" "A language for rulesets.",
    firehol Firehol "firehol" "FireHOL" "A language for firewalls.",
    firewalld Firewalld "firewalld" "firewalld" "Zones and policies.",
    flannel Flannel "flannel" "flannel" "Network of Kubernetes pods; part of k3s.",
    fw4 Fw4 "fw4" "OpenWrt fw4" "The firewall of OpenWrt.",
    incus Incus "incus" "Incus" "System containers and virtual machines.",
    istio Istio "istio" "Istio" "A service mesh that redirects pods' traffic to a proxy.",
    kube_proxy KubeProxy "kube-proxy" "kube-proxy" "Kubernetes Services.",
    kube_router KubeRouter "kube-router" "kube-router" "Kubernetes network policies; part of k3s.",
    libvirt Libvirt "libvirt" "libvirt" "Networks of virtual machines.",
    lxc Lxc "lxc" "LXC" "The bridge of lxc-net.",
    lxd Lxd "lxd" "LXD" "System containers and virtual machines.",
    miniupnpd Miniupnpd "miniupnpd" "miniupnpd" "Port mappings that clients ask for (UPnP, NAT-PMP, PCP).",
    netavark Netavark "netavark" "netavark" "Networks of Podman.",
    networkd Networkd "systemd-networkd" "systemd-networkd" "Masquerading of systemd-networkd and systemd-nspawn.",
    network_manager NetworkManager "networkmanager" "NetworkManager" "Shared connections.",
    node_local_dns NodeLocalDns "node-local-dns" "NodeLocal DNSCache" "A DNS cache on each Kubernetes node.",
    shorewall Shorewall "shorewall" "shorewall" "A firewall compiler.",
    sshuttle Sshuttle "sshuttle" "sshuttle" "A tunnel over ssh.",
    tailscale Tailscale "tailscale" "Tailscale" "A mesh of WireGuard tunnels.",
    ufw Ufw "ufw" "ufw" "Uncomplicated Firewall.",
    wg_quick WgQuick "wg-quick" "wg-quick" "Sets up WireGuard tunnels.",
}
