//! What holds for every flow through every example network, whatever its addresses and ports.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::LazyLock;

use natpath_engine::Session;
use natpath_engine::trace::{FlowTrace, Outcome, Place};
use natpath_model::{Family, Flow, Network, Protocol};
use proptest::prelude::*;

/// All networks of examples/, read once.
static NETWORKS: LazyLock<Vec<Network>> = LazyLock::new(read_networks);

fn networks() -> &'static [Network] {
    &NETWORKS
}

fn read_networks() -> Vec<Network> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut directories: Vec<_> = std::fs::read_dir(root)
        .expect("examples/ is part of the repository")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    let read = |path: &std::path::PathBuf| natpath_formats::snapshot::read_network(path).expect("an example");
    directories.iter().map(read).collect()
}

/// The addresses that hosts and rules of a network name, and some that nobody has.
fn addresses(network: &Network) -> Vec<IpAddr> {
    let owned = network.hosts.iter().flat_map(|host| &host.links).flat_map(|link| &link.addresses);
    let mut addresses: Vec<IpAddr> = owned.map(|address| address.local).filter(IpAddr::is_ipv4).collect();
    for text in
        ["10.96.0.10", "10.96.0.11", "198.51.100.1", "203.0.113.9", "127.0.0.1", "0.0.0.0", "255.255.255.255"]
    {
        addresses.push(text.parse().expect("an address"));
    }
    addresses
}

#[derive(Debug, Clone)]
struct Asked {
    network: usize,
    from: usize,
    src: usize,
    dst: usize,
    protocol: Protocol,
    src_port: u16,
    dst_port: u16,
    ttl: u8,
    mark: u32,
}

fn asked() -> impl Strategy<Value = Asked> {
    let protocols = prop_oneof![
        Just(Protocol::TCP),
        Just(Protocol::UDP),
        Just(Protocol::ICMP),
        Just(Protocol::SCTP),
        any::<u8>().prop_map(Protocol)
    ];
    let ports = prop_oneof![Just(80), Just(8080), Just(30080), any::<u16>()];
    (
        any::<usize>(),
        any::<usize>(),
        any::<usize>(),
        any::<usize>(),
        protocols,
        any::<u16>(),
        ports,
        any::<u8>(),
        0u32..4,
    )
        .prop_map(|(network, from, src, dst, protocol, src_port, dst_port, ttl, mark)| Asked {
            network,
            from,
            src,
            dst,
            protocol,
            src_port,
            dst_port,
            ttl,
            mark,
        })
}

fn flow(asked: &Asked, network: &Network) -> Flow {
    let addresses = addresses(network);
    let pick = |index: usize| addresses[index % addresses.len()];
    let mut flow = Flow::new(
        asked.protocol,
        Some(pick(asked.src)),
        Some(asked.src_port),
        pick(asked.dst),
        if asked.protocol.has_ports() { asked.dst_port } else { 0 },
    );
    flow.from = Some(network.hosts[asked.from % network.hosts.len()].name.clone());
    flow.ttl = Some(asked.ttl);
    flow.mark = asked.mark;
    flow
}

fn trace_all(network: &Network, flows: &[Flow]) -> Vec<FlowTrace> {
    let mut session = Session::new(network);
    flows.iter().map(|flow| session.trace(flow).expect("a host that is there")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_flow_ends_somewhere(asked in proptest::collection::vec(asked(), 1..4)) {
        let networks = networks();
        let network = &networks[asked[0].network % networks.len()];
        let flows: Vec<Flow> = asked.iter().map(|asked| flow(asked, network)).collect();
        let traces = trace_all(network, &flows);
        for (flow, trace) in flows.iter().zip(&traces) {
            let total: f64 = trace.paths.iter().map(|path| path.probability).sum();
            prop_assert!((total - 1.0).abs() < 1e-9, "probabilities sum to {total}");
            for path in &trace.paths {
                let result = &path.result;
                prop_assert_ne!(result.end.outcome, Outcome::Undecided, "nothing here is undecidable");
                // A flow works only if its answer came from the address that was asked.
                if result.works {
                    let reply = result.reply.as_ref().expect("an answer");
                    prop_assert_eq!(reply.end.header.src.address, flow.dst);
                    prop_assert!(result.broken.is_none());
                }
                // Whoever took the packet is where its last hop is.
                if result.end.outcome == Outcome::Delivered {
                    let last = path.hops.last().expect("a hop").host;
                    prop_assert_eq!(last, result.end.at.host);
                }
                // The entries of a path are of recorded hosts and of the flow's family.
                for entry in &result.conntrack {
                    prop_assert!((entry.host.0 as usize) < network.hosts.len());
                    prop_assert_eq!(entry.original.family(), Family::of(flow.dst));
                }
            }
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer(asked in proptest::collection::vec(asked(), 1..3)) {
        let networks = networks();
        let network = &networks[asked[0].network % networks.len()];
        let flows: Vec<Flow> = asked.iter().map(|asked| flow(asked, network)).collect();
        prop_assert_eq!(trace_all(network, &flows), trace_all(network, &flows));
    }
}

#[test]
fn nobody_is_reached_at_an_address_nobody_has() {
    for network in networks() {
        let from = network.hosts[0].name.clone();
        let mut flow = Flow::new(Protocol::UDP, None, Some(4000), Ipv4Addr::new(192, 0, 2, 77).into(), 9);
        flow.from = Some(from);
        let traces = trace_all(network, &[flow]);
        let end = &traces[0].paths[0].result.end;
        assert!(!matches!(end.at.host, Place::Host(_)) || end.outcome != Outcome::Delivered);
    }
}
