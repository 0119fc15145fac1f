//! Reads and writes `iptables-save` text.

use natpath_model::{Backend, Diagnostic, Family, FileId, Table};

/// Reads the text of one file.
#[must_use]
pub fn parse(_text: &str, _file_name: &str, _file: FileId, _backend: Backend, _family: Family) -> (Vec<Table>, Vec<Diagnostic>) {
    Default::default()
}

/// Writes tables of one backend and family, so that [`parse`] gives them back.
#[must_use]
pub fn write(_tables: &[Table]) -> String {
    String::new()
}
