//! One packet's pass through one host: the host, what changes in it, what the run shares, and who watches.
//!
//! The steps of the pass are in modules of their own: `path` (the order of hooks and routing), `chain`
//! (rules), `matching`, `nat`, `errors`.

use natpath_model::{Family, Item};

use crate::fib::{Found, OutputError, OutputKey, OutputRoute};
use crate::host::Host;
use crate::packet::Packet;
use crate::skb::{Fate, Made};
use crate::state::{Env, HostState};
use crate::trace::{Assumption, Step};

/// Watches packets. `()` watches nothing and costs nothing.
pub(crate) trait Observer: Default {
    /// Whether steps are wanted; if not, none is made.
    const WATCHES: bool;

    /// Takes a step.
    fn take(&mut self, step: Step);

    /// Takes a step that is made only if it is wanted.
    fn step(&mut self, make: impl FnOnce() -> Step) {
        if Self::WATCHES {
            self.take(make());
        }
    }
}

impl Observer for () {
    const WATCHES: bool = false;

    fn take(&mut self, _: Step) {}
}

impl Observer for Vec<Step> {
    const WATCHES: bool = true;

    fn take(&mut self, step: Step) {
        self.push(step);
    }
}

/// One packet in one host.
pub(crate) struct Pass<'r, 'a, O> {
    pub(crate) host: &'r Host<'a>,
    pub(crate) state: &'r mut HostState,
    pub(crate) env: &'r mut Env,
    pub(crate) observer: &'r mut O,
    /// The errors and resets this pass has made, in order, to be sent once it is over.
    pub(crate) made: Vec<Made>,
    /// What it has sent while it went on, and what was seen of that.
    pub(crate) sent: Vec<Sent<O>>,
}

/// A packet that a host sent in the middle of another's pass.
#[derive(Debug)]
pub(crate) struct Sent<O> {
    pub(crate) made: Made,
    pub(crate) fate: Fate,
    pub(crate) observer: O,
}

impl<'r, 'a, O: Observer> Pass<'r, 'a, O> {
    pub(crate) fn new(
        host: &'r Host<'a>,
        state: &'r mut HostState,
        env: &'r mut Env,
        observer: &'r mut O,
    ) -> Self {
        Self { host, state, env, observer, made: Vec::new(), sent: Vec::new() }
    }

    /// Sends what was made last, before this pass goes on.
    pub(crate) fn send_now(&mut self) {
        let Some(made) = self.made.pop() else { return };
        let outer = std::mem::take(self.observer);
        let fate = self.send_made(&made);
        let observer = std::mem::replace(self.observer, outer);
        self.sent.push(Sent { made, fate, observer });
    }

    /// Notes that the result leans on an item that was not recorded.
    pub(crate) fn assume(&mut self, item: Item) {
        let host = self.host.snapshot.name.clone();
        self.env.assumptions.insert(Assumption::Missing { host, item });
    }

    /// Notes missing rules, once a packet of the family runs through the hooks.
    pub(crate) fn lean_on_rules(&mut self, family: Family) {
        if self.host.missing(Item::Rules(family)) {
            self.assume(Item::Rules(family));
        }
    }

    /// Routes a packet of this host's, choosing among the next hops of a multipath route.
    pub(crate) fn route_output(&mut self, key: &OutputKey) -> Result<OutputRoute<'a>, OutputError> {
        let route = self.assuming(|host, assume| host.route_output(key, assume))?;
        let weights = route.found.map(|found| found.choices()).unwrap_or_default();
        if weights.is_empty() || route.local {
            return Ok(route);
        }
        let line = route.found.map_or(0, |found| found.route.line);
        let hop = self.env.choices.hop(self.host.id, line, route.src, key.dst, &weights);
        self.assuming(|host, assume| host.route_output(&OutputKey { hop, ..*key }, assume))
    }

    /// Chooses among the next hops of a multipath route for a packet that came in.
    pub(crate) fn settle_hop(&mut self, found: Found<'a>, packet: &Packet) -> Found<'a> {
        let weights = found.choices();
        if weights.is_empty() {
            return found;
        }
        found.with_hop(self.env.choices.hop(self.host.id, found.route.line, packet.src, packet.dst, &weights))
    }

    /// A closure for look-ups that note what they lean on.
    pub(crate) fn assuming<T>(&mut self, look_up: impl FnOnce(&Host<'a>, &mut dyn FnMut(Item)) -> T) -> T {
        let name = &self.host.snapshot.name;
        let assumptions = &mut self.env.assumptions;
        look_up(self.host, &mut |item| {
            assumptions.insert(Assumption::Missing { host: name.clone(), item });
        })
    }
}
