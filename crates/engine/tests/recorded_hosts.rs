//! The engine against packets that were really sent: every probe of corpus/hosts/, through the rules that
//! a real program made.
//!
//! A probe that does not come out as recorded needs a [`Cause`], and the facts decide which.

mod recorded;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use natpath_engine::Session;
use natpath_engine::trace::{Assumption, Drawn, Header, HostId, Outcome, Path, Place, Why};
use natpath_formats::snapshot::read_host;
use natpath_model::{Flow, InterfaceName, Item, Network, Port, Protocol, Snapshot};
use recorded::{Line, corpus, read_json, shown, text, texts};
use serde_json::Value;

/// Why a probe can't come out as recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// Nothing tells which ports have listeners, and nobody listened.
    UnseenListener,
    /// A program on the host took the connection, as predicted, and went its own way to the server.
    UserlandProxy,
    /// The sender's own routes were not recorded, and it had none.
    UnseenRoute,
    /// A packet met this construct, and no snapshot could show what it says.
    NotShown(String),
    /// A packet met this construct.
    NotModelled(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnseenListener => f.write_str("unseen listener"),
            Self::UserlandProxy => f.write_str("userland proxy"),
            Self::UnseenRoute => f.write_str("unseen route of a container"),
            Self::NotShown(construct) => write!(f, "not shown by the snapshot: {construct}"),
            Self::NotModelled(construct) => write!(f, "not modelled: {construct}"),
        }
    }
}

/// A packet that was sent, and what came of it.
struct Probe {
    name: String,
    from: String,
    protocol: Protocol,
    src: IpAddr,
    src_port: u16,
    dst: IpAddr,
    dst_port: u16,
    /// The user that sent it, where it was not root.
    uid: Option<u32>,
    /// `reply`, `timeout` or the sender's error.
    result: String,
    /// What the server said of itself: name, own address, peer's address.
    server: Option<Server>,
    conntrack: Vec<Line>,
}

struct Server {
    name: String,
    local: (IpAddr, u16),
    peer: (IpAddr, u16),
}

impl Probe {
    fn read(host: &str, probe: &Value) -> Self {
        let port = |field: &str| probe[field].as_u64().map_or(0, |port| u16::try_from(port).expect("a port"));
        let address = |field| text(probe, field).parse().expect("an address");
        Self {
            name: format!("{host} {}: {}", probe["n"], text(probe, "desc")),
            from: text(probe, "from").to_owned(),
            protocol: text(probe, "proto").parse().expect("a protocol"),
            src: address("src"),
            src_port: port("sport"),
            dst: address("dst"),
            dst_port: port("dport"),
            uid: probe["uid"].as_u64().map(|uid| u32::try_from(uid).expect("a user")),
            result: text(probe, "result").to_owned(),
            server: Server::read(text(probe, "reply")),
            conntrack: texts(&probe["conntrack"]).filter_map(Line::read).collect(),
        }
    }

    fn flow(&self, host: &Snapshot) -> Flow {
        let mut flow = Flow::new(self.protocol, Some(self.src), None, self.dst, self.dst_port);
        if self.protocol.has_ports() {
            flow.src_port = Some(self.src_port);
        } else if let Some(own) = self.own_lines().next() {
            flow.icmp_id = own.original().src_port;
        }
        flow.uid = self.uid;
        let interface = |name| InterfaceName::new(name).expect("a name");
        match self.from.as_str() {
            "h" => flow.from = Some(host.name.clone()),
            "w" => flow.enters = Some((host.name.clone(), interface("eth0"))),
            "l" => flow.enters = Some((host.name.clone(), interface("eth1"))),
            // The engine finds the interface that routes to the container.
            _ => {}
        }
        flow
    }

    /// The recorded entries that the sender's own packet made.
    fn own_lines(&self) -> impl Iterator<Item = &Line> {
        self.conntrack.iter().filter(|line| {
            let original = line.original();
            (original.src, original.dst) == (self.src, self.dst)
                && (!self.protocol.has_ports()
                    || (original.src_port, original.dst_port) == (self.src_port, self.dst_port))
        })
    }
}

