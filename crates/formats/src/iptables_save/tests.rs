use natpath_model::matching::AddressTypeBy;
use natpath_model::{
    Backend, ChainId, ChainKind, ChainType, ConnmarkOp, Counter, CtTemplate, Direction, Expr, Family, Field,
    FileId, Hook, IntervalSet, Manip, Match, Nat, NatRange, Policy, PortRange, Priority, RejectWith, Rule,
    Severity, Statement, Table, Test, Value, Verdict, Zone, ZoneDirection,
};

use super::parse;

fn read(text: &str, family: Family) -> (Vec<Table>, Vec<natpath_model::Diagnostic>) {
    parse(text, "iptables-save", FileId(0), Backend::Iptables, family)
}

/// The rules of chain X of a table with the user chains X and Y.
fn rules(table: &str, rule: &str, family: Family) -> Vec<Rule> {
    let text = format!("*{table}\n:X - [0:0]\n:Y - [0:0]\n{rule}\nCOMMIT\n");
    let (tables, diagnostics) = read(&text, family);
    let errors: Vec<_> = diagnostics.iter().filter(|found| found.severity != Severity::Unsupported).collect();
    assert!(errors.is_empty(), "{rule}: {errors:?}");
    tables[0].chains[0].rules.clone()
}

fn is(field: Field, ranges: &[(Value, Value)]) -> Test {
    Test::new(Expr::Field(field), IntervalSet::from_intervals(ranges.iter().copied()))
}

fn masked(field: Field, mask: Value, value: Value) -> Test {
    Test::new(Expr::Masked { field, mask }, IntervalSet::single(value))
}

fn not(test: Test) -> Test {
    test.negate_if(true)
}

/// Where there is no entry, an option beside a state holds.
fn beside_state(test: Test) -> Test {
    Test { if_absent: true, ..test }
}

fn check(words: &str, expected: Vec<Test>) {
    check_matches(Family::Ip4, words, &expected.into_iter().map(Match::Is).collect::<Vec<_>>());
}

fn check6(words: &str, expected: Vec<Test>) {
    check_matches(Family::Ip6, words, &expected.into_iter().map(Match::Is).collect::<Vec<_>>());
}

fn check_matches(family: Family, words: &str, expected: &[Match]) {
    let rules = rules("mangle", &format!("-A X {words}"), family);
    assert_eq!(rules.len(), 1, "{words}");
    assert_eq!(rules[0].matches, expected, "{words}");
}

const SRC: Field = Field::Address(Manip::Src);
const DST: Field = Field::Address(Manip::Dst);
const DPORT: Field = Field::Port(Manip::Dst);
const SPORT: Field = Field::Port(Manip::Src);

fn proto(number: Value) -> Test {
    is(Field::Protocol, &[(number, number)])
}

fn name(text: &str) -> Value {
    natpath_model::InterfaceName::new(text).expect("a name").value()
}

#[test]
fn header_options_are_lowered() {
    let net = || is(SRC, &[(0xc000_0200, 0xc000_02ff)]);
    check("-s 192.0.2.0/24", vec![net()]);
    check("--source 192.0.2.7/255.255.255.0", vec![net()]);
    check("! --src 192.0.2.0/24", vec![not(net())]);
    check("-s ! 192.0.2.0/24", vec![not(net())]);
    check("-d 192.0.2.1", vec![is(DST, &[(0xc000_0201, 0xc000_0201)])]);
    check("-d 192.0.2.1/255.0.0.255", vec![masked(DST, 0xff00_00ff, 0xc000_0001)]);
    check("-s 0.0.0.0/0 -d 0/0", vec![]);
    check("! -s 0.0.0.0/0", vec![not(is(SRC, &[(0, 0xffff_ffff)]))]);
    check("-s 10/8", vec![is(SRC, &[(0x0a00_0000, 0x0aff_ffff)])]);
    check6("-d fd00::/16", vec![is(DST, &[(0xfd00 << 112, (0xfd01 << 112) - 1)])]);
    check("-i eth0", vec![is(Field::InInterface, &[(name("eth0"), name("eth0"))])]);
    check("! --out-interface lo", vec![not(is(Field::OutInterface, &[(name("lo"), name("lo"))]))]);
    check("-i + -o +", vec![]);
    let eth = IntervalSet::range(name("eth"), name("eth") | ((1 << 104) - 1));
    check("-o eth+", vec![Test::new(Expr::Field(Field::OutInterface), eth)]);
    check("-p tcp", vec![proto(6)]);
    check("--protocol 6", vec![proto(6)]);
    check("! -p UDP", vec![not(proto(17))]);
    check("-p all", vec![]);
    check("-p igmp", vec![proto(2)]);
    check("-f", vec![is(Field::LaterFragment, &[(1, 1)])]);
    check("! -f", vec![not(is(Field::LaterFragment, &[(1, 1)]))]);
    let kernel_order = vec![is(SRC, &[(1, 1)]), is(DST, &[(2, 2)]), proto(6), is(DPORT, &[(80, 80)])];
    check("-p tcp --dport 80 -d 0.0.0.2 -s 0.0.0.1", kernel_order);
}

