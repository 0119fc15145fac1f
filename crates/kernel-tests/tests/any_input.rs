//! What fuzzing found worth keeping, and files as they are after a full disk or a wrong redirection: each
//! goes through the entry point that the fuzz target of its name has.

use std::fmt::Write as _;
use std::path::PathBuf;

use natpath_engine::Session;
use natpath_engine::trace::{Assumption, Outcome, Path};
use natpath_formats::flows::flow_from_words;
use natpath_formats::iptables_save;
use natpath_kernel_tests::any_input::{self, ENTRIES, Entry};
use natpath_kernel_tests::parse;
use natpath_model::{Backend, Family, FileId, SourceFile};

/// The files of a directory of `fuzz/`, by target.
fn kept(directory: &str) -> Vec<(Entry, PathBuf)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(directory);
    let of_target = |(name, entry): (&str, Entry)| {
        let found = std::fs::read_dir(root.join(name)).into_iter().flatten().filter_map(Result::ok);
        found.map(|file| (entry, file.path())).collect::<Vec<_>>()
    };
    ENTRIES.into_iter().flat_map(of_target).collect()
}

#[test]
fn every_target_has_an_entry_and_a_corpus() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let names = |directory: &str| {
        let found = std::fs::read_dir(root.join(directory)).expect("a directory of fuzz/");
        let mut names: Vec<_> = found
            .map(|file| file.expect("an entry").path().with_extension("").display().to_string())
            .collect();
        names.iter_mut().for_each(|name| *name = name.rsplit('/').next().unwrap_or_default().to_owned());
        names.sort();
        names
    };
    let mut entries = ENTRIES.map(|(name, _)| name.to_owned());
    entries.sort();
    assert_eq!(names("fuzz_targets"), entries);
    assert_eq!(names("corpus"), entries);
}

#[test]
fn corpora_are_read() {
    for (entry, path) in kept("corpus") {
        entry(&std::fs::read(&path).expect("a file of the corpus"));
    }
}

#[test]
fn what_once_crashed_is_read() {
    for (entry, path) in kept("crashes") {
        println!("{}", path.display());
        entry(&std::fs::read(&path).expect("a file that crashed"));
    }
}

#[test]
fn truncated_files_are_read() {
    for (entry, path) in kept("corpus") {
        let bytes = std::fs::read(&path).expect("a file of the corpus");
        for length in (0..bytes.len()).step_by(97) {
            entry(&bytes[..length]);
        }
    }
}

#[test]
fn binary_files_are_read() {
    let mut dice = fastrand::Rng::with_seed(97);
    for (_, entry) in ENTRIES {
        for length in [1, 97, 4096, 65536] {
            let bytes: Vec<u8> = (0..length).map(|_| dice.u8(..)).collect();
            entry(&bytes);
            entry(&vec![0; length]);
            entry(&[b"@ iptables-save\n*nat\n-A PREROUTING ", &bytes[..]].concat());
        }
    }
}

/// Files of the corpora with a byte of each 97 replaced.
#[test]
fn damaged_files_are_read() {
    let mut dice = fastrand::Rng::with_seed(1);
    for (entry, path) in kept("corpus") {
        let mut bytes = std::fs::read(&path).expect("a file of the corpus");
        for at in (0..bytes.len()).step_by(97) {
            bytes[at] = dice.u8(..);
        }
        entry(&bytes);
    }
}

const MEGABYTE: usize = 1 << 20;

/// A flow through the router of the entry point `engine`.
const FLOW: &str = "tcp 10.0.1.2:4000 10.0.2.2:8080";

#[test]
fn lines_of_a_megabyte_are_read() {
    let repeated = |text: &str| text.repeat(MEGABYTE / text.len());
    let (letters, words, options) = (repeated("a"), repeated("a "), repeated("-m tcp "));
    let lines = [
        letters.clone(),
        words.clone(),
        format!("-A FORWARD {options}"),
        format!("-A FORWARD {}", repeated("! ")),
        format!("-A FORWARD -m comment --comment \"{letters}\" -j ACCEPT"),
        format!("-A FORWARD -m comment --comment \"{letters}"),
        format!("-A FORWARD -p tcp -m multiport --dports {}", repeated("80,")),
        format!("-A FORWARD -m u32 --u32 \"{}\"", repeated("0>>22&0x3C@")),
        format!(":{letters} - [0:0]"),
        format!("create {letters} hash:ip"),
        format!("create s hash:ip {words}"),
        format!("tcp 6 60 {}", repeated("src=10.0.0.1 ")),
        format!("tcp 10.0.1.2 10.0.2.2:80 {}", repeated("ttl=1 ")),
        format!("load r {words}"),
        format!("[{}", repeated("{},")),
    ];
    for line in &lines {
        ENTRIES.iter().for_each(|(_, entry)| entry(line.as_bytes()));
        let table = format!("*filter\n:FORWARD ACCEPT [0:0]\n{line}\nCOMMIT\n");
        any_input::iptables_save(table.as_bytes());
        for (file, text) in [("iptables-save", &table), ("ipset", line), ("conntrack", line), ("flows", line)]
        {
            any_input::engine(format!("@ flows\n{FLOW}\n@ {file}\n{text}\n").as_bytes());
        }
    }
}

