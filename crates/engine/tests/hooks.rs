//! What runs first where priorities are equal: both orders, unless `nft list hooks` tells.

use natpath_engine::Session;
use natpath_engine::trace::Outcome;
use natpath_formats::{derive, ip_json, iptables_save, nft_hooks};
use natpath_model::{
    Backend, Family, FileId, Flow, Item, Network, PolicyRule, Protocol, Snapshot, SourceFile,
};

const DROPS: &str = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j DROP\nCOMMIT\n";
const REJECTS: &str = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j REJECT\nCOMMIT\n";

/// A host whose iptables-nft drops what its iptables-legacy rejects, both in INPUT at priority 0.
fn host(listing: Option<&str>) -> Snapshot {
    let mut host = Snapshot { name: "r".to_owned(), ..Snapshot::default() };
    let addr = r#"[{"ifindex":2,"ifname":"eth0","flags":["UP"],"addr_info":[{"local":"192.0.2.1","prefixlen":24}]}]"#;
    host.links = ip_json::addr::parse(addr, "addr.json").expect("links").0;
    host.routes = derive::routes(&host.links, Family::Ip4);
    host.policy_rules = PolicyRule::defaults(Family::Ip4);
    host.given.insert(Item::Sysctls);
    let dumps = [
        ("iptables-save", Backend::Iptables, DROPS),
        ("iptables-legacy-save", Backend::IptablesLegacy, REJECTS),
    ];
    for (number, (name, backend, text)) in (0u16..).zip(dumps) {
        let (tables, faults) = iptables_save::parse(text, name, FileId(number), backend, Family::Ip4);
        assert_eq!(faults, []);
        host.ruleset.tables.extend(tables);
        host.files.push(SourceFile { name: name.to_owned(), text: text.into() });
    }
    if let Some(listing) = listing {
        let (hooks, faults) = nft_hooks::parse(listing, "nft-hooks");
        assert_eq!(faults, []);
        host.hooks = hooks;
    }
    host
}

fn check(listing: Option<&str>, expected: &[Outcome]) {
    let network = Network { hosts: vec![host(listing)], ..Network::default() };
    let [src, dst] = ["192.0.2.7", "192.0.2.1"].map(|text| text.parse().expect("an address"));
    let flow = Flow::new(Protocol::UDP, Some(src), Some(1000), dst, 53);
    let trace = Session::new(&network).trace(&flow).expect("a trace");
    let mut outcomes: Vec<_> = trace.paths.iter().map(|path| path.result.end.outcome).collect();
    outcomes.sort();
    assert_eq!(outcomes, expected, "{listing:?}");
}

#[test]
fn a_listing_of_hooks_settles_the_order() {
    let in_input = |lines: [&str; 2]| format!("family ip {{\n hook input {{\n{}\n}}\n}}\n", lines.join("\n"));
    let chain = " 0000000000 chain ip filter INPUT [nf_tables]";
    let legacy = " 0000000000 ipt_do_table [ip_tables]";
    check(None, &[Outcome::Dropped, Outcome::Rejected]);
    check(Some(&in_input([chain, legacy])), &[Outcome::Dropped]);
    check(Some(&in_input([legacy, chain])), &[Outcome::Rejected]);
    // One that lacks a chain was made at another time.
    check(Some(&in_input([chain, ""])), &[Outcome::Dropped, Outcome::Rejected]);
}
