//! One module for each command.

pub(crate) mod describe;
pub(crate) mod inspect;
pub(crate) mod snapshot;
pub(crate) mod trace;
pub(crate) mod verify;

use std::io::{self, Write};

use anyhow::{Context, Result};

/// Prints to stdout; a reader that has seen enough (`| head`) is no error.
fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("stdout can't be written"),
    }
}
