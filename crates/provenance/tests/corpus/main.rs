//! The rulesets of many programs: who made each rule, and that nobody else is taken for it.
//!
//! The dumps are those that the readers are tested with; a larger corpus is used where it lies beside the
//! checkout. Run with `--nocapture` for the table, and with `NATPATH_LIST=1` for every rule with its words.

mod nft;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use natpath_formats::snapshot::read_host;
use natpath_model::Snapshot;
use natpath_provenance::{Program, of_rule};

/// Every case: its name, the programs that must be found, and how many rules of a hundred must have one.
const CASES: &[(&str, &[Program], usize)] = {
    use Program::*;
    &[
        ("arno-iptables-firewall-nat", &[Arno], 90),
        ("calico-felix-vxlan", &[Calico], 100),
        ("cilium-kube-proxy-ipvs", &[Cilium, KubeProxy], 90),
        ("cni-bridge-portmap", &[Cni], 100),
        ("docker-20-legacy-with-ufw-nft", &[Docker, Ufw], 100),
        ("docker-20-nft", &[Docker], 100),
        ("docker-26-legacy", &[Docker], 100),
        ("docker-29-nftables-doc", &[Docker], 100),
        ("fail2ban-iptables", &[Fail2ban], 80),
        ("ferm-gateway", &[Ferm], 100),
        ("firehol-router", &[Firehol], 95),
        ("firewalld-1.3-nftables", &[Firewalld], 100),
        ("firewalld-2.3-nftables", &[Firewalld], 100),
        ("istio-ambient-pod", &[Istio], 100),
        ("istio-sidecar-nftables", &[Istio], 100),
        ("istio-sidecar-redirect-dns", &[Istio], 100),
        ("istio-sidecar-tproxy", &[Istio], 100),
        ("k3s-kube-proxy-iptables-flannel-netpol", &[Cni, Flannel, KubeProxy, KubeRouter], 100),
        ("kubeadm-docker-kube-proxy", &[Calico, Docker, KubeProxy], 100),
        ("libvirt-9-iptables", &[Libvirt], 100),
        ("lxc-net-bridge", &[Lxc], 100),
        ("lxd-bridge-forward", &[Lxd], 100),
        ("miniupnpd-iptables", &[Miniupnpd], 80),
        ("networkmanager-shared-nftables", &[NetworkManager], 100),
        ("nftables-examples-sets-maps-lb", &[], 0),
        ("nftables-examples-workstation", &[], 0),
        ("openwrt-fw4-default", &[Fw4], 100),
        ("openwrt-fw4-redirects", &[Fw4], 100),
        ("podman-4-cni", &[Cni], 100),
        ("podman-4-netavark-iptables", &[Netavark], 100),
        ("shorewall-two-interfaces", &[Shorewall], 100),
        ("sshuttle-nat", &[Sshuttle], 100),
        ("sshuttle-tproxy", &[Sshuttle], 100),
        ("systemd-networkd-masquerade", &[Networkd], 100),
        ("tailscale-exit-node-subnet-router", &[Tailscale], 100),
        ("ufw-nat-before-rules", &[Ufw], 95),
        ("wg-quick-client-iptables-killswitch", &[WgQuick], 100),
        ("wg-quick-server-iptables", &[], 0),
        ("iptables-mixed", &[KubeProxy], 100),
        ("iptables-mixed-legacy", &[KubeProxy], 100),
        ("iptables-mixed-masqall", &[KubeProxy], 100),
        ("iptables-mixed-node2", &[KubeProxy], 100),
        ("iptables-mixed-v1.30", &[KubeProxy], 100),
        ("nftables-mixed", &[KubeProxy], 100),
        ("nftables-mixed-node2", &[KubeProxy], 100),
        ("nftables-mixed-v1.30", &[KubeProxy], 100),
    ]
};

#[test]
fn every_case_is_known_by_its_program() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for (name, programs, percent) in CASES {
        let Some(dir) = directory(name) else { continue };
        seen += 1;
        let host = host(&dir, name);
        let found = count(&host);
        let rules: usize = found.values().sum();
        let nobody = found.get(&None).copied().unwrap_or_default();
        let known: Vec<_> = found.keys().copied().flatten().collect();
        println!("{name:40} {:5} of {rules:5}  {}", rules - nobody, table(&found));
        if known != *programs {
            faults.push(format!("{name}: {known:?} and not {programs:?}"));
        }
        if (rules - nobody) * 100 < rules * percent {
            faults.push(format!("{name}: {nobody} of {rules} rules are nobody's"));
        }
    }
    assert!(seen >= 18, "only {seen} cases were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The directory of a case: in the larger corpus, else with the readers' tests.
fn directory(name: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpora = [here.join("../../../shared/corpus"), here.join("../formats/tests/data")];
    let kinds = ["hosts", "kube-proxy"];
    let mut found = corpora.iter().flat_map(|corpus| kinds.map(|kind| corpus.join(kind).join(name)));
    found.find(|dir| dir.is_dir())
}

/// A host with all its rules, those of nft too.
fn host(dir: &Path, name: &str) -> Snapshot {
    let mut host = read_host(dir, name).expect("a host");
    nft::add(&mut host, dir);
    host
}

fn count(host: &Snapshot) -> BTreeMap<Option<Program>, usize> {
    let mut found = BTreeMap::new();
    for (at, rule) in host.ruleset.rules() {
        let known = of_rule(host, at);
        if std::env::var_os("NATPATH_LIST").is_some() {
            let words = known.as_ref().map_or("nobody".to_owned(), ToString::to_string);
            println!("    {words:60} {}", host.text(&rule.origin));
        }
        *found.entry(known.map(|known| known.program)).or_default() += 1;
    }
    found
}

fn table(found: &BTreeMap<Option<Program>, usize>) -> String {
    let part = |(program, count): (&Option<Program>, &usize)| {
        let name = program.map_or("nobody".to_owned(), |program| program.to_string());
        format!("{name} {count}")
    };
    found.iter().map(part).collect::<Vec<_>>().join(", ")
}
