//! The words for every way a path can end.

use natpath_engine::trace::{
    Assumption, At, Broken, Effect, End, Finding, FlowPacket, Hint, Hop, IcmpError, Outcome, Path, Place,
    Reply, RouteStep, Step, Why,
};
use natpath_model::{Hook, Protocol};

use super::*;
use crate::render::fixture::{self, ROUTER, address, double_dnat, header, network, rule};
use crate::render::text::wrap::GLUE;

const THERE: &str = "10.244.1.5:8080";

/// Where a packet of this flow ends.
fn end(protocol: Protocol, outcome: Outcome, why: Option<Why>) -> End {
    End { why, ..fixture::end(outcome, header(protocol, "198.51.100.2:40000", THERE)) }
}

fn back(outcome: Outcome, why: Option<Why>) -> End {
    End { why, ..fixture::end(outcome, header(Protocol::TCP, "198.51.100.1:80", "198.51.100.2:40000")) }
}

fn icmp(kind: u8, code: u8) -> Reply {
    let from = address("198.51.100.1");
    let about = header(Protocol::TCP, "198.51.100.2:40000", "198.51.100.1:80");
    let icmp = Some(IcmpError { kind, code, from, about });
    Reply { end: back(Outcome::Delivered, None), icmp, reset: false }
}

fn answer(outcome: Outcome, why: Option<Why>) -> Reply {
    Reply { end: back(outcome, why), icmp: None, reset: false }
}

/// The verdict on a path.
fn says(path: &Path, tone: Tone, expected: &str) {
    let traced = double_dnat();
    let network = network();
    let found = verdict(&View::new(&network, &traced, path, &[]));
    assert_eq!((found.text.as_str(), found.tone), (expected, tone));
}

#[test]
fn every_end_of_the_first_packet_has_its_words() {
    use Outcome::{Dropped, Left, NoListener, NoNeighbor, NoRoute, Rejected, TooBig, TtlExceeded, Undecided};
    let reset = Reply { reset: true, ..answer(Outcome::Delivered, None) };
    let check = |outcome, why, reply: Option<Reply>, expected: &str| {
        let mut path = fixture::path(end(Protocol::TCP, outcome, why));
        path.result.reply = reply;
        let tone = if outcome == Undecided { Tone::Undecided } else { Tone::Fails };
        says(&path, tone, expected);
    };
    let lost = Some(Reply { end: back(Dropped, Some(Why::Rule)), ..icmp(3, 3) });
    let refused = "connection refused: nothing listens on tcp 10.244.1.5:8080 of router";
    check(NoListener, None, Some(reset.clone()), refused);
    let silent = "client times out: nothing listens on tcp 10.244.1.5:8080 of router";
    check(NoListener, None, None, silent);
    let and_lost = format!("{silent}; the error sent back is lost, a rule of router drops it");
    check(NoListener, None, lost, &and_lost);

    let times_out = [
        (Dropped, None, "router drops it"),
        (Dropped, Some(Why::Rule), "a rule of router drops it"),
        (Dropped, Some(Why::Policy), "a chain's policy on router drops it"),
        (
            Dropped,
            Some(Why::RpFilter),
            "router drops it by rp_filter: the way back to 198.51.100.2 is not by eth1",
        ),
        (
            Dropped,
            Some(Why::MartianSource),
            "router drops it: source 198.51.100.2 can't come in by eth1 (martian source)",
        ),
        (
            Dropped,
            Some(Why::MartianDestination),
            "router drops it: nothing that comes in by eth1 may go to 10.244.1.5 (martian destination)",
        ),
        (Dropped, Some(Why::NoForwarding), "router does not forward packets (ip forwarding is off)"),
        (Dropped, Some(Why::NoPorts), "router finds no free port for the translation"),
        (Dropped, Some(Why::RedirectNoAddress), "router eth1 has no address to translate to"),
        (Dropped, Some(Why::Invalid), "router drops it as invalid"),
        (Dropped, Some(Why::RouteType), "no recorded host owns 10.244.1.5, a route of router discards it"),
        (NoNeighbor, None, "nobody owns 10.244.1.5"),
        (Left, None, "the packet leaves router by eth1 for 10.244.1.5:8080"),
    ];
    for (outcome, why, cause) in times_out {
        check(outcome, why, None, &format!("client times out: {cause}"));
    }

    let prohibited = "client gets \"administratively prohibited\" from 198.51.100.1";
    check(
        Rejected,
        Some(Why::Rule),
        Some(icmp(3, 13)),
        &format!("{prohibited}: a rule of router rejects it"),
    );
    let by_route =
        format!("{prohibited}: no recorded host owns 10.244.1.5, a prohibit route of router rejects it");
    check(Rejected, Some(Why::RouteType), Some(icmp(3, 13)), &by_route);
    check(Rejected, Some(Why::Rule), Some(reset), "connection refused: a rule of router rejects it");
    let errors = [
        (
            NoRoute,
            (3, 0),
            "network unreachable",
            "no recorded host owns 10.244.1.5, router has no route to it",
        ),
        (NoNeighbor, (3, 1), "host unreachable", "nobody owns 10.244.1.5"),
        (TtlExceeded, (11, 0), "time exceeded", "its time to live runs out at router"),
        (TooBig, (3, 4), "fragmentation needed", "it is too big for router eth1 and must not be fragmented"),
    ];
    for (outcome, (kind, code), words, cause) in errors {
        let expected = format!("client gets \"{words}\" from 198.51.100.1: {cause}");
        check(outcome, None, Some(icmp(kind, code)), &expected);
    }
    let what = "can't be told: it depends on what router does, which natpath can't decide";
    check(Undecided, None, None, what);
}

