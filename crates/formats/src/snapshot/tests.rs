use std::fs;
use std::path::PathBuf;

use natpath_model::{Family, Item, Severity, Snapshot};

use super::{Accounted, inspect_network, read_host, read_network};

/// A directory of its own for a test, removed when it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str, files: &[(&str, &[u8])]) -> Self {
        let path = std::env::temp_dir().join(format!("natpath-{test}-{}", std::process::id()));
        for (name, bytes) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            fs::write(file, bytes).expect("a file");
        }
        Self(path)
    }

    fn host(&self) -> Snapshot {
        read_host(&self.0, "h").expect("a host")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory that stays behind in /tmp harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ADDR: &[u8] = br#"[{"ifindex":2,"ifname":"eth0","flags":["UP"],"mtu":1500,
    "addr_info":[{"local":"192.0.2.1","prefixlen":24},{"local":"fd00::1","prefixlen":64}]}]"#;

#[test]
fn missing_files_are_replaced_by_assumptions() {
    let host = Directory::new("missing", &[("addr.json", ADDR)]).host();
    assert_eq!(host.diagnostics, []);
    assert!(host.given.has(Item::Links) && !host.given.has(Item::Routes(Family::Ip4)));
    assert!(!host.given.has(Item::Sysctls) && !host.given.has(Item::Sockets));
    assert_eq!(host.routes.iter().filter(|route| route.destination.addr().is_ipv4()).count(), 3);
    assert_eq!(host.policy_rules.len(), 5);
    assert_eq!(host.sysctls.number("net.ipv4.ip_forward"), Some(1));
    assert_eq!(host.files.len(), 1);
}

#[test]
fn rows_of_ip6_in_route_json_are_taken_once() {
    let both = br#"[{"dst":"default","gateway":"192.0.2.9","dev":"eth0"},
        {"dst":"default", "dev":"wg0","metric":1024},{"dst":"fd00::/64","dev":"eth0"}]"#;
    let ip6 = br#"[{"dst":"default","dev":"wg0","metric":1024},{"dst":"fd00::/64","dev":"eth0"}]"#;
    let families = |host: &Snapshot| -> Vec<_> {
        host.routes.iter().map(|route| route.destination.to_string()).collect()
    };
    let host = Directory::new("routes", &[("route.json", both), ("route6.json", ip6)]).host();
    assert_eq!(families(&host), ["0.0.0.0/0", "::/0", "fd00::/64"]);
    let host = Directory::new("routes4", &[("route.json", both)]).host();
    assert_eq!(families(&host), ["0.0.0.0/0", "0.0.0.0/0", "fd00::/64"]);
    assert!(host.given.has(Item::Routes(Family::Ip6)));
}

#[test]
fn both_backends_are_read_and_origins_point_into_the_files() {
    let nft = b"*nat\n:PREROUTING ACCEPT [0:0]\n[7:8] -A PREROUTING -j ACCEPT\nCOMMIT\n";
    let legacy = b"*filter\n-A INPUT -m geoip --src-cc x --any 1 -j DROP\nCOMMIT\n";
    let files: &[(&str, &[u8])] =
        &[("iptables-save", nft), ("ip6tables-legacy-save", legacy), ("name", b"node1\n")];
    let host = Directory::new("rules", files).host();
    assert_eq!(host.name, "node1");
    assert!(Family::ALL.into_iter().all(|family| host.given.has(Item::Rules(family))));
    let texts: Vec<_> = host.ruleset.rules().map(|(_, rule)| host.text(&rule.origin)).collect();
    assert_eq!(texts, ["-A PREROUTING -j ACCEPT", "-A INPUT -m geoip --src-cc x --any 1 -j DROP"]);
    assert_eq!(host.diagnostics.len(), 1);
    assert!(host.diagnostics[0].file.ends_with("ip6tables-legacy-save"));
}

