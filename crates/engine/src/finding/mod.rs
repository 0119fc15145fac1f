//! Faults that show on a traced path, one file a code. Each looks at what the run left: hops and steps, how
//! the packets ended, and the nat rules that were meant for a packet but not tried.

mod dead_dnat;
mod evidence;
mod forward_dropped;
mod localnet;
mod nat_loop;
mod no_backend;
mod not_for_local;
mod not_masqueraded;
mod reply_bypasses;
mod rp_filter;
pub(crate) mod rule_text;
mod stale_conntrack;
mod taken;
mod untracked;
mod virtual_target;

use std::net::IpAddr;

use natpath_model::{InterfaceName, Manip, Rule, Statement, Verdict};

pub(crate) use self::evidence::Evidence;
use self::evidence::Translation;
use crate::trace::{Finding, Header, Outcome, PathResult};

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
    found.extend(no_backend::find(evidence));
    found.extend(taken::find(evidence));
    found.extend(stale_conntrack::find(evidence));
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

/// Whether a rule lets packets pass or stops them; `None` for one that does neither.
pub(crate) fn passes(rule: &Rule) -> Option<bool> {
    rule.statements.iter().find_map(|statement| match statement {
        Statement::Verdict(Verdict::Accept) => Some(true),
        Statement::Verdict(Verdict::Drop) | Statement::Reject(_) => Some(false),
        _ => None,
    })
}

/// An address with its port, where the protocol has one.
pub(crate) fn shown(header: &Header, manip: Manip) -> String {
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