#[test]
fn a_flow_that_breaks_later_says_which_packet_fails() {
    let check = |protocol, packet, end: End, expected: &str| {
        let mut path = fixture::path(self::end(protocol, Outcome::Delivered, None));
        path.result.broken = Some(Broken { packet, end, hops: Vec::new() });
        says(&path, Tone::Fails, expected);
    };
    let lost = || back(Outcome::Dropped, Some(Why::Rule));
    let (tcp, udp) = (Protocol::TCP, Protocol::UDP);
    check(
        tcp,
        FlowPacket::Answer,
        lost(),
        "client times out: the answer of 10.244.1.5:8080 is lost, a rule of router drops it",
    );
    check(
        udp,
        FlowPacket::Answer,
        lost(),
        "client gets no answer: the answer of 10.244.1.5:8080 is lost, a rule of router drops it",
    );
    let wrong = || End {
        header: header(tcp, "10.244.1.5:8080", "198.51.100.2:40000"),
        ..back(Outcome::Dropped, Some(Why::WrongSource))
    };
    let source = "the answer: it comes from 10.244.1.5:8080, not 198.51.100.1:80";
    check(tcp, FlowPacket::Answer, wrong(), &format!("client resets {source}"));
    check(udp, FlowPacket::Answer, wrong(), &format!("client ignores {source}"));
    for (packet, expected) in [
        (FlowPacket::HandshakeAck, "connection hangs: the client's ACK that ends the handshake is lost"),
        (FlowPacket::ClientData, "connection opens, then hangs: the client's data is lost"),
        (FlowPacket::ServerData, "connection opens, then hangs: the server's data is lost"),
    ] {
        check(tcp, packet, lost(), &format!("{expected}, a rule of router drops it"));
    }
}

#[test]
fn what_leaves_is_judged_by_its_findings() {
    let check = |code: Option<&'static str>, reply: Option<Reply>, expected: &str| {
        let mut path = fixture::path(end(Protocol::TCP, Outcome::Left, None));
        path.result.reply = reply;
        path.findings = code.into_iter().map(finding).collect();
        says(&path, Tone::Fails, expected);
    };
    for code in ["dead-dnat", "virtual-target"] {
        let expected = "client times out: nobody owns 10.244.1.5, the packet leaves router by eth1";
        check(Some(code), None, expected);
    }
    check(
        Some("not-masqueraded"),
        None,
        "client times out: it leaves router by eth1 with the private source 198.51.100.2, no answer finds back",
    );
    check(
        Some("reply-bypasses"),
        Some(answer(Outcome::Dropped, Some(Why::Rule))),
        "client times out: the packet leaves router by eth1, the answer is lost, a rule of router drops it",
    );
}

#[test]
fn an_address_that_only_a_translation_makes_real_is_nobodys() {
    let mut path = fixture::path(end(Protocol::TCP, Outcome::Dropped, Some(Why::RouteType)));
    path.findings = vec![finding("dead-dnat")];
    let cause = "nobody owns 10.244.1.5, a route of router discards it";
    says(&path, Tone::Fails, &format!("client times out: {cause}"));
}

fn finding(code: &'static str) -> Finding {
    let rules = vec![rule(0)];
    Finding { code, host: ROUTER, headline: code.into(), help: "help".into(), rules, fix: None }
}

#[test]
fn what_works_names_who_answers_and_as_whom() {
    let check = |place, outcome, expected: &str| {
        let mut end = end(Protocol::TCP, outcome, None);
        end.at = At { host: place, interface: end.at.interface };
        let mut path = fixture::path(end);
        path.result.works = true;
        path.result.reply = Some(answer(Outcome::Delivered, None));
        says(&path, Tone::Works, expected);
    };
    let seen = "answers, the client sees 198.51.100.1:80";
    let router = Place::Host(ROUTER);
    check(router, Outcome::Delivered, &format!("works: 10.244.1.5:8080 on router {seen}"));
    check(router, Outcome::Left, &format!("works: 10.244.1.5:8080 beyond router eth1 {seen}"));
    let assumed = Place::Assumed(address("10.244.1.5"));
    check(assumed, Outcome::Delivered, &format!("works: 10.244.1.5:8080 {seen}"));
}

