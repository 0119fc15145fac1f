//! Where an item was read: a file of the snapshot, a line, a span of its text.

use std::ops::Range;
use std::sync::Arc;

/// Index into [`crate::Snapshot::files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u16);

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name within the host's directory: `iptables-save`.
    pub name: String,
    /// All its text.
    pub text: Arc<str>,
}

/// A place in a file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The file.
    pub file: FileId,
    /// The line, counted from 1.
    pub line: u32,
    /// The bytes of the item's own text.
    pub span: Range<u32>,
}

/// The words of a rule's text; one in double quotes is one word, with its quotes.
#[must_use]
pub fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut quoted = false;
        let end = rest.find(|letter: char| {
            quoted ^= letter == '"';
            letter.is_whitespace() && !quoted
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word);
        rest = after.trim_start();
    }
    words
}
