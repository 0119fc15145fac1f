use natpath_model::{Family, PolicyAction, RouteType, Scope, table_id};

use super::{addr, neigh, route, rule};

#[test]
fn empty_files_and_rows_are_no_items() {
    for text in ["", "\n", "[]", "[ ]\n", "[{}]", "[{},{}]", "[{ \n}]"] {
        assert_eq!(addr::parse(text, "addr.json"), Ok((vec![], vec![])), "{text:?}");
        assert_eq!(route::parse(text, "route.json", Family::Ip4), Ok((vec![], vec![])), "{text:?}");
        assert_eq!(rule::parse(text, "rule.json", Family::Ip4), Ok((vec![], vec![])), "{text:?}");
        assert_eq!(neigh::parse(text, "neigh.json"), Ok((vec![], vec![])), "{text:?}");
    }
}

#[test]
fn faults_have_a_place() {
    let check = |text: &str, place: (u32, u32)| {
        let found = match route::parse(text, "route.json", Family::Ip4) {
            Ok((_, diagnostics)) => diagnostics.into_iter().next().expect("a diagnostic"),
            Err(diagnostic) => diagnostic,
        };
        assert_eq!((found.line, found.column), place, "{text} {found}");
    };
    check("{", (1, 1));
    check("[\n{\"dst\": \"default\",\n \"flags\": [}\n]", (3, 12));
    check("[\n{\"dst\":\"10.0.0.0/8\"},\n {\"dst\":\"x\"}]", (3, 2));
    check("[\n{\"dst\":\"10.0.0.0/8\"},\n {\"dst\":\"10.0.0.1\", \"gateway\": \"y\"}]", (3, 34));
    check("[{\"dev\":\"eth0\"}]", (1, 15));
    check("[{\"dst\":\"10.0.0.0/8\",\"dev\":\"a-name-much-too-long\"}]", (1, 2));
}

#[test]
fn routes_are_read() {
    let text = r#"[{"dst":"5.5.5.5","gateway":"10.9.0.77","dev":"d0","prefsrc":"10.9.0.1","metric":50,
        "flags":["onlink","linkdown"],"metrics":[{"mtu":1400}],"tos":"0x10"},
        {"dst":"9.9.9.0/24","flags":[],"nexthops":[{"gateway":"10.9.0.2","dev":"d0","weight":2,"flags":["dead"]},
        {"via":{"family":"inet6","host":"fd00::9"},"dev":"d1","flags":[]}]},
        {"type":"blackhole","dst":"default","table":"77","flags":[]},
        {"dst":"default","gateway":"fd00::9","dev":"d1","metric":1024,"flags":[],"pref":"medium"},
        {"type":"local","dst":"10.4.0.1","dev":"p1","table":"local","scope":"host","flags":[]}]"#;
    let (routes, diagnostics) = route::parse(text, "route.json", Family::Ip4).expect("a list");
    assert_eq!(diagnostics, []);
    let [first, multipath, blackhole, ip6, local] = &routes[..] else { panic!("{routes:?}") };
    assert_eq!((first.metric, first.mtu, first.tos, first.line), (50, Some(1400), 0x10, 1));
    assert!(first.next_hops[0].on_link && !first.next_hops[0].dead);
    assert_eq!(multipath.next_hops.len(), 2);
    assert_eq!((multipath.next_hops[0].weight, multipath.next_hops[0].dead), (2, true));
    assert_eq!(multipath.next_hops[1].gateway, Some("fd00::9".parse().expect("an address")));
    assert_eq!((blackhole.kind, blackhole.table), (RouteType::Blackhole, 77));
    assert_eq!(blackhole.next_hops, []);
    assert_eq!(route::family_of(ip6), Family::Ip6);
    assert_eq!((local.kind, local.table, local.scope), (RouteType::Local, table_id::LOCAL, Scope::HOST));
}

#[test]
fn policy_rules_are_read() {
    let text = r#"[{"priority":0,"src":"all","table":"local"},
        {"priority":50,"src":"all","l3mdev":null},
        {"priority":100,"src":"all","goto":32766},
        {"priority":101,"src":"all","action":"blackhole"},
        {"priority":102,"src":"10.1.1.1","nop":null},
        {"priority":103,"src":"all","table":"main","suppress_ifgroup":"5"},
        {"priority":104,"not":null,"src":"10.0.0.0","srclen":8,"dst":"1.2.3.4","tos":"0x10",
         "fwmark":"0x1","fwmask":"0xff","iif":"lo","oif":"d0","oif_detached":null,"uid_start":0,"uid_end":1000,
         "ipproto":"tcp","sport_start":1,"sport_end":5,"dport":80,"table":"77","suppress_prefixlen":0}]"#;
    let (rules, diagnostics) = rule::parse(text, "rule.json", Family::Ip4).expect("a list");
    let constructs: Vec<_> =
        diagnostics.iter().map(|found| (found.line, found.construct.as_deref())).collect();
    assert_eq!(constructs, [(2, Some("ip rule l3mdev")), (6, Some("ip rule suppress_ifgroup 5"))]);
    let actions: Vec<_> = rules.iter().map(|rule| rule.action).collect();
    use PolicyAction::{Blackhole, Goto, Nop, Table};
    assert_eq!(actions, [Table(255), Nop, Goto(32766), Blackhole, Nop, Table(254), Table(77)]);
    let full = &rules[6];
    assert!(full.inverted && full.opaque.is_none());
    assert_eq!(full.src.map(|net| net.to_string()).as_deref(), Some("10.0.0.0/8"));
    assert_eq!((full.mark, full.tos, full.protocol), (Some((1, 0xff)), Some(0x10), Some(6)));
    assert_eq!((full.src_ports, full.dst_ports), (Some((1, 5)), Some((80, 80))));
    assert_eq!((full.uids, full.suppress_prefix_length), (Some((0, 1000)), Some(0)));
    assert_eq!(rules[4].src.map(|net| net.to_string()).as_deref(), Some("10.1.1.1/32"));
    assert!(rules[0].is_default());
}

#[test]
fn links_and_neighbours_are_read() {
    let text = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"mtu":65536,"link_type":"loopback",
        "address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
        {"ifindex":4,"link":"p1","ifname":"d1","flags":["UP"],"mtu":1500,"linkinfo":{"info_kind":"veth"},
         "addr_info":[{"local":"10.7.0.1","address":"10.7.0.2","prefixlen":32,"scope":"global"},{}]},
        {"ifindex":5,"link_index":9,"link_netnsid":2,"ifname":"p1","flags":[],"linkinfo":{"info_kind":"veth"},"master":"br0"}]"#;
    let (links, diagnostics) = addr::parse(text, "addr.json").expect("a list");
    assert_eq!(diagnostics, []);
    assert!(links[0].loopback && links[0].up && !links[2].up);
    assert_eq!((links[1].peer_index, links[2].peer_index), (Some(5), Some(9)));
    assert_eq!(links[2].peer_namespace, Some(2));
    assert_eq!(links[2].master.map(|name| name.to_string()).as_deref(), Some("br0"));
    let subnet = links[1].addresses[0].subnet().map(|net| net.to_string());
    assert_eq!(subnet.as_deref(), Some("10.7.0.2/32"));

    let text = r#"[{"dst":"192.0.2.1","dev":"eth0","state":["FAILED"]},
        {"dst":"192.0.2.2","dev":"eth0","lladdr":"02:00:00:00:00:01","state":["PERMANENT"]}]"#;
    let (neighbours, _) = neigh::parse(text, "neigh.json").expect("a list");
    assert!(neighbours[0].failed && neighbours[1].permanent && neighbours[1].mac.is_some());
}
