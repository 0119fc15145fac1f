//! The command as its users run it: what it prints, where, and with which exit status.

mod examples;
mod half;
mod inspect;
mod lines;
mod snapshot;
mod usage;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a run of the command gave.
#[derive(Debug)]
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

/// Runs `natpath` with these words in the root of the repository, with this text on stdin.
fn natpath_with_stdin(words: &str, stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_natpath"))
        .args(words.split_whitespace())
        .current_dir(root())
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("natpath starts");
    // A command that does not read its input closes the pipe early, which is no fault.
    _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("natpath ends");
    Ran {
        status: output.status.code().expect("natpath is not killed"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Runs `natpath` with these words.
fn natpath(words: &str) -> Ran {
    natpath_with_stdin(words, "")
}