#[test]
fn because_and_fix_come_from_findings_or_from_the_rule_that_decided() {
    let network = network();
    let traced = double_dnat();
    let mut path = fixture::path(end(Protocol::TCP, Outcome::Dropped, Some(Why::Rule)));
    path.result.end.rule = Some((ROUTER, rule(1)));
    let judge = |path: &Path| verdict(&View::new(&network, &traced, path, &[]));
    let found = judge(&path);
    assert!(found.because[0].starts_with("router iptables-save:4: -A PREROUTING -d 10.96.0.10/32"));
    assert!(found.fix.is_empty());

    path.findings = vec![finding("forward-dropped")];
    let found = judge(&path);
    assert_eq!(found.because, ["forward-dropped (iptables-save:3)"]);
    assert_eq!(found.fix, [Fix::Advice("help".into())]);

    path.findings[0].headline = "iptables-save:3 is followed by iptables-save:34".into();
    path.findings[0].rules.push(rule(1));
    let found = judge(&path);
    assert_eq!(found.because, ["iptables-save:3 is followed by iptables-save:34 (iptables-save:4)"]);

    // A remedy is told once, below what it is for.
    path.findings[0].fix = Some("one\ntwo".into());
    path.hints = vec![fixture::hint(), Hint { fix: Some("two".into()), ..fixture::hint() }];
    let found = judge(&path);
    assert_eq!(found.because[1..], ["the router explains it (iptables-save:4)"; 2]);
    let (advice, command) = (|text: &str| Fix::Advice(text.into()), |text: &str| Fix::Command(text.into()));
    let expected = [
        advice("help"),
        command("one    # on router"),
        command("two    # on router"),
        advice("ask the router"),
    ];
    assert_eq!(found.fix, expected);
}

/// A path that ends on the host that sends.
fn unsent(end: End, steps: Vec<Step>) -> Path {
    let (in_interface, out_interface) = (None, None);
    let hops = vec![Hop { host: Place::Host(ROUTER), in_interface, out_interface, steps }];
    Path { hops, ..fixture::path(end) }
}

#[test]
fn a_send_that_fails_is_no_timeout() {
    let check = |protocol, outcome, why: Option<&'static str>, steps, expected: &str| {
        let end = end(protocol, outcome, why.map(Why::Errno));
        says(&unsent(end, steps), Tone::Fails, &format!("router can't send: {expected}"));
    };
    let (tcp, udp) = (Protocol::TCP, Protocol::UDP);
    let no_route = "no recorded host owns 10.244.1.5, no route to it";
    check(tcp, Outcome::NoRoute, None, vec![], &format!("{no_route} (connect says ENETUNREACH)"));
    check(udp, Outcome::NoRoute, None, vec![], &format!("{no_route} (sendto says ENETUNREACH)"));
    let refused = vec![Step::SourceCheck { why: Why::MartianSource }];
    let source = "the kernel refuses source 198.51.100.2, which is not its own (connect says EINVAL)";
    check(tcp, Outcome::LocalError, Some("EINVAL"), refused, source);
    let drop = Step::Rule {
        hook: Hook::Output,
        rule: rule(0),
        effect: Effect::Drop,
        before: header(udp, "198.51.100.2:40000", THERE),
        after: header(udp, "198.51.100.2:40000", THERE),
    };
    let rule = "a rule in nat OUTPUT refuses it (sendto says EPERM)";
    check(udp, Outcome::LocalError, Some("EPERM"), vec![drop], rule);
    let big = "it is too big for eth1 and must not be fragmented (sendto says EMSGSIZE)";
    check(udp, Outcome::LocalError, Some("EMSGSIZE"), vec![], big);
}

#[test]
fn a_loopback_source_is_refused_on_the_way_out() {
    let header = header(Protocol::UDP, "127.0.0.1:40000", THERE);
    let why = Some(Why::Errno("EINVAL"));
    let path = unsent(End { why, ..fixture::end(Outcome::LocalError, header) }, vec![]);
    let expected =
        "router can't send: the kernel refuses source 127.0.0.1 on the way out (sendto says EINVAL)";
    says(&path, Tone::Fails, expected);
}

#[test]
fn tcp_tries_again_what_a_second_look_up_refuses() {
    let again = RouteStep { destination: address("10.244.1.5"), found: None, source: None, again: true };
    let path = unsent(end(Protocol::TCP, Outcome::NoRoute, None), vec![Step::Route(again)]);
    says(&path, Tone::Fails, "client times out: no recorded host owns 10.244.1.5, router has no route to it");
}

#[test]
fn an_answer_in_doubt_is_not_lost() {
    let mut path = fixture::path(end(Protocol::TCP, Outcome::Delivered, None));
    path.result.broken =
        Some(Broken { packet: FlowPacket::Answer, end: back(Outcome::Undecided, None), hops: vec![] });
    path.assumptions = vec![Assumption::Opaque {
        host: "router".into(),
        construct: "-m set".into(),
        place: "iptables-save:3".into(),
        reason: "depends on an ipset".into(),
        applies: None,
    }];
    let expected = "can't be told: the packet gets to 10.244.1.5:8080, but whether it is answered depends on";
    says(&path, Tone::Undecided, &format!("{expected} -m{GLUE}set on router"));
}
