//! How readers say what is wrong.

use natpath_model::{Diagnostic, Severity};

/// The most bytes of a text that a diagnostic shows.
const SHOWN: usize = 400;

/// A text as a diagnostic shows it: on one line, not a megabyte.
pub(crate) fn excerpt(text: &str) -> String {
    let text = text.trim();
    let line = text.split('\n').next().unwrap_or("").trim_end();
    let end = (0..=SHOWN.min(line.len())).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    if end == text.len() { text.to_owned() } else { format!("{} ...", &line[..end]) }
}

/// An error of form at a line and column.
pub(crate) fn syntax(
    file: &str,
    (line, column): (u32, u32),
    message: impl Into<String>,
    help: &str,
    text: &str,
) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "syntax",
        file: file.to_owned(),
        line,
        column,
        message: message.into(),
        help: help.to_owned(),
        construct: None,
        text: excerpt(text),
    }
}

/// The line and column after `text`, which begins at the line and column `from`.
pub(crate) fn line_and_column(text: &str, from: (u32, u32)) -> (u32, u32) {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
    match text.rfind('\n') {
        None => (from.0, from.1.saturating_add(length(text))),
        Some(last) => {
            let lines = text.bytes().filter(|byte| *byte == b'\n').count();
            let lines = u32::try_from(lines).unwrap_or(u32::MAX);
            (from.0.saturating_add(lines), length(&text[last + 1..]).saturating_add(1))
        }
    }
}

/// What serde_json says about a text that begins at the line and column `from`.
pub(crate) fn json_error(file: &str, text: &str, error: &serde_json::Error, from: (u32, u32)) -> Diagnostic {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).max(1);
    let (line, column) = (number(error.line()), number(error.column()));
    let place = match line {
        1 => (from.0, from.1 + column - 1),
        _ => (from.0 + line - 1, column),
    };
    let full = error.to_string();
    let message = full.split(" at line ").next().unwrap_or(&full).to_owned();
    let shown = text.lines().nth(line as usize - 1).unwrap_or(text);
    let help = "give the untouched output of the command with `-j`";
    syntax(file, place, message, help, shown)
}
