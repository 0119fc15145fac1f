//! Netfilter's hooks, the priorities at which chains run in them, and what NAT may change where.

use std::fmt;

use crate::net::Family;
use crate::ruleset::TableFamily;

/// A point of the packet's path where netfilter runs chains (linux/netfilter.h, `enum nf_inet_hooks`).
///
/// ```text
///  in ─→ PREROUTING ─→ route ─→ FORWARD ──→ POSTROUTING ─→ out
///                        │                       ↑
///                        ↓                       │
///                      INPUT ─→ socket ─→ route ─→ OUTPUT
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// A packet came in, before it is routed.
    Prerouting,
    /// It is for this host, before a socket takes it.
    Input,
    /// It is for another host, after it is routed.
    Forward,
    /// This host made it, after it is routed.
    Output,
    /// It is about to leave.
    Postrouting,
}

impl Hook {
    /// All hooks in the kernel's order.
    pub const ALL: [Self; 5] =
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];

    /// Which side of the tuple NAT may set up here (linux/netfilter.h and nf_nat.h, `HOOK2MANIP`).
    #[must_use]
    pub fn manip(self) -> Option<Manip> {
        match self {
            Self::Prerouting | Self::Output => Some(Manip::Dst),
            Self::Input | Self::Postrouting => Some(Manip::Src),
            Self::Forward => None,
        }
    }

    /// The name iptables gives the built-in chain of this hook.
    #[must_use]
    pub fn chain_name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }

    /// The hook of a built-in iptables chain.
    #[must_use]
    pub fn of_chain(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.chain_name() == name)
    }
}

impl fmt::Display for Hook {
    /// nft's word: `prerouting`, `input` and so on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

/// Which half of a packet's addresses a translation changes (nf_nat.h, `enum nf_nat_manip_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Manip {
    /// Source address and port.
    Src,
    /// Destination address and port.
    Dst,
}

impl Manip {
    /// The other half.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Src => Self::Dst,
            Self::Dst => Self::Src,
        }
    }
}

/// The place of a function within a hook: lower numbers run first
/// (linux/netfilter_ipv4.h, `enum nf_ip_hook_priorities`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(pub i32);

impl Priority {
    /// Table raw.
    pub const RAW: Self = Self(-300);
    /// Connection tracking.
    pub const CONNTRACK: Self = Self(-200);
    /// Table mangle.
    pub const MANGLE: Self = Self(-150);
    /// Destination NAT, and un-translation of replies.
    pub const NAT_DST: Self = Self(-100);
    /// Table filter.
    pub const FILTER: Self = Self(0);
    /// Table security.
    pub const SECURITY: Self = Self(50);
    /// Table security of iptables over nf_tables, which registers it behind source NAT (iptables 1.8.9,
    /// seen in `nft list ruleset`).
    pub const SECURITY_NFT: Self = Self(150);
    /// Source NAT, and un-translation of replies.
    pub const NAT_SRC: Self = Self(100);
    /// Confirmation of a new conntrack entry.
    pub const CONFIRM: Self = Self(i32::MAX);
}

/// A function that the kernel runs at a hook, as `nft list hooks` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEntry {
    /// The packets it sees.
    pub family: Family,
    /// The hook.
    pub hook: Hook,
    /// Its place in the hook; those of equal priority run in the order in which they are listed.
    pub priority: Priority,
    /// What runs.
    pub function: HookFunction,
}

/// What runs at a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookFunction {
    /// A base chain of nf_tables.
    Chain {
        /// The family of its table.
        family: TableFamily,
        /// Its table.
        table: String,
        /// The chain.
        chain: String,
    },
    /// A function of the kernel's: `ipt_do_table`.
    Kernel(String),
}

impl HookEntry {
    /// Whether this is the table of iptables-legacy that has this priority (iptable_filter.c,
    /// `ipt_do_table`; iptable_mangle.c and older kernels have a function for each table).
    #[must_use]
    pub fn is_legacy_table(&self) -> bool {
        let HookFunction::Kernel(name) = &self.function else { return false };
        let of_table = |prefix: &str| name.starts_with(prefix) && name.ends_with("_hook");
        matches!(name.as_str(), "ipt_do_table" | "ip6t_do_table")
            || of_table("iptable_")
            || of_table("ip6table_")
    }
}
