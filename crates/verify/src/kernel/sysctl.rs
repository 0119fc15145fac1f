//! The kernel parameters that every host of a test starts with, so that nothing is inherited from the
//! machine and nothing but the flows sends packets.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use natpath_model::{InterfaceName, Sysctls};

/// What every host has unless it says otherwise, and what the engine is told.
pub const STATED: [(&str, &str); 3] = [
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv6.conf.all.forwarding", "0"),
    ("net.ipv6.conf.default.forwarding", "0"),
];

/// The same where a host has bridges, which the kernel would show to the hooks.
pub const STATED_BRIDGE: [(&str, &str); 2] =
    [("net.bridge.bridge-nf-call-iptables", "0"), ("net.bridge.bridge-nf-call-ip6tables", "0")];

/// The same for `all`, `default` and each interface, under `net.ipv4.conf`.
pub const STATED_CONF: [(&str, &str); 5] = [
    ("rp_filter", "0"),
    ("accept_local", "0"),
    ("route_localnet", "0"),
    ("send_redirects", "1"),
    ("src_valid_mark", "0"),
];

/// What keeps a host quiet; the engine does not know these.
const QUIET: [(&str, &str); 9] = [
    ("net.ipv4.tcp_syn_retries", "1"),
    ("net.ipv4.tcp_synack_retries", "0"),
    // No retransmission and no loss probe.
    ("net.ipv4.tcp_rto_min_us", "100000000"),
    ("net.ipv4.tcp_early_retrans", "0"),
    ("net.ipv4.tcp_fastopen", "0"),
    // No socket lingers in TIME-WAIT, so that a closed connection's port can be used again.
    ("net.ipv4.tcp_max_tw_buckets", "0"),
    ("net.netfilter.nf_conntrack_tcp_loose", "1"),
    // One multicast report, not another at some time within the hour.
    ("net.ipv6.mld_qrv", "1"),
    // An entry's beginning tells it from an earlier one, whose number it may have.
    ("net.netfilter.nf_conntrack_timestamp", "1"),
];

/// Under `net.ipv4.conf`, for each interface.
const QUIET_CONF4: [(&str, &str); 4] =
    [("arp_notify", "0"), ("shared_media", "1"), ("accept_redirects", "0"), ("secure_redirects", "0")];

/// Under `net.ipv6.conf`, for each interface: no link-local address, no detection of duplicates, no
/// solicitations, no second multicast report.
const QUIET_CONF6: [(&str, &str); 8] = [
    ("accept_redirects", "0"),
    ("addr_gen_mode", "1"),
    ("accept_dad", "0"),
    ("dad_transmits", "0"),
    ("router_solicitations", "0"),
    ("accept_ra", "0"),
    ("mldv1_unsolicited_report_interval", "3600000"),
    ("mldv2_unsolicited_report_interval", "3600000"),
];

/// Under `net.ipvX.neigh`, for each interface: an address that nobody owns is given up soon, and who
/// answers for another does so at once.
const QUIET_NEIGHBOUR: [(&str, &str); 2] = [("retrans_time_ms", "10"), ("proxy_delay", "0")];

/// Sets the quiet parameters in the calling thread's namespace.
pub(crate) fn quiet(interfaces: &[InterfaceName]) {
    let names: Vec<String> = interfaces.iter().map(|name| name.to_string().replace('.', "/")).collect();
    let some = ["all".to_owned(), "default".to_owned()];
    let mut settings: Vec<(String, &str)> =
        QUIET.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    for name in some.iter().chain(&names) {
        settings
            .extend(STATED_CONF.iter().map(|(key, value)| (format!("net.ipv4.conf.{name}.{key}"), *value)));
        settings
            .extend(QUIET_CONF4.iter().map(|(key, value)| (format!("net.ipv4.conf.{name}.{key}"), *value)));
        settings
            .extend(QUIET_CONF6.iter().map(|(key, value)| (format!("net.ipv6.conf.{name}.{key}"), *value)));
    }
    for name in &names {
        for version in [4, 6] {
            settings.extend(
                QUIET_NEIGHBOUR
                    .iter()
                    .map(|(key, value)| (format!("net.ipv{version}.neigh.{name}.{key}"), *value)),
            );
        }
    }
    for (name, value) in &settings {
        // Not every kernel has all of them, and a test that needed one shows it.
        let _ = set(name, value);
    }
}

