//! What happens between flows: rules are replaced, entries deleted, connections used again and ended.

use std::net::IpAddr;

use natpath_model::flow::{CloseHow, Side};
use natpath_model::{Direction, Family, Flow, Protocol, Snapshot};

use super::{FlowError, History, Session};
use crate::conntrack::ConntrackEntry;
use crate::flow::{self, Act, FlowRun};
use crate::run::{Sender, State};
use crate::trace::{Closing, FlowTrace, Outcome, StateChange};

/// The entries that `conntrack -D` is asked to delete: by protocol and original tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPattern {
    /// The protocol.
    pub protocol: Protocol,
    /// Source; no port for any.
    pub src: (IpAddr, Option<u16>),
    /// Destination; no port for any.
    pub dst: (IpAddr, Option<u16>),
}

/// The families for which loading rules has switched connection tracking on or off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Switched {
    /// A rule needs it that is there since.
    pub on: Vec<Family>,
    /// No rule needs it any more.
    pub off: Vec<Family>,
}

impl EntryPattern {
    /// Whether an entry's original tuple is one of these. A port that was drawn by chance is nobody's in
    /// particular.
    fn takes(&self, entry: &ConntrackEntry) -> bool {
        let tuple = entry.original;
        let end = |end: natpath_model::Endpoint, (address, port): (IpAddr, Option<u16>)| {
            let same = |port| end.port.drawn.is_none() && end.port.value == port;
            end.address == address && port.is_none_or(same)
        };
        tuple.protocol == self.protocol && end(tuple.src, self.src) && end(tuple.dst, self.dst)
    }
}

impl<'a> Session<'a> {
    /// Replaces the rules, and the sets, of the host of this name. What its rules remembered begins anew, but
    /// for lists of `recent` and buckets of `hashlimit` that the rules go on to use; connections stay as they
    /// are.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn load(&mut self, snapshot: &'a Snapshot) -> Result<Switched, FlowError> {
        let id = self.host_named(&snapshot.name)?;
        let before = self.world.host(id);
        let old = before.snapshot;
        let was_on = Family::ALL.map(|family| before.tracks(family));
        self.world.load(id, snapshot);
        let after = self.world.host(id);
        let of = |on: bool| {
            let changed = |family: &Family| after.tracks(*family) == on && was_on[*family as usize] != on;
            Family::ALL.into_iter().filter(changed).collect()
        };
        let switched = Switched { on: of(true), off: of(false) };
        for History { state, .. } in &mut self.histories {
            let now = state.now;
            let host = &mut state.hosts[id.0 as usize];
            host.load(old, snapshot);
            host.load_sets(old, snapshot, now);
            switched.on.iter().for_each(|family| host.conntrack.resume(*family));
        }
        Ok(switched)
    }

    /// Replaces the sets of the host of this name, and leaves the rules as they are.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn load_sets(&mut self, snapshot: &'a Snapshot) -> Result<(), FlowError> {
        let id = self.host_named(&snapshot.name)?;
        let old = self.world.host(id).snapshot;
        self.world.load_sets(id, snapshot);
        for History { state, .. } in &mut self.histories {
            let now = state.now;
            state.hosts[id.0 as usize].load_sets(old, snapshot, now);
        }
        Ok(())
    }

    /// Deletes entries of a host's conntrack table, and says how many there were.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn forget(&mut self, host: &str, pattern: &EntryPattern) -> Result<usize, FlowError> {
        let id = self.host_named(host)?;
        let mut deleted = Vec::with_capacity(self.histories.len());
        for History { state, .. } in &mut self.histories {
            let now = state.now;
            let table = &mut state.hosts[id.0 as usize].conntrack;
            deleted.push(table.delete(|entry| pattern.takes(entry), now));
        }
        Ok(deleted.first().copied().unwrap_or(0))
    }

    /// Sends more data on the connection of a flow that has a name.
    ///
    /// # Errors
    /// If there is no such flow, or its protocol has no server that speaks by itself.
    pub fn more(&mut self, id: &str, side: Side) -> Result<FlowTrace, FlowError> {
        let (flow, sender) = self.flow_named(id)?;
        if side == Side::Server && flow.protocol.is_icmp() {
            return Err(FlowError::NoServer { protocol: flow.protocol });
        }
        Ok(self.report(&flow, sender, Act::More(id, side)))
    }

    /// Ends the connection of a flow that has a name: all that may become of it, the most probable first.
    ///
    /// # Errors
    /// If there is no such flow.
    pub fn close(&mut self, id: &str, how: CloseHow) -> Result<Vec<Closing>, FlowError> {
        let (flow, sender) = self.flow_named(id)?;
        let start = self.begin(&flow, sender, Act::Close(id, how));
        let leaves = self.explore(&start);
        let mut closings: Vec<(f64, Closing)> = Vec::new();
        for (index, leaf) in &leaves {
            let history = &self.histories[*index];
            let probability = history.probability * leaf.probability;
            let closing = self.closing(&history.state, &leaf.run, flow.protocol);
            match closings.iter_mut().find(|(_, known)| *known == closing) {
                Some((known, _)) => *known += probability,
                None => closings.push((probability, closing)),
            }
        }
        closings.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.histories = self.following(leaves, None);
        Ok(closings.into_iter().map(|(_, closing)| closing).collect())
    }

    /// What the end of a connection has changed.
    fn closing(&self, before: &State, run: &FlowRun, protocol: Protocol) -> Closing {
        let mut changes = Vec::new();
        for (host, (old, new)) in self.world.hosts.iter().zip(before.hosts.iter().zip(&run.state.hosts)) {
            for (number, was) in old.conntrack.confirmed().filter(|(_, entry)| before.now < entry.expires) {
                let is = new.conntrack.live(number);
                if is.is_none_or(|is| is.tcp.state != was.tcp.state) {
                    changes.push(StateChange {
                        host: host.id,
                        original: *was.tuple(Direction::Original),
                        from: was.tcp.state,
                        to: is.map(|is| (is.tcp.state, is.expires.since(run.state.now))),
                    });
                }
            }
        }
        let end = run.result.end.clone();
        let open = end.outcome != Outcome::LocalError || protocol != Protocol::TCP;
        let drawn = flow::all_drawn(&run.env.drawn);
        Closing { open, arrived: run.result.works, end, changes, drawn }
    }

    fn flow_named(&self, id: &str) -> Result<(Flow, Sender), FlowError> {
        self.named.get(id).cloned().ok_or_else(|| FlowError::NoFlow { id: id.to_owned() })
    }

    /// Lets simulated time pass.
    pub fn wait(&mut self, milliseconds: u64) {
        for history in &mut self.histories {
            history.state.now.0 = history.state.now.0.saturating_add(milliseconds);
        }
    }
}
