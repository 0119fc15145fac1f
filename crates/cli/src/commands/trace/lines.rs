//! Plays the lines of a flows file one after the other over one state.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use natpath_engine::trace::{Closing, Drawn, FlowTrace, Outcome, Place, StateChange};
use natpath_engine::{EntryPattern, FlowError, Session, Switched};
use natpath_formats::flows::{FlowAction, FlowLine};
use natpath_model::flow::Side;
use natpath_model::{Endpoint, Family, Flow, Network, Snapshot, TcpState, Tuple};

use super::loads::Load;
use super::name_of;
use crate::render::text::words::{count, ended, listed};
use crate::render::view::{Between, Traced};

/// All that was traced.
pub(super) struct Told<'a> {
    pub(super) traces: Vec<Traced<'a>>,
    /// What happened after the last flow.
    pub(super) last: Vec<Between>,
}

/// What a line gave.
enum Gave {
    Flow(Box<Flow>, Option<Side>, FlowTrace),
    Remarks(Vec<String>),
}

/// Plays all lines.
pub(super) fn play<'a>(
    network: &'a Network,
    lines: Vec<FlowLine>,
    loads: &'a BTreeMap<u32, Load>,
    file: Option<&Path>,
) -> Result<Told<'a>> {
    let mut player =
        Player { network, session: Session::new(network), named: BTreeMap::new(), loaded: Vec::new() };
    let mut told = Told { traces: Vec::new(), last: Vec::new() };
    for FlowLine { line, text, action } in lines {
        let gave = player.play(action, loads.get(&line)).map_err(|error| {
            let place = file.map_or(String::new(), |file| format!("{}:{line}: ", name_of(file)));
            anyhow!("{place}{error}")
        })?;
        match gave {
            Gave::Flow(flow, more, trace) => {
                let (loaded, before) = (player.loaded.clone(), std::mem::take(&mut told.last));
                told.traces.push(Traced { flow: *flow, more, text, trace, loaded, before });
            }
            Gave::Remarks(remarks) => told.last.push(Between { text, remarks }),
        }
    }
    if told.traces.is_empty() {
        bail!("there is no flow to trace");
    }
    Ok(told)
}

struct Player<'a> {
    network: &'a Network,
    session: Session<'a>,
    /// The flows that have a name.
    named: BTreeMap<String, Flow>,
    loaded: Vec<&'a Snapshot>,
}

impl<'a> Player<'a> {
    fn play(&mut self, action: FlowAction, load: Option<&'a Load>) -> Result<Gave, FlowError> {
        Ok(match action {
            FlowAction::Flow(flow) => {
                self.named.extend(flow.id.iter().map(|id| (id.clone(), flow.clone())));
                let trace = self.session.trace(&flow)?;
                Gave::Flow(Box::new(flow), None, trace)
            }
            FlowAction::More { id, side } => {
                let trace = self.session.more(&id, side)?;
                let flow = self.named.get(&id).cloned().ok_or(FlowError::NoFlow { id })?;
                Gave::Flow(Box::new(flow), Some(side), trace)
            }
            FlowAction::Close { id, how } => {
                let closings = self.session.close(&id, how)?;
                Gave::Remarks(self.closed(&closings))
            }
            FlowAction::Load { .. } => Gave::Remarks(match load {
                Some(load) => self.load(load)?,
                None => Vec::new(),
            }),
            FlowAction::Forget { host, protocol, src, dst } => {
                let deleted = self.session.forget(&host, &EntryPattern { protocol, src, dst })?;
                let entries = match deleted {
                    0 => "no such entry".to_owned(),
                    deleted => count(deleted, "entry deleted", "entries deleted"),
                };
                Gave::Remarks(vec![format!("{host}: {entries}")])
            }
            FlowAction::Wait(milliseconds) => {
                self.session.wait(milliseconds);
                Gave::Remarks(Vec::new())
            }
        })
    }

    fn load(&mut self, load: &'a Load) -> Result<Vec<String>, FlowError> {
        let host = &load.loaded.host;
        self.loaded.push(host);
        if !load.loaded.has_rules {
            self.session.load_sets(host)?;
            return Ok(vec![format!("{}: {}", host.name, count(host.sets.iter().count(), "set", "sets"))]);
        }
        let switched = self.session.load(host)?;
        let rules = count(host.ruleset.rules().count(), "rule", "rules");
        let tracking = conntrack(&switched).map_or(String::new(), |text| format!("; {text}"));
        Ok(vec![format!("{}: {rules}{tracking}", host.name)])
    }

    /// What became of a connection, in its most probable course.
    fn closed(&self, closings: &[Closing]) -> Vec<String> {
        let Some(closing) = closings.first() else { return Vec::new() };
        let Closing { open, arrived, end, changes, drawn: _ } = closing;
        if !open {
            return vec!["the connection is not open".to_owned()];
        }
        let mut remarks = Vec::new();
        if !arrived {
            let how = match end.outcome {
                Outcome::Delivered | Outcome::Left => "the other side's answer is lost".to_owned(),
                outcome => format!("{}: {}", self.place(end.at.host), ended(outcome, end.why)),
            };
            remarks.push(format!("closed by one side only: {how}"));
        }
        remarks.extend(changes.iter().map(|change| self.change(closing, change)));
        remarks
    }

    fn change(&self, closing: &Closing, change: &StateChange) -> String {
        let name = |state| {
            TcpState::NAMES.iter().find(|(_, known)| *known == state).map_or("NONE", |(name, _)| name)
        };
        let to = match change.to {
            Some((state, lives)) => format!("{}, for {}", name(state), seconds(lives)),
            None => "deleted".to_owned(),
        };
        let host = self.place(Place::Host(change.host));
        let end = |end: Endpoint| match end.port.drawn.and_then(|number| closing.drawn.get(&number)) {
            Some(Drawn { low, high }) => format!("{}:{{{low}-{high}}}", end.address),
            None => end.to_string(),
        };
        let Tuple { protocol, src, dst, .. } = change.original;
        format!("{host}: {protocol} {} → {} was {} and is {to}", end(src), end(dst), name(change.from))
    }

    fn place(&self, place: Place) -> String {
        match place {
            Place::Host(id) => {
                self.network.hosts.get(id.0 as usize).map_or_else(String::new, |host| host.name.clone())
            }
            Place::Assumed(address) => address.to_string(),
        }
    }
}

/// What loading rules means for connection tracking, where it was switched.
fn conntrack(switched: &Switched) -> Option<String> {
    let of = |families: &[Family]| {
        let names: Vec<&str> = families
            .iter()
            .map(|family| match family {
                Family::Ip4 => "IPv4",
                Family::Ip6 => "IPv6",
            })
            .collect();
        listed(&names)
    };
    let off = (!switched.off.is_empty()).then(|| {
        format!("conntrack is off for {}, for no rule needs it: translations stop", of(&switched.off))
    });
    let on = (!switched.on.is_empty()).then(|| format!("conntrack is on for {}", of(&switched.on)));
    let parts: Vec<String> = off.into_iter().chain(on).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
