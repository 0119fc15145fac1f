//! Reads `topology.json`: which interfaces share a wire.
//!
//! ```text
//! {"segments": [["client:eth0", "router:eth0"], ["router:eth1", "server:eth0"]]}
//! ```

use natpath_model::{Diagnostic, InterfaceName, Segment, SegmentEnd};
use serde::Deserialize;

use crate::diagnose::{json_error, line_and_column, syntax};

#[derive(Deserialize)]
struct Topology {
    segments: Vec<Vec<String>>,
}

/// Reads segments.
///
/// # Errors
/// If the text is not JSON of the shape above. An empty file has no segments.
pub fn parse(text: &str, file_name: &str) -> Result<(Vec<Segment>, Vec<Diagnostic>), Diagnostic> {
    if text.trim().is_empty() {
        return Ok(Default::default());
    }
    let topology: Topology =
        serde_json::from_str(text).map_err(|error| json_error(file_name, text, &error, (1, 1)))?;
    let (mut segments, mut diagnostics) = (Vec::new(), Vec::new());
    for names in &topology.segments {
        let mut ends = Vec::with_capacity(names.len());
        for name in names {
            match end(name) {
                Some(end) => ends.push(end),
                None => diagnostics.push(bad_end(text, file_name, name)),
            }
        }
        segments.push(Segment { ends });
    }
    Ok((segments, diagnostics))
}

fn end(name: &str) -> Option<SegmentEnd> {
    let (host, interface) = name.split_once(':').filter(|(host, _)| !host.is_empty())?;
    Some(SegmentEnd { host: host.to_owned(), interface: InterfaceName::new(interface)? })
}

fn bad_end(text: &str, file_name: &str, name: &str) -> Diagnostic {
    let quoted = format!("\"{name}\"");
    let at = text.find(&quoted).unwrap_or(0);
    let message = format!("expected HOST:INTERFACE, found `{name}`");
    syntax(file_name, line_and_column(&text[..at], (1, 1)), message, "write such as \"router:eth0\"", &quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read() {
        let text = r#"{"segments":[["c:eth0","r:eth0"],["r:eth1"]]}"#;
        let (segments, diagnostics) = parse(text, "topology.json").expect("a topology");
        assert_eq!(diagnostics, []);
        assert_eq!((segments.len(), segments[0].ends.len()), (2, 2));
        assert_eq!(segments[0].ends[1].host, "r");
        assert_eq!(parse("", "topology.json"), Ok((vec![], vec![])));
    }

    #[test]
    fn faults_have_a_place() {
        let check = |text: &str, line: u32, column: u32| {
            let found = match parse(text, "topology.json") {
                Ok((_, diagnostics)) => diagnostics.into_iter().next().expect("a diagnostic"),
                Err(diagnostic) => diagnostic,
            };
            assert_eq!((found.line, found.column), (line, column), "{found}");
        };
        check("{\"segments\":\n [[\"c:eth0\", \"router\"]]}", 2, 14);
        check("{\"segments\":[[\":eth0\"]]}", 1, 15);
        check("{\"segments\": 5}", 1, 14);
        check("[]", 1, 2);
    }
}
