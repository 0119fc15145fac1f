//! Any JSON is read or refused by the readers of what `ip -j` and `bridge -j` print, and by that of the
//! topology.

use natpath_formats::ip_json::{addr, bridge, neigh, route, rule};
use natpath_formats::topology;
use natpath_model::Family;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// The keys that some reader looks for, and one that none does.
const KEYS: [&str; 48] = [
    "ifindex",
    "ifname",
    "flags",
    "mtu",
    "master",
    "operstate",
    "link_type",
    "address",
    "link_index",
    "link_netnsid",
    "linkinfo",
    "info_kind",
    "info_data",
    "info_slave_kind",
    "info_slave_data",
    "hairpin",
    "isolated",
    "addr_info",
    "family",
    "local",
    "prefixlen",
    "scope",
    "label",
    "secondary",
    "peer",
    "dst",
    "gateway",
    "via",
    "host",
    "dev",
    "protocol",
    "prefsrc",
    "metric",
    "type",
    "table",
    "nexthops",
    "weight",
    "priority",
    "src",
    "srclen",
    "fwmark",
    "fwmask",
    "iif",
    "oif",
    "lladdr",
    "state",
    "segments",
    "other",
];

/// The words that some reader knows.
const WORDS: [&str; 20] = [
    "default",
    "all",
    "10.0.0.1",
    "10.0.0.0/8",
    "fd00::1/64",
    "fd00::1",
    "300.0.0.1",
    "eth0",
    "veth",
    "bridge",
    "UP",
    "LOOPBACK",
    "local",
    "blackhole",
    "main",
    "0x10",
    "REACHABLE",
    "02:00:00:00:00:01",
    "inet6",
    "a:eth0",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0u64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let key = prop_oneof![
            8 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..12)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Gives a text to all readers.
fn read(text: &str) {
    let _ = addr::parse(text, "addr.json");
    let _ = bridge::parse_links(text, "bridge-link.json");
    let _ = bridge::parse_fdb(text, "bridge-fdb.json");
    let _ = neigh::parse(text, "neigh.json");
    let _ = route::parse_ip4(text, "route.json", text);
    for family in Family::ALL {
        let _ = route::parse(text, "route.json", family);
        let _ = rule::parse(text, "rule.json", family);
    }
    let _ = topology::parse(text, "topology.json");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_json_is_read(value in value()) {
        read(&value.to_string());
    }

    #[test]
    fn any_list_of_rows_is_read(rows in prop::collection::vec(value(), 0..6)) {
        read(&Value::from(rows).to_string());
    }
}