#[test]
fn transport_matches_are_lowered() {
    check(
        "-p tcp -m tcp --dport 80 --sport 1:9",
        vec![proto(6), is(DPORT, &[(80, 80)]), is(SPORT, &[(1, 9)])],
    );
    check("-p tcp --dport :9", vec![proto(6), is(DPORT, &[(0, 9)])]);
    check("-p tcp --dport=http", vec![proto(6), is(DPORT, &[(80, 80)])]);
    check("-p udp -m udp ! --destination-port 9:", vec![proto(17), not(is(DPORT, &[(9, 65535)]))]);
    check("-p sctp --sport 7", vec![proto(132), is(SPORT, &[(7, 7)])]);
    check("-p tcp -m tcp", vec![proto(6)]);
    check("-p tcp --syn", vec![proto(6), masked(Field::TcpFlags, 0x17, 2)]);
    check("-p tcp ! --tcp-flags SYN,ACK NONE", vec![proto(6), not(masked(Field::TcpFlags, 0x12, 0))]);
    check("-p tcp --tcp-flags ALL SYN", vec![proto(6), masked(Field::TcpFlags, 0x3f, 2)]);
    check("-p tcp --tcp-option 2", vec![proto(6), is(Field::TcpOption(2), &[(1, 1)])]);
    let list = || is(DPORT, &[(1, 1), (80, 90)]);
    check("-p tcp -m multiport --dports 80:85,1,86:90", vec![proto(6), list()]);
    check("-p tcp -m multiport ! --dports 80:90,1", vec![proto(6), not(list())]);
    let any = Match::AnyOf { tests: vec![is(SPORT, &[(7, 7)]), is(DPORT, &[(7, 7)])], negated: true };
    check_matches(Family::Ip4, "-p udp -m multiport ! --ports 7", &[Match::Is(proto(17)), any]);
    check("-p icmp --icmp-type any", vec![proto(1), is(Field::IcmpType, &[(0, 65535)])]);
    check("-p icmp --icmp-type 8", vec![proto(1), is(Field::IcmpType, &[(0x800, 0x8ff)])]);
    check("-p icmp ! --icmp-type 3/4", vec![proto(1), not(is(Field::IcmpType, &[(0x304, 0x304)]))]);
    check("-p icmp --icmp-type echo-req", vec![proto(1), is(Field::IcmpType, &[(0x800, 0x8ff)])]);
    check6(
        "-p icmpv6 -m icmp6 --icmpv6-type no-route",
        vec![proto(58), is(Field::Icmp6Type, &[(0x100, 0x100)])],
    );
}

