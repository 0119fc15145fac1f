//! A host as the engine runs it: its snapshot, with chains sorted into hooks, routes into tables and
//! sysctls read with the kernel's defaults.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use natpath_model::{
    Backend, ChainId, ChainKind, ChainType, Family, Field, Hook, HookEntry, HookFunction, InterfaceName,
    Item, Link, Match, Priority, Rule, Ruleset, Snapshot, Statement, Table, TableFamily,
};

use crate::conntrack::Settings;
use crate::fib::Fib;
use crate::trace::HostId;

/// Index into [`Snapshot::links`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub usize);

/// A host, ready to take packets.
#[derive(Debug)]
pub struct Host<'a> {
    /// Its number in the network.
    pub id: HostId,
    /// What was recorded of it.
    pub snapshot: &'a Snapshot,
    /// Its routes.
    pub(crate) fib: Fib<'a>,
    /// Its connection tracking sysctls.
    pub(crate) conntrack: Settings,
    hooks: [FamilyHooks; 2],
    registered: Registered,
    loopback: Option<LinkId>,
}

/// When the chains of each table were registered, as far as that is known. Loading rules makes nf_tables
/// register a table anew; a table of iptables-legacy stays as long as its network namespace.
#[derive(Debug, Clone, Default)]
struct Registered {
    /// A number for each table, rising with time; 0 before anything was loaded.
    tables: Vec<u32>,
    /// The same for all tables of iptables-legacy that there have been.
    legacy: BTreeMap<(TableFamily, String), u32>,
}

impl Registered {
    /// The order after other rules were loaded.
    fn after(&self, ruleset: &Ruleset) -> Self {
        let last = self.tables.iter().chain(self.legacy.values()).max().copied().unwrap_or(0);
        let mut legacy = self.legacy.clone();
        let mut number = |(index, table): (u32, &Table)| {
            let new = last + 1 + index;
            match table.backend {
                Backend::IptablesLegacy => *legacy.entry((table.family, table.name.clone())).or_insert(new),
                Backend::Iptables | Backend::Nft => new,
            }
        };
        let tables = (0u32..).zip(&ruleset.tables).map(&mut number).collect();
        Self { tables, legacy }
    }

    /// Whether iptables-legacy has a table for NAT, if only an empty one.
    fn has_nat(&self, family: Family) -> bool {
        self.legacy.keys().any(|(of, name)| of.sees(family) && name == "nat")
    }

    /// The order of a ruleset that was recorded: it is not known.
    fn recorded(ruleset: &Ruleset) -> Self {
        let legacy = ruleset.tables.iter().filter(|table| table.backend == Backend::IptablesLegacy);
        let legacy = legacy.map(|table| ((table.family, table.name.clone()), 0));
        Self { tables: vec![0; ruleset.tables.len()], legacy: legacy.collect() }
    }
}

/// A chain of the ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainAt {
    /// Index of the table.
    pub table: u32,
    /// The chain.
    pub chain: ChainId,
}

/// Something that runs at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Connection tracking.
    Conntrack,
    /// The NAT dispatcher, with all nat chains of the hook.
    Nat,
    /// A base chain that is not of type nat.
    Chain(ChainAt),
    /// Confirmation of the entry.
    Confirm,
}

/// What runs for one family.
#[derive(Debug, Default)]
struct FamilyHooks {
    steps: [Vec<(Priority, Step)>; 5],
    nat: [Vec<(Priority, ChainAt)>; 5],
    /// The hooks for which a listing tells the order of all chains.
    settled: [bool; 5],
    /// Whether connection tracking is on: only while a rule needs it.
    conntrack: bool,
    /// Whether the nat hooks are registered: only while there is a nat chain.
    nat_registered: bool,
}

impl<'a> Host<'a> {
    /// Prepares a host.
    #[must_use]
    pub fn new(id: HostId, snapshot: &'a Snapshot) -> Self {
        Self::with(id, snapshot, Registered::recorded(&snapshot.ruleset))
    }

    /// The host with other rules.
    pub(crate) fn with_rules(&self, snapshot: &'a Snapshot) -> Self {
        Self::with(self.id, snapshot, self.registered.after(&snapshot.ruleset))
    }

    /// The host with other sets.
    pub(crate) fn with_sets(&self, snapshot: &'a Snapshot) -> Self {
        Self::with(self.id, snapshot, self.registered.clone())
    }

