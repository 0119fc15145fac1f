//! Every host of a corpus beside the checkout is read without errors.

use std::path::Path;

use natpath_formats::snapshot::read_host;
use natpath_model::{Diagnostic, Severity};

#[test]
fn hosts_of_the_corpus_are_read_without_errors() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    for kind in ["hosts", "kube-proxy"] {
        let Ok(entries) = std::fs::read_dir(corpus.join(kind)) else { continue };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            // nftables is not read, and the largest cases take a while in a debug build.
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !path.is_dir() || name.contains("scale-10000") {
                continue;
            }
            let host = read_host(&path, &name).expect("a host");
            let graver = |found: &&Diagnostic| found.severity != Severity::Unsupported;
            assert_eq!(host.diagnostics.iter().find(graver), None, "{name}");
            assert!(!host.links.is_empty() && !host.routes.is_empty(), "{name}");
        }
    }
}