impl Server {
    /// Reads `server=web local=172.17.0.2|80 peer=198.51.100.254|40001`.
    fn read(reply: &str) -> Option<Self> {
        let field = |key: &str| reply.split_whitespace().find_map(|word| word.strip_prefix(key));
        let end = |key| {
            let (address, port) = field(key)?.split_once('|')?;
            Some((address.parse().ok()?, port.parse().ok()?))
        };
        Some(Self { name: field("server=")?.to_owned(), local: end("local=")?, peer: end("peer=")? })
    }
}

/// A path in a few words, for a mismatch.
fn told(path: &Path) -> String {
    let result = &path.result;
    let entries: Vec<String> = result.conntrack.iter().map(shown).collect();
    let why = result.end.why.map_or(String::new(), |why| format!(" ({why})"));
    format!(
        "{}{why} at {:?} as {} → {}, works {}, broken {:?}; {}",
        result.end.outcome,
        result.end.at.host,
        result.end.header.src,
        result.end.header.dst,
        result.works,
        result.broken.as_ref().map(|broken| (broken.packet, broken.end.outcome, broken.end.why)),
        entries.join("; ")
    )
}

/// Whether the sender hears what was recorded, the last header is what the server said, and the sender's
/// entries are the predicted ones. The last header of a packet that leaves by a tunnel is not the server's:
/// the tunnel's other end passes it on, and may translate it.
fn agrees(host: &Snapshot, path: &Path, probe: &Probe) -> bool {
    let Header { src, dst, .. } = path.result.end.header;
    let is_from = |peer: (IpAddr, u16)| {
        src.address == peer.0 && within(path.drawn(src.port), src.port, peer.1) || goes_by_tunnel(host, path)
    };
    let seen = probe.server.as_ref().is_none_or(|server| {
        is_from(server.peer)
            && dst.address == server.local.0
            && within(path.drawn(dst.port), dst.port, server.local.1)
    });
    heard(path) == probe.result && seen && entries_agree(path, probe)
}

fn goes_by_tunnel(host: &Snapshot, path: &Path) -> bool {
    let link = path.result.end.at.interface.and_then(|name| host.link(name));
    let kind = link.and_then(|link| link.kind.as_deref());
    path.result.end.outcome == Outcome::Left && matches!(kind, Some("tun" | "wireguard"))
}

/// What the sender's system call says, in the words of probes.json.
fn heard(path: &Path) -> &'static str {
    let result = &path.result;
    let reply = result.reply.as_ref().filter(|reply| reply.end.outcome == Outcome::Delivered);
    let open = result.broken.as_ref().is_some_and(|broken| broken.end.outcome == Outcome::Undecided);
    match (result.end.outcome, result.end.why, reply) {
        (Outcome::Undecided, ..) => "undecided",
        _ if open => "undecided",
        (Outcome::LocalError, Some(Why::Errno(errno)), _) => errno,
        _ if result.works => "reply",
        (Outcome::Delivered | Outcome::Left, ..) | (_, _, None) => "timeout",
        (_, _, Some(reply)) => match reply.icmp.map(|icmp| (icmp.from.is_ipv4(), icmp.kind, icmp.code)) {
            // Linux: icmp_err_convert[] of net/ipv4/icmp.c, tab_unreach[] of net/ipv6/icmp.c.
            None | Some((true, 3, 3) | (false, 1, 4)) => "ECONNREFUSED",
            Some((true, 3, 0 | 6 | 9 | 11) | (false, 1, 0)) => "ENETUNREACH",
            Some((true, 3, 1 | 7 | 8 | 10 | 12..=15) | (false, 1, 3)) => "EHOSTUNREACH",
            Some(_) => "another error",
        },
    }
}

fn within(drawn: Option<Drawn>, port: Port, recorded: u16) -> bool {
    drawn.map_or(port.value == recorded, |drawn| (drawn.low..=drawn.high).contains(&recorded))
}

