//! What is written is read back: `parse(write(x)) == x` but for origins.

use std::path::{Path, PathBuf};

use natpath_formats::iptables_save::{parse, write};
use natpath_model::{Backend, Diagnostic, Family, FileId, Match, Origin, Rule, Severity, Statement, Table};
use proptest::prelude::*;

const NOWHERE: Origin = Origin { file: FileId(0), line: 0, span: 0..0 };

fn read(text: &str, family: Family) -> (Vec<Table>, Vec<Diagnostic>) {
    let (mut tables, diagnostics) = parse(text, "iptables-save", FileId(0), Backend::Iptables, family);
    for chain in tables.iter_mut().flat_map(|table| &mut table.chains) {
        chain.origin = NOWHERE;
        chain.rules.iter_mut().for_each(forget_origins);
    }
    (tables, diagnostics)
}

fn forget_origins(rule: &mut Rule) {
    rule.origin = NOWHERE;
    for condition in &mut rule.matches {
        if let Match::Opaque(opaque) = condition {
            opaque.origin = NOWHERE;
        }
    }
    for statement in &mut rule.statements {
        if let Statement::Opaque(opaque) = statement {
            opaque.origin = NOWHERE;
        }
    }
}

fn check(text: &str, family: Family) {
    let (tables, _) = read(text, family);
    let written = write(&tables);
    let (again, _) = read(&written, family);
    for (table, other) in tables.iter().zip(&again) {
        for (chain, other) in table.chains.iter().zip(&other.chains) {
            for (rule, other) in chain.rules.iter().zip(&other.rules) {
                assert_eq!(rule, other, "in {text}\nwritten {written}");
            }
        }
    }
    assert_eq!(tables, again, "{text}\nwritten {written}");
}

/// The dumps below a directory.
fn dumps(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            dumps(&path, found);
        } else if path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("ip") && name.contains("tables") && name.ends_with("-save")
        }) {
            found.push(path);
        }
    }
}

#[test]
fn targets_of_mangle_are_written_back() {
    for (family, target) in [
        (Family::Ip4, "TOS --set-tos 0x10/0x3f"),
        (Family::Ip4, "TOS --and-tos 0x10"),
        (Family::Ip6, "TOS --xor-tos 0x10"),
        (Family::Ip6, "DSCP --set-dscp-class EF"),
        (Family::Ip4, "TTL --ttl-inc 3"),
        (Family::Ip4, "TTL --ttl-set 64"),
        (Family::Ip6, "HL --hl-dec 1"),
        (Family::Ip4, "TPROXY --on-port 0 -p tcp"),
        (Family::Ip4, "TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x1/0xff -p udp"),
        (Family::Ip6, "TPROXY --on-port 15001 --on-ip :: --tproxy-mark 7 -p tcp"),
        (Family::Ip6, "HL --hl-set 1 -m ipv6header ! --header hop,dst --soft"),
        (Family::Ip6, "HL --hl-set 1 -m ipv6header ! --header prot -m rt ! --rt-type 0 --rt-len 3"),
    ] {
        let text = format!("*mangle\n:X - [0:0]\n-A X -j {target}\nCOMMIT\n");
        assert_eq!(errors(&text, family), [], "{target}");
        check(&text, family);
    }
}

#[test]
fn dumps_of_real_hosts_are_read_and_written_back() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    dumps(&here.join("tests/data"), &mut found);
    assert!(found.len() >= 30, "the dumps are there");
    // A checkout may have more of them beside it.
    dumps(&here.join("../../../shared/corpus"), &mut found);
    for path in found {
        let text = std::fs::read_to_string(&path).expect("a dump");
        let family = if path.to_string_lossy().contains("ip6tables") { Family::Ip6 } else { Family::Ip4 };
        check(&text, family);
        let (tables, diagnostics) = read(&text, family);
        let rules: usize = tables.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum();
        let listed = text.lines().filter(|line| line.contains("-A ")).count();
        assert_eq!(rules, listed, "{}", path.display());
        let graver = |found: &&Diagnostic| found.severity != Severity::Unsupported;
        assert_eq!(diagnostics.iter().find(graver), None, "{}", path.display());
    }
}

