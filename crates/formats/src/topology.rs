//! Reads `topology.json`: which interfaces share a wire.

use natpath_model::{Diagnostic, Segment};

/// Reads segments.
///
/// # Errors
/// If the text is not JSON of the expected shape.
pub fn parse(_text: &str, _file_name: &str) -> Result<(Vec<Segment>, Vec<Diagnostic>), Diagnostic> {
    Ok(Default::default())
}
