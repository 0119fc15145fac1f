//! A small network and hand-made traces through it, for the tests of the renderers.
//!
//! ```text
//!  198.51.100.2 ── eth0 router eth1 ── 192.0.2.1
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use natpath_engine::trace::{
    At, ChainEnd, Effect, End, Entry, Finding, FlowTrace, Header, Hint, Hop, HostId, NotReached, Outcome,
    Path, PathResult, Place, RouteFound, RouteStep, Step,
};
use natpath_model::{
    Backend, Chain, ChainId, ChainKind, ChainType, Counter, CtStates, Endpoint, Expr, Field, FileId, Flow,
    Hook, InterfaceName, IntervalSet, Manip, Match, Network, Origin, Policy, Priority, Protocol, RouteType,
    Rule, RuleRef, Ruleset, Snapshot, SourceFile, Status, Table, TableFamily, Test, Tuple, Zone,
    ZoneDirection,
};

use super::view::Traced;

const RULES: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.96.0.10:80
-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.5:8080
-A WEB -p tcp -j DNAT --to-destination 10.244.1.5:8080
COMMIT
";

/// The numbers of the fixture's tables.
pub(crate) const NAT: u32 = 0;
/// Its raw table, without chains.
pub(crate) const RAW: u32 = 1;
/// Its mangle table, without chains.
pub(crate) const MANGLE: u32 = 2;
/// Its filter table, without chains.
pub(crate) const FILTER: u32 = 3;

/// The router.
pub(crate) const ROUTER: HostId = HostId(0);

/// The rule of the fixture with this number in nat PREROUTING, from 0.
pub(crate) fn rule(number: u32) -> RuleRef {
    RuleRef { table: NAT, chain: ChainId(0), rule: number }
}

/// The one rule of the fixture's chain WEB in nat.
pub(crate) const WEB_RULE: RuleRef = RuleRef { table: NAT, chain: ChainId(1), rule: 0 };

/// An interface.
pub(crate) fn interface(name: &str) -> InterfaceName {
    InterfaceName::new(name).expect("a short name")
}

/// An address.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A header from `ADDR:PORT` and `ADDR:PORT`.
pub(crate) fn header(protocol: Protocol, src: &str, dst: &str) -> Header {
    let endpoint = |text: &str| Endpoint::from(text.parse::<std::net::SocketAddr>().expect("an endpoint"));
    Header { protocol, src: endpoint(src), dst: endpoint(dst) }
}

/// The router with its two rules.
pub(crate) fn network() -> Network {
    let rules = |chain: &str| {
        let begin = format!("-A {chain} ");
        let lines = RULES.lines().enumerate().filter(|(_, line)| line.starts_with(&begin));
        lines.map(|(index, text)| dnat_rule(index, text)).collect()
    };
    let base = ChainKind::Base {
        hook: Hook::Prerouting,
        priority: Priority::NAT_DST,
        chain_type: ChainType::Nat,
        policy: Policy::Accept,
        counter: Counter::default(),
    };
    let chain = |name: &str, kind| {
        let origin = origin(1, ":PREROUTING ACCEPT");
        Chain { name: name.into(), kind, rules: rules(name), origin }
    };
    let nat = vec![chain("PREROUTING", base), chain("WEB", ChainKind::Regular)];
    let (backend, family) = (Backend::Iptables, TableFamily::Ip);
    let tables = [("nat", nat), ("raw", Vec::new()), ("mangle", Vec::new()), ("filter", Vec::new())];
    let tables = tables.map(|(name, chains)| Table { backend, family, name: name.into(), chains });
    let files = vec![SourceFile { name: "iptables-save".into(), text: Arc::from(RULES) }];
    let ruleset = Ruleset { tables: tables.into() };
    let router = Snapshot { name: "router".into(), files, ruleset, ..Snapshot::default() };
    Network { hosts: vec![router], ..Network::default() }
}

fn dnat_rule(index: usize, text: &str) -> Rule {
    let port = Test::new(Expr::Field(Field::Port(Manip::Dst)), IntervalSet::single(80));
    Rule {
        matches: vec![Match::Is(port)],
        statements: Vec::new(),
        counter: None,
        comment: None,
        handle: None,
        origin: origin(index, text),
    }
}

