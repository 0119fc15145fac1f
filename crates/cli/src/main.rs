//! The command `natpath`: where a packet really goes on Linux, and why.

mod args;
mod commands;
mod render;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

/// The exit status of a usage error or of input that can't be read.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Trace(arguments) => commands::trace::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Snapshot(arguments) => commands::snapshot::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Completions(arguments) => commands::describe::completions(&arguments),
        Command::Man(arguments) => commands::describe::man(&arguments),
    };
    result.unwrap_or_else(|error| {
        anstream::eprintln!("natpath: {error:#}");
        ExitCode::from(UNUSABLE)
    })
}
