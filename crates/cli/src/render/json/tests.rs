//! The JSON of hand-made traces, key by key as the contract has it.

use std::num::NonZeroU16;

use natpath_engine::trace::{
    Broken, Drawn, Effect, End, FlowPacket, Header, IcmpError, Outcome, Path, Reply, Step, Why,
};
use natpath_model::{Hook, Manip, Port, Protocol, Zone, ZoneDirection};
use serde_json::{Value, json};

use super::*;
use crate::render::fixture::{self, address, double_dnat, header, network, rule};

fn document(traced: Traced<'_>) -> Value {
    let mut bytes = Vec::new();
    write(&mut bytes, &network(), &[traced], false).expect("memory takes it");
    serde_json::from_slice(&bytes).expect("what was written is JSON")
}

fn path_of(path: Path) -> Value {
    let mut traced = double_dnat();
    traced.trace.paths = vec![path];
    document(traced)["flows"][0]["paths"][0].clone()
}

#[test]
fn a_double_dnat_follows_the_contract() {
    let first =
        "-A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.96.0.10:80";
    let second =
        "-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.5:8080";
    let rule = |text: &str, line: u32| json!({"text": text, "file": "iptables-save", "line": line, "handle": null, "comment": null, "provenance": null});
    let place = |mut step: Value| {
        for (key, value) in
            [("hook", "prerouting"), ("family", "ip"), ("table", "nat"), ("chain", "PREROUTING")]
        {
            step[key] = value.into();
        }
        step
    };
    let sent =
        json!({"proto": "tcp", "src": "198.51.100.2", "sport": 40000, "dst": "198.51.100.1", "dport": 80});
    let there =
        json!({"proto": "tcp", "src": "198.51.100.2", "sport": 40000, "dst": "10.96.0.10", "dport": 80});
    let back =
        json!({"proto": "tcp", "src": "10.96.0.10", "sport": 80, "dst": "198.51.100.2", "dport": 40000});
    let steps = json!([
        {"kind": "conntrack", "hook": "prerouting", "state": ["NEW"], "direction": null, "entry": null},
        place(json!({"kind": "chain", "tried": 1, "matched": 1, "end": "rule", "rule": rule(first, 3)})),
        place(json!({
            "kind": "rule", "rule": rule(first, 3), "effect": "dnat", "target": null,
            "before": {"dst": "198.51.100.1", "dport": 80}, "after": {"dst": "10.96.0.10", "dport": 80},
        })),
        place(json!({
            "kind": "not-reached", "rule": rule(second, 4), "why": "already-translated",
            "by": rule(first, 3),
        })),
        {
            "kind": "route", "destination": "10.96.0.10", "type": "unicast", "table": "main",
            "policy_rule": 32766, "prefix": "0.0.0.0/0", "via": "192.0.2.1", "dev": "eth1",
            "line": 1, "source": null, "again": false,
        },
        {"kind": "ttl", "ttl": 63},
        {"kind": "ended", "outcome": "left", "why": null},
    ]);
    let expected = json!({"schema": "natpath.trace/1", "flows": [{
        "flow": sent,
        "paths": [{
            "probability": 1.0,
            "outcome": "left",
            "at": {"host": "router", "interface": "eth1"},
            "there": there,
            "reply": null,
            "id": "1.1", "given": [], "works": false, "why": null, "rule": null, "broken": null,
            "conntrack": [{
                "host": "router", "zone": 0, "original": sent, "reply": back, "status": ["dnat"], "mark": 0,
            }],
            "hops": [{"host": "router", "in": "eth0", "out": "eth1", "steps": steps}],
            "reply_hops": [],
            "findings": [{
                "code": "dead-dnat", "host": "router",
                "headline": "a connection is translated once per host: the DNAT for 10.96.0.10 never runs",
                "help": "let the first rule name the last destination",
                "rules": [rule(first, 3), rule(second, 4)],
                "fix": "-A PREROUTING -d 198.51.100.1/32 -j DNAT --to-destination 10.244.1.5:8080",
            }],
            "hints": [{
                "host": "router", "headline": "the router explains it", "help": "ask the router",
                "rules": [rule(second, 4)], "fix": null,
            }],
            "assumptions": [],
        }],
    }]});
    let mut traced = double_dnat();
    traced.trace.paths[0].hints = vec![fixture::hint()];
    let found = document(traced);
    assert_eq!(found, expected, "\n{found:#}");
}

fn query(id: u16) -> Header {
    let mut header = header(Protocol::ICMP, "198.51.100.2:0", "198.51.100.1:0");
    (header.src.port, header.dst.port) = (Port::new(id), Port::new(id));
    header
}

#[test]
fn icmp_has_an_identifier_in_place_of_ports() {
    let mut path = fixture::path(fixture::end(Outcome::Delivered, query(7)));
    path.result.reply =
        Some(Reply { end: fixture::end(Outcome::Delivered, query(7)), icmp: None, reset: false });
    let found = path_of(path);
    let expected = json!({"proto": "icmp", "src": "198.51.100.2", "dst": "198.51.100.1", "icmp_id": 7});
    assert_eq!(found["there"], expected);
    assert_eq!(found["reply"]["icmp_id"], 7);
    assert!(found["reply"].get("sport").is_none());
}