    /// Whether connection tracking is on.
    pub(crate) fn tracks(&self, family: Family) -> bool {
        self.hooks[family as usize].conntrack
    }

    fn with(id: HostId, snapshot: &'a Snapshot, registered: Registered) -> Self {
        Self {
            id,
            snapshot,
            fib: Fib::new(snapshot),
            conntrack: Settings::read(&snapshot.sysctls),
            hooks: Family::ALL.map(|family| FamilyHooks::new(snapshot, family, registered.has_nat(family))),
            registered,
            loopback: snapshot.links.iter().position(|link| link.loopback).map(LinkId),
        }
    }

    /// The link with this number.
    #[must_use]
    pub fn link(&self, link: LinkId) -> &'a Link {
        &self.snapshot.links[link.0]
    }

    /// The link of this name.
    #[must_use]
    pub fn link_named(&self, name: InterfaceName) -> Option<LinkId> {
        self.snapshot.links.iter().position(|link| link.name == name).map(LinkId)
    }

    /// Whether a link is a bridge.
    pub(crate) fn is_bridge(&self, link: LinkId) -> bool {
        self.link(link).kind.as_deref() == Some("bridge")
    }

    /// Whether a link is a port of a bridge.
    pub(crate) fn is_port(&self, link: LinkId) -> bool {
        !self.is_bridge(link) && self.bridge_of(link).is_some()
    }

    /// The bridge that a link is or is a port of.
    pub(crate) fn bridge_of(&self, link: LinkId) -> Option<LinkId> {
        if self.is_bridge(link) {
            return Some(link);
        }
        let master = self.link_named(self.link(link).master?)?;
        self.is_bridge(master).then_some(master)
    }

    /// The ports of a bridge.
    pub(crate) fn ports(&self, bridge: LinkId) -> impl Iterator<Item = LinkId> + use<'_, 'a> {
        let name = self.link(bridge).name;
        (0..self.snapshot.links.len()).map(LinkId).filter(move |link| self.link(*link).master == Some(name))
    }

    /// Whether a bridge shows its frames to the hooks of a family (br_netfilter_hooks.c,
    /// `br_nf_pre_routing`).
    pub(crate) fn calls_hooks(&self, family: Family, bridge: LinkId) -> bool {
        let key = match family {
            Family::Ip4 => "net.bridge.bridge-nf-call-iptables",
            Family::Ip6 => "net.bridge.bridge-nf-call-ip6tables",
        };
        // Without the parameter br_netfilter is not loaded.
        self.sysctl(key, 0) != 0 || self.link(bridge).detail.calls[family as usize]
    }

    /// The loopback device; a host without one was recorded without its links.
    #[must_use]
    pub fn loopback(&self) -> Option<LinkId> {
        self.loopback
    }

    /// What runs at a hook, in order. `legacy_first` settles ties between iptables-legacy and nf_tables.
    pub(crate) fn steps(&self, family: Family, hook: Hook, legacy_first: impl FnOnce() -> bool) -> Vec<Step> {
        let hooks = &self.hooks[family as usize];
        let steps = &hooks.steps[hook as usize];
        if hooks.settled[hook as usize] {
            return steps.iter().map(|(_, step)| *step).collect();
        }
        self.in_order(steps, legacy_first, |step| match step {
            Step::Chain(at) => Some(*at),
            Step::Conntrack | Step::Nat | Step::Confirm => None,
        })
    }

    /// The nat chains of a hook, in order.
    pub(crate) fn nat_chains(
        &self,
        family: Family,
        hook: Hook,
        legacy_first: impl FnOnce() -> bool,
    ) -> Vec<ChainAt> {
        self.in_order(&self.hooks[family as usize].nat[hook as usize], legacy_first, |at| Some(*at))
    }

    fn in_order<T: Copy>(
        &self,
        sorted: &[(Priority, T)],
        legacy_first: impl FnOnce() -> bool,
        chain: impl Fn(&T) -> Option<ChainAt>,
    ) -> Vec<T> {
        let mut steps: Vec<_> = sorted.to_vec();
        let legacy = |step: &T| chain(step).map(|at| self.is_legacy(at));
        // The last registered runs first.
        let number = |step: &T| chain(step).map_or(0, |at| self.registered.tables[at.table as usize]);
        steps.sort_by_key(|(priority, step)| (*priority, Reverse(number(step))));
        let tied = steps.windows(2).any(|pair| {
            pair[0].0 == pair[1].0
                && number(&pair[0].1) == number(&pair[1].1)
                && matches!((legacy(&pair[0].1), legacy(&pair[1].1)), (Some(a), Some(b)) if a != b)
        });
        if tied {
            let first = legacy_first();
            let is_later = |step: &T| legacy(step).is_some_and(|is| is != first);
            steps.sort_by_key(|(priority, step)| (*priority, Reverse(number(step)), is_later(step)));
        }
        steps.into_iter().map(|(_, step)| step).collect()
    }

    fn is_legacy(&self, at: ChainAt) -> bool {
        self.snapshot.ruleset.tables[at.table as usize].backend == Backend::IptablesLegacy
    }

    /// `net.ipvX.conf.LINK.KEY` or'ed with `all` (`IN_DEV_ORCONF`).
    pub(crate) fn either(&self, family: Family, link: LinkId, key: &str, default: bool) -> bool {
        let sysctls = &self.snapshot.sysctls;
        let all = sysctls.conf_all(family, key);
        let own = self.own(family, link, key);
        match (all, own) {
            (None, None) => default,
            (all, own) => all.unwrap_or(0) != 0 || own.unwrap_or(0) != 0,
        }
    }

    /// The greater of `net.ipvX.conf.LINK.KEY` and `all` (`IN_DEV_MAXCONF`).
    pub(crate) fn greater(&self, family: Family, link: LinkId, key: &str) -> i64 {
        let all = self.snapshot.sysctls.conf_all(family, key).unwrap_or(0);
        all.max(self.own(family, link, key).unwrap_or(0))
    }

    fn own(&self, family: Family, link: LinkId, key: &str) -> Option<i64> {
        let sysctls = &self.snapshot.sysctls;
        sysctls.conf(family, self.link(link).name, key).or_else(|| sysctls.conf_default(family, key))
    }

    /// Whether packets that came in by this link are forwarded.
    pub(crate) fn forwards(&self, family: Family, link: LinkId) -> bool {
        let sysctls = &self.snapshot.sysctls;
        match family {
            // ip_forward writes all; each link's own value decides (`IN_DEV_FORWARD`).
            Family::Ip4 => sysctls
                .conf(family, self.link(link).name, "forwarding")
                .or_else(|| sysctls.number("net.ipv4.ip_forward"))
                .or_else(|| sysctls.conf_all(family, "forwarding"))
                .is_none_or(|value| value != 0),
            // ip6_forward reads the one for all.
            Family::Ip6 => sysctls.conf_all(family, "forwarding").is_none_or(|value| value != 0),
        }
    }

    /// A number of any sysctl.
    pub(crate) fn sysctl(&self, name: &str, default: i64) -> i64 {
        self.snapshot.sysctls.number(name).unwrap_or(default)
    }

    /// Whether an item was not recorded, so that an answer leans on an assumption about it.
    #[must_use]
    pub fn missing(&self, item: Item) -> bool {
        !self.snapshot.given.has(item)
    }
}

