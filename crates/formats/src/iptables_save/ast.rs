//! The lines and words of an iptables-save file, borrowed from its text and lossless.

use std::borrow::Cow;

use natpath_model::Counter;

/// One line, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Nothing, or `# ...`.
    Comment(&'a str),
    /// `*nat`: a table begins.
    Table(&'a str),
    /// `:CHAIN POLICY [0:0]`.
    Chain(ChainLine<'a>),
    /// `COMMIT`: the table ends.
    Commit,
    /// `[0:0] -A CHAIN ...`.
    Command(CommandLine<'a>),
}

/// `:CHAIN POLICY [0:0]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainLine<'a> {
    /// The chain's name.
    pub name: &'a str,
    /// `ACCEPT`, `DROP`, or `-` for a user chain.
    pub policy: &'a str,
    /// Where the policy stands in the line.
    pub policy_at: usize,
    /// The policy's counter, if it was listed.
    pub counter: Option<Counter>,
}

/// A command with its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// The counter before it, if there was one.
    pub counter: Option<Counter>,
    /// The command, without the counter and without white space around it.
    pub text: &'a str,
    /// Where `text` begins in the line.
    pub at: usize,
}

/// A word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// Its characters as written, with quotes and escapes.
    pub raw: &'a str,
    /// Whether any part of it is quoted, so that it is never an option.
    pub quoted: bool,
    /// Where it begins in the line.
    pub at: usize,
}

impl<'a> Word<'a> {
    /// What it means. Within quotes a backslash takes the next character as it is; outside it stands for
    /// itself (xshared.c, `add_param_to_argv`).
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        if !self.quoted {
            return Cow::Borrowed(self.raw);
        }
        let inside = self.raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        match inside.filter(|inside| !inside.contains(['"', '\\'])) {
            Some(inside) => Cow::Borrowed(inside),
            None => Cow::Owned(unquoted(self.raw)),
        }
    }

    /// Where the next byte after it stands in the line.
    #[must_use]
    pub fn end(&self) -> usize {
        self.at + self.raw.len()
    }
}

fn unquoted(raw: &str) -> String {
    let mut meaning = String::with_capacity(raw.len());
    let (mut inside, mut escaped) = (false, false);
    for character in raw.chars() {
        match character {
            _ if escaped => meaning.push(character),
            '\\' if inside => {
                escaped = true;
                continue;
            }
            '"' => inside = !inside,
            _ => meaning.push(character),
        }
        escaped = false;
    }
    meaning
}

/// What is wrong at one place of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The byte of the line where it is, from 0.
    pub at: usize,
    /// A stable code.
    pub code: &'static str,
    /// What was found and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Fault {
    /// A fault in the form of a line.
    #[must_use]
    pub fn syntax(at: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at, code: "syntax", message: message.into(), help: help.into() }
    }
}
