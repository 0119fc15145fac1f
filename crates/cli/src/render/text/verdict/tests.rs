//! The words for every way a path can end.

use natpath_engine::trace::{
    At, Broken, End, Finding, FlowPacket, IcmpError, Outcome, Path, Place, Reply, Why,
};
use natpath_model::Protocol;

use super::*;
use crate::render::fixture::{self, ROUTER, address, double_dnat, header, network, rule};

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
    let found = verdict(&View { network: &network, flow: &traced.flow, path });
    assert_eq!((found.text.as_str(), found.tone), (expected, tone));
}

#[test]
fn every_end_of_the_first_packet_has_its_words() {
    use Outcome::{
        Dropped, Left, LocalError, NoListener, NoNeighbor, NoRoute, Rejected, TooBig, TtlExceeded, Undecided,
    };
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
            "router drops it by rp_filter: the route back to 198.51.100.2 does not lead out of eth1",
        ),
        (
            Dropped,
            Some(Why::MartianSource),
            "router drops it: source 198.51.100.2 cannot come in by eth1 (martian source)",
        ),
        (
            Dropped,
            Some(Why::MartianDestination),
            "router drops it: destination 10.244.1.5 cannot be routed there (martian destination)",
        ),
        (Dropped, Some(Why::NoForwarding), "router does not forward packets (ip forwarding is off)"),
        (Dropped, Some(Why::NoPorts), "router finds no free port for the translation"),
        (Dropped, Some(Why::RedirectNoAddress), "router eth1 has no address to translate to"),
        (Dropped, Some(Why::Invalid), "router drops it as invalid"),
        (Dropped, Some(Why::RouteType), "a route of router discards it"),
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
    let by_route = format!("{prohibited}: a prohibit route of router rejects it");
    check(Rejected, Some(Why::RouteType), Some(icmp(3, 13)), &by_route);
    check(Rejected, Some(Why::Rule), Some(reset), "connection refused: a rule of router rejects it");
    let errors = [
        (NoRoute, (3, 0), "network unreachable", "router has no route to 10.244.1.5"),
        (NoNeighbor, (3, 1), "host unreachable", "nobody owns 10.244.1.5"),
        (TtlExceeded, (11, 0), "time exceeded", "its time to live runs out at router"),
        (TooBig, (3, 4), "fragmentation needed", "it is too big for router eth1 and must not be fragmented"),
    ];
    for (outcome, (kind, code), words, cause) in errors {
        let expected = format!("client gets \"{words}\" from 198.51.100.1: {cause}");
        check(outcome, None, Some(icmp(kind, code)), &expected);
    }
    check(LocalError, Some(Why::Errno("EINVAL")), None, "the client's own send fails with EINVAL");
    check(Undecided, None, None, "cannot be told: router meets what natpath cannot decide");
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
        let expected = "client times out: nobody owns 10.244.1.5; the packet leaves router by eth1";
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
    let judge = |path: &Path| verdict(&View { network: &network, flow: &traced.flow, path });
    let found = judge(&path);
    assert!(found.because[0].starts_with("router iptables-save:4: -A PREROUTING -d 10.96.0.10/32"));
    assert!(found.fix.is_empty());

    path.findings = vec![finding("forward-dropped")];
    let found = judge(&path);
    assert_eq!((found.because, found.fix), (vec!["forward-dropped".into()], vec!["help".into()]));
}
