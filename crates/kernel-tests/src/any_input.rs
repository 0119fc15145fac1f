//! Each reader and the engine, given bytes that nobody chose: none may panic, run on, or take memory out of
//! proportion. `fuzz/` draws the bytes; `tests/any_input.rs` repeats what was found worth keeping.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use natpath_engine::{EntryPattern, Session};
use natpath_formats::flows::{self, FlowAction, FlowLine};
use natpath_formats::ip_json::{addr, bridge, neigh, route, rule};
use natpath_formats::snapshot::{Dump, Loaded, with_rules};
use natpath_formats::{bypass, conntrack, ipset, iptables_save, nft_hooks, ss, sysctl, topology};
use natpath_model::{Backend, Family, FileId, Item, Network, Snapshot, SourceFile};

use crate::parse;

/// What reads any bytes.
pub type Entry = fn(&[u8]);

/// Every entry point by its name, which is that of its target and of its directory in `fuzz/corpus`.
pub const ENTRIES: [(&str, Entry); 14] = [
    ("iptables_save", iptables_save),
    ("ipset", ipset),
    ("conntrack", conntrack),
    ("engine", engine),
    ("sysctl", sysctl),
    ("ss", ss),
    ("flows", flows),
    ("nft_hooks", nft_hooks),
    ("addr", addr),
    ("route", route),
    ("rule", rule),
    ("neigh", neigh),
    ("topology", topology),
    ("beside", beside),
];

/// The most lines of flows that the engine is given; each may have thousands of courses.
const MOST_FLOWS: usize = 6;

/// Reads a dump of iptables and writes what was read, as each family and backend.
pub fn iptables_save(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (backend, family) in [(Backend::Iptables, Family::Ip4), (Backend::IptablesLegacy, Family::Ip6)] {
        let (tables, _) = iptables_save::parse(&text, "iptables-save", FileId(0), backend, family);
        let _ = iptables_save::write(&tables);
    }
}

/// Reads sets and writes them.
pub fn ipset(bytes: &[u8]) {
    let (sets, _) = ipset::parse(&String::from_utf8_lossy(bytes), "ipset");
    let _ = ipset::write(&sets);
}

/// Reads entries of conntrack.
pub fn conntrack(bytes: &[u8]) {
    let _ = conntrack::parse(&String::from_utf8_lossy(bytes), "conntrack");
}

/// Reads sysctls.
pub fn sysctl(bytes: &[u8]) {
    let _ = sysctl::parse(&String::from_utf8_lossy(bytes), "sysctl");
}

/// Reads sockets.
pub fn ss(bytes: &[u8]) {
    let _ = ss::parse(&String::from_utf8_lossy(bytes), "sockets");
}

/// Reads lines of flows.
pub fn flows(bytes: &[u8]) {
    let _ = flows::parse(&String::from_utf8_lossy(bytes), "flows");
}

/// Reads a listing of hooks.
pub fn nft_hooks(bytes: &[u8]) {
    let _ = nft_hooks::parse(&String::from_utf8_lossy(bytes), "nft-hooks");
}

/// Reads links and addresses, and ports of bridges.
pub fn addr(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = addr::parse(&text, "addr.json");
    let _ = bridge::parse_links(&text, "bridge-link.json");
    let _ = bridge::parse_fdb(&text, "bridge-fdb.json");
}

/// Reads routes, of one family and of both.
pub fn route(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for family in Family::ALL {
        let _ = route::parse(&text, "route.json", family);
    }
    let _ = route::parse_ip4(&text, "route.json", &text);
}

/// Reads policy rules.
pub fn rule(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for family in Family::ALL {
        let _ = rule::parse(&text, "rule.json", family);
    }
}

/// Reads neighbours.
pub fn neigh(bytes: &[u8]) {
    let _ = neigh::parse(&String::from_utf8_lossy(bytes), "neigh.json");
}

/// Reads who shares a wire.
pub fn topology(bytes: &[u8]) {
    let _ = topology::parse(&String::from_utf8_lossy(bytes), "topology.json");
}

/// Reads what acts beside netfilter, and a scenario.
pub fn beside(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (name, read) in bypass::READERS {
        let _ = read(&text, name);
    }
    let _ = parse::scenario(&text, "any.scenario");
}

/// Sends flows through a router whose files, and what is sent, are in the bytes: a line `@ NAME` begins a
/// file of the snapshot layout, `flows`, or a dump that a line `load r NAME` puts in place of the rules.
pub fn engine(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let files = files(&text);
    let mut network = BASE.clone();
    if let Some(router) = network.hosts.iter_mut().find(|host| host.name == "r") {
        furnish(router, &files);
    }
    let lines = files.get("flows").map_or(Vec::new(), |text| flows::parse(text, "flows").0);
    let lines = &lines[..lines.len().min(MOST_FLOWS)];
    let loads = loads(&network, &files, lines);
    let mut session = Session::new(&network);
    for (number, line) in lines.iter().enumerate() {
        act(&mut session, &line.action, loads.get(&number));
    }
}