#[test]
fn compressed_and_odd_files_are_read() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, b"net.ipv4.ip_forward = 0\n").expect("memory");
    let gz = encoder.finish().expect("memory");
    let files: &[(&str, &[u8])] = &[
        ("sysctl.gz", &gz),
        ("rule.json", b""),
        ("iptables-save", b"*filter\n# \xff\nCOMMIT\n"),
        ("ip6tables-save.gz", b"not gzip"),
        ("neigh.json", b"{"),
    ];
    let host = Directory::new("odd", files).host();
    assert_eq!(host.sysctls.number("net.ipv4.ip_forward"), Some(0));
    assert!(host.given.has(Item::PolicyRules(Family::Ip4)) && !host.given.has(Item::Neighbours));
    assert!(!host.given.has(Item::Rules(Family::Ip6)));
    let found: Vec<_> =
        host.diagnostics.iter().map(|found| (found.severity, found.code, found.line)).collect();
    let (warning, error) = (Severity::Warning, Severity::Error);
    assert_eq!(found, [(warning, "not-utf8", 2), (error, "unreadable", 0), (error, "syntax", 1)]);
}

#[test]
fn tables_of_nft_are_named_once() {
    let save = b"*nat\nCOMMIT\n";
    let json = br#"{"nftables":[{"metainfo":{}},{"table":{"family":"ip","name":"nat","handle":1}},
        {"table":{"family":"inet","name":"fw","handle":2}},{"chain":{"family":"inet","table":"fw","name":"c"}}]}"#;
    let text = b"table ip nat {\n}\ntable inet fw {\n\tchain c {\n\t}\n}\n";
    for (name, listing) in [("nft.json", &json[..]), ("nft.txt", &text[..])] {
        let host = Directory::new(name, &[("iptables-save", save), (name, listing)]).host();
        let messages: Vec<_> = host.diagnostics.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(messages, ["tables that nft made can't be decided: inet fw"]);
    }
}

#[test]
fn networks_are_directories_of_hosts() {
    let topology = br#"{"segments":[["b:eth0","a:eth0","c:eth0"]]}"#;
    let files: &[(&str, &[u8])] =
        &[("b/addr.json", ADDR), ("a/addr.json", ADDR), ("notes/readme", b""), ("topology.json", topology)];
    let directory = Directory::new("network", files);
    let network = read_network(&directory.0).expect("a network");
    assert_eq!(network.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(network.segments.len(), 1);
    let codes: Vec<_> = network.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["empty-host", "unknown-host"]);
    let alone = read_network(&directory.0.join("a")).expect("one host");
    assert_eq!(alone.hosts[0].name, "a");
}

#[test]
fn directories_without_hosts_are_errors_that_help() {
    let directory = Directory::new("nothing", &[("x/readme", b"")]);
    for path in [directory.0.clone(), directory.0.join("missing"), directory.0.join("x/readme")] {
        let error = read_network(&path).expect_err("nothing to read");
        assert_eq!(error.path, path);
        assert!(!error.help.is_empty());
    }
    let files: &[(&str, &[u8])] = &[("a/sysctl", b""), ("b/sysctl", b""), ("b/name", b"a")];
    let error = read_network(&Directory::new("twins", files).0).expect_err("two hosts of one name");
    assert!(error.message.contains("two hosts have the name a"));
}

#[test]
fn namespaces_of_a_host_are_hosts_of_their_own() {
    let topology = br#"{"segments":[["n:eth0","n/ns/web:eth0"]]}"#;
    let files: &[(&str, &[u8])] = &[
        ("n/addr.json", ADDR),
        ("n/ns/web/addr.json", ADDR),
        ("n/ns/empty/readme", b""),
        ("alone/ns/db/sysctl", b""),
        ("topology.json", topology),
    ];
    let directory = Directory::new("namespaces", files);
    let names = |path: &str| -> Vec<String> {
        let network = read_network(&directory.0.join(path)).expect("a network");
        assert_eq!(network.diagnostics, []);
        network.hosts.into_iter().map(|host| host.name).collect()
    };
    assert_eq!(names(""), ["alone/ns/db", "n", "n/ns/web"]);
    assert_eq!(names("n"), ["n", "n/ns/web"]);
    assert_eq!(names("alone"), ["alone/ns/db"]);
    assert_eq!(names("n/ns/web"), ["web"]);
}

/// One line a file: what became of its units, and what was said of them.
fn accounts(files: &[Accounted]) -> Vec<String> {
    let line = |account: &Accounted| {
        let Accounted { file, kind, total, items, repeated, structure, unread, unsupported, errors, .. } =
            account;
        assert_eq!(account.missed(), 0, "{account:?}");
        let mut line =
            format!("{file} {kind}: {total} = {items} + {structure} + {unread} + {}", account.failed());
        if *repeated > 0 {
            line += &format!(", {repeated} repeated");
        }
        line.extend(unsupported.iter().map(|found| format!("; {}:{}", found.construct, found.line)));
        line.extend(errors.iter().map(|found| format!("; error {}:{}", found.line, found.column)));
        line
    };
    files.iter().map(line).collect()
}

