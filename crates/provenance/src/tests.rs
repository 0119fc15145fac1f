//! Rules of a page, each with what is to be said of it.

use natpath_formats::iptables_save::parse;
use natpath_model::{
    Backend, Chain, ChainId, ChainKind, ChainType, Counter, Family, FileId, Hook, Origin, Policy, Priority,
    Rule, Ruleset, Snapshot, SourceFile, Table, TableFamily,
};

use crate::{Program, of_interface, of_mark, of_rule};

/// The host of an iptables-save text whose lines may end in ` => words`, and those words by line.
fn read(page: &str) -> (Snapshot, Vec<Option<&str>>) {
    let (lines, words): (Vec<_>, Vec<_>) = page
        .lines()
        .map(|line| match line.trim().split_once("  => ") {
            Some((line, words)) => (line, Some(words)),
            None => (line.trim(), None),
        })
        .unzip();
    let text = lines.join("\n") + "\n";
    let (tables, _) = parse(&text, "iptables-save", FileId(0), Backend::Iptables, Family::Ip4);
    let files = vec![SourceFile { name: "iptables-save".into(), text: text.into() }];
    (Snapshot { ruleset: Ruleset { tables }, files, ..Snapshot::default() }, words)
}

/// Checks every line of a page that ends in `  => words`; `nobody` for none.
#[track_caller]
pub(crate) fn check(page: &str) {
    let (host, words) = read(page);
    let mut checked = 0;
    for (at, rule) in host.ruleset.rules() {
        let line = rule.origin.line as usize;
        let Some(expected) = words[line - 1] else { continue };
        let found = of_rule(&host, at).map_or("nobody".to_owned(), |known| known.to_string());
        assert_eq!(found, expected, "{}", host.text(&rule.origin));
        checked += 1;
    }
    assert_eq!(checked, words.iter().flatten().count(), "lines that are no rules");
}

/// Checks rules of an nft table: chain, text, comment, words.
#[track_caller]
pub(crate) fn check_nft(table: &str, rules: &[(&str, &str, Option<&str>, &str)]) {
    for (chain, text, comment, expected) in rules {
        let host = nft_host(table, chain, text, *comment);
        let at = host.ruleset.rules().next().expect("a rule").0;
        let found = of_rule(&host, at).map_or("nobody".to_owned(), |known| known.to_string());
        assert_eq!(found, *expected, "{table} {chain} {text}");
    }
}

fn nft_host(table: &str, chain: &str, text: &str, comment: Option<&str>) -> Snapshot {
    let origin = || Origin { file: FileId(0), line: 1, span: 0..text.len() as u32 };
    let kind = ChainKind::Base {
        hook: Hook::Forward,
        priority: Priority::FILTER,
        chain_type: ChainType::Filter,
        policy: Policy::Accept,
        counter: Counter::default(),
    };
    let rule = Rule {
        matches: Vec::new(),
        statements: Vec::new(),
        counter: None,
        comment: comment.map(str::to_owned),
        handle: None,
        origin: origin(),
    };
    let chain = Chain { name: chain.into(), kind, rules: vec![rule], origin: origin() };
    let name = table.to_owned();
    let table = Table { backend: Backend::Nft, family: TableFamily::Inet, name, chains: vec![chain] };
    let files = vec![SourceFile { name: "nft.txt".into(), text: text.into() }];
    Snapshot { ruleset: Ruleset { tables: vec![table] }, files, ..Snapshot::default() }
}

/// Checks whose mark it is on the host of a page.
#[track_caller]
pub(crate) fn check_mark(page: &str, mark: u32, mask: u32, expected: Option<(Program, &str)>) {
    let found = of_mark(&read(page).0, mark, mask);
    let found = found.as_ref().map(|known| (known.program, known.what.as_str()));
    assert_eq!(found, expected, "{mark:#x}/{mask:#x}");
}

#[test]
fn a_rule_by_hand_is_nobodys() {
    check(
        "*filter
        :INPUT ACCEPT [0:0]
        :web - [0:0]
        -A INPUT -p tcp -m tcp --dport 80 -j web  => nobody
        -A web -j ACCEPT  => nobody
        COMMIT",
    );
}