#[test]
fn an_icmp_error_keeps_the_keys_of_the_flow() {
    let sent = header(Protocol::TCP, "198.51.100.2:40000", "198.51.100.1:80");
    let mut path = fixture::path(fixture::end(Outcome::Rejected, sent));
    let error = IcmpError { kind: 3, code: 3, from: address("198.51.100.1"), about: sent };
    path.result.reply =
        Some(Reply { end: fixture::end(Outcome::Delivered, query(0)), icmp: Some(error), reset: false });
    let reply = path_of(path)["reply"].clone();
    assert_eq!(
        (&reply["src"], &reply["sport"], &reply["dport"]),
        (&json!("198.51.100.2"), &Value::Null, &Value::Null)
    );
    assert_eq!((&reply["icmp"]["type"], &reply["icmp"]["code"]), (&json!(3), &json!(3)));
    assert_eq!(reply["icmp"]["from"], "198.51.100.1");
    assert_eq!(reply["icmp"]["about"]["dport"], 80);
}

#[test]
fn a_drawn_port_is_one_symbolic_value() {
    let mut sent = header(Protocol::TCP, "192.0.2.9:1024", "198.51.100.1:80");
    let number = NonZeroU16::new(2).expect("not 0");
    sent.src.port.drawn = Some(number);
    let mut path = fixture::path(fixture::end(Outcome::Left, sent));
    path.drawn.insert(number, Drawn { low: 1024, high: 65535 });
    assert_eq!(path_of(path)["there"]["sport"], json!({"any": [1024, 65535], "same": 2}));
}

#[test]
fn a_zone_of_one_direction_has_the_key_of_conntrack() {
    let mut traced = double_dnat();
    let entry = &mut traced.trace.paths[0].result.conntrack[0];
    (entry.zone, entry.zone_direction) = (Zone(5), ZoneDirection::Reply);
    let found = document(traced)["flows"][0]["paths"][0]["conntrack"][0].clone();
    assert_eq!(found["zone-reply"], 5);
    assert!(found.get("zone").is_none() && found.get("zone-orig").is_none());
}

#[test]
fn what_breaks_later_says_packet_place_and_hops() {
    let sent = header(Protocol::TCP, "198.51.100.2:40000", "198.51.100.1:80");
    let mut path = fixture::path(fixture::end(Outcome::Delivered, sent));
    let end = End { why: Some(Why::WrongSource), ..fixture::end(Outcome::Dropped, sent) };
    path.result.broken = Some(Broken { packet: FlowPacket::HandshakeAck, end, hops: Vec::new() });
    let at = json!({"host": "router", "interface": "eth1"});
    let expected = json!({
        "packet": "handshake-ack", "outcome": "dropped", "why": "wrong-source", "rule": null, "at": at, "hops": [],
    });
    assert_eq!(path_of(path)["broken"], expected);
}

/// A step's `before` and `after` in the flow of `double_dnat`, or in an echo.
fn changes(step: Step) -> (Value, Value) {
    let mut traced = double_dnat();
    if let Step::Rule { before, .. } | Step::Translated { before, .. } | Step::PortChanged { before, .. } =
        step
    {
        traced.flow.protocol = before.protocol;
    }
    traced.trace.paths[0].hops[0].steps = vec![step];
    let found = document(traced)["flows"][0]["paths"][0]["hops"][0]["steps"][0].clone();
    (found["before"].clone(), found["after"].clone())
}

#[test]
fn before_and_after_hold_the_sides_that_changed() {
    let before = header(Protocol::TCP, "10.0.0.1:40000", "198.51.100.1:80");
    let after = header(Protocol::TCP, "192.0.2.9:40000", "198.51.100.1:80");
    let both = (json!({"src": "10.0.0.1", "sport": 40000}), json!({"src": "192.0.2.9", "sport": 40000}));
    let hook = Hook::Postrouting;
    assert_eq!(changes(Step::Translated { hook, manip: Manip::Src, undone: false, before, after }), both);
    assert_eq!(changes(Step::PortChanged { hook, before, after }), both);
    let rule = rule(0);
    let of = |effect, after| changes(Step::Rule { hook, rule, effect, before, after });
    assert_eq!(of(Effect::Snat, after), both);
    assert_eq!(of(Effect::Masquerade, before), (both.0.clone(), both.0));
    assert_eq!(of(Effect::Accept, before), (json!({}), json!({})));
    assert_eq!(of(Effect::Mark(0, 0x4000), before), (json!({"mark": 0}), json!({"mark": 0x4000})));
    assert_eq!(of(Effect::Zone(Zone(3)), before), (json!({}), json!({"zone": 3})));
}

#[test]
fn before_and_after_of_an_echo_hold_its_identifier() {
    let before = query(7);
    let mut after = query(9);
    let changed = |after| changes(Step::PortChanged { hook: Hook::Postrouting, before, after });
    let old = json!({"src": "198.51.100.2", "icmp_id": 7});
    assert_eq!(changed(after), (old.clone(), json!({"src": "198.51.100.2", "icmp_id": 9})));
    after.src.address = address("192.0.2.9");
    assert_eq!(changed(after), (old, json!({"src": "192.0.2.9", "icmp_id": 9})));
}
