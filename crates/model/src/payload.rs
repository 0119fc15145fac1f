//! Matches on the packet's bytes, counted from its network header: text, numbers at places, programs.

/// `-m string`: whether the bytes hold a text (xt_string.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSearch {
    /// The text.
    pub pattern: Vec<u8>,
    /// How the kernel searches; all ways find the same.
    pub algorithm: String,
    /// The first byte where the text may begin.
    pub from: u32,
    /// The byte before which it must end.
    pub to: u32,
    /// `--icase`: whether upper and lower case of ASCII letters are alike.
    pub ignore_case: bool,
    /// Whether the rule applies where the text is not there.
    pub negated: bool,
}

impl TextSearch {
    /// The end of the search where `--to` is not given.
    pub const END: u32 = u16::MAX as u32;
}

/// `-m u32`: whether numbers computed from the bytes lie in ranges (xt_u32.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct U32 {
    /// The tests, all of which must hold.
    pub tests: Vec<U32Test>,
    /// Whether the rule applies where not all hold.
    pub negated: bool,
}

/// One test of [`U32`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct U32Test {
    /// Where the first four bytes are read.
    pub start: u32,
    /// What is done with the number, in order.
    pub steps: Vec<(U32Step, u32)>,
    /// The ranges, one of which must hold the result.
    pub ranges: Vec<(u32, u32)>,
}

/// A step of a [`U32Test`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum U32Step {
    /// `&`: keeps these bits.
    And,
    /// `<<`: shifts them up.
    Left,
    /// `>>`: shifts them down.
    Right,
    /// `@`: goes on by as many bytes as the number says, and reads four bytes at this place from there.
    At,
}

impl U32Step {
    /// Each with its sign in iptables.
    pub const SIGNS: [(&'static str, Self); 4] =
        [("&", Self::And), ("<<", Self::Left), (">>", Self::Right), ("@", Self::At)];
}

/// One instruction of a classic BPF program (linux/filter.h, `struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are left out where a jump's condition holds.
    pub if_true: u8,
    /// And where it does not.
    pub if_false: u8,
    /// A number.
    pub k: u32,
}
