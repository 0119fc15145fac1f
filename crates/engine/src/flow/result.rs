//! What a run leaves behind, in the terms of an answer.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use natpath_model::{Direction, Port};

use super::FlowRun;
use crate::packet::{TcpFlags, Transport, icmp};
use crate::run::{Journey, Run, State};
use crate::trace::{Broken, Drawn, End, Entry, Header, HostId, IcmpError, Outcome, PathResult, Place, Reply};
use crate::world::World;

/// What is known of a flow at the end of its run.
pub(super) struct Facts {
    /// What was to be sent.
    pub(super) sent: Header,
    /// The journey of the first answer.
    pub(super) reply: Option<usize>,
    pub(super) works: bool,
    pub(super) broken: Option<Broken>,
    /// The number of entries that were confirmed before the run.
    pub(super) sequence: u64,
}

/// Ends a run.
pub(super) fn conclude(run: Run<'_, '_>, facts: Facts) -> FlowRun {
    let world = run.world;
    let unrecorded = run.unrecorded();
    let (state, env, journeys) = run.into_state();
    let reply = facts.reply;
    let mut result = PathResult {
        end: ended(&journeys[0]),
        reply: reply.map(|index| reply_of(&journeys[index])),
        works: facts.works,
        broken: facts.broken,
        conntrack: new_entries(world, &state, facts.sequence),
        drawn: BTreeMap::new(),
    };
    result.drawn = drawn_in(&result, &env.drawn);
    FlowRun { sent: facts.sent, result, journeys, reply, state, env, unrecorded }
}

/// The journey of the first answer to the first packet.
pub(super) fn first_answer(journeys: &[Journey]) -> Option<usize> {
    journeys.iter().position(|journey| journey.cause == Some(0) && !is_redirect(journey))
}

/// The end of a journey; one that the bound on events cut short never came to one.
pub(super) fn ended(journey: &Journey) -> End {
    journey.end.clone().unwrap_or_else(|| End {
        outcome: Outcome::Undecided,
        why: None,
        rule: None,
        at: crate::trace::At {
            host: journey.hops.last().map_or(Place::Host(HostId(0)), |hop| hop.host),
            interface: None,
        },
        header: journey.packet.header(),
    })
}

fn is_redirect(journey: &Journey) -> bool {
    journey.packet.icmp() == Some(icmp::redirect(journey.packet.family()))
}

fn reply_of(journey: &Journey) -> Reply {
    let mut end = ended(journey);
    // The sender's host took it, whether or not a socket was there for it.
    if end.outcome == Outcome::NoListener {
        end.outcome = Outcome::Delivered;
    }
    let packet = &journey.packet;
    let icmp = match packet.transport {
        Transport::Error { kind, code, quoted, .. } => {
            Some(IcmpError { kind, code, from: packet.src, about: quoted.tuple.into() })
        }
        _ => None,
    };
    let reset = packet.tcp_flags().is_some_and(|flags| flags.has(TcpFlags::RST));
    Reply { end, icmp, reset }
}

/// The entries that were confirmed during the flow and still live, in the order of the path.
fn new_entries(world: &World<'_>, state: &State, sequence: u64) -> Vec<Entry> {
    let mut entries: Vec<(u64, Entry)> = Vec::new();
    for host in &world.hosts {
        for (_, entry) in state.hosts[host.id.0 as usize].conntrack.confirmed() {
            if entry.sequence > sequence {
                entries.push((
                    entry.sequence,
                    Entry {
                        host: host.id,
                        zone: entry.zone,
                        zone_direction: entry.zone_direction,
                        original: *entry.tuple(Direction::Original),
                        reply: *entry.tuple(Direction::Reply),
                        status: entry.status,
                        mark: entry.mark,
                    },
                ));
            }
        }
    }
    entries.sort_by_key(|(sequence, _)| *sequence);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// The drawn ports by number.
pub(crate) fn all_drawn(drawn: &[Drawn]) -> BTreeMap<NonZeroU16, Drawn> {
    (1u16..).filter_map(NonZeroU16::new).zip(drawn.iter().copied()).collect()
}

/// The intervals of the drawn ports that a result names.
fn drawn_in(result: &PathResult, drawn: &[Drawn]) -> BTreeMap<NonZeroU16, Drawn> {
    let mut ports: Vec<Port> = Vec::new();
    let mut header = |header: &Header| ports.extend([header.src.port, header.dst.port]);
    header(&result.end.header);
    if let Some(reply) = &result.reply {
        header(&reply.end.header);
        if let Some(icmp) = &reply.icmp {
            header(&icmp.about);
        }
    }
    if let Some(broken) = &result.broken {
        header(&broken.end.header);
    }
    for entry in &result.conntrack {
        header(&entry.original.into());
        header(&entry.reply.into());
    }
    ports
        .into_iter()
        .filter_map(|port| port.drawn)
        .filter_map(|number| Some((number, *drawn.get(usize::from(number.get()) - 1)?)))
        .collect()
}
