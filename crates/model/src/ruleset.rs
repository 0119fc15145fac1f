//! Tables, chains and rules. One model serves iptables and nftables: an iptables table is a set of base
//! chains at netfilter's fixed priorities.

use std::fmt;

use crate::hook::{Hook, Priority};
use crate::matching::Match;
use crate::net::Family;
use crate::origin::Origin;
use crate::statement::Statement;

/// All tables of a host, in the order in which they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// The tables.
    pub tables: Vec<Table>,
}

impl Ruleset {
    /// The rule that a reference points to.
    ///
    /// # Panics
    /// If the reference was made for another ruleset.
    #[must_use]
    pub fn rule(&self, at: RuleRef) -> &Rule {
        &self.chain(at.table, at.chain).rules[at.rule as usize]
    }

    /// The chain with this number in the table with this number.
    ///
    /// # Panics
    /// If either number is out of range.
    #[must_use]
    pub fn chain(&self, table: u32, chain: ChainId) -> &Chain {
        &self.tables[table as usize].chains[chain.0 as usize]
    }

    /// All rules, in listed order.
    pub fn rules(&self) -> impl Iterator<Item = (RuleRef, &Rule)> {
        (0u32..).zip(&self.tables).flat_map(|(table, tables)| {
            (0u32..).zip(&tables.chains).flat_map(move |(chain, chains)| {
                (0u32..)
                    .zip(&chains.rules)
                    .map(move |(rule, rules)| (RuleRef { table, chain: ChainId(chain), rule }, rules))
            })
        })
    }
}

/// Where a rule stands in a [`Ruleset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleRef {
    /// Index into [`Ruleset::tables`].
    pub table: u32,
    /// The chain within the table.
    pub chain: ChainId,
    /// Index into [`Chain::rules`].
    pub rule: u32,
}

/// The program and kernel interface a table belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// iptables over nf_tables (`iptables-nft`), or the only iptables there is.
    Iptables,
    /// The older interface (`iptables-legacy`).
    IptablesLegacy,
    /// A table that nft made.
    Nft,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iptables => "iptables",
            Self::IptablesLegacy => "iptables-legacy",
            Self::Nft => "nft",
        })
    }
}

/// The packets that a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

impl TableFamily {
    /// Whether packets of this family run through the table.
    #[must_use]
    pub fn sees(self, family: Family) -> bool {
        match self {
            Self::Ip => family == Family::Ip4,
            Self::Ip6 => family == Family::Ip6,
            Self::Inet => true,
        }
    }
}

impl From<Family> for TableFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::Ip4 => Self::Ip,
            Family::Ip6 => Self::Ip6,
        }
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        })
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Who made it.
    pub backend: Backend,
    /// Which packets it sees.
    pub family: TableFamily,
    /// Its name, `nat`.
    pub name: String,
    /// Its chains.
    pub chains: Vec<Chain>,
}

impl Table {
    /// The chain of this name.
    #[must_use]
    pub fn chain_id(&self, name: &str) -> Option<ChainId> {
        (0u32..).zip(&self.chains).find(|(_, chain)| chain.name == name).map(|(index, _)| ChainId(index))
    }
}

/// The number of a chain within its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(pub u32);

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Whether a hook calls it.
    pub kind: ChainKind,
    /// Its rules, in order of evaluation.
    pub rules: Vec<Rule>,
    /// Where it was declared.
    pub origin: Origin,
}

/// Whether a hook calls a chain, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Called by a hook.
    Base {
        /// The hook.
        hook: Hook,
        /// Its place in the hook. For nat chains this only orders them among themselves.
        priority: Priority,
        /// What the chain may do.
        chain_type: ChainType,
        /// What happens to a packet that reaches its end.
        policy: Policy,
        /// The policy's counter.
        counter: Counter,
    },
    /// Called by rules only: "user chain", "regular chain".
    Regular,
}

/// The type of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainType {
    /// Any rules but NAT.
    Filter,
    /// NAT: consulted once per conntrack entry.
    Nat,
    /// Like filter; in OUTPUT, the packet is routed again if its addresses, mark or DSCP changed.
    Route,
}

/// What happens to a packet at the end of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

/// Packets and bytes that a rule or policy has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

/// A rule: conditions, then actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All must hold.
    pub matches: Vec<Match>,
    /// What is then done.
    pub statements: Vec<Statement>,
    /// What it had counted when it was listed, if counters were listed.
    pub counter: Option<Counter>,
    /// Its comment.
    pub comment: Option<String>,
    /// The kernel's number for it, if listed.
    pub handle: Option<u64>,
    /// Its text.
    pub origin: Origin,
}
