//! Who is joined to whom, and what is assumed where nobody was recorded.

use natpath_engine::Session;
use natpath_engine::trace::{Assumption, Outcome, Path, Place};
use natpath_formats::{bypass, derive, ip_json, iptables_save};
use natpath_model::{Family, Flow, Item, Network, PolicyRule, Protocol, Snapshot, Status};

/// A host with these links, the routes of their addresses and perhaps a default route.
fn host(name: &str, addr: &str, gateway: Option<&str>) -> Snapshot {
    let mut host = Snapshot { name: name.to_owned(), ..Snapshot::default() };
    let lo = r#"{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"addr_info":[{"local":"127.0.0.1","prefixlen":8,"scope":"host"}]}"#;
    let (links, faults) = ip_json::addr::parse(&format!("[{lo},{addr}]"), "addr.json").expect("links");
    assert_eq!(faults, []);
    host.routes = derive::routes(&links, Family::Ip4);
    host.links = links;
    if let Some(gateway) = gateway {
        let device = host.links[1].name;
        let text = format!(r#"[{{"dst":"default","gateway":"{gateway}","dev":"{device}"}}]"#);
        host.routes.append(&mut ip_json::route::parse(&text, "", Family::Ip4).expect("routes").0);
    }
    host.policy_rules = PolicyRule::defaults(Family::Ip4);
    host.sysctls.set("net.ipv4.ip_forward", "1");
    host.given.insert(Item::Sysctls);
    host
}

fn veth(index: u32, name: &str, peer: u32, more: &str) -> String {
    format!(
        r#"{{"ifindex":{index},"ifname":"{name}","flags":["UP"],"mtu":1500,"link_index":{peer},"link_netnsid":0,
        "linkinfo":{{"info_kind":"veth"}}{more}}}"#
    )
}

