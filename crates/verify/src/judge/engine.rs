//! Asks the engine, and puts its paths in the form of what can be seen.

use anyhow::{Context, Result};
use natpath_engine::trace::{
    Closing, FlowTrace, Header, HostId, IcmpError, Outcome, Path, Place, Reply, StateChange,
    Step as TraceStep, Why,
};
use natpath_engine::{EntryPattern, History, Session, wire};
use natpath_formats::flows::FlowAction;
use natpath_formats::snapshot::Loaded;
use natpath_model::{Family, Hook, Network, Protocol, RouteType, Snapshot, TableFamily};

use crate::kernel::rules::{Counters, RulePlace};
use crate::observe::{Arrival, Back, Observation, SeenChange, SeenClosing, SeenEntry, state_name};
use crate::scenario::{Action, Scenario};
use crate::traffic::datagram;

/// What the engine says of a scenario.
#[derive(Debug)]
pub struct EngineRun<'a> {
    /// The trace of each step; `None` for a step that shows nothing.
    pub traces: Vec<Option<FlowTrace>>,
    /// For each step that ends a connection, what may become of that.
    pub closings: Vec<Option<Vec<Closing>>>,
    session: Session<'a>,
    hosts: Vec<&'a Snapshot>,
}

/// Sends the scenario's flows through the engine.
///
/// # Errors
/// If it can't say where a flow starts.
pub fn run(scenario: &Scenario) -> Result<EngineRun<'_>> {
    play(scenario, |_, _, _| {})
}

/// The same, told after each step what the kernel did: of what chance decided, only that remains. So the number
/// of histories stays small however many steps there are.
///
/// # Errors
/// If it can't say where a flow starts.
pub fn run_along<'a>(scenario: &'a Scenario, seen: &[Option<Observation>]) -> Result<EngineRun<'a>> {
    play(scenario, |session, step, trace| {
        let Some(seen) = seen.get(step).and_then(Option::as_ref) else { return };
        let action = &scenario.steps[step].action;
        let is_seen = |path: &&Path| {
            let observed = observation(&scenario.network, trace, path, action);
            observed.is_seen_as(seen, &path.result.drawn)
        };
        if let Some(path) = trace.paths.iter().find(is_seen) {
            session.given(&path.id);
        }
    })
}

/// Sends the flows, and has something done after each.
fn play<'a>(
    scenario: &'a Scenario,
    mut after: impl FnMut(&mut Session<'a>, usize, &FlowTrace),
) -> Result<EngineRun<'a>> {
    let session = Session::new(&scenario.network);
    let hosts = scenario.last_hosts().collect();
    let mut run = EngineRun { traces: Vec::new(), closings: Vec::new(), session, hosts };
    for (index, step) in scenario.steps.iter().enumerate() {
        let said = act(&mut run.session, scenario.loads.get(&index), &step.action)
            .with_context(|| format!("{}:{}: {}", scenario.file, step.line, step.text))?;
        if let Some(trace) = &said.0 {
            after(&mut run.session, index, trace);
        }
        run.traces.push(said.0);
        run.closings.push(said.1);
    }
    Ok(run)
}

/// What the engine says of a step: of a flow, or of the end of a connection.
type Said = (Option<FlowTrace>, Option<Vec<Closing>>);

fn act<'a>(session: &mut Session<'a>, loaded: Option<&'a Loaded>, action: &Action) -> Result<Said> {
    let action = match action {
        Action::Packet(step) => {
            let packet = wire::parse(&datagram(step))?;
            return Ok((Some(session.inject(&step.host, step.interface, packet)?), None));
        }
        Action::Flow(action) => action,
    };
    match action {
        FlowAction::Flow(flow) => return Ok((Some(session.trace(flow)?), None)),
        FlowAction::More { id, side } => return Ok((Some(session.more(id, *side)?), None)),
        FlowAction::Close { id, how } => return Ok((None, Some(session.close(id, *how)?))),
        FlowAction::Wait(time) => session.wait(*time),
        FlowAction::Load { .. } => {
            let Loaded { host, has_rules } = loaded.context("the rules to load were not read")?;
            if *has_rules { session.load(host).map(drop)? } else { session.load_sets(host)? }
        }
        FlowAction::Forget { host, protocol, src, dst } => {
            session.forget(host, &EntryPattern { protocol: *protocol, src: *src, dst: *dst })?;
        }
    }
    Ok((None, None))
}

