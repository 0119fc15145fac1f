//! `natpath inspect`, and what a trace leans on where files are missing.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::{natpath, root};

/// A host's directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("a file");
    }
    directory
}

fn inspect(directory: &Path, options: &str) -> crate::Ran {
    natpath(&format!("inspect --net {} {options}", directory.display()))
}

#[test]
fn json_has_the_fields_of_the_schema() {
    let rules = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\n-A PREROUTING -m quux -j ACCEPT\nCOMMIT\nx\n";
    let directory = directory(&[("iptables-save", rules), ("notes", "")]);
    let ran = inspect(directory.path(), "--json");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(document["schema"], "natpath.inspect/1");
    let files = &document["hosts"][0]["files"];
    let rules = &files[0];
    assert_eq!(
        (&rules["file"], &rules["kind"], &rules["items"]),
        (&"iptables-save".into(), &"iptables".into(), &2.into())
    );
    let unsupported = &rules["unsupported"][0];
    assert_eq!((&unsupported["line"], &unsupported["construct"]), (&4.into(), &"-m quux".into()));
    assert_eq!(unsupported["text"], "-A PREROUTING -m quux -j ACCEPT");
    assert_eq!((&rules["errors"][0]["line"], &rules["errors"][0]["text"]), (&6.into(), &"x".into()));
    let counts = ["total", "items", "structure", "failed", "unread", "missed"].map(|key| rules[key].as_u64());
    assert_eq!(counts, [6, 2, 3, 1, 0, 0].map(Some));
    assert_eq!((&files[1]["file"], &files[1]["kind"]), (&"notes".into(), &"unknown".into()));
    assert_eq!(files[1]["unsupported"][0]["text"], "not a file of the snapshot layout");
}

#[test]
fn text_is_a_table_for_each_host() {
    let ran = natpath("inspect --net examples/double-dnat");
    assert_eq!(ran.status, 0, "{ran:?}");
    let begin = "client\n  file           kind          items  unsupported  errors\n  addr.json      links             2            -       -\n";
    assert!(ran.stdout.starts_with(begin), "{}", ran.stdout);
    for part in ["\nnode\n", "\n(files of no host)\n", "  not a file of the snapshot layout\n"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
}

#[test]
fn what_nobody_can_read_has_status_2() {
    let check = |files: &[(&str, &str)], reason: &str| {
        let directory = directory(files);
        let ran = inspect(directory.path(), "");
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.stderr.contains(reason), "{ran:?}");
    };
    check(&[], "no file of any host is here");
    check(&[("addr.json", "{"), ("rule.json", "no JSON")], "no file of any host can be read");
    assert_eq!(natpath("inspect --net no-such-directory").status, 2);
}

#[test]
fn a_host_with_half_its_files_says_what_the_answer_leans_on() {
    let example = root().join("examples/single-dnat");
    let network = tempfile::tempdir().expect("a directory");
    for host in fs::read_dir(example).expect("an example").flatten().filter(|entry| entry.path().is_dir()) {
        let copy = network.path().join(host.file_name());
        fs::create_dir(&copy).expect("a directory");
        for file in ["addr.json", "iptables-save"] {
            fs::copy(host.path().join(file), copy.join(file)).expect("a copy");
        }
    }
    let ran = natpath(&format!("trace --net {} tcp 198.51.100.2 198.51.100.1:80", network.path().display()));
    assert!(ran.stdout.contains("VERDICT"), "{ran:?}");
    let (_, assumed) = ran.stdout.split_once("ASSUMED").expect("assumptions");
    for file in ["route.json", "rule.json", "sysctl", "sockets"] {
        assert!(assumed.contains(file), "{file} is not named in\n{}", ran.stdout);
    }
    let rules = directory(&[("iptables-save", "*nat\nCOMMIT\n"), ("name", "h")]);
    let ran =
        natpath(&format!("trace --net {} --in h:eth0 tcp 192.0.2.1 192.0.2.2:80", rules.path().display()));
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("h has no interface \"eth0\": it has none, for it has no addr.json"),
        "{ran:?}"
    );
}