fn address(text: &str) -> String {
    let (local, length) = text.split_once('/').expect("a length");
    format!(r#","addr_info":[{{"local":"{local}","prefixlen":{length},"scope":"global"}}]"#)
}

/// A machine with docker0, a container behind it and an outer interface.
fn machine(name: &str, outer: &str) -> [Snapshot; 2] {
    let bridge = format!(
        r#"{{"ifindex":3,"ifname":"docker0","flags":["UP"],"mtu":1500,"linkinfo":{{"info_kind":"bridge"}}{}}}"#,
        address("172.17.0.1/16")
    );
    let eth0 = format!(r#"{{"ifindex":2,"ifname":"eth0","flags":["UP"],"mtu":1500{}}}"#, address(outer));
    let addr = format!("{eth0},{bridge},{}", veth(7, "veth1", 2, r#","master":"docker0""#));
    let inner = veth(2, "eth0", 7, &address("172.17.0.2/16"));
    [host(name, &addr, None), host(&format!("{name}/ns/web"), &inner, Some("172.17.0.1"))]
}

fn trace(hosts: Vec<Snapshot>, flow: &Flow) -> (Vec<String>, Path) {
    let mut network = Network { hosts, ..Network::default() };
    network.hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let trace = Session::new(&network).trace(flow).expect("a trace");
    let path = trace.paths[0].clone();
    let name = |place: Place| match place {
        Place::Host(id) => network.hosts[id.0 as usize].name.clone(),
        Place::Assumed(address) => address.to_string(),
    };
    (path.hops.iter().map(|hop| name(hop.host)).collect(), path)
}

fn udp(from: &str, src: &str, dst: &str) -> Flow {
    let address = |text: &str| text.parse().expect("an address");
    let mut flow = Flow::new(Protocol::UDP, Some(address(src)), Some(4000), address(dst), 53);
    flow.from = Some(from.to_owned()).filter(|from| !from.is_empty());
    flow
}

#[test]
fn containers_of_each_machine_are_behind_its_own_bridge() {
    let hosts = || [machine("a", "192.0.2.1/24"), machine("b", "192.0.2.2/24")].concat();
    let (hops, path) = trace(hosts(), &udp("a/ns/web", "172.17.0.2", "172.17.0.1"));
    assert_eq!((hops, path.result.works), (vec!["a/ns/web".to_owned(), "a".to_owned()], true));
    let (hops, _) = trace(hosts(), &udp("b/ns/web", "172.17.0.2", "172.17.0.1"));
    assert_eq!(hops, ["b/ns/web", "b"]);
    let (hops, _) = trace(hosts(), &udp("a", "192.0.2.1", "192.0.2.2"));
    assert_eq!(hops, ["a", "b"]);
}

#[test]
fn flat_namespaces_are_paired_by_number_and_subnet() {
    let [machine, mut web] = machine("a", "192.0.2.1/24");
    web.name = "web".to_owned();
    let (hops, path) = trace(vec![machine, web], &udp("web", "172.17.0.2", "172.17.0.1"));
    assert_eq!((hops.len(), path.result.works), (2, true));
}

#[test]
fn numbers_alone_join_nobody() {
    let one = host("one", &veth(2, "eth0", 3, &address("10.0.0.1/24")), Some("10.0.0.254"));
    let other = host("other", &veth(3, "eth0", 2, &address("10.9.0.1/24")), None);
    let (hops, path) = trace(vec![one, other], &udp("one", "10.0.0.1", "10.9.0.1"));
    assert_eq!((hops, path.result.end.outcome), (vec!["one".to_owned()], Outcome::Left));
}

#[test]
fn an_assumed_host_has_its_address_and_no_interface() {
    let eth0 = format!(r#"{{"ifindex":2,"ifname":"eth0","flags":["UP"]{}}}"#, address("192.0.2.1/24"));
    let own = host("h", &eth0, Some("192.0.2.254"));
    let (hops, path) = trace(vec![own.clone()], &udp("", "192.0.2.1", "192.0.2.7"));
    assert_eq!(hops, ["h", "192.0.2.7"]);
    let end = &path.result.end;
    assert_eq!((end.outcome, end.at.interface, path.result.works), (Outcome::Delivered, None, true));
    // A neighbour that was asked for in vain, and somebody beyond a router.
    let mut failed = own.clone();
    let text = r#"[{"dst":"192.0.2.7","dev":"eth0","state":["FAILED"]}]"#;
    failed.neighbours = ip_json::neigh::parse(text, "neigh.json").expect("neighbours").0;
    let (_, path) = trace(vec![failed], &udp("", "192.0.2.1", "192.0.2.7"));
    assert_eq!(path.result.end.outcome, Outcome::NoNeighbor);
    let (_, path) = trace(vec![own], &udp("", "192.0.2.1", "203.0.113.9"));
    assert_eq!((path.result.end.outcome, path.result.works), (Outcome::Left, true));
}

#[test]
fn senders_of_one_subnet_do_not_come_by() {
    let eth0 = format!(r#"{{"ifindex":2,"ifname":"eth0","flags":["UP"]{}}}"#, address("192.0.2.1/24"));
    let own = host("h", &eth0, None);
    let (hops, _) = trace(vec![own.clone()], &udp("", "192.0.2.9", "192.0.2.7"));
    assert_eq!(hops, ["192.0.2.7"]);
    let (hops, _) = trace(vec![own], &udp("", "192.0.2.9", "192.0.2.1"));
    assert_eq!(hops, ["h"]);
}

#[test]
fn unrecorded_containers_talk_across_the_bridge() {
    let [mut machine, _] = machine("a", "192.0.2.1/24");
    let (hops, path) = trace(vec![machine.clone()], &udp("", "172.17.0.2", "172.17.0.3"));
    // Both are behind the only port, and need no bridge.
    assert_eq!((hops, path.result.works), (vec!["172.17.0.3".to_owned()], true));
    let mut second = machine.links[3].clone();
    (second.index, second.name) = (9, natpath_model::InterfaceName::new("veth2").expect("a name"));
    machine.links.push(second);
    let (hops, path) = trace(vec![machine], &udp("", "172.17.0.2", "172.17.0.3"));
    assert_eq!((hops, path.result.works), (vec!["a".to_owned(), "172.17.0.3".to_owned()], true));
    let guessed = path.assumptions.iter().filter(|known| matches!(known, Assumption::BehindBridge { .. }));
    assert_eq!(guessed.count(), 2);
}

#[test]
fn what_bypasses_netfilter_is_named_where_it_can_match() {
    let eth0 = format!(r#"{{"ifindex":2,"ifname":"eth0","flags":["UP"]{}}}"#, address("192.0.2.1/24"));
    let mut own = host("h", &eth0, None);
    own.bypasses = bypass::ipvs("-A -u 192.0.2.1:53 -s rr\n-A -u 192.0.2.1:54 -s rr\n", "ipvs").0;
    own.bypasses.append(&mut bypass::tc("filter dev eth0 ingress protocol ip bpf\n", "tc").0);
    let end = |flow: Flow| {
        let (_, path) = trace(vec![own.clone()], &flow);
        let named = path.assumptions.iter().filter(|known| matches!(known, Assumption::Bypass { .. }));
        (path.result.end.outcome, named.count())
    };
    assert_eq!(end(udp("", "192.0.2.9", "192.0.2.1")), (Outcome::Undecided, 2));
    let other = Flow { dst_port: 55, ..udp("", "192.0.2.9", "192.0.2.1") };
    assert_eq!(end(other), (Outcome::Delivered, 1));
    let xfrm = "src 192.0.2.0/24 dst 192.0.2.8/32\n\tdir out priority 0\n\ttmpl src 1.1.1.1 dst 2.2.2.2\n";
    own.bypasses = bypass::xfrm(xfrm, "xfrm").0;
    let end = |dst| trace(vec![own.clone()], &udp("", "192.0.2.1", dst)).1.result.end.outcome;
    assert_eq!((end("192.0.2.8"), end("192.0.2.7")), (Outcome::Undecided, Outcome::Delivered));
}

/// A router with eth0 to the outside and eth1 inside, which tracks connections.
fn router() -> Snapshot {
    let link = |index: u32, name: &str, own: &str| {
        format!(r#"{{"ifindex":{index},"ifname":"{name}","flags":["UP"],"mtu":1500{}}}"#, address(own))
    };
    let links = format!("{},{}", link(2, "eth0", "198.51.100.1/24"), link(3, "eth1", "192.168.7.1/24"));
    let mut own = host("h", &links, Some("198.51.100.254"));
    let rules = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate NEW\nCOMMIT\n";
    let file = natpath_model::FileId(0);
    let read =
        iptables_save::parse(rules, "iptables-save", file, natpath_model::Backend::Iptables, Family::Ip4);
    own.ruleset.tables = read.0;
    own
}

#[test]
fn what_enters_by_an_interface_enters_by_it_with_every_packet() {
    // The destination is in the sender's own subnet, so that only the flow says that it goes by the router.
    let mut own = router();
    let route = r#"[{"dst":"198.51.100.41","dev":"eth1","scope":"link"}]"#;
    own.routes.append(&mut ip_json::route::parse(route, "", Family::Ip4).expect("a route").0);
    let enters = natpath_model::InterfaceName::new("eth0").map(|name| ("h".to_owned(), name));
    let flow = Flow { protocol: Protocol::TCP, enters, ..udp("", "198.51.100.9", "198.51.100.41") };
    let (hops, path) = trace(vec![own], &flow);
    assert_eq!((hops, path.result.works), (vec!["h".to_owned(), "198.51.100.41".to_owned()], true));
}

#[test]
fn nobody_outside_answers_a_private_source() {
    let has_reply = |dst: &str| {
        let flow = udp("", "192.168.7.9", dst);
        let (_, path) = trace(vec![router()], &flow);
        let [entry] = &path.result.conntrack[..] else { panic!("one entry: {path:?}") };
        (path.result.end.outcome, path.result.works, entry.status.has(Status::SEEN_REPLY))
    };
    assert_eq!(has_reply("203.0.113.9"), (Outcome::Left, false, false));
    assert_eq!(has_reply("198.51.100.9"), (Outcome::Delivered, true, true));
}