/// The network around the router: a client and a server, of both families.
static BASE: LazyLock<Network> = LazyLock::new(|| {
    let read = parse::scenario(include_str!("any_input.scenario"), "any_input.scenario");
    read.map(|scenario| scenario.network).expect("the scenario beside this file can be read")
});

/// The files in a text, each under its name.
fn files(text: &str) -> BTreeMap<&str, &str> {
    let parts = text.split("\n@ ").map(|part| part.strip_prefix("@ ").unwrap_or(part));
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

/// Gives a host these files.
fn furnish(host: &mut Snapshot, files: &BTreeMap<&str, &str>) {
    for (name, text) in files {
        let id = FileId(u16::try_from(host.files.len()).unwrap_or(u16::MAX));
        let rules = [
            ("iptables-save", Backend::Iptables, Family::Ip4),
            ("ip6tables-save", Backend::Iptables, Family::Ip6),
            ("iptables-legacy-save", Backend::IptablesLegacy, Family::Ip4),
        ];
        if let Some((_, backend, family)) = rules.into_iter().find(|(known, ..)| known == name) {
            let (mut tables, _) = iptables_save::parse(text, name, id, backend, family);
            host.ruleset.tables.append(&mut tables);
            host.given.insert(Item::Rules(family));
            host.files.push(SourceFile { name: (*name).to_owned(), text: (*text).into() });
        }
        match *name {
            "ipset" => host.sets = ipset::parse(text, name).0,
            "conntrack" => host.connections = conntrack::parse(text, name).0,
            "sysctl" => host.sysctls = sysctl::parse(text, name).0,
            "sockets" => host.sockets = ss::parse(text, name).0,
            "nft-hooks" => host.hooks = nft_hooks::parse(text, name).0,
            "route.json" => {
                host.routes.extend(route::parse(text, name, Family::Ip4).map_or(Vec::new(), |read| read.0));
            }
            "rule.json" => {
                let read = rule::parse(text, name, Family::Ip4).map_or(Vec::new(), |read| read.0);
                host.policy_rules.extend(read);
                host.policy_rules.sort_by_key(|rule| rule.priority);
            }
            "neigh.json" => {
                host.neighbours.extend(neigh::parse(text, name).map_or(Vec::new(), |read| read.0));
            }
            "addr.json" => host.links.extend(addr::parse(text, name).map_or(Vec::new(), |read| read.0)),
            _ => {}
        }
        for (_, read) in bypass::READERS.into_iter().filter(|(known, _)| known == name) {
            host.bypasses.extend(read(text, name).0);
        }
    }
}

/// What each `load` line makes of its host, by the line's place.
fn loads(network: &Network, files: &BTreeMap<&str, &str>, lines: &[FlowLine]) -> BTreeMap<usize, Loaded> {
    let mut loads = BTreeMap::<usize, Loaded>::new();
    for (number, line) in lines.iter().enumerate() {
        let FlowAction::Load { host, files: names } = &line.action else { continue };
        let dumps: Vec<Dump> = names
            .iter()
            .take(MOST_FLOWS)
            .filter_map(|name| Some((name, files.get(name.as_str())?)))
            .map(|(name, text)| Dump { name: name.clone(), path: name.clone(), text: Arc::from(*text) })
            .collect();
        let earlier = loads.values().rev().map(|loaded| &loaded.host).find(|loaded| loaded.name == *host);
        let loaded = earlier.or_else(|| network.host(host)).map(|host| with_rules(host, &dumps));
        if let Some(Ok(loaded)) = loaded {
            loads.insert(number, loaded);
        }
    }
    loads
}

/// Has one line done. A line that can't be done is refused, which is an answer too.
fn act<'a>(session: &mut Session<'a>, action: &FlowAction, loaded: Option<&'a Loaded>) {
    let trace = match action {
        FlowAction::Flow(flow) => session.trace(flow),
        FlowAction::More { id, side } => session.more(id, *side),
        FlowAction::Close { id, how } => return drop(session.close(id, *how)),
        FlowAction::Wait(time) => return session.wait(*time),
        FlowAction::Forget { host, protocol, src, dst } => {
            let pattern = EntryPattern { protocol: *protocol, src: *src, dst: *dst };
            return drop(session.forget(host, &pattern));
        }
        FlowAction::Load { .. } => {
            let load = |Loaded { host, has_rules }: &'a Loaded| {
                if *has_rules { session.load(host).map(|_| ()) } else { session.load_sets(host) }
            };
            return drop(loaded.map(load));
        }
    };
    // Of the courses only the first goes on, or the work would grow with every line.
    if let Some(first) = trace.ok().and_then(|trace| trace.paths.into_iter().next()) {
        session.given(&first.id);
    }
}