/// Whether the sender's recorded entries are predicted, and all that is predicted is recorded.
fn entries_agree(path: &Path, probe: &Probe) -> bool {
    let predicted = &path.result.conntrack;
    probe.own_lines().all(|line| predicted.iter().any(|entry| line.is(entry, path, None)))
        && predicted.iter().all(|entry| probe.conntrack.iter().any(|line| line.is(entry, path, None)))
}

/// What explains that a path differs from the record, if anything does.
fn cause(host: &Snapshot, probe: &Probe, path: &Path) -> Option<Cause> {
    let broken = path.result.broken.as_ref().map(|broken| broken.end.outcome);
    if [Some(path.result.end.outcome), broken].contains(&Some(Outcome::Undecided)) {
        return undecided(path);
    }
    match (path.result.end.outcome, probe.result.as_str()) {
        (Outcome::Delivered, "ECONNREFUSED") => leans_on_listeners(path).then_some(Cause::UnseenListener),
        (Outcome::Left, "timeout") => nobody_was_beyond(path, probe).then_some(Cause::UnseenListener),
        (Outcome::Delivered, _) if is_taken_by_proxy(host, probe, path) => Some(Cause::UserlandProxy),
        _ => None,
    }
}

/// The construct that a path does not get past.
fn undecided(path: &Path) -> Option<Cause> {
    path.assumptions.iter().find_map(|assumption| match assumption {
        Assumption::Opaque { construct, reason, .. } if reason.contains("could not print") => {
            Some(Cause::NotShown(construct.clone()))
        }
        Assumption::Opaque { construct, .. } => Some(Cause::NotModelled(construct.clone())),
        _ => None,
    })
}

/// Whether the sender's entry is the predicted one, but for the answer that the outside was assumed to give.
fn nobody_was_beyond(path: &Path, probe: &Probe) -> bool {
    let is_assumed =
        path.assumptions.iter().any(|assumption| matches!(assumption, Assumption::OutsideAnswers { .. }));
    let [entry] = &path.result.conntrack[..] else { return false };
    is_assumed && probe.own_lines().any(|line| line.is_unanswered(entry))
}

fn ends_on_host(path: &Path) -> bool {
    path.result.end.at.host == Place::Host(HostId(0))
}

/// Whether a listener was assumed where the path ends.
fn leans_on_listeners(path: &Path) -> bool {
    path.assumptions.iter().any(|assumption| match assumption {
        Assumption::Missing { item: Item::Sockets, .. } => ends_on_host(path),
        Assumption::AssumedHost { .. } => !ends_on_host(path),
        _ => false,
    })
}

/// Whether the recorded connection to the host is the predicted one, and the record shows a program of the
/// host behind it: another server answered, or the program answered by a connection of its own.
fn is_taken_by_proxy(host: &Snapshot, probe: &Probe, path: &Path) -> bool {
    let is_of_host =
        |address: IpAddr| host.links.iter().flat_map(|link| &link.addresses).any(|own| own.local == address);
    if !ends_on_host(path) || !path.result.works {
        return false;
    }
    match &probe.server {
        Some(server) => server.name != "host" && entries_agree(path, probe),
        None => probe.conntrack.iter().any(|line| {
            let original = line.original();
            is_of_host(original.src) && (original.dst, original.dst_port) == (probe.src, probe.src_port)
        }),
    }
}

/// Sends a probe through its host: as recorded (`None`), or not and why.
fn judge(network: &Network, probe: &Probe) -> Result<Option<Cause>, String> {
    let host = &network.hosts[0];
    if probe.src.is_unspecified() {
        return Ok(Some(Cause::UnseenRoute));
    }
    let trace = Session::new(network).trace(&probe.flow(host)).map_err(|error| error.to_string())?;
    // Where several paths are possible by chance, the record is one of them.
    let (agreeing, others): (Vec<_>, Vec<_>) = trace.paths.iter().partition(|path| agrees(host, path, probe));
    if !agreeing.is_empty() && others.iter().all(|path| heard(path) == probe.result) {
        return Ok(None);
    }
    let causes = others.iter().map(|path| cause(host, probe, path));
    let mut causes: Vec<Cause> = causes.collect::<Option<_>>().ok_or_else(|| {
        let paths: Vec<String> = trace.paths.iter().map(told).collect();
        let lines: Vec<String> = probe.conntrack.iter().map(|line| format!("\n    {line}")).collect();
        let server = probe.server.as_ref().map(|server| (&server.name, server.local, server.peer));
        format!(
            "recorded {} {server:?}{}\n  predicted {}",
            probe.result,
            lines.concat(),
            paths.join("\n  or ")
        )
    })?;
    Ok(Some(causes.remove(0)))
}