#[test]
fn conntrack_matches_are_lowered() {
    let state = |mask| not(masked(Field::CtState, mask, 0));
    let status = |mask| not(masked(Field::CtStatus, mask, 0));
    check("-m conntrack --ctstate RELATED,ESTABLISHED", vec![state(6)]);
    check("-m conntrack ! --ctstate DNAT", vec![masked(Field::CtState, 256, 0)]);
    check("-m state --state NEW", vec![state(8)]);
    check("-m conntrack --ctstatus ASSURED,CONFIRMED", vec![status(12)]);
    check("-m conntrack --ctstatus NONE", vec![status(0)]);
    let direction = || is(Field::CtDirection, &[(1, 1)]);
    check("-m conntrack --ctdir REPLY", vec![direction()]);
    check("-m conntrack --ctdir REPLY --ctstate NEW", vec![state(8), beside_state(direction())]);
    check("-m conntrack --ctstate NEW -m conntrack --ctdir REPLY", vec![state(8), direction()]);
    let original = Field::CtAddress(Direction::Original, Manip::Dst);
    check("-m conntrack ! --ctorigdst 0.0.0.1", vec![not(is(original, &[(1, 1)]))]);
    let port = Field::CtPort(Direction::Reply, Manip::Src);
    check("-m conntrack --ctreplsrcport 5:6", vec![is(port, &[(5, 6)])]);
    check("-m conntrack --ctproto tcp", vec![is(Field::CtProtocol, &[(6, 6)])]);
    check("-m conntrack --ctexpire 5", vec![is(Field::CtExpires, &[(5, 5)])]);
    check("-m mark --mark 0x4000/0x4000", vec![masked(Field::Mark, 0x4000, 0x4000)]);
    check("-m mark ! --mark 010", vec![not(is(Field::Mark, &[(8, 8)]))]);
    check("-m connmark --mark 7", vec![is(Field::ConnMark, &[(7, 7)])]);
    let interleaved = vec![proto(6), state(8), is(DPORT, &[(80, 80)])];
    check("-p tcp -m conntrack -m tcp --dport 80 --ctstate NEW", interleaved);
}

#[test]
fn other_matches_are_lowered() {
    let kind = |by| Field::AddressType { of: Manip::Dst, by };
    check("-m addrtype --dst-type LOCAL", vec![is(kind(AddressTypeBy::Any), &[(2, 2)])]);
    check("-m addrtype --dst-type LOCAL,BROADCAST", vec![is(kind(AddressTypeBy::Any), &[(2, 3)])]);
    let limited = vec![not(is(kind(AddressTypeBy::OutInterface), &[(2, 2)]))];
    check("-m addrtype ! --dst-type LOCAL --limit-iface-out", limited);
    let multicast = is(DST, &[(0xff << 120, Value::MAX)]);
    check6("-m addrtype --dst-type MULTICAST", vec![multicast]);
    check("-m iprange --src-range 0.0.0.1-0.0.0.9", vec![is(SRC, &[(1, 9)])]);
    check("-m iprange ! --dst-range 0.0.0.1", vec![not(is(DST, &[(1, 1)]))]);
    check("-m dscp --dscp-class AF11", vec![is(Field::Dscp, &[(10, 10)])]);
    check("-m ttl --ttl-lt 2", vec![is(Field::Ttl, &[(0, 1)])]);
    check6("-m hl --hl-gt 2", vec![is(Field::Ttl, &[(3, 255)])]);
    check("-m length --length 100:", vec![is(Field::Length, &[(100, 65535)])]);
    check("-m nfacct --nfacct-name x", vec![]);
    let chance = |probability, negated| [Match::Chance { probability, negated }];
    let third = chance(715_827_883, false);
    check_matches(Family::Ip4, "-m statistic --mode random --probability 0.33333333349", &third);
    let certain = chance(1 << 31, true);
    check_matches(Family::Ip4, "-m statistic --mode random ! --probability 1", &certain);
    let nth = [Match::Nth { every: 3, packet: 2, negated: false }];
    check_matches(Family::Ip4, "-m statistic --mode nth --every 3 --packet 2", &nth);
}