#[test]
fn deep_json_is_refused() {
    let depth = MEGABYTE / 8;
    let texts = [
        "[".repeat(depth),
        "[{\"a\":".repeat(depth),
        format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("[{{\"dst\":{}{}}}]", "[".repeat(depth), "]".repeat(depth)),
    ];
    for (_, entry) in ENTRIES {
        texts.iter().for_each(|text| entry(text.as_bytes()));
    }
}

/// How a flow ends at a router whose filter table has these rules.
fn traced_through(rules: &str) -> Outcome {
    paths_through(rules)[0].result.end.outcome
}

fn paths_through(rules: &str) -> Vec<Path> {
    let scenario = parse::scenario(
        "host c\n  link eth0 10.0.1.2/24\n  route default via 10.0.1.1\n\
         host r\n  link eth0 10.0.1.1/24\n  link eth1 10.0.2.1/24\n  sysctl net.ipv4.ip_forward=1\n\
         host s\n  link eth0 10.0.2.2/24\n  route default via 10.0.2.1\n\
         segment c:eth0 r:eth0\nsegment r:eth1 s:eth0\n",
        "chains.scenario",
    );
    let mut network = scenario.expect("a scenario").network;
    let router = network.hosts.iter_mut().find(|host| host.name == "r").expect("the router");
    let text = format!("*filter\n{rules}COMMIT\n");
    let file = FileId(u16::try_from(router.files.len()).expect("few files"));
    router.ruleset.tables =
        iptables_save::parse(&text, "iptables-save", file, Backend::Iptables, Family::Ip4).0;
    router.files.push(SourceFile { name: "iptables-save".to_owned(), text: text.into() });
    let flow = flow_from_words("tcp", "10.0.1.2:4000", "10.0.2.2:80").expect("a flow");
    Session::new(&network).trace(&flow).expect("a trace").paths
}

/// 2^11 courses of 10,000 rules each would take gigabytes.
#[test]
fn courses_of_a_long_way_are_cut() {
    let mut rules = String::from(":FORWARD ACCEPT [0:0]\n");
    for bit in 0..11 {
        let mark = 1 << bit;
        writeln!(
            rules,
            "-A FORWARD -m statistic --mode random --probability 0.5 -j CONNMARK --or-mark {mark:#x}"
        )
        .expect("a string");
    }
    rules.push_str(&"-A FORWARD -s 192.0.2.1/32 -j DROP\n".repeat(10_000));
    let tried = |path: &Path| {
        path.assumptions.iter().find_map(|assumption| match assumption {
            Assumption::CoursesCut { tried } => Some(*tried),
            _ => None,
        })
    };
    let paths = paths_through(&rules);
    let tried: Vec<usize> = paths.iter().filter_map(tried).collect();
    assert_eq!(tried.len(), paths.len(), "all paths say so");
    assert!((2..1000).contains(&tried[0]), "{} courses", tried[0]);
    let total: f64 = paths.iter().map(|path| path.probability).sum();
    assert!((total - 1.0).abs() < 1e-9, "probabilities of {total}");
}

#[test]
fn chains_that_jump_in_a_circle_are_undecided() {
    for verb in ["-j", "-g"] {
        let ring = format!("-A FORWARD {verb} A\n-A A {verb} B\n-A B {verb} A\n-A B -j DROP\n");
        let declared = ":FORWARD ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n";
        assert_eq!(traced_through(&format!("{declared}{ring}")), Outcome::Undecided, "{verb}");
        let own = format!(":FORWARD ACCEPT [0:0]\n-A FORWARD {verb} FORWARD\n-A FORWARD -j DROP\n");
        assert_eq!(traced_through(&own), Outcome::Undecided, "{verb}");
    }
}

/// Each chain calls the next eight times: 8^14 rules would be tried, each of them a step of the trace.
#[test]
fn chains_that_multiply_are_undecided() {
    let declared: String = (0..15).map(|number| format!(":C{number} - [0:0]\n")).collect();
    let jump = |from: usize| format!("-A C{from} -j C{}\n", from + 1).repeat(8);
    let chains: String = (0..14).map(jump).collect();
    let text = format!("{declared}-A FORWARD -j C0\n{chains}-A C14 -m comment --comment last\n");
    assert_eq!(traced_through(&text), Outcome::Undecided);
}

/// A tenth of what the example `million_rules` reads, which takes a debug build a while.
#[test]
fn many_rules_are_read() {
    let mut text = String::from("*filter\n:FORWARD ACCEPT [0:0]\n");
    for number in 0..100_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        writeln!(text, "-A FORWARD -s 10.{a}.{b}.{c}/32 -p tcp -m tcp --dport 80 -j ACCEPT")
            .expect("a string");
    }
    text.push_str("COMMIT\n");
    let (tables, diagnostics) =
        iptables_save::parse(&text, "iptables-save", FileId(0), Backend::Iptables, Family::Ip4);
    assert_eq!(diagnostics, []);
    assert_eq!(tables[0].chains.iter().map(|chain| chain.rules.len()).sum::<usize>(), 100_000);
}
