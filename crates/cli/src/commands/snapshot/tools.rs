//! What is recorded of a host: one table, from which `natpath snapshot` runs the tools and the script is
//! written.

/// A file of a snapshot, and the command whose output it holds.
pub(super) struct Record {
    /// The file; several records of one file are written one after the other.
    pub(super) file: &'static str,
    /// The tool: the first of these that is installed.
    pub(super) tools: &'static [&'static str],
    pub(super) arguments: &'static [&'static str],
    pub(super) when: When,
    /// What is recorded instead if the tool fails.
    pub(super) otherwise: Option<(&'static str, &'static [&'static str])>,
    /// A comment for readers of the script; one comment stands before all records that follow.
    pub(super) about: &'static str,
}

/// Whether a file is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// Where this path is there: a kernel module is loaded. Its tool would load it, and change the host.
    Exists(&'static str),
    /// Where iptables of both backends is installed.
    TwoBackends,
}

const fn record(
    file: &'static str,
    tools: &'static [&'static str],
    arguments: &'static [&'static str],
) -> Record {
    Record { file, tools, arguments, when: When::Always, otherwise: None, about: "" }
}

impl Record {
    const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    const fn otherwise(self, file: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { otherwise: Some((file, arguments)), ..self }
    }
}

/// Where the kernel shows that connection tracking is there.
const CONNTRACK: When = When::Exists("/proc/sys/net/netfilter/nf_conntrack_max");

/// All that is recorded by one command each; `wg` and `tc` are apart.
pub(super) const RECORDS: [Record; 21] = [
    record("iptables-save", &["iptables-nft-save", "iptables-save"], &["-c"])
        .about("Rules, with their counters. Two backends of iptables may be in use on one host."),
    record("ip6tables-save", &["ip6tables-nft-save", "ip6tables-save"], &["-c"]),
    record("iptables-legacy-save", &["iptables-legacy-save"], &["-c"]).when(When::TwoBackends),
    record("ip6tables-legacy-save", &["ip6tables-legacy-save"], &["-c"]).when(When::TwoBackends),
    record("nft.json", &["nft"], &["-j", "list", "ruleset"]).otherwise("nft.txt", &["list", "ruleset"]),
    record("nft-hooks", &["nft"], &["list", "hooks"]),
    record("ipset", &["ipset"], &["save"]),
    record("addr.json", &["ip"], &["-j", "-d", "addr"]).about("Links, addresses, routes, neighbours."),
    record("route.json", &["ip"], &["-j", "route", "show", "table", "all"]),
    record("route6.json", &["ip"], &["-6", "-j", "route", "show", "table", "all"]),
    record("rule.json", &["ip"], &["-j", "rule"]),
    record("rule6.json", &["ip"], &["-6", "-j", "rule"]),
    record("neigh.json", &["ip"], &["-j", "neigh"]),
    record("bridge-link.json", &["bridge"], &["-j", "-d", "link"]),
    record("bridge-fdb.json", &["bridge"], &["-j", "fdb"]),
    record("sysctl", &["sysctl"], &["-a"]).about("Kernel parameters, listening sockets, connections."),
    // Which sockets are transparent; ss of before 2021 can't say.
    record("sockets", &["ss"], &["-H", "-lntup", "-O", "--inet-sockopt"])
        .otherwise("sockets", &["-H", "-lntup"]),
    record("conntrack", &["conntrack"], &["-L", "-f", "ipv4", "-o", "extended"]).when(CONNTRACK),
    record("conntrack", &["conntrack"], &["-L", "-f", "ipv6", "-o", "extended"]).when(CONNTRACK),
    record("ipvs", &["ipvsadm"], &["-Sn"])
        .when(When::Exists("/proc/net/ip_vs"))
        .about("What takes packets past netfilter."),
    record("xfrm", &["ip"], &["xfrm", "policy"]),
];

/// The kinds of queueing that hold no filters: `tc` is not asked for the devices that have no other.
pub(super) const PLAIN_QUEUES: [&str; 8] =
    ["noqueue", "pfifo_fast", "fq_codel", "fq", "mq", "pfifo", "bfifo", "sfq"];

/// Where filters are attached, in the words of `tc filter show dev DEVICE`.
pub(super) const FILTER_PLACES: [&str; 3] = ["ingress", "egress", "root"];
