//! What a reader of files has to say about them.

use std::fmt;

/// A remark about one place of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// A stable code named after the fault: `syntax`, `unsupported`, `unknown-chain`.
    pub code: &'static str,
    /// The file, as the user would find it.
    pub file: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// The column in bytes, from 1; 0 where the whole line is meant.
    pub column: u32,
    /// One short sentence without a full stop: what was found and what was expected.
    pub message: String,
    /// What to do about it; empty where nothing can be done.
    pub help: String,
    /// The construct in the tool's words, where one is meant: `-m string`.
    pub construct: Option<String>,
    /// The line's text, or the part that is meant.
    pub text: String,
}

/// How grave a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The item was read but its effect can't be computed; it matters only where a packet meets it.
    Unsupported,
    /// Something is odd but the meaning is clear.
    Warning,
    /// The item could not be read.
    Error,
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: severity: message`, then the text and the help on lines of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        let severity = match self.severity {
            Severity::Unsupported => "unsupported",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, ": {severity}: {}", self.message)?;
        if !self.text.is_empty() {
            write!(f, "\n    {}", self.text)?;
        }
        if !self.help.is_empty() {
            write!(f, "\n    help: {}", self.help)?;
        }
        Ok(())
    }
}
