use natpath_model::{Flow, InterfaceName, Protocol};

use super::{CloseHow, FlowAction, Side, flow_from_words, parse};

fn only(text: &str) -> FlowAction {
    let (lines, diagnostics) = parse(text, "flows");
    assert_eq!(diagnostics, [], "{text}");
    lines.into_iter().next_back().expect("a line").action
}

#[test]
fn endpoints_are_read() {
    let check =
        |proto: &str, src: &str, dst: &str, expected: (&str, Option<&str>, Option<u16>, &str, u16)| {
            let flow =
                flow_from_words(proto, src, dst).unwrap_or_else(|error| panic!("{src} {dst}: {error}"));
            let (protocol, source, source_port, destination, port) = expected;
            let source = source.map(|text| text.parse().expect("an address"));
            let destination = destination.parse().expect("an address");
            let protocol: Protocol = protocol.parse().expect("a protocol");
            assert_eq!(flow, Flow::new(protocol, source, source_port, destination, port), "{src} {dst}");
        };
    check("tcp", "192.0.2.1", "192.0.2.2:80", ("tcp", Some("192.0.2.1"), None, "192.0.2.2", 80));
    check("udp", "192.0.2.1:5", "192.0.2.2:53", ("udp", Some("192.0.2.1"), Some(5), "192.0.2.2", 53));
    check("tcp", "-", "192.0.2.2:80", ("tcp", None, None, "192.0.2.2", 80));
    check("tcp", "-:7", "[fd00::1]:80", ("tcp", None, Some(7), "fd00::1", 80));
    check("tcp", "0.0.0.0:7", "192.0.2.2:80", ("tcp", None, Some(7), "192.0.2.2", 80));
    check("tcp", "[::]:7", "[fd00::1]:80", ("tcp", None, Some(7), "fd00::1", 80));
    check("sctp", "fd00::2", "[fd00::1]:80", ("sctp", Some("fd00::2"), None, "fd00::1", 80));
    check("icmp", "192.0.2.1", "192.0.2.2", ("icmp", Some("192.0.2.1"), None, "192.0.2.2", 0));
    check("icmp", "fd00::2", "fd00::1", ("icmpv6", Some("fd00::2"), None, "fd00::1", 0));
    check("icmpv6", "[fd00::2]", "[fd00::1]", ("icmpv6", Some("fd00::2"), None, "fd00::1", 0));
}

#[test]
fn faulty_words_are_named() {
    let check = |proto: &str, src: &str, dst: &str, word: usize, message: &str| {
        let error = flow_from_words(proto, src, dst).expect_err(dst);
        assert_eq!((error.word, error.message.as_str()), (word, message));
        assert!(!error.help.is_empty());
    };
    check("tpc", "-", "192.0.2.1:80", 0, "expected a protocol, found `tpc`");
    check("tcp", "host", "192.0.2.1:80", 1, "expected an address, found `host`");
    check("tcp", "-:0", "192.0.2.1:80", 1, "expected a port, found `0`");
    check("tcp", "-", "192.0.2.1", 2, "expected a destination port after `192.0.2.1`");
    check("tcp", "-", "fd00::1", 2, "expected a destination port after `fd00::1`");
    check("tcp", "-", "192.0.2.1:x", 2, "expected a port, found `x`");
    check("tcp", "-", "[fd00::1:80", 2, "expected an address, found `[fd00::1:80`");
    check("tcp", "-", "svc/a/b:80", 2, "expected an address, found `svc/a/b:80`");
    check("tcp", "-", "0.0.0.0:80", 2, "expected a destination, found `0.0.0.0:80`");
    check("tcp", "192.0.2.1", "[fd00::1]:80", 2, "192.0.2.1 and fd00::1 are not of one family");
    check("tcp", "0.0.0.0:5", "[fd00::1]:80", 2, "0.0.0.0 and fd00::1 are not of one family");
    check("icmpv6", "-", "192.0.2.1", 0, "icmpv6 can't go to the IPv4 address 192.0.2.1");
    check("icmp", "-", "192.0.2.1:8", 2, "icmp has no ports, found `:8`");
}

