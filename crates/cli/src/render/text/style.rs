//! The few colours of the text. They are always written; the stream takes them out where they don't belong.

use anstyle::{AnsiColor, Style};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default().bold();

/// A name to find again: a host, a flow.
pub(crate) fn bold(text: &str) -> String {
    painted(BOLD, text)
}

/// What is there for completeness.
pub(crate) fn dim(text: &str) -> String {
    painted(DIM, text)
}

/// What works.
pub(crate) fn good(text: &str) -> String {
    painted(GOOD, text)
}

/// What fails.
pub(crate) fn bad(text: &str) -> String {
    painted(BAD, text)
}

/// What deserves a look: not reached, assumed, undecided.
pub(crate) fn note(text: &str) -> String {
    painted(NOTE, text)
}

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
