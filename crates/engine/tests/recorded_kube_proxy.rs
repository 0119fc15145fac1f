//! The engine against a real two-node cluster: the connections of corpus/kube-proxy/, made through rules
//! that kube-proxy itself programmed. Chained Services are among them (40 to 48).

mod recorded;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use natpath_engine::Session;
use natpath_engine::trace::{Assumption, Entry, FlowTrace, HostId, Outcome, Path, Place};
use natpath_formats::snapshot::read_network;
use natpath_model::{Bind, Flow, Network, NextHop, Protocol, Socket};
use recorded::{Line, corpus, read_json, shown, text, texts};
use serde_json::Value;

/// What is seen with at least this probability in the runs of a test must have been seen.
const SURE: f64 = 0.95;

/// What the one who connects gets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Got {
    /// An answer of this server, which saw this source address.
    Answer { server: String, source: IpAddr },
    /// A reset or an ICMP error.
    Refused,
    /// Nothing.
    Timeout,
    /// What the engine says where it meets this construct.
    Undecided(String),
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { server, source } => write!(f, "{server} answers {source}"),
            Self::Refused => f.write_str("refused"),
            Self::Timeout => f.write_str("timeout"),
            Self::Undecided(construct) => write!(f, "undecided, {construct}"),
        }
    }
}

/// One numbered test of the record: a connection that was made several times.
struct Test {
    title: String,
    id: u32,
    from: String,
    protocol: Protocol,
    src: Option<IpAddr>,
    dst: IpAddr,
    dst_port: u16,
    runs: u32,
    got: Vec<Got>,
    /// The error that a ping printed.
    ping_error: Option<IpAddr>,
    /// The entries of each node afterwards; a node that is not named was not asked.
    conntrack: BTreeMap<&'static str, Vec<Line>>,
    routes: Routes,
}

/// Where the router sends the range of Service addresses in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Routes {
    Nowhere,
    To(&'static str),
}

const NODE1: &str = "192.0.2.11";
const NODE2: &str = "192.0.2.12";

impl Test {
    /// Reads a test; `None` where the command makes two connections.
    fn read(test: &Value) -> Option<Self> {
        let command = text(test, "command");
        if command.contains("/fetch?u=") {
            return None;
        }
        let after = |word: &str| command.split_whitespace().skip_while(move |found| *found != word).nth(1);
        let title = text(test, "title").to_owned();
        let last = command.split_whitespace().last();
        let dst = test["dst"].as_str().or(last).expect("a destination");
        let node = |name| texts(&test["conntrack"][name]).filter_map(Line::read).collect();
        let number = |field: &str| test[field].as_u64().and_then(|n| n.try_into().ok()).expect("a number");
        let asked = |(_, name): &(&str, &str)| test["conntrack"].get(name).is_some();
        Some(Self {
            id: number("id"),
            from: text(test, "from").to_owned(),
            protocol: text(test, "proto").parse().expect("a protocol"),
            src: after("--interface").map(|address| address.parse().expect("an address")),
            dst: dst.parse().expect("an address"),
            dst_port: test["dport"].as_u64().map_or(0, |port| u16::try_from(port).expect("a port")),
            runs: number("runs"),
            got: test["results"].as_array().into_iter().flatten().map(read_result).collect(),
            ping_error: test["results"][0]["text"].as_str().and_then(ping_error),
            conntrack: [("node1", "n1"), ("node2", "n2")]
                .into_iter()
                .filter(asked)
                .map(|(host, name)| (host, node(name)))
                .collect(),
            routes: service_range(&title),
            title,
        })
    }

    fn flow(&self) -> Flow {
        let mut flow = Flow::new(self.protocol, self.src, None, self.dst, self.dst_port);
        flow.from = Some(host_of(&self.from).to_owned());
        if self.protocol == Protocol::ICMP {
            let id = self.conntrack.values().flatten().next().map(|line| line.original().src_port);
            flow.icmp_id = id.unwrap_or(flow.icmp_id);
        }
        flow
    }
}

/// The host that the record calls `c`, `n1`, `p11`.
fn host_of(name: &str) -> &str {
    match name {
        "c" => "client",
        "n1" | "host-n1" => "node1",
        "n2" | "host-n2" => "node2",
        pod => pod,
    }
}

fn read_result(result: &Value) -> Got {
    match text(result, "outcome") {
        "ok" => Got::Answer {
            server: host_of(text(result, "server")).to_owned(),
            source: text(result, "source_seen").parse().expect("an address"),
        },
        "timeout" => Got::Timeout,
        "refused" | "fail" => Got::Refused,
        other => panic!("unknown outcome {other}"),
    }
}

