//! Faults that show on a traced path, one file a code. Each looks at what the run left: hops and steps, how
//! the packets ended, and the nat rules that were meant for a packet but not tried.

mod dead_dnat;
mod forward_dropped;
mod localnet;
mod nat_loop;
mod not_for_local;
mod not_masqueraded;
mod reply_bypasses;
mod rp_filter;
mod stale_conntrack;
mod untracked;
mod virtual_target;

use std::net::IpAddr;

use natpath_model::{Backend, Hook, InterfaceName, Manip, RuleRef, TableFamily};

use crate::flow::FlowRun;
use crate::nat::Unreached;
use crate::run::{Journey, Sender};
use crate::trace::{Effect, Finding, Header, Hop, HostId, Outcome, PathResult, Place, Step};
use crate::world::World;

/// What a finder looks at.
pub(crate) struct Evidence<'e, 'a> {
    pub(crate) world: &'e World<'a>,
    pub(crate) sender: Sender,
    pub(crate) run: &'e FlowRun,
    /// Whether it is a flow that begins, not more on a connection, which keeps its translation for good.
    pub(crate) is_new: bool,
}

/// All faults of a path, in the order of the contract's table.
pub(crate) fn find(evidence: &Evidence<'_, '_>) -> Vec<Finding> {
    let mut found = dead_dnat::find(evidence);
    if found.is_empty() {
        found.extend(virtual_target::find(evidence));
    }
    found.extend(not_masqueraded::find(evidence));
    found.extend(reply_bypasses::find(evidence));
    found.extend(forward_dropped::find(evidence));
    found.extend(localnet::find(evidence));
    found.extend(rp_filter::find(evidence));
    found.extend(nat_loop::find(evidence));
    if evidence.is_new {
        found.extend(stale_conntrack::find(evidence));
    }
    found.extend(untracked::find(evidence));
    found.extend(not_for_local::find(evidence));
    found
}

/// Whether a fault makes the assumption of an answering outside absurd.
pub(crate) fn unmakes(result: &PathResult, findings: &[Finding]) -> bool {
    result.end.outcome == Outcome::Left
        && findings
            .iter()
            .any(|finding| matches!(finding.code, "dead-dnat" | "virtual-target" | "not-masqueraded"))
}

/// A translation that a rule set up on a recorded host.
pub(crate) struct Translation {
    pub(crate) host: HostId,
    pub(crate) hook: Hook,
    pub(crate) rule: RuleRef,
    pub(crate) after: Header,
}

impl<'e, 'a> Evidence<'e, 'a> {
    /// The first packet's journey.
    fn first(&self) -> &'e Journey {
        &self.run.journeys[0]
    }

    /// The hops of the first packet on recorded hosts.
    fn hops(&self) -> impl Iterator<Item = (HostId, &'e Hop)> {
        recorded(&self.first().hops)
    }

    /// The translations of one side that rules set up for the first packet, in order.
    fn translations(&self, manip: Manip) -> Vec<Translation> {
        let mut found = Vec::new();
        for (host, hop) in self.hops() {
            for step in &hop.steps {
                if let Step::Rule { hook, rule, effect, after, .. } = step
                    && is_nat(*effect)
                    && hook.manip() == Some(manip)
                {
                    let (hook, rule, after) = (*hook, *rule, *after);
                    found.push(Translation { host, hook, rule, after });
                }
            }
        }
        found
    }

    /// Whether the host translated the packet after all when it came by again, as a connection of its own.
    fn translated_again(&self, unreached: &Unreached) -> bool {
        self.hops().filter(|(at, _)| *at == unreached.host).flat_map(|(_, hop)| &hop.steps).any(|step| {
            matches!(step, Step::Rule { hook, effect, before, .. }
                if is_nat(*effect) && hook.manip() == Some(Manip::Dst) && before.dst == unreached.at.dst)
        })
    }

    fn name(&self, host: HostId) -> &'a str {
        &self.world.host(host).snapshot.name
    }

    /// How a reader finds a rule: `iptables-save:12`.
    fn place(&self, host: HostId, rule: RuleRef) -> String {
        let snapshot = self.world.host(host).snapshot;
        let origin = &snapshot.ruleset.rule(rule).origin;
        let file = snapshot.files.get(usize::from(origin.file.0));
        format!("{}:{}", file.map_or("?", |file| file.name.as_str()), origin.line)
    }

    /// A rule's own text.
    fn text(&self, host: HostId, rule: RuleRef) -> &'a str {
        let snapshot = self.world.host(host).snapshot;
        snapshot.text(&snapshot.ruleset.rule(rule).origin)
    }

    /// The program that changes a table's rules.
    fn program(&self, host: HostId, table: u32) -> String {
        let table = &self.world.host(host).snapshot.ruleset.tables[table as usize];
        let program = if table.family == TableFamily::Ip6 { "ip6tables" } else { "iptables" };
        let variant = if table.backend == Backend::IptablesLegacy { "-legacy" } else { "" };
        format!("{program}{variant}")
    }
}

/// The hops on recorded hosts.
fn recorded(hops: &[Hop]) -> impl Iterator<Item = (HostId, &Hop)> {
    hops.iter().filter_map(|hop| match hop.host {
        Place::Host(id) => Some((id, hop)),
        Place::Assumed(_) => None,
    })
}

fn is_nat(effect: Effect) -> bool {
    matches!(effect, Effect::Dnat | Effect::Snat | Effect::Masquerade | Effect::Redirect | Effect::Netmap)
}

/// An address with its port, where the protocol has one.
fn shown(header: &Header, manip: Manip) -> String {
    let end = match manip {
        Manip::Src => header.src,
        Manip::Dst => header.dst,
    };
    if header.protocol.has_ports() { end.to_string() } else { end.address.to_string() }
}

/// Whether an address is for private use: it can't be reached from outside
/// (RFC 1918, 6598, 3927, 4193, 4291).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

/// ` on eth0`, where an interface is known.
fn on(interface: Option<InterfaceName>) -> String {
    interface.map_or_else(String::new, |interface| format!(" on {interface}"))
}
