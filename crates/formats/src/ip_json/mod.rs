//! Reads the JSON of iproute2: `ip -j -d addr`, `ip -j route`, `ip -j rule`, `ip -j neigh`.
//!
//! Each file is a list of rows. An empty file is an empty list, and an empty row (older iproute2 prints
//! them) is none. A row that can't be read is reported, and the others are still read; text that is no list
//! of rows is an error.

pub mod addr;
pub mod bridge;
pub mod neigh;
pub mod route;
pub mod rule;
mod words;

use natpath_model::Diagnostic;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::diagnose::{json_error, line_and_column, syntax};

/// A row of a file with its place.
struct Row<'a> {
    text: &'a str,
    line: u32,
    column: u32,
}

/// Cuts a file into its rows.
fn rows<'a>(text: &'a str, file_name: &str) -> Result<Vec<Row<'a>>, Diagnostic> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let raw: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| json_error(file_name, text, &error, (1, 1)))?;
    let mut rows = Vec::with_capacity(raw.len());
    let (mut line, mut column, mut at) = (1, 1, 0);
    for row in raw {
        let row = row.get();
        // Each row borrows from `text`, so its place is the distance between the two.
        let start = (row.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        (line, column) = line_and_column(&text[at..start], (line, column));
        at = start;
        if !row.trim_matches(['{', '}', ' ', '\n', '\r', '\t']).is_empty() {
            rows.push(Row { text: row, line, column });
        }
    }
    Ok(rows)
}

impl Row<'_> {
    fn read<'b, T: Deserialize<'b>>(&'b self, file_name: &str) -> Result<T, Diagnostic> {
        serde_json::from_str(self.text)
            .map_err(|error| json_error(file_name, self.text, &error, (self.line, self.column)))
    }

    fn fault(&self, file_name: &str, message: String, help: &str) -> Diagnostic {
        syntax(file_name, (self.line, self.column), message, help, self.text)
    }
}

/// Reads every row with `one`; what a row lacks is reported.
fn each<T>(
    text: &str,
    file_name: &str,
    mut one: impl FnMut(&Row<'_>) -> Result<T, Diagnostic>,
) -> Result<(Vec<T>, Vec<Diagnostic>), Diagnostic> {
    let (mut items, mut diagnostics) = (Vec::new(), Vec::new());
    for row in rows(text, file_name)? {
        match one(&row) {
            Ok(item) => items.push(item),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    Ok((items, diagnostics))
}

#[cfg(test)]
mod tests;