/// What would be seen of the end of a connection.
#[must_use]
pub fn seen_closing(network: &Network, closing: &Closing) -> SeenClosing {
    let change = |change: &StateChange| SeenChange {
        host: name(network, Place::Host(change.host)),
        original: change.original,
        from: state_name(change.from),
        to: change.to.map(|(state, _)| state_name(state)),
    };
    let mut changes: Vec<SeenChange> = closing.changes.iter().map(change).collect();
    changes.sort();
    SeenClosing { open: closing.open, arrived: closing.open && closing.arrived, changes }
}

impl EngineRun<'_> {
    /// The counters of each host's rules in each history that goes with the chosen paths, one id or none
    /// for each trace.
    #[must_use]
    pub fn counters(&self, chosen: &[Option<String>]) -> Vec<Vec<Counters>> {
        let fits = |history: &&History| {
            history.paths.iter().zip(chosen).all(|(taken, chosen)| match (taken, chosen) {
                (Some(taken), Some(chosen)) => taken == chosen,
                _ => true,
            })
        };
        let hosts = || (0..).map(HostId).zip(self.hosts.iter().copied());
        let of_history = |history: &History| hosts().map(|(id, host)| counters(history, id, host)).collect();
        self.session.histories().filter(fits).map(of_history).collect()
    }
}

/// Each rule's counter, under the same name as the kernel's.
fn counters(history: &History, id: HostId, host: &Snapshot) -> Counters {
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
            (place, (history.counted(id, at), host.text(&rule.origin).to_owned()))
        })
        .collect()
}

/// What would be seen of a step that took this path.
#[must_use]
pub fn observation(network: &Network, trace: &FlowTrace, path: &Path, action: &Action) -> Observation {
    let result = &path.result;
    let end = &result.end;
    let is_flow = matches!(action, Action::Flow(_));
    // The ears hear what the stack then discards for its checksum.
    let discarded = matches!(action, Action::Packet(packet) if packet.bad_checksum)
        && (end.outcome, end.why) == (Outcome::Dropped, Some(Why::Invalid));
    let taken = matches!(end.outcome, Outcome::Delivered | Outcome::NoListener);
    let arrived = (taken || discarded).then(|| Arrival {
        host: name(network, end.at.host),
        header: end.header,
        listening: is_flow.then_some(end.outcome == Outcome::Delivered),
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
    let works = is_flow.then_some(result.works);
    Observation { arrived, back: back(network, trace.sent, path, is_flow), works, entries }
}

fn back(network: &Network, sent: Header, path: &Path, is_flow: bool) -> Option<Back> {
    let end = &path.result.end;
    if let (Outcome::LocalError, Some(Why::Errno(name))) = (end.outcome, end.why) {
        return Some(Back::Errno(name.to_owned()));
    }
    if let Some(reply) = &path.result.reply
        && let Some(heard) = heard(network, reply)
    {
        return Some(heard);
    }
    // A lone packet has no socket that could hear of it.
    if path.hops.len() > 1 || !is_flow {
        return None;
    }
    let is_tcp = sent.protocol == Protocol::TCP;
    let errno = match (end.outcome, end.why) {
        // What fails after OUTPUT, connect() does not hear of.
        (Outcome::NoRoute, _) if is_tcp && was_in_output(path) => return None,
        (Outcome::NoRoute, _) => match last_route(path) {
            Some(RouteType::Unreachable) => "EHOSTUNREACH",
            _ => "ENETUNREACH",
        },
        // A hook that drops what a socket sends fails the call; connect() does not hear of its SYN's fate.
        (Outcome::Rejected, Some(Why::Rule | Why::Policy)) if !is_tcp && end.at.interface.is_none() => {
            "EPERM"
        }
        _ => return None,
    };
    Some(Back::Errno(errno.to_owned()))
}

/// Whether rules of OUTPUT have seen the packet.
fn was_in_output(path: &Path) -> bool {
    let mut steps = path.hops.iter().flat_map(|hop| &hop.steps);
    steps.any(|step| matches!(step, TraceStep::Chain { hook: Hook::Output, .. }))
}

/// The kind of the last route that the packet was given.
fn last_route(path: &Path) -> Option<RouteType> {
    let mut routes = path.hops.iter().flat_map(|hop| &hop.steps).filter_map(|step| match step {
        TraceStep::Route(route) => route.found.as_ref().map(|found| found.kind),
        _ => None,
    });
    routes.next_back()
}

fn heard(network: &Network, reply: &Reply) -> Option<Back> {
    if !matches!(reply.end.outcome, Outcome::Delivered | Outcome::NoListener) {
        return None;
    }
    let (host, header) = (name(network, reply.end.at.host), reply.end.header);
    Some(match reply.icmp {
        // The sender's own stack speaks to it.
        Some(IcmpError { kind, code, .. })
            if matches!((kind, code), (3, 1) | (1, 3)) && header.src.address == header.dst.address =>
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
