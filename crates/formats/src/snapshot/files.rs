//! The files of a host, plain or compressed.

use std::io::Read;
use std::path::{Path, PathBuf};

use natpath_model::{Diagnostic, Severity};

/// The files that make a directory a host's.
pub(super) const KNOWN: [&str; 25] = [
    "iptables-save",
    "ip6tables-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "nft.json",
    "nft.txt",
    "addr.json",
    "route.json",
    "route6.json",
    "rule.json",
    "rule6.json",
    "neigh.json",
    "sysctl",
    "ipset",
    "conntrack",
    "sockets",
    "listen",
    "nft-hooks",
    "bridge-link.json",
    "bridge-fdb.json",
    "ipvs",
    "wg",
    "xfrm",
    "tc",
    "date",
];

/// A file as it was read.
pub(super) struct FileText {
    /// Its name, with `.gz` where it is compressed.
    pub(super) name: String,
    /// Its path, for diagnostics.
    pub(super) path: String,
    pub(super) text: String,
}

/// Whether a directory has a file of a host.
pub(super) fn is_host(dir: &Path) -> bool {
    KNOWN.iter().any(|name| find(dir, name).is_some())
}

/// The path of a file, plain or compressed.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    [dir.join(name), dir.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

/// Reads a file if it is there; what is wrong with it is noted.
pub(super) fn read_text(dir: &Path, name: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<FileText> {
    let path = find(dir, name)?;
    let shown = path.display().to_string();
    let bytes = match read_bytes(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("the file can't be read: {error}");
            diagnostics.push(remark(&shown, Severity::Error, "unreadable", message, "save it again", 0));
            return None;
        }
    };
    let (text, faulty) = read_lossy(bytes);
    if let Some(line) = faulty {
        let message = "bytes that are not UTF-8 were replaced".to_owned();
        diagnostics.push(remark(&shown, Severity::Warning, "not-utf8", message, "", line));
    }
    let name = path.file_name().map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned());
    Some(FileText { name, path: shown, text })
}

/// The text of bytes, and the first line where some were replaced because they are not UTF-8.
pub(super) fn read_lossy(bytes: Vec<u8>) -> (String, Option<usize>) {
    String::from_utf8(bytes).map_or_else(
        |error| {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let line = 1 + bytes[..valid].iter().filter(|byte| **byte == b'\n').count();
            (String::from_utf8_lossy(&bytes).into_owned(), Some(line))
        },
        |text| (text, None),
    )
}

pub(super) fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain)?;
    Ok(plain)
}

/// A remark about a whole file, or about one of its lines.
pub(super) fn remark(
    file: &str,
    severity: Severity,
    code: &'static str,
    message: String,
    help: &str,
    line: usize,
) -> Diagnostic {
    Diagnostic {
        severity,
        code,
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: 0,
        message,
        help: help.to_owned(),
        construct: None,
        text: String::new(),
    }
}
