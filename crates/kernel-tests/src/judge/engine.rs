//! Asks the engine, and puts its paths in the form of what can be seen.

use anyhow::{Context, Result, bail};
use natpath_engine::Session;
use natpath_engine::trace::{FlowTrace, Header, HostId, IcmpError, Outcome, Path, Place, Reply, Why};
use natpath_formats::flows::FlowAction;
use natpath_model::{Counter, Family, Network, Snapshot, TableFamily};

use crate::kernel::rules::{Counters, RulePlace};
use crate::observe::{Arrival, Back, Observation, SeenEntry};
use crate::scenario::{Action, Scenario};

/// What the engine says of a scenario.
#[derive(Debug)]
pub struct EngineRun {
    /// The trace of each step; `None` for a step that the engine does not play.
    pub traces: Vec<Option<FlowTrace>>,
    /// The counters of each host's rules, in the most probable history.
    pub counters: Vec<Counters>,
}

/// Sends the scenario's flows through the engine.
///
/// # Errors
/// If it can't say where a flow starts.
pub fn run(scenario: &Scenario) -> Result<EngineRun> {
    let network = &scenario.network;
    let mut session = Session::new(network);
    let mut traces = Vec::new();
    for step in &scenario.steps {
        traces.push(match &step.action {
            Action::Flow(FlowAction::Flow(flow)) => Some(
                session
                    .trace(flow)
                    .with_context(|| format!("{}:{}: {}", scenario.file, step.line, step.text))?,
            ),
            Action::Flow(FlowAction::Wait(_)) | Action::Packet(_) => None,
            Action::Flow(_) => bail!("{}:{}: this line is not played", scenario.file, step.line),
        });
    }
    let counters = (0..).zip(&network.hosts).map(|(id, host)| counters(&session, HostId(id), host)).collect();
    Ok(EngineRun { traces, counters })
}

/// Each rule's counter, under the same name as the kernel's.
fn counters(session: &Session<'_>, id: HostId, host: &Snapshot) -> Counters {
    host.ruleset
        .rules()
        .map(|(at, rule)| {
            let table = &host.ruleset.tables[at.table as usize];
            let place = RulePlace {
                backend: table.backend,
                family: if table.family == TableFamily::Ip6 { Family::Ip6 } else { Family::Ip4 },
                table: table.name.clone(),
                chain: host.ruleset.chain(at.table, at.chain).name.clone(),
                number: at.rule as usize + 1,
            };
            let counter: Counter = session.counted(id, at);
            (place, (counter, host.text(&rule.origin).to_owned()))
        })
        .collect()
}

/// What would be seen of a flow that took this path.
#[must_use]
pub fn observation(network: &Network, trace: &FlowTrace, path: &Path) -> Observation {
    let result = &path.result;
    let end = &result.end;
    let arrived = matches!(end.outcome, Outcome::Delivered | Outcome::NoListener).then(|| Arrival {
        host: name(network, end.at.host),
        header: end.header,
        listening: end.outcome == Outcome::Delivered,
    });
    let mut entries: Vec<SeenEntry> = result
        .conntrack
        .iter()
        .map(|entry| {
            SeenEntry::new(
                &name(network, Place::Host(entry.host)),
                (entry.zone.0, entry.zone_direction),
                (entry.original, entry.reply),
                entry.status,
                entry.mark,
            )
        })
        .collect();
    entries.sort();
    Observation { arrived, back: back(network, trace.sent, path), works: Some(result.works), entries }
}

fn back(network: &Network, sent: Header, path: &Path) -> Option<Back> {
    let end = &path.result.end;
    let at_sender = path.hops.len() <= 1;
    if let Some(reply) = &path.result.reply {
        return heard(network, sent, path, reply);
    }
    match (end.outcome, end.why) {
        (Outcome::LocalError, Some(Why::Errno(name))) => Some(Back::Errno(name.to_owned())),
        (Outcome::NoRoute, _) if at_sender => Some(Back::Errno("ENETUNREACH".to_owned())),
        (Outcome::NoNeighbor, _) if at_sender => Some(Back::Errno("EHOSTUNREACH".to_owned())),
        _ => None,
    }
}

fn heard(network: &Network, sent: Header, path: &Path, reply: &Reply) -> Option<Back> {
    if !matches!(reply.end.outcome, Outcome::Delivered | Outcome::NoListener) {
        return None;
    }
    let (host, header) = (name(network, reply.end.at.host), reply.end.header);
    Some(match reply.icmp {
        // The sender's own stack speaks to it.
        Some(IcmpError { from, .. })
            if path.result.end.outcome == Outcome::NoNeighbor && from == sent.src.address =>
        {
            Back::Errno("EHOSTUNREACH".to_owned())
        }
        Some(IcmpError { kind, code, from, about }) => Back::Icmp { host, kind, code, from, about },
        None if reply.reset => Back::Reset { host, header },
        None => Back::Answer { host, header },
    })
}

fn name(network: &Network, place: Place) -> String {
    match place {
        Place::Host(id) => network.hosts[id.0 as usize].name.clone(),
        Place::Assumed(address) => address.to_string(),
    }
}
