//! How long the engine takes for a flow, on a network of the examples: `cargo bench -p natpath-engine`.
//!
//! Each figure is a whole TCP connection (seven packets and their steps), by a new session and by one that
//! is warm.

use std::path::Path;

use divan::Bencher;
use natpath_engine::Session;
use natpath_model::{Flow, Network, Protocol};

fn main() {
    divan::main();
}

fn network(name: &str) -> Network {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    natpath_formats::snapshot::read_network(&root).expect("an example")
}

fn flow() -> Flow {
    let address = |text: &str| text.parse().expect("an address");
    Flow::new(Protocol::TCP, Some(address("198.51.100.2")), Some(40000), address("198.51.100.1"), 80)
}

const NETWORKS: [&str; 3] = ["double-dnat", "port-forward", "lb-nodeport-pod"];

#[divan::bench(args = NETWORKS)]
fn new_session(bencher: Bencher<'_, '_>, name: &str) {
    let network = network(name);
    let flow = flow();
    bencher.bench_local(|| Session::new(&network).trace(&flow).expect("a flow that starts"));
}

#[divan::bench(args = NETWORKS)]
fn warm_session(bencher: Bencher<'_, '_>, name: &str) {
    let network = network(name);
    let flow = flow();
    bencher
        .with_inputs(|| Session::new(&network))
        .bench_local_values(|mut session| session.trace(&flow).expect("a flow that starts"));
}

#[divan::bench(args = NETWORKS)]
fn read(name: &str) -> Network {
    network(name)
}