/// Has a host give up on IPv6 neighbours that it was not told of without a solicitation, which rules would count.
/// A probe by a program that nobody runs stands for it (neighbour.c, `neigh_max_probes`).
pub(crate) fn solicit_nobody(interfaces: &[InterfaceName]) {
    for name in interfaces {
        let name = name.to_string().replace('.', "/");
        for (key, value) in [("app_solicit", "1"), ("mcast_solicit", "0"), ("ucast_solicit", "0")] {
            // As with the quiet parameters, a test that needed it shows it.
            let _ = set(&format!("net.ipv6.neigh.{name}.{key}"), value);
        }
    }
}

/// Has br_netfilter, where it is loaded, pass by the bridges of the calling thread's namespace.
pub(crate) fn hide_bridges() {
    for (name, value) in STATED_BRIDGE {
        // Not there without the module.
        let _ = set(name, value);
    }
}

/// Sets a host's own parameters, those first that overwrite others; gives back what could not be set.
pub(crate) fn apply(sysctls: &Sysctls) -> Vec<String> {
    let overwrites = |name: &str| name == "net.ipv4.ip_forward" || name.ends_with(".conf.all.forwarding");
    let all: Vec<_> = sysctls.iter().filter(|(name, _)| matters(name)).collect();
    let (first, then): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| overwrites(name));
    first
        .into_iter()
        .chain(then)
        .filter(|(name, value)| !has(name, value))
        .filter_map(|(name, value)| set(name, value).err().map(|error| format!("{error:#}")))
        .collect()
}

/// Whether a parameter has a say in what becomes of a packet. A recorded host has a thousand others, and some
/// that would break the quiet.
fn matters(name: &str) -> bool {
    const ROOTS: [&str; 5] =
        ["net.ipv4.conf.", "net.ipv6.conf.", "net.netfilter.nf_conntrack_", "net.bridge.", "net.ipv4.fib_"];
    const OTHERS: [&str; 11] = [
        "net.ipv4.ip_forward",
        "net.ipv4.ip_default_ttl",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_early_demux",
        "net.ipv4.tcp_early_demux",
        "net.ipv4.fwmark_reflect",
        "net.ipv4.icmp_ratelimit",
        "net.ipv4.icmp_ratemask",
        "net.ipv6.fib_multipath_hash_policy",
        "net.ipv6.fwmark_reflect",
        "net.ipv6.icmp.ratelimit",
    ];
    // Read-only, or the same for all namespaces.
    const FIXED: [&str; 5] = [
        "net.ipv4.conf.all.mc_forwarding",
        "net.netfilter.nf_conntrack_count",
        "net.netfilter.nf_conntrack_buckets",
        "net.netfilter.nf_conntrack_max",
        "net.netfilter.nf_conntrack_expect_max",
    ];
    let key = name.rsplit('.').next().unwrap_or_default();
    let quiet =
        QUIET_CONF4.iter().chain(&QUIET_CONF6).any(|(quiet, _)| *quiet == key) || key == "mc_forwarding";
    let known = ROOTS.iter().any(|root| name.starts_with(root)) || OTHERS.contains(&name);
    known && !quiet && !FIXED.contains(&name) && key != "stable_secret"
}

/// Whether a parameter has a value already.
fn has(name: &str, value: &str) -> bool {
    fs::read_to_string(path(name)).is_ok_and(|own| own.split_whitespace().eq(value.split_whitespace()))
}

/// Sets one parameter.
fn set(name: &str, value: &str) -> Result<()> {
    fs::write(path(name), value).with_context(|| format!("can't set {name} = {value}"))
}

/// The file of a parameter: dots become slashes, and slashes, which stand for dots in a name, dots.
fn path(name: &str) -> PathBuf {
    let swapped: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    PathBuf::from("/proc/sys").join(swapped)
}
