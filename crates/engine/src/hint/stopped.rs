//! A rule or policy that stops a packet which no rule translates, and what would let it pass. Table raw, and
//! mangle's PREROUTING, come before all the chains in which users allow things.

use natpath_model::{Backend, ChainKind, Direction, Hook, Manip, RuleRef, Status};

use crate::chain::ChainVerdict;
use crate::conntrack::{ConntrackEntry, CtInfo, Tracked};
use crate::finding::{Evidence, rule_text};
use crate::host::ChainAt;
use crate::packet::{Packet, TcpFlags, Transport, icmp};
use crate::pass::Pass;
use crate::skb::Skb;
use crate::trace::{ChainEnd, Effect, Header, Hint, Hop, HostId, Outcome, Step, Why};

/// The chain in which Docker's users are to put their rules.
const DOCKER_USER: &str = "DOCKER-USER";

pub(super) fn find(evidence: &Evidence<'_, '_>) -> Option<Hint> {
    let end = &evidence.run.result.end;
    let stopped = match end.outcome {
        Outcome::Dropped | Outcome::Rejected => matches!(end.why, Some(Why::Rule | Why::Policy)),
        Outcome::LocalError => end.why == Some(Why::Errno("EPERM")),
        _ => false,
    };
    // What TPROXY drops for want of a socket is to get to the proxy, and not past it.
    let lacks_proxy = |hop: &Hop| {
        hop.steps.iter().any(|step| matches!(step, Step::Rule { effect: Effect::NoProxy(_), .. }))
    };
    if evidence.hops().last().is_some_and(|(_, hop)| lacks_proxy(hop)) {
        return None;
    }
    let (host, hook, table, chain, chain_end) = evidence.last_chain().filter(|_| stopped)?;
    let ruleset = &evidence.world.host(host).snapshot.ruleset;
    let (name, chain_name) = (evidence.table(host, table), hook.chain_name());
    let (rule, at, by) = match chain_end {
        ChainEnd::Rule(rule) => (Some(rule), rule, evidence.place(host, rule)),
        ChainEnd::PolicyDrop => {
            let first = RuleRef { table, chain, rule: 0 };
            (None, first, format!("the policy of {name} {chain_name}"))
        }
        ChainEnd::PolicyAccept => return None,
    };
    let early = hook == Hook::Prerouting && ruleset.tables[table as usize].backend != Backend::Nft;
    let headline = match rule {
        Some(_) if early => {
            let has_user = ruleset.tables.iter().any(|table| table.chain_id(DOCKER_USER).is_some());
            let allowed = if has_user { "DOCKER-USER and other chains" } else { "the rules there" };
            format!(
                "{by} drops it in table {name}, which comes before nat and filter: what {allowed} allow is not asked"
            )
        }
        Some(rule) => {
            let does = if end.outcome == Outcome::Rejected { "rejects" } else { "drops" };
            format!("{by} {does} it in {name} {}", called_by(evidence, rule, hook))
        }
        None => format!("no rule of {name} {chain_name} accepts it, and the policy is DROP"),
    };
    let header = &end.header;
    let request = rule_text::conditions(header, &[Manip::Src, Manip::Dst], Some(Manip::Dst));
    let mut commands = vec![evidence.command(host, at, "-I", &format!("{request} -j ACCEPT"))?];
    // A chain of nat is asked for the first packet alone.
    let is_asked = ruleset.tables[table as usize].name != "nat";
    if is_asked && !answer_passes(evidence, host, hook, ChainAt { table, chain }) {
        let back = Header { protocol: header.protocol, src: header.dst, dst: header.src };
        let answer = rule_text::conditions(&back, &[Manip::Src, Manip::Dst], Some(Manip::Src));
        let below = RuleRef { rule: at.rule + 1, ..at };
        commands.extend(evidence.command(host, below, "-I", &format!("{answer} -j ACCEPT")));
    }
    Some(Hint {
        host,
        headline,
        help: "accept it there, if it is to pass".to_owned(),
        rules: rule.into_iter().collect(),
        fix: Some(commands.join("\n")),
    })
}

/// Whether the chain that stopped a packet would let its answer pass; those of INPUT and OUTPUT are not asked.
fn answer_passes(evidence: &Evidence<'_, '_>, host: HostId, hook: Hook, chain: ChainAt) -> bool {
    if matches!(hook, Hook::Input | Hook::Output) {
        return true;
    }
    let world_host = evidence.world.host(host);
    let packet = evidence.first().packet;
    let entry = packet.tuple().and_then(|tuple| ConntrackEntry::untranslated(tuple, evidence.run.env.now));
    let (Some(back), Some(mut entry)) = (answer_to(&packet), entry) else { return true };
    let mut state = evidence.run.state.hosts[host.0 as usize].clone();
    entry.status.set(Status::SEEN_REPLY);
    let id = state.conntrack.insert_unconfirmed(entry);
    let mut env = evidence.run.env.without_notes();
    let mut unwatched = ();
    let link = |name| world_host.link_named(name);
    let came_by = evidence.hops().last().and_then(|(_, hop)| link(hop.in_interface?));
    let mut skb = Skb::new(back);
    skb.tracked = Tracked::Entry { id, direction: Direction::Reply, info: CtInfo::Established };
    skb.in_link = world_host.way_to(packet.dst, 0).map(|(link, _)| link);
    skb.out_link = came_by.filter(|_| hook != Hook::Prerouting);
    let mut pass = Pass::new(world_host, &mut state, &mut env, &mut unwatched);
    pass.run_chain(hook, chain, &mut skb) == ChainVerdict::Accept
}

/// The first answer to a packet.
fn answer_to(packet: &Packet) -> Option<Packet> {
    let transport = match packet.transport {
        Transport::Tcp { src, dst, numbers, .. } => {
            Transport::Tcp { src: dst, dst: src, flags: TcpFlags::SYN.with(TcpFlags::ACK), numbers }
        }
        Transport::Ports { protocol, src, dst } => Transport::Ports { protocol, src: dst, dst: src },
        Transport::Query { id, code, .. } => {
            Transport::Query { kind: icmp::echo_reply(packet.family()), code, id }
        }
        Transport::Error { .. } | Transport::Other(_) => return None,
    };
    Some(Packet::new(packet.dst, packet.src, transport))
}

/// The chain of a rule, with the base chain it was called from.
fn called_by(evidence: &Evidence<'_, '_>, rule: RuleRef, hook: Hook) -> String {
    let Some((host, ..)) = evidence.last_chain() else { return hook.chain_name().to_owned() };
    let chain = evidence.world.host(host).snapshot.ruleset.chain(rule.table, rule.chain);
    match chain.kind {
        ChainKind::Base { .. } => hook.chain_name().to_owned(),
        ChainKind::Regular => format!("{} → {}", hook.chain_name(), chain.name),
    }
}