#[test]
fn a_chain_that_only_one_program_calls_is_its() {
    check(
        "*filter
        :INPUT ACCEPT [0:0]
        :ufw-user-input - [0:0]
        :mine - [0:0]
        :both - [0:0]
        :deeper - [0:0]
        -A INPUT -j both
        -A ufw-user-input -j mine
        -A ufw-user-input -j both
        -A mine -j deeper  => ufw: user rule
        -A deeper -s 192.0.2.1/32 -j DROP  => ufw: user rule
        -A both -j ACCEPT  => nobody
        COMMIT",
    );
}

#[test]
fn a_call_of_another_programs_chain_is_that_programs() {
    check(
        "*filter
        :FORWARD ACCEPT [0:0]
        :DOCKER-USER - [0:0]
        :f2b-web - [0:0]
        -A DOCKER-USER -j f2b-web  => fail2ban: jail web
        -A DOCKER-USER -s 192.0.2.1/32 -j DROP  => Docker: administrator's rule (DOCKER-USER)
        COMMIT",
    );
}

#[test]
fn a_mark_belongs_to_a_program_that_is_there() {
    let page = |chain: &str| format!("*nat\n:{chain} - [0:0]\nCOMMIT");
    let kube = Some((Program::KubeProxy, "to be masqueraded"));
    check_mark(&page("KUBE-MARK-MASQ"), 0x4000, 0x4000, kube);
    check_mark(&page("KUBE-MARK-MASQ"), 0x4000, u32::MAX, kube);
    check_mark(&page("KUBE-MARK-MASQ"), 0x4001, 0x4000, None);
    check_mark(&page("DOCKER"), 0x4000, 0x4000, None);
    let cni = Some((Program::Cni, "to be masqueraded"));
    check_mark(&page("CNI-HOSTPORT-MASQ"), 0x2000, 0x2000, cni);
    check_mark("*nat\n:CNI-HOSTPORT-MASQ -\n:NETAVARK-HOSTPORT-MASQ -\nCOMMIT", 0x2000, 0x2000, None);
}

#[test]
fn a_chain_that_calls_itself_is_no_trap() {
    let (host, _) = read("*filter\n:a - [0:0]\n:b - [0:0]\n-A a -j b\n-A b -j a\nCOMMIT\n");
    assert!(host.ruleset.rules().all(|(at, _)| of_rule(&host, at).is_none()));
    assert_eq!(crate::of_chain(&host, 0, ChainId(0)), None);
}

#[test]
fn an_interface_is_known_by_its_name_or_its_bridge() {
    let page = r#"[{"ifindex":2,"ifname":"docker0","operstate":"UP","flags":["UP"],"mtu":1500,"addr_info":[]},
        {"ifindex":3,"ifname":"tap7","master":"docker0","flags":["UP"],"mtu":1500,"addr_info":[]}]"#;
    let dir = std::env::temp_dir().join(format!("natpath-provenance-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("addr.json"), page).expect("a file");
    let host = natpath_formats::snapshot::read_host(&dir, "host").expect("a host");
    std::fs::remove_dir_all(&dir).expect("the directory goes");
    for (name, expected) in [
        ("docker0", "Docker: default container network"),
        ("tap7", "Docker: port of bridge docker0"),
        ("br-38ff398a6292", "Docker: container network"),
        ("virbr0", "libvirt: virtual network virbr0"),
        ("cali1a2b3c4d5e6", "Calico: workload"),
        ("cni0", "CNI: pods' bridge"),
        ("flannel.1", "flannel: pods' network over VXLAN"),
        ("kube-ipvs0", "kube-proxy: addresses of Services (IPVS)"),
        ("nodelocaldns", "NodeLocal DNSCache: addresses of the node's DNS cache"),
        ("lxdbr0", "LXD: managed network lxdbr0"),
        ("tailscale0", "Tailscale: tailnet"),
        ("wg0", "wg-quick: WireGuard tunnel wg0"),
    ] {
        let found = of_interface(&host, name).map(|known| known.to_string());
        assert_eq!(found.as_deref(), Some(expected), "{name}");
    }
    for nobodys in ["eth0", "br0", "br-lan", "veth1"] {
        assert_eq!(of_interface(&host, nobodys), None, "{nobodys}");
    }
}
