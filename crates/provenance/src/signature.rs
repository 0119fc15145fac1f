//! What a program leaves in rulesets by which it is known.

use crate::pattern::Pattern;
use crate::program::Program;
use crate::sight::Sight;

/// The traces that one program leaves. Lists are read from the top, and the first that fits counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    /// The program.
    pub(crate) program: Program,
    /// Tables of nft that are all its own, by name, with what is to be said of chains in them that the next
    /// list does not name.
    pub(crate) tables: &'static [Pattern],
    /// Names of chains in those tables.
    pub(crate) table_chains: &'static [Pattern],
    /// Names of chains that nobody else uses.
    pub(crate) chains: &'static [Pattern],
    /// Names of chains that show that the program wrote this ruleset. Only there do `plain_chains`, `rules`
    /// of chains that are not its own, and `rest` count; without an anchor, `rules` count everywhere.
    pub(crate) anchors: &'static [&'static str],
    /// Names of chains that others may use as well.
    pub(crate) plain_chains: &'static [Pattern],
    /// Comments that nobody else writes, in chains that are not its own.
    pub(crate) claims: &'static [Pattern],
    /// Comments in its own chains.
    pub(crate) comments: &'static [Pattern],
    /// Whole rules in their own words, behind the name of their chain: `FORWARD -o docker0 -j DOCKER`.
    pub(crate) rules: &'static [Pattern],
    /// What a table can't say: a rule of its chains, or of any chain where an anchor is.
    pub(crate) beyond: Option<fn(&Sight<'_>) -> Option<String>>,
    /// What all rules are that nobody else made, for a program that writes a host's whole ruleset.
    pub(crate) rest: Option<&'static str>,
    /// The marks it sets on packets.
    pub(crate) marks: &'static [Mark],
    /// Names of interfaces that it makes.
    pub(crate) interfaces: &'static [Pattern],
}

impl Signature {
    /// A program that leaves no traces, to be filled in.
    pub(crate) const fn of(program: Program) -> Self {
        Self {
            program,
            tables: &[],
            table_chains: &[],
            chains: &[],
            anchors: &[],
            plain_chains: &[],
            claims: &[],
            comments: &[],
            rules: &[],
            beyond: None,
            rest: None,
            marks: &[],
            interfaces: &[],
        }
    }
}

/// A mark that a program sets on packets, and the bits of it that it looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// The value under the mask.
    pub(crate) value: u32,
    /// The bits that count.
    pub(crate) mask: u32,
    /// What it says of a packet.
    pub(crate) what: &'static str,
}

/// A mark and its meaning.
pub(crate) const fn mark(value: u32, mask: u32, what: &'static str) -> Mark {
    Mark { value, mask, what }
}