/// What became of some hosts' probes.
#[derive(Default)]
struct Tally {
    probes: usize,
    as_recorded: usize,
    causes: BTreeMap<Cause, usize>,
    mismatches: Vec<String>,
}

impl Tally {
    /// Sends all probes of a host.
    fn add(&mut self, directory: &std::path::Path) {
        let name = directory.file_name().expect("a directory").to_string_lossy().into_owned();
        let host = read_host(directory, &name).expect("a host");
        let network = Network { hosts: vec![host], ..Network::default() };
        let list = read_json(&directory.join("probes.json"));
        for probe in list.as_array().into_iter().flatten().map(|probe| Probe::read(&name, probe)) {
            self.probes += 1;
            match judge(&network, &probe) {
                Ok(None) => self.as_recorded += 1,
                Ok(Some(cause)) => {
                    println!("{}: {cause}", probe.name);
                    *self.causes.entry(cause).or_default() += 1;
                }
                Err(mismatch) => self.mismatches.push(format!("{}: {mismatch}", probe.name)),
            }
        }
    }

    /// Prints the numbers, and panics if a probe ended otherwise without a cause.
    fn close(&self, what: &str) {
        let causes: Vec<String> =
            self.causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        let (as_recorded, probes) = (self.as_recorded, self.probes);
        println!("{what}: {as_recorded} of {probes} probes as recorded, causes: {}", causes.join(", "));
        assert!(
            self.mismatches.is_empty(),
            "{} mismatches\n{}",
            self.mismatches.len(),
            self.mismatches.join("\n")
        );
        let is_modelled = |cause: &Cause| !matches!(cause, Cause::NotModelled(_));
        assert!(self.causes.keys().all(is_modelled), "a construct is not modelled");
    }
}

/// The hosts of the corpus.
fn hosts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(corpus("hosts")).expect("corpus/hosts").filter_map(Result::ok);
    let mut directories: Vec<_> = entries.map(|entry| entry.path()).collect();
    directories.sort();
    directories
}

#[test]
fn probes_of_recorded_hosts_end_as_recorded() {
    let mut tally = Tally::default();
    hosts().iter().for_each(|host| tally.add(host));
    tally.close("corpus/hosts");
    // Any change shows here: fewer causes are better, and a new one needs an explanation.
    let expected = [
        (Cause::UnseenListener, 10),
        (Cause::UserlandProxy, 15),
        (Cause::UnseenRoute, 3),
        // iptables-save printed "[unsupported revision]".
        (Cause::NotShown("-j DNAT".to_owned()), 5),
    ];
    assert_eq!(tally.causes, BTreeMap::from(expected));
    assert_eq!((tally.as_recorded, tally.probes), (119, 152));
}

/// Hosts that a checkout may have beside it, whose rules are iptables' too.
const BESIDE: [&str; 8] = [
    "calico-felix-vxlan",
    "cilium-kube-proxy-ipvs",
    "istio-ambient-pod",
    "istio-sidecar-redirect-dns",
    "istio-sidecar-tproxy",
    "k3s-kube-proxy-iptables-flannel-netpol",
    "kubeadm-docker-kube-proxy",
    "tailscale-exit-node-subnet-router",
];

#[test]
fn probes_of_hosts_beside_the_checkout_end_as_recorded() {
    let beside = corpus("../../shared/corpus/hosts");
    if !beside.is_dir() {
        return;
    }
    let mut tally = Tally::default();
    let own = hosts();
    let names = own.iter().filter_map(|host| host.file_name()?.to_str()).chain(BESIDE);
    names.map(|name| beside.join(name)).filter(|path| path.is_dir()).for_each(|path| tally.add(&path));
    tally.close("hosts beside the checkout");
}
