//! `natpath snapshot` where no root is needed, its script, and the texts for shells and for man(1).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::natpath;

/// Runs a program that reads the text as a file; `None` where it is not installed.
fn complaints(program: &str, arguments: &[&str], text: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("a file");
    let output = Command::new(program).args(arguments).arg(file.path()).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some(if output.status.success() { String::new() } else { format!("{program}: {said}") })
}

#[test]
fn the_script_is_a_shell_script() {
    let script = natpath("snapshot --script");
    assert_eq!((script.status, script.stderr.as_str()), (0, ""));
    let checks: [(&str, &[&str]); 3] = [("sh", &["-n"]), ("dash", &["-n"]), ("shellcheck", &["-s", "sh"])];
    for (program, arguments) in checks {
        match complaints(program, arguments, &script.stdout) {
            Some(said) => assert_eq!(said, ""),
            None => println!("{program} is not installed"),
        }
    }
}

/// Nothing is written over what is there, and nothing else is a usage.
#[test]
fn a_directory_that_is_not_empty_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display();
    fs::write(directory.path().join("precious"), "x").expect("a file");
    let ran = natpath(&format!("snapshot --out {path}"));
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("is not an empty directory"), "{ran:?}");
    let script = natpath("snapshot --script").stdout;
    let sh = |arguments: &[&str]| {
        let output =
            Command::new("sh").args(["-c", &script, "sh"]).args(arguments).output().expect("a shell");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = sh(&[&path.to_string()]);
    assert!(status == Some(2) && said.contains("is not an empty directory"), "{said}");
    let (status, said) = sh(&[]);
    assert!(status == Some(2) && said.contains("usage"), "{said}");
    let left: Vec<_> = fs::read_dir(Path::new(&path.to_string())).expect("a directory").flatten().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn usage_errors_have_status_2() {
    for words in ["snapshot", "snapshot --script --out x", "completions", "completions tcsh", "man nothing"] {
        let ran = natpath(words);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{words}: {ran:?}");
    }
}

#[test]
fn completions_are_read_by_their_shells() {
    for (shell, arguments) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = natpath(&format!("completions {shell}"));
        assert_eq!(script.status, 0, "{script:?}");
        for word in ["trace", "inspect", "snapshot", "--icmp-id"] {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(script.stdout.contains(word), "{shell}: {word}");
        }
        assert_eq!(complaints(shell, &[arguments], &script.stdout).unwrap_or_default(), "");
    }
}

#[test]
fn manual_pages_have_examples() {
    let page = natpath("man trace");
    assert_eq!(page.status, 0);
    for part in [".TH natpath-trace 1", "Examples:", "Exit status:"] {
        assert!(page.stdout.contains(part), "{part} is not in\n{}", page.stdout);
    }
    let page = natpath("man");
    assert!(
        page.stdout.contains(".TH natpath 1") && page.stdout.contains("natpath\\-inspect(1)"),
        "{page:?}"
    );
}
