//! `natpath snapshot` of a running host with containers, then `natpath trace`, against what the kernel does
//! with real connections.
//!
//! Each lab is a host of its own, in new network, mount, process and UTS namespaces, so that nothing else of
//! the machine is seen in it. Where that is not permitted the labs are ignored. This program runs itself:
//!
//! ```text
//!  the test ─ unshare ─→ lab: sets up, records twice, traces ─ nsenter ─→ listen, connect
//! ```

mod lab;
mod sockets;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// How a process that this program starts is told what to be.
const ROLE: &str = "NATPATH_LIVE_ROLE";

const NAMESPACES: [&str; 6] = ["--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc"];

fn main() -> ExitCode {
    match std::env::var(ROLE) {
        Ok(role) => play(&role),
        Err(_) => tests(),
    }
}

/// Does what a role says: `lab NAME`, `listen PORT`, `connect ADDRESS:PORT`.
fn play(role: &str) -> ExitCode {
    let (word, rest) = role.split_once(' ').unwrap_or((role, ""));
    let played = match word {
        "lab" => lab::run(rest),
        "listen" => sockets::listen(rest),
        "connect" => sockets::connect(rest),
        _ => Err(format!("there is no role {role}")),
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn tests() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let reason = not_permitted();
    let trial = |name: &'static str| {
        let reason = reason.clone();
        Trial::ignorable_test(format!("live {name}"), move || match reason {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => in_namespaces(name).map(|()| Completion::Completed),
        })
    };
    let trials = lab::NAMES.into_iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why no host can be made here; `None` where it can.
fn not_permitted() -> Option<String> {
    let tried = Command::new("unshare").args(NAMESPACES).arg("iptables-nft").arg("-V").output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

fn in_namespaces(name: &str) -> Result<(), Failed> {
    let this = std::env::current_exe()?;
    let output =
        Command::new("unshare").args(NAMESPACES).arg(this).env(ROLE, format!("lab {name}")).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("{}{}", said(&output.stdout), said(&output.stderr)).into())
}