impl FamilyHooks {
    fn new(snapshot: &Snapshot, family: Family, nat_registered: bool) -> Self {
        let conntrack = needs_conntrack(snapshot, family);
        let mut hooks = Self { conntrack, nat_registered, ..Self::default() };
        for (table, tables) in (0u32..).zip(&snapshot.ruleset.tables) {
            if !tables.family.sees(family) {
                continue;
            }
            for (chain, chains) in (0u32..).zip(&tables.chains) {
                let ChainKind::Base { hook, priority, chain_type, .. } = chains.kind else { continue };
                let at = ChainAt { table, chain: ChainId(chain) };
                if chain_type == ChainType::Nat {
                    hooks.nat_registered = true;
                    hooks.nat[hook as usize].push((priority, at));
                } else {
                    hooks.steps[hook as usize].push((priority, Step::Chain(at)));
                }
            }
        }
        hooks.add_own_steps();
        for steps in &mut hooks.steps {
            // Equal priorities: the last registered runs first, and listings follow registration.
            steps.reverse();
            steps.sort_by_key(|(priority, _)| *priority);
        }
        hooks.settle(snapshot, family);
        for chains in &mut hooks.nat {
            chains.reverse();
            chains.sort_by_key(|(priority, _)| *priority);
        }
        hooks
    }