#[test]
fn every_line_of_every_file_is_accounted_for() {
    let rules = b"# head\n*nat\n:X - [0:0]\n-N Y\n-A X -j ACCEPT\n-A X -j NOSUCH\n-A X -m geoip --src-cc x --any 1 -j DROP\n\
        COMMIT\n*nat\n:X - [0:0]\n-A X --dport -j X\nCOMMIT\n*broute\n-A X -j Y\nCOMMIT\nwhat\n";
    let routes = br#"[{"dst":"default","gateway":"192.0.2.9","dev":"eth0"},{},{"dst":"x"},
        {"dst":"fd00::/64","dev":"eth0","pref":"medium"},{"dst":"fd01::/64","dev":"eth0"}]"#;
    let nft = br#"{"nftables":[{"metainfo":{}},{"table":{"family":"ip","name":"nat","handle":1}},
        {"chain":{"family":"inet","table":"fw","name":"c"}},{"table":{"family":"inet","name":"fw","handle":2}}]}"#;
    let files: &[(&str, &[u8])] = &[
        ("addr.json", ADDR),
        ("cluster.json", b"{}"),
        ("conntrack", b"tcp 6\n"),
        ("iptables-save", rules),
        ("listen", b""),
        ("name", b"node1\n"),
        ("nft.json", nft),
        ("nft.txt", b""),
        ("notes.md", b"hello"),
        ("route.json", routes),
        ("route6.json", br#"[{"dst":"fd00::/64","dev":"eth0","pref":"medium"}]"#),
        ("rule.json", b"no json"),
        ("sockets", b"Netid State\ntcp LISTEN 0 1 *:80 *:*\nraw UNCONN 0 0 *:255 *:*\n\nbash: ss\n"),
        ("sysctl", b"# x\na = 1\nb = 2\na = 3\nsysctl: denied\n"),
        ("topology.json", br#"{"segments":[["node1:eth0","other:eth0"]]}"#),
    ];
    let directory = Directory::new("accounts", files);
    let inspection = inspect_network(&directory.0).expect("a network");
    assert_eq!(inspection.files, []);
    assert_eq!(
        accounts(&inspection.hosts[0]),
        [
            "addr.json links: 1 = 1 + 0 + 0 + 0",
            "cluster.json cluster: 1 = 0 + 0 + 1 + 0; cluster.json:0",
            "conntrack conntrack: 1 = 0 + 0 + 0 + 1; error 1:6",
            "iptables-save iptables: 16 = 0 + 9 + 3 + 4; -m geoip:7; error 6:9; error 11:6; error 13:2; error 16:1",
            "listen sockets: 1 = 0 + 0 + 1 + 0; listen:0",
            "name name: 1 = 1 + 0 + 0 + 0",
            "nft.json nft: 4 = 1 + 1 + 2 + 0, 1 repeated; table inet fw:0",
            "nft.txt nft: 1 = 0 + 0 + 1 + 0; nft.txt:0",
            "notes.md unknown: 1 = 0 + 0 + 1 + 0; notes.md:0",
            "route.json routes: 5 = 3 + 1 + 0 + 1, 2 repeated; error 1:58",
            "route6.json routes: 1 = 1 + 0 + 0 + 0",
            "rule.json policy-rules: 1 = 0 + 0 + 0 + 1; error 1:2",
            "sockets sockets: 5 = 1 + 3 + 0 + 1; error 5:1",
            "sysctl sysctl: 5 = 2 + 2 + 0 + 1; error 5:1",
            "topology.json topology: 1 = 1 + 0 + 0 + 0",
        ]
    );
}

#[test]
fn files_beside_the_hosts_are_accounted_for() {
    let files: &[(&str, &[u8])] =
        &[("a/addr.json", ADDR), ("flows", b"x"), ("topology.json", b"{"), ("empty/readme", b"")];
    let directory = Directory::new("beside", files);
    let inspection = inspect_network(&directory.0).expect("a network");
    assert_eq!(
        accounts(&inspection.files),
        ["flows unknown: 1 = 0 + 0 + 1 + 0; flows:0", "topology.json topology: 1 = 0 + 0 + 0 + 1; error 1:1",]
    );
}