#[test]
fn statements_are_lowered() {
    let check = |table: &str, family: Family, words: &str, expected: Statement| {
        let rules = rules(table, &format!("-A X {words}"), family);
        assert_eq!(rules[0].statements, [expected], "{words}");
    };
    let (ip4, ip6) = (Family::Ip4, Family::Ip6);
    let icmp = |kind, code| Statement::Reject(RejectWith::Icmp { kind, code });
    check("filter", ip4, "-j ACCEPT", Statement::Verdict(Verdict::Accept));
    check("filter", ip4, "-j Y", Statement::Verdict(Verdict::Jump(ChainId(1))));
    check("filter", ip4, "--goto Y", Statement::Verdict(Verdict::Goto(ChainId(1))));
    check("filter", ip4, "-j REJECT", icmp(3, 3));
    check("filter", ip4, "-j REJECT --reject-with admin-prohib", icmp(3, 13));
    check("filter", ip6, "-j REJECT", icmp(1, 4));
    check("filter", ip6, "-j REJECT --reject-with icmp6-addr-unreachable", icmp(1, 3));
    check("filter", ip4, "-p tcp -j REJECT --reject-with tcp-reset", Statement::Reject(RejectWith::TcpReset));
    check(
        "filter",
        ip4,
        "-j LOG --log-prefix \"a b\" --log-level 4",
        Statement::Log { prefix: "a b".into() },
    );
    check("mangle", ip4, "-j MARK --set-mark 0x1/0x3", Statement::Mark { clear: 3, xor: 1 });
    check("mangle", ip4, "-j MARK --and-mark 1", Statement::Mark { clear: !1, xor: 0 });
    check("mangle", ip4, "-j MARK --xor-mark 1", Statement::Mark { clear: 0, xor: 1 });
    let save = ConnmarkOp::Save { packet_mask: 1, entry_mask: 2 };
    check("mangle", ip4, "-j CONNMARK --save-mark --nfmask 1 --ctmask 2", Statement::Connmark(save));
    let restore = ConnmarkOp::Restore { packet_mask: 3, entry_mask: 3 };
    check("mangle", ip4, "-j CONNMARK --restore-mark --mask 3", Statement::Connmark(restore));
    let set = ConnmarkOp::Set { clear: u32::MAX, xor: 5 };
    check("mangle", ip4, "-j CONNMARK --set-mark 5", Statement::Connmark(set));
    check("raw", ip4, "-j CT --notrack", Statement::Notrack);
    check("raw", ip4, "-j NOTRACK", Statement::Notrack);
    let zone = CtTemplate { zone: Some((Zone(5), ZoneDirection::Original)), helper: Some("ftp".into()) };
    check("raw", ip4, "-j CT --zone-orig 5 --helper ftp", Statement::Ct(zone));
    let inert = Statement::Inert { construct: "-j TCPMSS --clamp-mss-to-pmtu".into() };
    check("mangle", ip4, "-p tcp -j TCPMSS --clamp-mss-to-pmtu", inert);
    assert_eq!(rules("filter", "-A X -p tcp", ip4)[0].statements, []);
}

#[test]
fn translations_are_lowered() {
    let check = |family: Family, words: &str, expected: Nat| {
        let rules = rules("nat", &format!("-A X -p tcp {words}"), family);
        assert_eq!(rules[0].statements, [Statement::Nat(expected)], "{words}");
    };
    let range = |first: &str, last: &str, ports: Option<(u16, u16, Option<u16>)>| NatRange {
        addresses: Some((first.parse().expect("an address"), last.parse().expect("an address"))),
        ports: ports.map(|(min, max, base)| PortRange { min, max, base }),
        ..NatRange::default()
    };
    let (ip4, ip6) = (Family::Ip4, Family::Ip6);
    let ports =
        |min, max, base| NatRange { ports: Some(PortRange { min, max, base }), ..NatRange::default() };
    check(ip4, "-j DNAT --to-destination 10.0.0.1", Nat::Dnat(range("10.0.0.1", "10.0.0.1", None)));
    check(
        ip4,
        "-j DNAT --to-destination 10.0.0.1-10.0.0.3:80-82/9000",
        Nat::Dnat(range("10.0.0.1", "10.0.0.3", Some((80, 82, Some(9000))))),
    );
    check(ip4, "-j DNAT --to-destination :8080", Nat::Dnat(ports(8080, 8080, None)));
    check(
        ip6,
        "-j DNAT --to-destination [fd00::1]:80",
        Nat::Dnat(range("fd00::1", "fd00::1", Some((80, 80, None)))),
    );
    check(ip6, "-j DNAT --to-destination fd00::1-fd00::2", Nat::Dnat(range("fd00::1", "fd00::2", None)));
    check(
        ip6,
        "-j SNAT --to-source [fd00::1]-[fd00::2]:1-9",
        Nat::Snat(range("fd00::1", "fd00::2", Some((1, 9, None)))),
    );
    let random = NatRange { random: true, persistent: true, ..range("10.0.0.1", "10.0.0.1", None) };
    check(ip4, "-j SNAT --to-source 10.0.0.1 --random-fully --persistent", Nat::Snat(random));
    check(ip4, "-j MASQUERADE --to-ports 1024-2048", Nat::Masquerade(ports(1024, 2048, None)));
    check(ip4, "-j REDIRECT --to-ports 8080", Nat::Redirect(ports(8080, 8080, None)));
    check(ip4, "-j NETMAP --to 10.1.0.0/16", Nat::Netmap("10.1.0.0/16".parse().expect("a net")));
}