/// A word from a list.
fn one(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn maybe(strategy: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::option::of(strategy).prop_map(Option::unwrap_or_default)
}

/// ` OPTION VALUE`, negated now and then.
fn option(name: &'static str, value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (any::<bool>(), value)
        .prop_map(move |(negated, value)| format!(" {}{name} {value}", if negated { "! " } else { "" }))
}

fn address(family: Family) -> BoxedStrategy<String> {
    match family {
        Family::Ip4 => {
            let mask = prop_oneof![
                (0u8..=32).prop_map(|length| length.to_string()),
                any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from(bits).to_string()),
            ];
            let address = any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from(bits).to_string());
            (address, mask).prop_map(|(address, mask)| format!("{address}/{mask}")).boxed()
        }
        Family::Ip6 => {
            let mask = prop_oneof![
                (0u8..=128).prop_map(|length| length.to_string()),
                any::<u128>().prop_map(|bits| std::net::Ipv6Addr::from(bits).to_string()),
            ];
            let address = any::<u128>().prop_map(|bits| std::net::Ipv6Addr::from(bits).to_string());
            (address, mask).prop_map(|(address, mask)| format!("{address}/{mask}")).boxed()
        }
    }
}

fn addresses(family: Family) -> BoxedStrategy<String> {
    match family {
        Family::Ip4 => (any::<u32>(), any::<u32>())
            .prop_map(|(a, b)| (std::net::Ipv4Addr::from(a.min(b)), std::net::Ipv4Addr::from(a.max(b))))
            .prop_map(|(first, last)| format!("{first}-{last}"))
            .boxed(),
        Family::Ip6 => (any::<u128>(), any::<u128>())
            .prop_map(|(a, b)| (std::net::Ipv6Addr::from(a.min(b)), std::net::Ipv6Addr::from(a.max(b))))
            .prop_map(|(first, last)| format!("{first}-{last}"))
            .boxed(),
    }
}

fn ports() -> impl Strategy<Value = String> {
    (any::<u16>(), any::<u16>()).prop_map(|(a, b)| match a % 3 {
        0 => format!("{a}"),
        _ => format!("{}:{}", a.min(b), a.max(b)),
    })
}

fn port_list() -> impl Strategy<Value = String> {
    proptest::collection::vec(ports(), 1..7).prop_map(|list| list.join(","))
}

fn mark() -> impl Strategy<Value = String> {
    (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| match value % 2 {
        0 => format!("{value:#x}"),
        _ => format!("{value}/{mask:#x}"),
    })
}

fn list(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::subsequence(words, 1..=words.len()).prop_map(|list| list.join(","))
}

