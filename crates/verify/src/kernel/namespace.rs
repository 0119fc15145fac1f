//! Network namespaces without names: they live as long as somebody holds them, so none is left behind,
//! however the process ends.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// If the process may not.
    pub fn new() -> Result<Self> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("may not make a network namespace")?;
            let file = File::open("/proc/thread-self/ns/net").context("can't open the namespace made")?;
            Ok(Self { file })
        })
    }

    /// Runs a function inside, on a thread of its own. Sockets and processes made there stay there.
    ///
    /// # Errors
    /// Those of the function, or if the namespace can't be entered.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_own_thread(|| {
            setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).context("can't enter a network namespace")?;
            inside()
        })
    }

    /// Runs a program inside, gives it the text and takes its output.
    ///
    /// # Errors
    /// If it can't be started or does not succeed; its error output is in the error.
    pub fn command(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        self.run(|| command(program, arguments, input))
    }

    /// The path by which another process can name it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// The namespace's descriptor.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs a program in the calling thread's namespace.
pub(crate) fn command(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early does not read all its input; its own error says more.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("lost {program}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn on_own_thread<T: Send>(task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        scope.spawn(task).join().unwrap_or_else(|_| Err(anyhow!("a thread in a namespace panicked")))
    })
}
