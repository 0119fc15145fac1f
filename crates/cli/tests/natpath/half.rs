//! Hosts that were recorded in part: the answer says what it leans on, and what to record.

use std::fs;

use crate::{Ran, natpath, root};

const FLOW: &str = "tcp 198.51.100.254 192.0.2.10:8080";

/// The answer on the Docker host of the corpus with these of its files only, and files of this text.
fn trace(files: &[&str], written: &[(&str, &str)], words: &str) -> Ran {
    let directory = tempfile::tempdir().expect("a directory");
    let recorded = root().join("corpus/hosts/docker-20-nft");
    for file in files {
        fs::copy(recorded.join(file), directory.path().join(file)).expect("a file of the corpus");
    }
    fs::write(directory.path().join("name"), "docker").expect("a file");
    for (file, text) in written {
        fs::write(directory.path().join(file), text).expect("a file");
    }
    natpath(&format!("trace --net {} {words}", directory.path().display()))
}

/// Whether the parts stand in the text, however it is broken into lines.
fn says(text: &str, parts: &[&str]) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn each_missing_file_is_named_with_what_stands_in_for_it() {
    let ran = trace(&["addr.json", "route.json"], &[], &format!("--in docker:eth0 {FLOW}"));
    let parts = [
        "VERDICT works",
        "docker has no rule.json (assumed: it has the default policy rules), no sysctl (assumed: forwarding is on",
        "and no iptables-save (assumed: it has no rules)",
    ];
    says(&ran.stdout, &parts);
}

#[test]
fn a_host_without_its_routes_is_told_to_record_them() {
    let ran = trace(&["addr.json", "iptables-save"], &[], &format!("--in docker:eth0 {FLOW}"));
    let parts = [
        "docker has no route to 192.0.2.10",
        "BECAUSE docker has no route.json: only the routes of its addresses are known",
        "FIX record them and trace again ip -j route show table all > route.json # on docker",
    ];
    says(&ran.stdout, &parts);
}

#[test]
fn a_host_without_its_interfaces_is_told_to_record_them() {
    let ran = trace(&["iptables-save"], &[], &format!("--in docker:eth0 {FLOW}"));
    says(&ran.stderr, &["docker has no interface \"eth0\"", "no addr.json, the output of `ip -j -d addr`"]);
    let ran = trace(&["iptables-save"], &[], FLOW);
    says(&ran.stderr, &["198.51.100.254 is no address of a host here", "(docker has no addr.json)"]);
}

#[test]
fn what_cannot_be_read_is_named_in_the_answer() {
    let broken =
        [("iptables-save", "sh: iptables-save: not found\n"), ("sysctl", "net.ipv4.ip_forward = 1\n")];
    let ran = trace(&["addr.json", "route.json"], &broken, &format!("--in docker:eth0 {FLOW}"));
    says(&ran.stderr, &["iptables-save:1:1: error:", "sh: iptables-save: not found"]);
    says(&ran.stdout, &["ASSUMED docker iptables-save:1 can't be read and is left out"]);
}