/// Who sent the error that a ping printed: `From 192.0.2.1 icmp_seq=1 Destination Net Unreachable`.
fn ping_error(text: &str) -> Option<IpAddr> {
    let line = text.lines().find(|line| line.ends_with("Destination Net Unreachable"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What the title says of the router's route for 10.96.0.0/16.
fn service_range(title: &str) -> Routes {
    if title.contains("router sends 10.96.0.0/16 to node2") {
        Routes::To(NODE2)
    } else if title.contains("router sends 10.96.0.0/16 back to node1")
        || title.contains("routed to node1 for 10.96.0.0/16")
    {
        Routes::To(NODE1)
    } else {
        Routes::Nowhere
    }
}

/// The cluster with the router's route for the range of Service addresses.
fn cluster(routes: Routes) -> Network {
    let mut network = read_network(&corpus("kube-proxy")).expect("a network");
    for host in &mut network.hosts {
        if host.name.starts_with("node") {
            // It listened while the connections were made, and not when the sockets were listed.
            host.sockets.push(Socket {
                protocol: Protocol::TCP,
                bind: Bind::AnyBoth,
                port: 9090,
                interface: None,
                process: None,
                transparent: Some(false),
            });
        }
        if let (Routes::To(node), "router") = (routes, host.name.as_str()) {
            let pods = "10.244.1.0/24".parse().expect("a prefix");
            let known = host.routes.iter().find(|route| route.destination == pods).expect("a route");
            let mut route = known.clone();
            route.destination = "10.96.0.0/16".parse().expect("a prefix");
            let gateway = Some(node.parse().expect("an address"));
            route.next_hops.iter_mut().for_each(|hop: &mut NextHop| hop.gateway = gateway);
            host.routes.push(route);
        }
    }
    network
}

/// What the one who connects gets by a path.
fn got(network: &Network, path: &Path) -> Got {
    let result = &path.result;
    let ends = [Some(&result.end), result.broken.as_ref().map(|broken| &broken.end)];
    if ends.iter().flatten().any(|end| end.outcome == Outcome::Undecided) {
        let construct = path.assumptions.iter().find_map(|assumption| match assumption {
            Assumption::Opaque { construct, .. } => Some(construct.clone()),
            _ => None,
        });
        return Got::Undecided(construct.unwrap_or_default());
    }
    if result.works {
        let Place::Host(host) = result.end.at.host else { panic!("{:?} is no host", result.end.at) };
        let server = name(network, host).to_owned();
        return Got::Answer { server, source: result.end.header.src.address };
    }
    let answered = result.reply.as_ref().is_some_and(|reply| {
        reply.end.outcome == Outcome::Delivered && (reply.reset || reply.icmp.is_some())
    });
    // Where the first packet was delivered, the reply is the answer that fails.
    if answered && result.end.outcome != Outcome::Delivered { Got::Refused } else { Got::Timeout }
}

fn name(network: &Network, host: HostId) -> &str {
    &network.hosts[host.0 as usize].name
}

/// The outcomes of a trace with their probabilities.
fn outcomes(network: &Network, trace: &FlowTrace) -> BTreeMap<Got, f64> {
    let mut outcomes = BTreeMap::new();
    for path in &trace.paths {
        *outcomes.entry(got(network, path)).or_default() += path.probability;
    }
    outcomes
}

/// Everything in which a prediction differs from the record, a line each.
fn differences(network: &Network, test: &Test, trace: &FlowTrace) -> Vec<String> {
    let outcomes = outcomes(network, trace);
    let mut found = Vec::new();
    // 1) What was seen is possible.
    for seen in test.got.iter().filter(|seen| !outcomes.contains_key(seen)) {
        found.push(format!("seen and not predicted: {seen}"));
    }
    // 2) What is likely enough was seen.
    for (outcome, probability) in outcomes.iter().filter(|(outcome, _)| !test.got.contains(outcome)) {
        if is_sure(*probability, test.runs) {
            let runs = test.runs;
            found.push(format!("predicted with {probability:.2} and not seen in {runs} runs: {outcome}"));
        }
    }
    if let Some(router) = test.ping_error {
        let told =
            |path: &Path| path.result.reply.as_ref()?.icmp.map(|icmp| (icmp.kind, icmp.code, icmp.from));
        if !trace.paths.iter().all(|path| told(path) == Some((3, 0, router))) {
            found.push(format!("no path tells \"net unreachable\" from {router}"));
        }
    }
    // 3) The entries of the nodes.
    for (node, lines) in &test.conntrack {
        let entries = |path: &Path| {
            let of_node = |entry: &&Entry| name(network, entry.host) == *node;
            path.result.conntrack.iter().filter(of_node).cloned().collect::<Vec<_>>()
        };
        let ephemeral = test.protocol.has_ports().then_some(Flow::EPHEMERAL);
        let is = |line: &Line, path: &Path| entries(path).iter().any(|entry| line.is(entry, path, ephemeral));
        for line in lines.iter().filter(|line| !trace.paths.iter().any(|path| is(line, path))) {
            found.push(format!("{node} has an entry that is not predicted: {line}"));
        }
        for path in trace.paths.iter().filter(|path| is_sure(path.probability, test.runs)) {
            let missing = |entry: &Entry| !lines.iter().any(|line| line.is(entry, path, ephemeral));
            let missing = entries(path).into_iter().filter(missing);
            found.extend(missing.map(|entry| format!("{node} should have the entry {}", shown(&entry))));
        }
    }
    found
}

/// Whether what has this probability was seen in that many runs; a chance of one in twenty is taken.
fn is_sure(probability: f64, runs: u32) -> bool {
    1.0 - (1.0 - probability).powf(f64::from(runs)) >= SURE
}

/// The tests of the record, and the number of those that are more than one connection.
fn tests() -> (Vec<Test>, usize) {
    let record = read_json(&corpus("kube-proxy/traffic-iptables.json"));
    let tests = record["tests"].as_array().expect("a list");
    let single: Vec<Test> = tests.iter().filter_map(Test::read).collect();
    let others = tests.len() - single.len();
    (single, others)
}

#[test]
fn connections_through_kube_proxy_end_as_recorded() {
    let (tests, others) = tests();
    let mut as_recorded = 0;
    let mut undecided: BTreeMap<String, usize> = BTreeMap::new();
    let mut mismatches = Vec::new();
    for test in &tests {
        let network = cluster(test.routes);
        let trace = Session::new(&network).trace(&test.flow()).expect("a flow of the cluster");
        let met = outcomes(&network, &trace).into_keys().find_map(|outcome| match outcome {
            Got::Undecided(construct) => Some(construct),
            _ => None,
        });
        if let Some(construct) = met {
            println!("{}: not modelled: {construct}", test.title);
            *undecided.entry(construct).or_default() += 1;
            continue;
        }
        let found = differences(&network, test, &trace);
        if found.is_empty() {
            as_recorded += 1;
        } else {
            let paths = trace.paths.iter().map(|path| {
                let entries: Vec<String> = path.result.conntrack.iter().map(shown).collect();
                format!("{:.2} {}: {}", path.probability, got(&network, path), entries.join("; "))
            });
            let paths: Vec<String> = paths.collect();
            mismatches.push(format!(
                "{}\n  {}\n  paths\n  {}",
                test.title,
                found.join("\n  "),
                paths.join("\n  ")
            ));
        }
    }
    println!(
        "{as_recorded} of {} connections as recorded, not modelled: {undecided:?}; {others} tests are more than one",
        tests.len()
    );
    assert!(mismatches.is_empty(), "{} mismatches\n{}", mismatches.len(), mismatches.join("\n"));
    assert_eq!(undecided, BTreeMap::new());
    assert_eq!((as_recorded, tests.len(), others), (46, 46, 1));
}

/// A Service whose endpoint is another Service's address: its own node calls the other Service's rule dead
/// where the connection fails for it (40 to 42, 47).
#[test]
fn chained_services_are_called_dead() {
    let (tests, _) = tests();
    for test in tests.iter().filter(|test| [40, 41, 42, 47].contains(&test.id)) {
        let network = cluster(test.routes);
        let trace = Session::new(&network).trace(&test.flow()).expect("a flow of the cluster");
        assert_eq!(outcomes(&network, &trace).into_keys().collect::<Vec<_>>(), [Got::Refused]);
        for path in &trace.paths {
            let dead = path.findings.iter().find(|finding| finding.code == "dead-dnat").expect("a finding");
            println!("{}\n  {}\n  {}", test.title, dead.headline, dead.help);
            let host = &network.hosts[dead.host.0 as usize];
            let rules: Vec<&str> =
                dead.rules.iter().map(|rule| host.text(&host.ruleset.rule(*rule).origin)).collect();
            let [ran, never_runs] = rules[..] else { panic!("{rules:?}") };
            assert!(ran.contains("shop/chain") && ran.contains("-j DNAT"), "{ran}");
            assert!(never_runs.contains("shop/web") && never_runs.contains("-j DNAT"), "{never_runs}");
        }
    }
}
