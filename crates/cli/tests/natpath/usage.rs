//! Usage errors, help, exit statuses and colour.

use crate::{natpath, natpath_with_stdin};

const FLOW: &str = "tcp 198.51.100.2 198.51.100.1:80";
const NET: &str = "trace --net examples/double-dnat";

/// A run that fails before anything is traced: status 2, nothing on stdout, the reason on stderr.
fn refuses(words: &str, stdin: &str, reason: &str) {
    let ran = natpath_with_stdin(words, stdin);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{words}: {ran:?}");
    assert!(ran.stderr.contains(reason), "{words}: {reason:?} is not in\n{}", ran.stderr);
}

#[test]
fn help_has_examples_and_exit_statuses() {
    let ran = natpath("trace --help");
    assert_eq!(ran.status, 0);
    for part in
        ["Examples:", "Exit status:", "--net <DIR>", "--in <HOST:IFACE>", "--icmp-id <N>", "SRC[:PORT]"]
    {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    assert_eq!(natpath("--version").status, 0);
}

#[test]
fn usage_errors_have_status_2() {
    refuses("", "", "Usage:");
    refuses("trace", "", "required");
    refuses(&format!("{NET} --from r --in r:eth0 {FLOW}"), "", "cannot be used with");
    refuses(&format!("{NET} --flows - {FLOW}"), "", "cannot be used with");
    refuses(&format!("{NET} --color often {FLOW}"), "", "often");
}

#[test]
fn what_is_not_a_flow_is_refused() {
    refuses(&format!("{NET} tpc 198.51.100.2 198.51.100.1:80"), "", "tpc");
    refuses(&format!("{NET} tcp 198.51.100.300 198.51.100.1:80"), "", "198.51.100.300");
    refuses(&format!("{NET} --flows -"), "tcp 198.51.100.2\n", "stdin:1:");
    refuses(&format!("{NET} --flows -"), "# nothing\n", "no flow to trace");
}

#[test]
fn what_cannot_be_read_is_named() {
    refuses(&format!("trace --net examples/no-such-network {FLOW}"), "", "no-such-network");
    refuses(&format!("{NET} --flows no-such-file"), "", "no-such-file can't be read");
}

#[test]
fn time_may_pass_between_flows() {
    let ran = natpath_with_stdin(&format!("{NET} --flows -"), &format!("{FLOW}\nwait 1000\n{FLOW}\n"));
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("flow 2 ") && ran.stdout.ends_with("0 of 2 flows work\n"), "{ran:?}");
}

#[test]
fn a_host_that_is_not_there_is_named() {
    refuses(&format!("{NET} --from nowhere {FLOW}"), "", "nowhere");
    refuses(&format!("{NET} --in nowhere:eth0 {FLOW}"), "", "nowhere");
}

#[test]
fn the_double_dnat_of_the_readme_exits_1_and_says_why() {
    let ran = natpath(&format!("{NET} {FLOW}"));
    assert_eq!(ran.status, 1, "{ran:?}");
    for part in ["tcp 198.51.100.2:* → 198.51.100.1:80", "NOT REACHED", "VERDICT", "BECAUSE", "FIX"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
}

#[test]
fn json_of_the_double_dnat_has_its_finding() {
    let ran = natpath(&format!("{NET} --json {FLOW}"));
    assert_eq!(ran.status, 1, "{ran:?}");
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(document["schema"], "natpath.trace/1");
    assert_eq!(document["flows"][0]["paths"][0]["findings"][0]["code"], "dead-dnat");
}

#[test]
fn flows_may_come_from_stdin() {
    let line = natpath(&format!("{NET} {FLOW}"));
    let stdin = natpath_with_stdin(&format!("{NET} --flows -"), &format!("{FLOW}  # a comment\n"));
    assert_eq!((stdin.status, stdin.stdout), (line.status, line.stdout));
}

#[test]
fn colour_is_for_terminals_or_on_demand() {
    let coloured = |option: &str| natpath(&format!("{NET} {option} {FLOW}")).stdout.contains('\u{1b}');
    assert!(!coloured("") && !coloured("--color never") && coloured("--color always"));
}

#[test]
fn what_cannot_be_verified_is_refused() {
    refuses("verify", "", "--net <DIR>");
    refuses(&format!("verify --net examples/double-dnat --flows - {FLOW}"), "", "cannot be used with");
    refuses("verify --net corpus/hosts/docker-20-nft", "", "give --flows FILE, or a flow");
    refuses("verify --net examples/double-dnat --flows -", "# nothing\n", "no flow to send");
}
