//! The model to iptables-save text.

use natpath_model::Table;

/// Writes tables of one backend and family, so that [`parse`](fn@super::parse) gives them back.
#[must_use]
pub fn write(_tables: &[Table]) -> String {
    String::new()
}
