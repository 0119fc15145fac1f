//! `natpath completions` and `natpath man`: the command line, told to shells and to man(1).

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;

use super::print;
use crate::args::{Arguments, CompletionsArguments, ManArguments};

/// Prints completions.
pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<ExitCode> {
    let mut script = Vec::new();
    let shell = clap_complete::Shell::from(arguments.shell);
    clap_complete::generate(shell, &mut Arguments::command(), "natpath", &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a manual page.
pub(crate) fn man(arguments: &ManArguments) -> Result<ExitCode> {
    let mut natpath = Arguments::command();
    // Gives each command its full name, and natpath its list of commands.
    natpath.build();
    let command = match arguments.command.as_deref() {
        None => natpath,
        Some(name) => match natpath.find_subcommand(name) {
            Some(command) => command.clone(),
            None => bail!("natpath has no command `{name}`\n  help: `natpath --help` lists them"),
        },
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("the page can't be written")?;
    print(&page)?;
    Ok(ExitCode::SUCCESS)
}
