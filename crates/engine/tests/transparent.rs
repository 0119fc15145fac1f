//! What is assumed of sockets that no listing tells enough of, on the host of examples/transparent-proxy.

use natpath_engine::Session;
use natpath_engine::trace::{Assumption, Outcome, Path, Why};
use natpath_formats::ip_json;
use natpath_formats::snapshot::read_network;
use natpath_model::snapshot::Given;
use natpath_model::{Family, Flow, Item, Network, Protocol, Snapshot};

/// The network, its proxy with the policy rule that the example lacks.
fn network(change: impl Fn(&mut Snapshot)) -> Network {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/transparent-proxy");
    let mut network = read_network(&path).expect("the example");
    let proxy = network.hosts.iter_mut().find(|host| host.name == "proxy").expect("the proxy");
    let route = r#"[{"type":"local","dst":"default","dev":"lo","table":"100","scope":"host"}]"#;
    proxy.routes.append(&mut ip_json::route::parse(route, "route.json", Family::Ip4).expect("a route").0);
    let rule = r#"[{"priority":32765,"src":"all","fwmark":"0x1","table":"100"}]"#;
    proxy.policy_rules.append(&mut ip_json::rule::parse(rule, "rule.json", Family::Ip4).expect("a rule").0);
    change(proxy);
    network
}

fn trace(change: impl Fn(&mut Snapshot)) -> Path {
    let network = network(change);
    let address = |text: &str| text.parse().expect("an address");
    let src = Some(address("198.51.100.2"));
    let flow = Flow::new(Protocol::TCP, src, Some(40000), address("192.0.2.2"), 80);
    let trace = Session::new(&network).trace(&flow).expect("a trace");
    let [path] = &trace.paths[..] else { panic!("one path: {:?}", trace.paths) };
    path.clone()
}

fn leans_on_transparency(path: &Path) -> bool {
    path.assumptions.iter().any(|assumption| matches!(assumption, Assumption::Transparent { port: 3129, .. }))
}

#[test]
fn a_socket_that_is_known_to_be_transparent_takes_the_packet() {
    let path = trace(|_| {});
    assert!(path.result.works && !leans_on_transparency(&path), "{path:?}");
}

#[test]
fn a_socket_that_tproxy_names_is_taken_to_be_transparent() {
    let path = trace(|proxy| proxy.sockets[0].transparent = None);
    assert!(path.result.works && leans_on_transparency(&path), "{path:?}");
}

#[test]
fn a_socket_that_is_known_not_to_be_gets_nothing() {
    let path = trace(|proxy| proxy.sockets[0].transparent = Some(false));
    assert_eq!((path.result.end.outcome, path.result.end.why), (Outcome::Dropped, Some(Why::Rule)));
    assert!(!leans_on_transparency(&path), "{path:?}");
}

#[test]
fn a_listener_is_assumed_where_no_sockets_are_listed() {
    let path = trace(|proxy| {
        proxy.sockets.clear();
        proxy.given = Given::default();
    });
    let is_assumed = |assumption: &Assumption| matches!(assumption, Assumption::Missing { host, item: Item::Sockets } if host == "proxy");
    assert!(path.result.works && path.assumptions.iter().any(is_assumed), "{path:?}");
}
