//! Every host of the corpus, here and beside the checkout, and every example, is read without errors and
//! accounted for.

use std::io::Read;
use std::path::{Path, PathBuf};

use natpath_formats::snapshot::{Accounted, Unit, inspect_network, read_host};
use natpath_model::{Diagnostic, Severity};

/// The directories of hosts: of the corpus, and of the examples.
fn hosts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let groups = ["corpus", "../shared/corpus"].iter().flat_map(|corpus| directories(&root.join(corpus)));
    let groups: Vec<_> = groups.chain(directories(&root.join("examples"))).collect();
    let mut hosts: Vec<_> = groups.iter().flat_map(|group| directories(group)).collect();
    hosts.retain(|path| path.join("addr.json").is_file());
    hosts.sort();
    hosts
}

/// The largest cases take a while in a debug build.
fn is_small(path: &Path) -> bool {
    !path.to_string_lossy().contains("scale-10000")
}

#[test]
fn hosts_of_the_corpus_are_read_without_errors() {
    for path in hosts().iter().filter(|path| is_small(path)) {
        let name = path.display().to_string();
        let host = read_host(path, "host").expect("a host");
        let graver = |found: &&Diagnostic| found.severity != Severity::Unsupported;
        assert_eq!(host.diagnostics.iter().find(graver), None, "{name}");
        assert!(!host.links.is_empty() && !host.routes.is_empty(), "{name}");
    }
}

#[test]
fn every_line_of_every_file_is_accounted_for() {
    let all = hosts();
    assert!(!all.is_empty());
    for path in &all {
        let inspection = inspect_network(path).expect("a host");
        let [files] = &inspection.hosts[..] else { panic!("{} is one host", path.display()) };
        let listed: Vec<_> = files.iter().map(|account| account.file.clone()).collect();
        assert_eq!(listed, file_names(path), "{}", path.display());
        for account in files {
            check(path, account);
        }
    }
}

/// Of rules that iptables-save prints nothing stays undecided but what it could not print itself.
#[test]
fn only_what_no_snapshot_shows_is_undecided_in_rules() {
    let mut read = 0;
    for path in hosts().iter().filter(|path| is_small(path)) {
        let inspection = inspect_network(path).expect("a host");
        let rules = inspection.hosts.iter().flatten().filter(|account| account.kind == "iptables");
        for found in rules.flat_map(|account| &account.unsupported) {
            // Options newer than the tool, and whole tables that nft has changed.
            let is_unshown =
                found.text.ends_with("[unsupported revision]") || found.text.starts_with("# Table `");
            assert!(is_unshown && !found.construct.is_empty(), "{}: {found:?}", path.display());
            assert!(found.reason.contains("iptables-save could not print"), "{found:?}");
            read += 1;
        }
    }
    assert!(read > 0, "the dump that has some is among them");
}

fn file_names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).expect("a directory").filter_map(Result::ok);
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Counts a file once more, with nothing of natpath.
fn check(path: &Path, account: &Accounted) {
    let shown = format!("{}: {account:#?}", path.join(&account.file).display());
    assert_eq!(account.missed(), 0, "{shown}");
    let sum = account.items + account.structure + account.unread + account.failed();
    assert_eq!(account.total, sum, "{shown}");
    if account.unread > 0 {
        assert!(!account.unsupported.is_empty(), "{shown}");
    }
    let text = text(&path.join(&account.file));
    match account.unit {
        Unit::Files => assert_eq!(account.total, 1, "{shown}"),
        Unit::Lines => assert_eq!(account.total, text.lines().count(), "{shown}"),
        Unit::Rows if text.trim().is_empty() => assert_eq!(account.total, 0, "{shown}"),
        Unit::Rows => {
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let rows = json.as_array().or_else(|| json["nftables"].as_array()).expect("a list");
            assert_eq!(account.total, rows.len(), "{shown}");
            let empty = rows.iter().filter(|row| row.as_object().is_some_and(serde_json::Map::is_empty));
            if account.kind != "nft" {
                assert_eq!(account.items, rows.len() - empty.count(), "{shown}");
            }
        }
    }
    if account.kind == "iptables" {
        let rules = text.lines().filter(|line| line.contains("-A ") && !line.starts_with('#')).count();
        assert_eq!(account.items, rules, "{shown}");
    }
}

fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("a file");
    if path.extension().is_none_or(|extension| extension != "gz") {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
    text
}