fn origin(index: usize, text: &str) -> Origin {
    let start = RULES.find(text).expect("a line of the file");
    let span = start as u32..(start + text.len()) as u32;
    Origin { file: FileId(0), line: index as u32 + 1, span }
}

/// How a packet ended at the router.
pub(crate) fn end(outcome: Outcome, header: Header) -> End {
    let at = At { host: Place::Host(ROUTER), interface: Some(interface("eth1")) };
    End { outcome, why: None, rule: None, at, header }
}

/// A path that ends so, with nothing else to say.
pub(crate) fn path(end: End) -> Path {
    let drawn = BTreeMap::new();
    let result = PathResult { end, reply: None, works: false, broken: None, conntrack: Vec::new(), drawn };
    Path {
        id: "1.1".into(),
        given: Vec::new(),
        probability: 1.0,
        result,
        hops: Vec::new(),
        reply_hops: Vec::new(),
        findings: Vec::new(),
        hints: Vec::new(),
        assumptions: Vec::new(),
        drawn: BTreeMap::new(),
        unrecorded: Vec::new(),
    }
}

/// A hint about the second of two rules.
pub(crate) fn hint() -> Hint {
    Hint {
        host: ROUTER,
        headline: "the router explains it".into(),
        help: "ask the router".into(),
        rules: vec![rule(1)],
        fix: None,
    }
}

/// Two DNATs on one host, of which the second never runs.
pub(crate) fn double_dnat() -> Traced<'static> {
    let sent = header(Protocol::TCP, "198.51.100.2:40000", "198.51.100.1:80");
    let there = header(Protocol::TCP, "198.51.100.2:40000", "10.96.0.10:80");
    let mut path = path(end(Outcome::Left, there));
    path.hops = vec![Hop {
        host: Place::Host(ROUTER),
        in_interface: Some(interface("eth0")),
        out_interface: Some(interface("eth1")),
        steps: double_dnat_steps(sent, there),
    }];
    path.result.conntrack = vec![Entry {
        host: ROUTER,
        zone: Zone(0),
        zone_direction: ZoneDirection::Both,
        original: Tuple::new(sent.protocol, sent.src, sent.dst),
        reply: Tuple::new(sent.protocol, there.dst, there.src),
        status: Status(Status::DST_NAT.0 | Status::CONFIRMED.0),
        mark: 0,
    }];
    path.findings = vec![Finding {
        code: "dead-dnat",
        host: ROUTER,
        headline: "a connection is translated once per host: the DNAT for 10.96.0.10 never runs".into(),
        help: "let the first rule name the last destination".into(),
        rules: vec![rule(0), rule(1)],
        fix: Some("-A PREROUTING -d 198.51.100.1/32 -j DNAT --to-destination 10.244.1.5:8080".into()),
    }];
    let flow = Flow::new(Protocol::TCP, Some(address("198.51.100.2")), None, address("198.51.100.1"), 80);
    let text = "tcp 198.51.100.2 198.51.100.1:80".into();
    let trace = FlowTrace { sent, paths: vec![path] };
    Traced { flow, more: None, text, trace, loaded: Vec::new(), before: Vec::new() }
}

fn double_dnat_steps(sent: Header, there: Header) -> Vec<Step> {
    let hook = Hook::Prerouting;
    let found = RouteFound {
        kind: RouteType::Unicast,
        table: 254,
        rule: 32766,
        prefix: "0.0.0.0/0".parse().expect("a prefix"),
        gateway: Some(address("192.0.2.1")),
        interface: Some(interface("eth1")),
        line: 1,
    };
    vec![
        Step::Conntrack { hook, state: CtStates::NEW, direction: None, entry: None },
        Step::Chain { hook, table: 0, chain: ChainId(0), tried: 1, matched: 1, end: ChainEnd::Rule(rule(0)) },
        Step::Rule { hook, rule: rule(0), effect: Effect::Dnat, before: sent, after: there },
        Step::NotReached { hook, rule: rule(1), why: NotReached::TranslatedBy(rule(0)) },
        Step::Route(RouteStep {
            destination: address("10.96.0.10"),
            found: Some(found),
            source: None,
            again: false,
        }),
        Step::Ttl(63),
        Step::Ended { outcome: Outcome::Left, why: None },
    ]
}