fn module(family: Family) -> BoxedStrategy<String> {
    let time_to_live = if family == Family::Ip4 { "ttl" } else { "hl" };
    let types: &[&str] = match family {
        Family::Ip4 => &["LOCAL", "BROADCAST", "UNICAST", "MULTICAST", "BLACKHOLE"],
        Family::Ip6 => &["LOCAL", "ANYCAST"],
    };
    prop_oneof![
        option("--mark", mark()).prop_map(|text| format!(" -m mark{text}")),
        option("--mark", mark()).prop_map(|text| format!(" -m connmark{text}")),
        option("--src-range", addresses(family)).prop_map(|text| format!(" -m iprange{text}")),
        (option("--ctstate", list(&["NEW", "INVALID", "SNAT", "ESTABLISHED"])), conntrack(family))
            .prop_map(|(state, other)| format!(" -m conntrack{state}{other}")),
        conntrack(family).prop_map(|text| format!(" -m conntrack{text}")),
        option("--state", list(&["NEW", "RELATED"])).prop_map(|text| format!(" -m state{text}")),
        (option("--dst-type", list(types)), maybe(one(&[" --limit-iface-in", " --limit-iface-out"])))
            .prop_map(|(text, limit)| format!(" -m addrtype{text}{limit}")),
        (0..=1_000_000u32).prop_map(|part| format!(" -m statistic --mode random --probability 0.{part:06}")),
        (1..9u32)
            .prop_map(|every| format!(" -m statistic --mode nth ! --every {every} --packet {}", every - 1)),
        option("--dscp", (0..64u8).prop_map(|value| value.to_string()))
            .prop_map(|text| format!(" -m dscp{text}")),
        (one(&["lt", "gt", "eq"]), any::<u8>())
            .prop_map(move |(how, value)| format!(" -m {time_to_live} --{time_to_live}-{how} {value}")),
        option("--length", ports()).prop_map(|text| format!(" -m length{text}")),
        one(&[
            " -m limit --limit 5/min",
            " -m limit",
            " -m set ! --match-set \"a b\" src,dst",
            " -m set --match-set a src -m set ! --match-set b dst,dst,src",
            " -m owner --uid-owner 0-99",
            " -m owner ! --uid-owner 7 ! --gid-owner 8 ! --socket-exists",
            " -m hashlimit --hashlimit-above 5/hour --hashlimit-burst 2 --hashlimit-mode srcip,dstport --hashlimit-srcmask 24 --hashlimit-name h",
            " -m hashlimit --hashlimit-upto 512kb/s --hashlimit-name h",
            " -m recent ! --update --seconds 60 --hitcount 4 --reap --rttl --name \"a b\" --rdest",
            " -m recent --set",
            " -m connlimit --connlimit-upto 3 --connlimit-mask 9 --connlimit-daddr",
            " -m connlimit ! --connlimit-above 3",
            " -m connbytes ! --connbytes 1:2 --connbytes-mode avgpkt --connbytes-dir reply",
            " -m quota ! --quota 99",
            " -m rpfilter --loose --validmark --accept-local --invert",
            " -m socket --transparent --nowildcard",
            " -m time --timestart 08:00:01 --timestop 07:59 --weekdays Mon,Fr --datestart 2024-02-29 --datestop 2031-12-31T23:59:59 --contiguous",
            " -m time ! --weekdays 1,2,3,4,5,6,7 ! --monthdays 1,31 --kerneltz",
            " -m helper ! --helper \"ftp\"",
            " -m policy --dir in --pol none",
            " -m mac ! --mac-source 02:00:00:00:00:AF",
            " -m pkttype --pkt-type mcast",
            " -m realm ! --realm 0x10/0xff",
            " -m tos --tos Minimize-Delay",
            " -m tos ! --tos 0x12",
            " -m ecn ! --ecn-ip-ect 2",
            " -m physdev ! --physdev-in eth+ --physdev-is-out ! --physdev-is-bridged",
            " -m ah ! --ahspi 1:2",
            " -m string --string \"X-Evil \\\"q\\\"\" --algo bm --from 3 --to 99 --icase",
            " -m string ! --hex-string \"|0d 0a|Host|3a20|\" --algo kmp",
            " -m u32 ! --u32 \"6&0xFF=1 && 0>>22&0x3C@0>>24=0,3:5\"",
            " -m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\"",
            " -m cluster --cluster-total-nodes 4 ! --cluster-local-node 2 --cluster-hash-seed 0xdeadbeef",
            " -m cgroup ! --path \"a b\"",
            " -m ipvs ! --ipvs",
            " -m ipvs --vaddr 192.0.2.1 --vport 80",
        ]),
        "[ -~äé]{0,40}".prop_map(|text| {
            format!(" -m comment --comment \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }),
    ]
    .boxed()
}

fn conntrack(family: Family) -> BoxedStrategy<String> {
    prop_oneof![
        option("--ctorigdst", address(family)),
        option("--ctreplsrc", address(family)),
        option("--ctorigdstport", ports()),
        option("--ctstatus", list(&["EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"])),
        Just(" --ctstatus NONE".to_owned()),
        option("--ctproto", one(&["tcp", "17", "gre"])),
        option("--ctexpire", ports()),
        one(&[" --ctdir REPLY", " --ctdir ORIGINAL"]),
    ]
    .boxed()
}

fn transport(family: Family) -> BoxedStrategy<String> {
    let icmp = match family {
        Family::Ip4 => option("--icmp-type", one(&["any", "8", "3/4", "host-unreachable", "ping"]))
            .prop_map(|text| format!(" -p icmp -m icmp{text}"))
            .boxed(),
        Family::Ip6 => option("--icmpv6-type", one(&["128", "1/4", "router-solicitation"]))
            .prop_map(|text| format!(" -p ipv6-icmp -m icmp6{text}"))
            .boxed(),
    };
    prop_oneof![
        Just(String::new()),
        icmp,
        option("-p", one(&["esp", "2", "99", "ospf"])),
        (one(&["tcp", "udp", "sctp"]), option("--dport", ports()), maybe(option("--sport", ports())))
            .prop_map(|(name, to, from)| format!(" -p {name} -m {name}{to}{from}")),
        option("--tcp-flags", list(&["FIN", "SYN", "RST", "ACK"]).prop_map(|mask| format!("{mask} SYN")))
            .prop_map(|text| format!(" -p tcp -m tcp{text}")),
        one(&[" -p tcp -m tcpmss ! --mss 500:1000", " -p tcp -m tcpmss --mss 9"]),
        option("--tcp-option", (1..255u8).prop_map(|kind| kind.to_string()))
            .prop_map(|text| format!(" -p tcp -m tcp{text}")),
        (one(&["tcp", "udp"]), one(&["--dports", "--sports", "--ports"]), any::<bool>(), port_list())
            .prop_map(|(name, option, negated, list)| {
                format!(" -p {name} -m multiport {}{option} {list}", if negated { "! " } else { "" })
            }),
    ]
    .boxed()
}

fn target(family: Family) -> BoxedStrategy<String> {
    prop_oneof![
        one(&["", " -j ACCEPT", " -j DROP", " -j RETURN", " -j USER-2", " -g USER-2"]),
        (one(&["--set-xmark", "--set-mark", "--or-mark"]), mark())
            .prop_map(|(option, mark)| format!(" -j MARK {option} {mark}")),
        (one(&["--save-mark", "--restore-mark"]), any::<u32>(), any::<u32>())
            .prop_map(|(how, a, b)| format!(" -j CONNMARK {how} --nfmask {a:#x} --ctmask {b:#x}")),
        mark().prop_map(|mark| format!(" -j CONNMARK --set-xmark {mark}")),
        (
            one(&["DNAT --to-destination", "SNAT --to-source"]),
            addresses(family),
            maybe(one(&[" --random", " --persistent"]))
        )
            .prop_map(|(target, to, how)| format!(" -j {target} {to}{how}")),
        one(&[
            " -j MASQUERADE",
            " -j MASQUERADE --random-fully",
            " -j REDIRECT --random",
            " -j MASQUERADE --random"
        ]),
        "[ -~]{0,28}".prop_map(|text| {
            format!(" -j LOG --log-prefix \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }),
        one(&[
            " -j TCPMSS --clamp-mss-to-pmtu",
            " -j NFQUEUE --queue-num 3",
            " -j SET --add-set a src,dst --exist --timeout 3",
            " -j SET --del-set a dst",
        ]),
    ]
    .boxed()
}

fn rule(family: Family) -> impl Strategy<Value = String> {
    let header = (
        maybe(option("-s", address(family))),
        maybe(option("-d", address(family))),
        maybe(option("-i", one(&["eth0", "eth+", "br-40aa689cfeb6", "veth1234567890+"]))),
        transport(family),
    )
        .prop_map(|(src, dst, link, transport)| format!("{src}{dst}{link}{transport}"));
    let modules = proptest::collection::vec(module(family), 0..3).prop_map(|list| list.concat());
    let counter = maybe(any::<(u64, u64)>().prop_map(|(packets, bytes)| format!("[{packets}:{bytes}] ")));
    (counter, header, modules, target(family))
        .prop_map(|(counter, header, modules, target)| format!("{counter}-A USER{header}{modules}{target}\n"))
}

fn file(family: Family) -> impl Strategy<Value = String> {
    proptest::collection::vec(rule(family), 1..6).prop_map(|rules| {
        format!("*nat\n:PREROUTING ACCEPT [1:2]\n:USER - [0:0]\n:USER-2 - [0:0]\n{}COMMIT\n", rules.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn generated_ip4_rules_are_written_back(text in file(Family::Ip4)) {
        prop_assert_eq!(errors(&text, Family::Ip4), Vec::<Diagnostic>::new());
        check(&text, Family::Ip4);
    }

    #[test]
    fn generated_ip6_rules_are_written_back(text in file(Family::Ip6)) {
        prop_assert_eq!(errors(&text, Family::Ip6), Vec::<Diagnostic>::new());
        check(&text, Family::Ip6);
    }

    #[test]
    fn no_text_panics(text in "[ -~\n\"\\\\äé]{0,200}") {
        let _ = read(&text, Family::Ip4);
        let _ = read(&format!("*nat\n:X - [0:0]\n-A X {text}"), Family::Ip6);
    }

    #[test]
    fn no_order_of_words_panics(words in proptest::collection::vec(one(&[
        "-A", "-I", "X", "!", "-m", "-j", "-g", "-p", "tcp", "-s", "192.0.2.1", "--dport", "80", "conntrack",
        "--ctstate", "NEW", "statistic", "--mode", "nth", "DNAT", "--to-destination", ":80", "CT", "--zone",
        "multiport", "--dports", "1,2", "set", "\"a b\"", "TPROXY", "addrtype", "--dst-type", "LOCAL", "-c",
        "recent", "--set", "time", "--weekdays", "owner", "hashlimit", "SET", "--add-set", "--tcp-flags", "sctp", "--chunk-types", "CONNMARK", "--left-shift-mark", "comment", "--comment", "MARK",
    ]), 0..12)) {
        let text = format!("*nat\n:X - [0:0]\n-A X {}\n{}\nCOMMIT\n", words.join(" "), words.join(" "));
        for family in Family::ALL {
            // What could not be read is kept as far as it was read, which need not be one rule's text.
            if errors(&text, family).is_empty() {
                check(&text, family);
            }
        }
    }
}

fn errors(text: &str, family: Family) -> Vec<Diagnostic> {
    let (_, diagnostics) = read(text, family);
    diagnostics.into_iter().filter(|found| found.severity != Severity::Unsupported).collect()
}
