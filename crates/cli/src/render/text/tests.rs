//! The text of hand-made traces.

use natpath_engine::trace::{ChainEnd, Effect, NotReached, Outcome, RouteStep, Step, Why};
use natpath_model::{
    ChainId, CtStates, Direction, Hook, Manip, Match, Protocol, RouteType, RuleRef, Statement, Verdict,
};

use super::*;
use crate::render::fixture::{
    FILTER, MANGLE, NAT, RAW, WEB_RULE, address, double_dnat, header, network, rule,
};

const WIDE: Layout = Layout { verbose: false, width: Some(100) };

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_double_dnat_is_told_on_one_screen() {
    let text = plain(&render(&network(), &[double_dnat()], &[], WIDE));
    let expected = "\
tcp 198.51.100.2:* → 198.51.100.1:80
router  in eth0, out eth1
  1  nat PREROUTING #1   DNAT → 10.96.0.10:80
                         iptables-save:3  -A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.96.0.10:80
     nat PREROUTING #2   NOT REACHED: iptables-save:3 has translated this connection already
                         iptables-save:4  -A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.5:8080
  2  route               10.96.0.10 via 192.0.2.1 dev eth1  (main, default)
  3  ends                leaves the recorded hosts
VERDICT  client times out: nobody owns 10.96.0.10, the packet leaves router by eth1
BECAUSE  a connection is translated once per host: the DNAT for 10.96.0.10 never runs
         (iptables-save:3, iptables-save:4)
FIX      let the first rule name the last destination
         -A PREROUTING -d 198.51.100.1/32 -j DNAT --to-destination 10.244.1.5:8080    # on router
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn colours_are_there_to_be_taken_out() {
    let text = render(&network(), &[double_dnat()], &[], WIDE);
    assert!(text.contains('\u{1b}') && !plain(&text).contains('\u{1b}'));
}

const THERE: &str = "10.244.1.5:8080";

#[test]
fn several_paths_begin_with_a_table() {
    let mut traced = double_dnat();
    let mut second = traced.trace.paths[0].clone();
    second.id = "1.2".into();
    second.probability = 0.25;
    traced.trace.paths[0].probability = 0.75;
    traced.trace.paths.push(second);
    let text = plain(&render(&network(), &[traced], &[], WIDE));
    let table = "\
  1.1    75 %  fails  left at router eth1, 10.96.0.10:80
  1.2    25 %  fails  left at router eth1, 10.96.0.10:80
";
    assert!(text.contains(table), "{text}");
    assert!(text.contains("1 more path goes the same way to another endpoint"), "{text}");
}

/// The lines of the router's hop when these steps happen there.
fn tells(steps: Vec<Step>, depth: Depth, expected: &str) {
    let (network, traced) = (network(), double_dnat());
    let path = &traced.trace.paths[0];
    let hop = Hop { steps, ..path.hops[0].clone() };
    let mut text = String::new();
    let view = View::new(&network, &traced, path, &[]);
    let section = Section::new(&view, String::new(), std::slice::from_ref(&hop), depth);
    write_sections(&mut text, &view, &[section], Some(100));
    let text = plain(&text);
    let (_, text) = text.split_once('\n').expect("a heading");
    assert_eq!(text, expected, "\n{text}");
}

fn chain(hook: Hook, table: u32, tried: u32, end: ChainEnd) -> Step {
    Step::Chain { hook, table, chain: ChainId(0), tried, matched: 0, end }
}

#[test]
fn quiet_chains_of_a_hook_are_one_line() {
    let hook = Hook::Prerouting;
    let steps = || {
        let conntrack = Step::Conntrack { hook, state: CtStates::NEW, direction: None, entry: None };
        let accept = ChainEnd::PolicyAccept;
        let forward = [chain(Hook::Forward, MANGLE, 0, accept), chain(Hook::Forward, FILTER, 5, accept)];
        [chain(hook, RAW, 1, accept), conntrack, chain(hook, MANGLE, 3, accept)]
            .into_iter()
            .chain(forward)
            .collect()
    };
    let expected = "  1  raw, mangle PREROUTING  no rule matches (4 tried)
  2  filter FORWARD          no rule matches (5 tried)
";
    tells(steps(), Depth::Normal, expected);
    tells(steps(), Depth::Brief, "");
}

#[test]
fn a_policy_that_drops_is_named() {
    let steps = vec![
        chain(Hook::Forward, FILTER, 5, ChainEnd::PolicyDrop),
        Step::Ended { outcome: Outcome::Dropped, why: Some(Why::Policy) },
    ];
    tells(steps, Depth::Normal, "  1  filter FORWARD      DROP by the chain's policy (5 tried)\n");
}

/// A DNAT in a user chain, as the engine orders it: the translation is written after the walk.
fn user_chain() -> Vec<Step> {
    let hook = Hook::Prerouting;
    let before = header(Protocol::TCP, "198.51.100.2:40000", "198.51.100.1:80");
    let after = header(Protocol::TCP, "198.51.100.2:40000", THERE);
    let jump = Effect::Jump(ChainId(1));
    vec![
        Step::Miss { hook, rule: rule(0), failed: 0 },
        Step::Rule { hook, rule: rule(1), effect: jump, before, after: before },
        chain(hook, NAT, 3, ChainEnd::Rule(WEB_RULE)),
        Step::Rule { hook, rule: WEB_RULE, effect: Effect::Dnat, before, after },
        Step::NotReached { hook, rule: rule(1), why: NotReached::DecidedEarlier },
    ]
}

#[test]
fn a_rule_of_a_user_chain_says_how_it_was_called() {
    let expected = "  1  nat PREROUTING      DNAT → 10.244.1.5:8080
                         by WEB #1
                         iptables-save:5  -A WEB -p tcp -j DNAT --to-destination 10.244.1.5:8080
     nat PREROUTING #2   NOT REACHED: the connection's first packet decided its translation
                         iptables-save:4  -A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.5:8080
";
    tells(user_chain(), Depth::Normal, expected);
}

#[test]
fn verbose_shows_every_rule_and_the_match_that_failed() {
    let mut steps = user_chain();
    steps.truncate(2);
    let expected = "  1  nat PREROUTING #1   does not match: --dport 80
                         iptables-save:3  -A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.96.0.10:80
     nat PREROUTING #2   to WEB
                         iptables-save:4  -A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.5:8080
";
    tells(steps, Depth::Verbose, expected);
}

#[test]
fn the_way_back_shows_only_what_changes_the_answer() {
    let before = header(Protocol::TCP, THERE, "198.51.100.2:40000");
    let after = header(Protocol::TCP, "198.51.100.1:80", "198.51.100.2:40000");
    let (hook, direction) = (Hook::Prerouting, Some(Direction::Reply));
    let steps = vec![
        Step::Conntrack { hook, state: CtStates::ESTABLISHED, direction, entry: None },
        chain(Hook::Forward, FILTER, 3, ChainEnd::PolicyAccept),
        Step::Ttl(63),
        Step::Translated { hook: Hook::Postrouting, manip: Manip::Src, undone: true, before, after },
    ];
    let expected = "  1  nat POSTROUTING     un-DNAT  src 10.244.1.5:8080 → 198.51.100.1:80\n";
    tells(steps, Depth::Brief, expected);
}

#[test]
fn a_rule_that_rejects_stands_before_its_answer() {
    let hook = Hook::Prerouting;
    let header = header(Protocol::TCP, "198.51.100.2:40000", "198.51.100.1:80");
    let steps = vec![
        Step::Answered { icmp: Some((3, 13)) },
        Step::Rule { hook, rule: rule(0), effect: Effect::Reject, before: header, after: header },
        chain(hook, NAT, 1, ChainEnd::Rule(rule(0))),
        Step::Ended { outcome: Outcome::Rejected, why: Some(Why::Rule) },
    ];
    let expected = "  1  nat PREROUTING #1   REJECT
                         iptables-save:3  -A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.96.0.10:80
  2  answers             \"administratively prohibited\" (ICMP 3/13)
";
    tells(steps, Depth::Normal, expected);
}

fn route(destination: &str) -> Step {
    let steps = double_dnat().trace.paths[0].hops[0].steps.clone();
    let Some(Step::Route(route)) = steps.into_iter().find(|step| matches!(step, Step::Route(_))) else {
        unreachable!("the fixture has a route")
    };
    Step::Route(RouteStep { destination: address(destination), ..route })
}

#[test]
fn the_way_back_shows_where_a_quiet_host_sends_the_answer() {
    let expected = "  1  route               198.51.100.2 via 192.0.2.1 dev eth1  (main, default)\n";
    tells(vec![route("198.51.100.2"), Step::Ttl(63)], Depth::Brief, expected);
}

#[test]
fn a_quiet_chain_says_what_its_rules_did() {
    let hook = Hook::Prerouting;
    let header = header(Protocol::TCP, "198.51.100.2:40000", "198.51.100.1:80");
    let of = |rule, effect| Step::Rule { hook, rule, effect, before: header, after: header };
    let check = |rules: Vec<Step>, expected: &str| {
        let end = chain(hook, NAT, 2, ChainEnd::PolicyAccept);
        let steps = rules.into_iter().chain([end]).collect();
        tells(steps, Depth::Normal, &format!("  1  nat PREROUTING      {expected} (2 tried)\n"));
    };
    let call = || of(rule(0), Effect::Jump(ChainId(1)));
    check(vec![], "no rule matches");
    check(vec![call()], "no rule matches, nor any in WEB");
    check(vec![call(), of(WEB_RULE, Effect::Return)], "returns from WEB");
    check(vec![of(rule(0), Effect::Return)], "returns");
    check(vec![of(rule(0), Effect::Log), of(rule(1), Effect::Counted)], "only logs and counts");
    check(vec![of(rule(0), Effect::Mark(1, 1))], "the mark stays as it is");
}

#[test]
fn what_a_route_discards_is_said_once() {
    let Step::Route(mut step) = route("10.96.0.10") else { unreachable!("it is a route") };
    if let Some(found) = &mut step.found {
        (found.kind, found.gateway, found.interface) = (RouteType::Blackhole, None, None);
    }
    let ended = Step::Ended { outcome: Outcome::Dropped, why: Some(Why::RouteType) };
    let expected = "  1  route               10.96.0.10: a blackhole route discards it  (main, default)\n";
    tells(vec![Step::Route(step), ended], Depth::Normal, expected);
}

#[test]
fn a_failing_check_of_the_source_is_told_in_words() {
    let check = |why, expected: &str| {
        let ended = Step::Ended { outcome: Outcome::Dropped, why: Some(why) };
        let expected = format!("  1  source check        {expected}\n");
        tells(vec![Step::SourceCheck { why }, ended], Depth::Normal, &expected);
    };
    check(Why::RpFilter, "dropped by rp_filter: the way back is not by eth0");
    check(Why::MartianSource, "dropped: a packet with this source can't come in by eth0");
}

/// A rule of the network with a condition that is left to chance.
fn left_to_chance(network: &mut Network, rule: RuleRef, probability: f64) {
    let probability = (probability * f64::from(1_u32 << 31)) as u32;
    let chain = &mut network.hosts[0].ruleset.tables[rule.table as usize].chains[rule.chain.0 as usize];
    let rule = &mut chain.rules[rule.rule as usize];
    rule.matches = vec![Match::Chance { probability, negated: false }];
    rule.statements = vec![Statement::Verdict(Verdict::Accept)];
}

#[test]
fn chance_is_told_where_it_chose() {
    let mut network = network();
    left_to_chance(&mut network, rule(0), 0.75);
    left_to_chance(&mut network, rule(1), 0.5);
    let mut traced = double_dnat();
    let hook = Hook::Prerouting;
    let header = traced.trace.sent;
    let of = |rule, effect| Step::Rule { hook, rule, effect, before: header, after: header };
    traced.trace.paths[0].probability = 0.125;
    traced.trace.paths[0].hops[0].steps = vec![
        Step::Miss { hook, rule: rule(0), failed: 0 },
        of(rule(1), Effect::Jump(ChainId(1))),
        of(WEB_RULE, Effect::Accept),
    ];
    let text =
        |verbose| plain(&render(&network, &[traced.clone()], &[], Layout { verbose, width: Some(100) }));
    assert!(
        text(false).contains("by WEB #1\n                         by chance, 12.5 %\n"),
        "{}",
        text(false)
    );
    for part in ["nat PREROUTING #1   chance, 75 %: not taken", "to WEB, chance, 50 %: taken"] {
        assert!(text(true).contains(part), "{part} is not in\n{}", text(true));
    }
}

#[test]
fn a_port_given_up_to_another_connection_is_named() {
    let before = header(Protocol::UDP, "198.51.100.2:4000", "198.51.100.1:53");
    let mut after = before;
    after.src.port.drawn = std::num::NonZeroU16::new(1);
    let steps = vec![Step::PortChanged { hook: Hook::Postrouting, before, after }];
    let expected =
        "  1  nat POSTROUTING     port 4000 is taken by another connection: src port → {4000-4000}\n";
    tells(steps, Depth::Normal, expected);
}

#[test]
fn a_source_that_nobody_chose_is_a_dash() {
    let mut traced = double_dnat();
    traced.flow.src = None;
    traced.trace.sent = header(Protocol::TCP, "0.0.0.0:40000", "198.51.100.1:80");
    let text = plain(&render(&network(), &[traced], &[], WIDE));
    assert!(text.starts_with("tcp - → 198.51.100.1:80\n"), "{text}");
}