    /// Puts chains of equal priority in the order of `nft list hooks`, where that lists them all. The chains of
    /// type nat are not in it: one function of nf_nat stands for them.
    fn settle(&mut self, snapshot: &Snapshot, family: Family) {
        for hook in Hook::ALL {
            let listed: Vec<_> =
                snapshot.hooks.iter().filter(|entry| (entry.family, entry.hook) == (family, hook)).collect();
            let place = |priority: Priority, at: ChainAt| {
                listed.iter().position(|entry| entry.priority == priority && stands_for(entry, snapshot, at))
            };
            let steps = &mut self.steps[hook as usize];
            let mut placed = Vec::with_capacity(steps.len());
            for (priority, step) in steps.iter() {
                let position = match step {
                    Step::Chain(at) => place(*priority, *at),
                    Step::Conntrack | Step::Nat | Step::Confirm => Some(0),
                };
                placed.extend(position.map(|position| ((*priority, position), (*priority, *step))));
            }
            if listed.is_empty() || placed.len() < steps.len() {
                continue;
            }
            placed.sort_by_key(|(key, _)| *key);
            *steps = placed.into_iter().map(|(_, step)| step).collect();
            self.settled[hook as usize] = true;
        }
    }

    fn add_own_steps(&mut self) {
        for hook in Hook::ALL {
            let steps = &mut self.steps[hook as usize];
            if self.conntrack {
                match hook {
                    Hook::Prerouting | Hook::Output => steps.push((Priority::CONNTRACK, Step::Conntrack)),
                    Hook::Input | Hook::Postrouting => steps.push((Priority::CONFIRM, Step::Confirm)),
                    Hook::Forward => {}
                }
            }
            if self.nat_registered {
                match hook.manip() {
                    Some(natpath_model::Manip::Dst) => steps.push((Priority::NAT_DST, Step::Nat)),
                    Some(natpath_model::Manip::Src) => steps.push((Priority::NAT_SRC, Step::Nat)),
                    None => {}
                }
            }
        }
    }
}

/// Whether an entry of a hook's listing is this chain.
fn stands_for(entry: &HookEntry, snapshot: &Snapshot, at: ChainAt) -> bool {
    let of = &snapshot.ruleset.tables[at.table as usize];
    match &entry.function {
        HookFunction::Kernel(_) => of.backend == Backend::IptablesLegacy && entry.is_legacy_table(),
        HookFunction::Chain { family, table, chain } => {
            of.backend != Backend::IptablesLegacy
                && (*family, table) == (of.family, &of.name)
                && *chain == of.chains[at.chain.0 as usize].name
        }
    }
}

/// Whether any rule of the family, referenced or not, makes the kernel track connections
/// (`nf_ct_netns_get` in the check functions of matches and targets).
fn needs_conntrack(snapshot: &Snapshot, family: Family) -> bool {
    let tables = snapshot.ruleset.tables.iter().filter(|table| table.family.sees(family));
    tables.flat_map(|table| &table.chains).flat_map(|chain| &chain.rules).any(rule_needs_conntrack)
}

fn rule_needs_conntrack(rule: &Rule) -> bool {
    rule.matches.iter().any(match_needs_conntrack) || rule.statements.iter().any(statement_needs_conntrack)
}

fn match_needs_conntrack(condition: &Match) -> bool {
    match condition {
        Match::Is(test) => is_of_conntrack(test.expr.field()),
        Match::AnyOf { tests, .. } => tests.iter().any(|test| is_of_conntrack(test.expr.field())),
        Match::Xt(condition) => condition.needs_conntrack(),
        Match::Opaque(opaque) => opaque.construct == "-m connlabel",
        Match::Chance { .. } | Match::Nth { .. } => false,
    }
}

fn is_of_conntrack(field: Field) -> bool {
    matches!(
        field,
        Field::ConnMark
            | Field::CtState
            | Field::CtStatus
            | Field::CtAddress(..)
            | Field::CtPort(..)
            | Field::CtProtocol
            | Field::CtDirection
            | Field::CtExpires
    )
}

fn statement_needs_conntrack(statement: &Statement) -> bool {
    match statement {
        Statement::Nat(_) | Statement::Connmark(_) | Statement::Ct(_) => true,
        Statement::Opaque(opaque) => ["-j CONNSECMARK", "-j SYNPROXY"].contains(&opaque.construct.as_str()),
        Statement::Verdict(_)
        | Statement::Reject(_)
        | Statement::Log { .. }
        | Statement::Mark { .. }
        | Statement::Notrack
        | Statement::Tos { .. }
        | Statement::Ttl(_)
        | Statement::Set(_)
        | Statement::Tproxy(_)
        | Statement::Inert { .. } => false,
    }
}