#[test]
fn lists_of_addresses_become_rules() {
    let rules = rules("filter", "[1:2] -A X -s 0.0.0.1,0.0.0.2 -d 0.0.0.3,0.0.0.4 -j DROP", Family::Ip4);
    let pairs: Vec<_> = rules.iter().map(|rule| rule.matches.clone()).collect();
    let pair = |src, dst| vec![Match::Is(is(SRC, &[(src, src)])), Match::Is(is(DST, &[(dst, dst)]))];
    assert_eq!(pairs, [pair(1, 3), pair(1, 4), pair(2, 3), pair(2, 4)]);
    assert!(rules.iter().all(|rule| rule.counter == Some(Counter { packets: 1, bytes: 2 })));
}

#[test]
fn inserted_rules_come_first() {
    let text = "-A X -m mark --mark 1\n-I X -m mark --mark 2\n-I X -m mark --mark 3\n-I X 2 -m mark --mark 4";
    let order: Vec<_> = rules("filter", text, Family::Ip4).into_iter().map(|rule| rule.matches).collect();
    let mark = |value| vec![Match::Is(is(Field::Mark, &[(value, value)]))];
    assert_eq!(order, [mark(3), mark(4), mark(2), mark(1)]);
}

#[test]
fn tables_and_chains_are_declared() {
    let text = "*mangle\n:PREROUTING ACCEPT [1:2]\n:X - [0:0]\n-A OUTPUT -j X\nCOMMIT\n*nat\n:INPUT DROP [0:0]\nCOMMIT\n";
    let (tables, diagnostics) = read(text, Family::Ip6);
    assert_eq!(diagnostics, []);
    let base = |hook, priority, chain_type, policy, packets, bytes| ChainKind::Base {
        hook,
        priority,
        chain_type,
        policy,
        counter: Counter { packets, bytes },
    };
    let kinds: Vec<_> = tables.iter().flat_map(|table| &table.chains).map(|chain| chain.kind).collect();
    let expected = [
        base(Hook::Prerouting, Priority::MANGLE, ChainType::Filter, Policy::Accept, 1, 2),
        ChainKind::Regular,
        base(Hook::Output, Priority::MANGLE, ChainType::Route, Policy::Accept, 0, 0),
        base(Hook::Input, Priority::NAT_SRC, ChainType::Nat, Policy::Drop, 0, 0),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn origins_and_comments_are_kept() {
    let text =
        "*filter\r\n:X - [0:0]\r\n  [7:8] -A X -m comment --comment \"a \\\"b\\\"\" -j DROP\r\nCOMMIT\r\n";
    let (tables, diagnostics) = read(text, Family::Ip4);
    assert_eq!(diagnostics, []);
    let rule = &tables[0].chains[0].rules[0];
    let span = rule.origin.span.start as usize..rule.origin.span.end as usize;
    assert_eq!(&text[span], "-A X -m comment --comment \"a \\\"b\\\"\" -j DROP");
    assert_eq!((rule.origin.line, rule.comment.as_deref()), (3, Some("a \"b\"")));
    assert_eq!(rule.counter, Some(Counter { packets: 7, bytes: 8 }));
}

#[test]
fn unknown_constructs_are_carried() {
    let check = |words: &str, construct: &str, carried: &str, column: u32| {
        let text = format!("*mangle\n:X - [0:0]\n-A X {words}\nCOMMIT\n");
        let (tables, diagnostics) = read(&text, Family::Ip4);
        let [found] = &diagnostics[..] else { panic!("{words}: {diagnostics:?}") };
        assert_eq!((found.severity, found.line, found.column), (Severity::Unsupported, 3, column), "{words}");
        assert_eq!((found.construct.as_deref(), found.text.as_str()), (Some(construct), carried));
        let rule = &tables[0].chains[0].rules[0];
        let matches = rule.matches.iter().filter_map(|condition| match condition {
            Match::Opaque(opaque) => Some(opaque),
            _ => None,
        });
        let statements = rule.statements.iter().filter_map(|statement| match statement {
            Statement::Opaque(opaque) => Some(opaque),
            _ => None,
        });
        let all: Vec<_> = matches.chain(statements).collect();
        let [opaque] = &all[..] else { panic!("{words}: {all:?}") };
        assert_eq!((opaque.construct.as_str(), opaque.text.as_str()), (construct, carried));
    };
    check(
        "-m layer7 --l7proto \"a b\" --l7dir x -j DROP",
        "-m layer7",
        "-m layer7 --l7proto \"a b\" --l7dir x",
        6,
    );
    check(
        "-m set --return-nomatch ! --match-set x src ! -s 1.2.3.4",
        "-m set",
        "-m set --return-nomatch ! --match-set x src",
        6,
    );
    check("-p tcp -m devgroup --src-group 2 --dport 80", "-m devgroup", "-m devgroup --src-group 2", 13);
    check("-m cpu --cpu 1 -j DROP", "-m cpu", "-m cpu --cpu 1", 6);
    check(
        "-p sctp --chunk-types any DATA -j DROP",
        "-m sctp --chunk-types",
        "-m sctp --chunk-types any DATA",
        14,
    );
    check("-p tcp -j NFQUEUE --queue-num 5 -s 1.2.3.4", "-j NFQUEUE", "-j NFQUEUE --queue-num 5", 13);
    check(
        "-j CONNMARK --save-mark --left-shift-mark 2",
        "-j CONNMARK --left-shift-mark",
        "-j CONNMARK --save-mark --left-shift-mark 2",
        6,
    );
    check("-j MARK [unsupported revision]", "-j MARK", "-j MARK [unsupported revision]", 6);
    check("-m mark [unsupported revision] -j DROP", "-m mark", "-m mark [unsupported revision]", 6);
}

#[test]
fn faulty_rules_are_reported_and_stay() {
    let check = |table: &str, words: &str, column: u32, message: &str| {
        let text = format!("*{table}\n:X - [0:0]\n-A {words}\n-A X -j ACCEPT\nCOMMIT\n");
        let (tables, diagnostics) = read(&text, Family::Ip4);
        let [found] = &diagnostics[..] else { panic!("{words}: {diagnostics:?}") };
        assert_eq!(
            (found.severity, found.line, found.column),
            (Severity::Error, 3, column),
            "{words} {found}"
        );
        assert!(found.message.contains(message) && !found.help.is_empty(), "{words}: {found}");
        assert_eq!(tables[0].chains[0].rules.last().map(|rule| rule.statements.len()), Some(1));
    };
    let cases = [
        ("X -s example.org", 9, "expected an address ADDRESS[/MASK], found `example.org`"),
        ("X -s fd00::1", 9, "expected an address"),
        ("X -s 1.2.3.4/33", 9, "expected an address"),
        ("X ! -s 1.2.3.4,1.2.3.5", 11, "`!` can't stand before a list"),
        ("X -s 1.2.3.4 -s 1.2.3.5", 17, "`-s` is given twice"),
        ("X -s", 8, "expected a value after `-s`"),
        ("X -i sixteen-bytes-xx", 9, "expected an interface"),
        ("X -p foo", 9, "expected a protocol, found `foo`"),
        ("X ! -p all", 11, "expected a protocol other than all"),
        ("X !", 6, "expected an option after `!`"),
        ("X ! ! -s 1.2.3.4", 6, "expected an option after `!`"),
        ("X ! -s ! 1.2.3.4", 11, "negated twice"),
        ("X ! -j DROP", 8, "`-j` can't be negated"),
        ("X --dport 80", 6, "expected an option of this rule, found `--dport`"),
        ("X -p tcp --dport 80x", 21, "expected a port"),
        ("X -p tcp --dport 90:80", 21, "expected a port"),
        ("X -m tcp --dport 80", 6, "`-m tcp` needs the protocol tcp"),
        ("X -p tcp -m udp --dport 80", 13, "`-m udp` needs the protocol udp"),
        ("X -p tcp --tcp-flags SYN", 28, "expected the flags that are set"),
        ("X -p tcp --tcp-flags SYM SYN", 25, "expected a list of TCP flags"),
        ("X -m multiport --dports 80", 19, "`--dports` needs a protocol with ports"),
        ("X -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", 35, "at most 15 ports"),
        ("X -p icmp --icmp-type echo", 26, "expected an ICMP type"),
        ("X -m conntrack --ctstate NEU", 29, "expected a list of states"),
        ("X -m conntrack", 18, "expected an option after `-m conntrack`"),
        ("X -m conntrack ! --ctdir REPLY", 21, "`--ctdir` can't be negated"),
        ("X -m mark --mark 0x1ffffffff", 21, "expected a mark"),
        ("X -m statistic --mode random", 6, "don't fit together"),
        ("X -m statistic --mode random --probability 2", 47, "expected a probability"),
        ("X -m statistic --mode nth --every 2 --packet 2", 6, "don't fit together"),
        ("X -m addrtype --dst-type HERE", 29, "expected a list of address types"),
        ("X -m iprange --src-range 1.2.3.9-1.2.3.4", 29, "expected a range"),
        ("X -m ttl ! --ttl-lt 3", 15, "`--ttl-lt` can't be negated"),
        ("X -j MARK", 13, "expected an option after `-j MARK`"),
        ("X -j ACCEPT -j DROP", 16, "second target"),
        ("X -j KUBE-NONE", 9, "the table has no chain `KUBE-NONE`"),
        ("X -g ACCEPT", 9, "the table has no chain `ACCEPT`"),
        ("X -j DNAT --to-destination 1.2.3.4", 9, "DNAT is not allowed in table mangle"),
        ("X -t nat", 6, "expected an option of this rule, found `-t`"),
        ("X -m comment --comment \"open", 27, "this quote is not closed"),
        ("OUTPUT -i eth0", 11, "`-i` can't be used in OUTPUT"),
        ("NONE -j DROP", 4, "table mangle has no chain `NONE`"),
    ];
    for (words, column, message) in cases {
        check("mangle", words, column, message);
    }
    check("nat", "X -j DNAT --to-destination 1.2.3.4:80", 31, "a translation of ports needs a protocol");
    check("nat", "X -p tcp -j DNAT --to-destination host", 38, "expected an address or a range");
    check("nat", "X -p tcp -j DNAT --to-destination 1.2.3.4:9-8", 38, "expected ports to translate to");
    check("nat", "X -p tcp -j MASQUERADE --to-ports 80/90", 38, "expected ports to translate to");
    check("nat", "X -j DNAT", 13, "expected an option after `-j DNAT`");
    check("nat", "PREROUTING -j MASQUERADE", 18, "MASQUERADE is not allowed in PREROUTING");
    check("filter", "X -j REJECT --reject-with tcp-reset", 30, "tcp-reset needs the protocol tcp");
    check("filter", "X -j REJECT --reject-with nothing", 30, "expected an error that REJECT can send");
    check("raw", "X -j CT --zone 70000", 19, "expected the number of a zone");
}

#[test]
fn a_rule_that_can_t_be_read_keeps_its_readable_conditions() {
    let text = "*filter\n-A INPUT -s 0.0.0.1 -m mark --mark x -j DROP\nCOMMIT\n";
    let (tables, _) = read(text, Family::Ip4);
    let rule = &tables[0].chains[0].rules[0];
    let [Match::Is(source), Match::Opaque(rest)] = &rule.matches[..] else { panic!("{rule:?}") };
    assert_eq!(*source, is(SRC, &[(1, 1)]));
    assert!(rest.text.starts_with("-A INPUT"));
}

#[test]
fn faulty_files_are_reported() {
    let check = |text: &str, expected: &[(Severity, &str, u32, u32)]| {
        let (_, diagnostics) = read(text, Family::Ip4);
        let found: Vec<_> =
            diagnostics.iter().map(|found| (found.severity, found.code, found.line, found.column)).collect();
        assert_eq!(found, expected, "{text}");
    };
    let (error, warning) = (Severity::Error, Severity::Warning);
    check("", &[]);
    check("*nat\n", &[(warning, "missing-commit", 1, 1)]);
    check("*nat\n*filter\nCOMMIT\n", &[(warning, "missing-commit", 2, 1)]);
    check("*nat\nCOMMIT\n*nat\nCOMMIT\n", &[(warning, "duplicate-table", 3, 1)]);
    check("*broute\n-A X\nCOMMIT\n", &[(error, "syntax", 1, 2)]);
    check("-A INPUT -j DROP\n", &[(error, "syntax", 1, 1)]);
    check("COMMIT\n", &[(error, "syntax", 1, 1)]);
    check("iptables -A INPUT\n", &[(error, "syntax", 1, 1)]);
    check("*nat\n:FORWARD ACCEPT [0:0]\nCOMMIT\n", &[(error, "syntax", 2, 1)]);
    check("*nat\n:X ACCEPT [0:0]\nCOMMIT\n", &[(error, "syntax", 2, 4)]);
    check("*nat\n:INPUT QUEUE [0:0]\nCOMMIT\n", &[(error, "syntax", 2, 8)]);
    check("*nat\n:X - [0:0]\n:X - [0:0]\nCOMMIT\n", &[(error, "duplicate-chain", 3, 1)]);
    check("*nat\n-F\nCOMMIT\n", &[(error, "syntax", 2, 3)]);
    check("*nat\n-F INPUT\nCOMMIT\n", &[(error, "syntax", 2, 1)]);
    let comment = "# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.\n";
    check(comment, &[(Severity::Unsupported, "incompatible-table", 1, 1)]);
}

#[test]
fn long_lines_and_many_rules_are_read() {
    let list = vec!["1.2.3.4"; 1000].join(",");
    let long = format!("-A X -s {list} -j DROP\n-A X -s {list} -d {list} -j DROP\n");
    let comment = format!("-A X -m comment --comment \"{}\"\n", "x".repeat(1 << 20));
    let inserted = "-I X -j DROP\n".repeat(50_000);
    let text = format!("*filter\n:X - [0:0]\n{long}{comment}{inserted}COMMIT\n");
    let (tables, diagnostics) = read(&text, Family::Ip4);
    assert_eq!(tables[0].chains[0].rules.len(), 1000 + 1 + 1 + 50_000);
    let [found] = &diagnostics[..] else { panic!("one fault: {}", diagnostics.len()) };
    assert!(found.message.contains("more than 65536 rules") && found.text.len() < 500);
}

/// The kernel refuses all of these (ELOOP), by either backend.
#[test]
fn a_jump_back_is_a_fault_and_stays_as_a_construct() {
    let check = |rules: &str, closing: &[(u32, &str)]| {
        let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n{rules}COMMIT\n");
        let (tables, diagnostics) = read(&text, Family::Ip4);
        let found: Vec<_> = diagnostics.iter().map(|found| (found.code, found.line)).collect();
        let expected: Vec<_> = closing.iter().map(|(line, _)| ("chain-loop", *line)).collect();
        assert_eq!(found, expected, "{rules}");
        let rules = tables[0].chains.iter().flat_map(|chain| &chain.rules);
        let opaque = rules.flat_map(|rule| &rule.statements).filter_map(|statement| match statement {
            Statement::Opaque(opaque) => Some((opaque.origin.line, opaque.text.as_str())),
            _ => None,
        });
        assert_eq!(opaque.collect::<Vec<_>>(), closing);
    };
    check("-A FORWARD -j FORWARD\n", &[(5, "-j FORWARD")]);
    check("-A FORWARD -j A\n-A A -j B\n-A B -p tcp -j A\n", &[(7, "-j A")]);
    check("-A FORWARD -g A\n-A A -g B\n-A B -g A\n", &[(7, "-g A")]);
    check("-A A -j B\n-A B -j FORWARD\n-A FORWARD -j A\n", &[(6, "-j FORWARD")]);
    // A chain that two rules lead to is no circle.
    check("-A FORWARD -j A\n-A FORWARD -j B\n-A A -j B\n-A A -j B\n", &[]);
}

#[test]
fn chains_may_be_nested_as_deep_as_a_file_is_long() {
    let declared: String = (0..50_000).map(|number| format!(":C{number} - [0:0]\n")).collect();
    let jumps: String = (1..50_000).map(|number| format!("-A C{} -j C{number}\n", number - 1)).collect();
    let text = format!(
        "*filter\n:FORWARD ACCEPT [0:0]\n{declared}-A FORWARD -j C0\n{jumps}-A C49999 -j C0\nCOMMIT\n"
    );
    let (_, diagnostics) = read(&text, Family::Ip4);
    assert_eq!(diagnostics.iter().map(|found| found.code).collect::<Vec<_>>(), ["chain-loop", "too-deep"]);
}
