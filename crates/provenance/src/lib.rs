//! Which program made a rule, a chain, a mark or an interface of a host, and what for, in words.
//!
//! Programs that write rules leave signatures: names of chains, comments, values of marks. Each known
//! program has one file in `program/`, with the facts, where they are written down, and one table of
//! patterns. What no table names is nobody's: `None` is the honest answer for a rule made by hand.
//!
//! ```text
//!  of_rule, of_chain, of_mark, of_interface      recognise.rs: in which order signatures are asked
//!      └─ Signature ── Pattern                   signature.rs, pattern.rs: what a signature consists of
//!          └─ program/docker.rs, ufw.rs, ...     the signatures, a file per program
//! ```
//!
//! # Examples
//! ```
//! use natpath_model::{Backend, ChainId, Family, FileId, RuleRef, Ruleset, Snapshot, SourceFile};
//!
//! let text = "*filter\n:f2b-sshd - [0:0]\n-A f2b-sshd -s 203.0.113.70/32 -j DROP\nCOMMIT\n";
//! let (tables, _) =
//!     natpath_formats::iptables_save::parse(text, "iptables-save", FileId(0), Backend::Iptables, Family::Ip4);
//! let files = vec![SourceFile { name: "iptables-save".into(), text: text.into() }];
//! let host = Snapshot { ruleset: Ruleset { tables }, files, ..Snapshot::default() };
//!
//! let rule = host.ruleset.rules().next().expect("a rule").0;
//! let provenance = natpath_provenance::of_rule(&host, rule).expect("a known program");
//! assert_eq!(provenance.to_string(), "fail2ban: jail sshd");
//! ```

mod pattern;
mod program;
mod recognise;
mod sight;
mod signature;
#[cfg(test)]
mod tests;

use std::fmt;

pub use program::Program;
pub use recognise::{of_chain, of_interface, of_mark, of_rule};

/// Who made a thing, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The program.
    pub program: Program,
    /// What it made it for: `published container port`, `zone public`, `jail sshd`.
    pub what: String,
}

impl fmt::Display for Provenance {
    /// `Docker: published container port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program, self.what)
    }
}