#[test]
fn options_are_read() {
    let text = "tcp - 192.0.2.1:80 from=a in=h:eth0 iface=eth1 ttl=3 mark=0x10 size=1400 dscp=46 uid=1000 \
                gid=7 src-mac=02:00:00:00:00:01 at=5 id=x df # note";
    let FlowAction::Flow(flow) = only(text) else { panic!("a flow") };
    let eth = |name| InterfaceName::new(name).expect("a name");
    assert_eq!(flow.enters, Some(("h".to_owned(), eth("eth0"))));
    assert_eq!((flow.from.as_deref(), flow.bound, flow.ttl), (Some("a"), Some(eth("eth1")), Some(3)));
    assert_eq!((flow.mark, flow.size, flow.dscp), (16, Some(1400), 46));
    assert_eq!((flow.uid, flow.gid, flow.at), (Some(1000), Some(7), Some(5)));
    assert!(flow.dont_fragment && flow.src_mac.is_some());
    assert_eq!(flow.id.as_deref(), Some("x"));
    let FlowAction::Flow(flow) = only("icmp - 192.0.2.1 icmp-id=9") else { panic!("a flow") };
    assert_eq!(flow.icmp_id, 9);
}

#[test]
fn other_lines_are_read() {
    let flow = "tcp - 192.0.2.1:80 id=a\n";
    assert_eq!(only("wait 300"), FlowAction::Wait(300));
    assert_eq!(
        only(&format!("{flow}more a server")),
        FlowAction::More { id: "a".into(), side: Side::Server }
    );
    for (word, how) in [
        ("fin", CloseHow::Fin),
        ("rst", CloseHow::Rst),
        ("server-fin", CloseHow::ServerFin),
        ("server-rst", CloseHow::ServerRst),
    ] {
        assert_eq!(only(&format!("{flow}close a {word}")), FlowAction::Close { id: "a".into(), how });
    }
    let files = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(only("load node a b"), FlowAction::Load { host: "node".into(), files });
    let address = |text: &str| text.parse().expect("an address");
    let expected = FlowAction::Forget {
        host: "n".into(),
        protocol: Protocol::TCP,
        src: (address("192.0.2.1"), Some(5)),
        dst: (address("192.0.2.2"), None),
    };
    assert_eq!(only("forget n tcp 192.0.2.1:5 192.0.2.2"), expected);
}

#[test]
fn faults_have_a_place_and_the_rest_is_read() {
    let check = |text: &str, line: u32, column: u32| {
        let (_, diagnostics) = parse(text, "flows");
        let places: Vec<_> = diagnostics.iter().map(|found| (found.line, found.column)).collect();
        assert_eq!(places, [(line, column)], "{text} {diagnostics:?}");
    };
    check("# note\n  tcp  - 192.0.2.1", 2, 10);
    check("tcp -", 1, 6);
    check("tcp - 192.0.2.1:80 ttl=x", 1, 20);
    check("tcp - 192.0.2.1:80 tll=3", 1, 20);
    check("tcp - 192.0.2.1:80 ttl=3 ttl=4", 1, 26);
    check("tcp - 192.0.2.1:80 in=eth0", 1, 20);
    check("tcp - 192.0.2.1:80 iface=", 1, 20);
    check("tcp - 192.0.2.1:80 icmp-id=3", 1, 20);
    check("tcp - 192.0.2.1:80 src-mac=3", 1, 20);
    check("tcp - 192.0.2.1:80 id=", 1, 20);
    check("tcp - 192.0.2.1:80 id=a\ntcp - 192.0.2.1:80 df id=a", 2, 23);
    check("more a client", 1, 6);
    check("tcp - 192.0.2.1:80 id=a\nmore a both", 2, 8);
    check("tcp - 192.0.2.1:80 id=a\nclose a now", 2, 9);
    check("close a", 1, 8);
    check("wait soon", 1, 6);
    check("wait 1 2", 1, 8);
    check("load", 1, 5);
    check("load node", 1, 10);
    check("forget n tcp - 192.0.2.2", 1, 14);
    check("forget n tcp fd00::1 192.0.2.2", 1, 22);
    let (lines, diagnostics) = parse("tcp - x:1\ntcp - 192.0.2.1:80\n", "flows");
    assert_eq!((lines.len(), diagnostics.len(), lines[0].line), (1, 1, 2));
    assert_eq!(lines[0].text, "tcp - 192.0.2.1:80");
}
