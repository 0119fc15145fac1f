//! The order of things: which hook follows which, and where a packet is routed.
//!
//! ```text
//!  receive ─→ PREROUTING ─→ route_input ─┬─ local ───→ INPUT ────────────────────────→ deliver
//!                ↑                       └─ forward ─→ TTL ─→ FORWARD ─→ POSTROUTING ─→ transmit
//!                │                                                           ↑
//!             lo └────────────────────────────── POSTROUTING ←───────────────┤
//!  send ─→ route_output ─→ OUTPUT ─→ (route again, if NAT or mangle changed it) ┘
//! ```
//!
//! Follows ip_input.c, ip_forward.c, ip_output.c and netfilter.c of Linux 6.18, and their IPv6 sisters.

use std::net::IpAddr;

use natpath_model::{ChainKind, ChainType, Direction, Family, Hook, Status};

use crate::chain::ChainVerdict;
use crate::conntrack::Tracked;
use crate::fib::OutputKey;
use crate::fib::{Failed, Found, InputError, InputRoute, OutputError, OutputRoute};
use crate::host::{ChainAt, LinkId, Step as HookStep};
use crate::packet::icmp;
use crate::pass::{Observer, Pass};
use crate::skb::{Fate, Made, Reason, Skb};
use crate::state::Bucket;
use crate::trace::{Outcome, RouteFound, RouteStep, Step, Why};

/// How often one packet may turn round over lo. Each turn needs a nat or mangle rule that changes it again,
/// and the kernel lets each act once.
const MAX_TURNS: u32 = 4;

impl<O: Observer> Pass<'_, '_, O> {
    /// Takes a packet from a wire.
    pub(crate) fn receive(&mut self, mut skb: Skb, link: LinkId) -> Fate {
        skb.in_link = Some(link);
        self.meet_device(link, true);
        let packet = &skb.packet;
        // ipv6_rcv: a loopback address is never on a wire (RFC 4291, 2.5.3).
        let is_loopback = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_loopback());
        if is_loopback(packet.dst) || is_loopback(packet.src) {
            let why = if is_loopback(packet.dst) { Why::MartianDestination } else { Why::MartianSource };
            return self.ended(skb, Reason::dropped(why));
        }
        self.come_in(skb, link, None, 0)
    }

    /// PREROUTING and what follows. `kept` is the route that a packet from lo brings along.
    fn come_in(&mut self, mut skb: Skb, link: LinkId, kept: Option<()>, turns: u32) -> Fate {
        let dst = skb.packet.dst;
        if let Err(reason) = self.run_hook(Hook::Prerouting, &mut skb) {
            return self.ended(skb, reason);
        }
        if kept.is_some() && skb.packet.dst == dst {
            return self.local_in(skb);
        }
        self.route_in(skb, link, turns)
    }

    /// Where a packet goes that has passed PREROUTING.
    pub(crate) fn route_in(&mut self, skb: Skb, link: LinkId, turns: u32) -> Fate {
        if self.has_early_route(&skb, link) {
            return self.local_in(skb);
        }
        let mark = skb.mark;
        let route = self.assuming(|host, assume| host.route_input(&skb.packet, mark, link, assume));
        match route {
            Ok(InputRoute::Local(found)) => {
                self.show_route(&skb, found, None, false);
                self.local_in(skb)
            }
            Ok(InputRoute::Forward { found, redirect }) => {
                let found = self.settle_hop(found, &skb.packet);
                self.show_route(&skb, Some(found), None, false);
                self.forward(skb, link, &found, redirect, turns)
            }
            Err(InputError::Drop(why)) => {
                match why {
                    Why::RpFilter | Why::MartianSource | Why::MartianDestination => {
                        self.observer.step(|| Step::SourceCheck { why });
                    }
                    _ => self.show_route(&skb, None, None, false),
                }
                self.ended(skb, Reason::dropped(why))
            }
            Err(InputError::Unroutable(failed)) => {
                let by = self.host.failing_input_route(&skb.packet, mark, link);
                self.show_route(&skb, by, None, false);
                self.unroutable(skb, failed)
            }
        }
    }

    /// Answers that there is no way (route.c, `ip_error`; IPv6 `ip6_pkt_drop`).
    fn unroutable(&mut self, skb: Skb, failed: Failed) -> Fate {
        let family = skb.packet.family();
        let (error, reason) = match failed {
            Failed::NoRoute => (icmp::no_route(family), Reason::of(Outcome::NoRoute)),
            Failed::Unreachable => {
                let error = match family {
                    Family::Ip4 => icmp::host_unreachable(family),
                    Family::Ip6 => icmp::no_route(family),
                };
                (error, Reason::of(Outcome::NoRoute))
            }
            Failed::Prohibit => {
                let reason = Reason { outcome: Outcome::Rejected, why: Some(Why::RouteType), rule: None };
                (icmp::prohibited(family), reason)
            }
            Failed::Blackhole => return self.ended(skb, Reason::dropped(Why::RouteType)),
        };
        if self.may_answer_unroutable(&skb) {
            self.send_error(&skb, error, 0, false);
        }
        self.ended(skb, reason)
    }

    /// ip_error charges the sender's bucket before the error itself does: five seconds' worth at the most,
    /// one for each answer.
    fn may_answer_unroutable(&mut self, skb: &Skb) -> bool {
        if skb.packet.family() == Family::Ip6 {
            return true;
        }
        let now = self.env.now;
        let bucket = self.state.peers.entry(skb.packet.src).or_insert_with(|| Bucket::full(now));
        bucket.take(now, 1000, 5000)
    }

    /// INPUT, then the host's own stack.
    fn local_in(&mut self, mut skb: Skb) -> Fate {
        skb.out_link = None;
        let passed =
            self.run_hook(Hook::Input, &mut skb).and_then(|()| self.pass_by(Hook::Input, &skb, skb.in_link));
        if let Err(reason) = passed {
            return self.ended(skb, reason);
        }
        Fate::Deliver(skb)
    }

    fn forward(&mut self, mut skb: Skb, link: LinkId, found: &Found<'_>, redirect: bool, turns: u32) -> Fate {
        let family = skb.packet.family();
        // ip_forward, ip6_forward: what belongs to a socket is not passed on.
        if self.belongs_to_socket(&skb) {
            self.observer.step(|| Step::OfSocket);
            let rule = skb.assigned.map(|assigned| assigned.rule);
            return self.ended(skb, Reason { rule, ..Reason::dropped(Why::RouteType) });
        }
        let Some((out, next_hop, via_gateway)) = self.way_out(found, skb.packet.dst) else {
            return self.unroutable(skb, Failed::NoRoute);
        };
        // 1) IPsec, then the time to live.
        if let Err(reason) = self.pass_by(Hook::Forward, &skb, Some(link)) {
            return self.ended(skb, reason);
        }
        if skb.packet.ttl <= 1 {
            self.send_error(&skb, icmp::ttl_exceeded(family), 0, false);
            return self.ended(skb, Reason::of(Outcome::TtlExceeded));
        }
        // 2) Size.
        let mtu = found.route.mtu.unwrap_or(self.host.link(out).mtu);
        if skb.packet.length() > mtu && (skb.packet.dont_fragment || family == Family::Ip6) {
            self.send_error(&skb, icmp::too_big(family), mtu, false);
            return self.ended(skb, Reason::of(Outcome::TooBig));
        }
        if redirect && out == link {
            self.send_redirect(&skb);
        }
        skb.packet.ttl -= 1;
        self.observer.step(|| Step::Ttl(skb.packet.ttl));
        // 3) FORWARD.
        skb.out_link = Some(out);
        skb.next_hop = Some(next_hop);
        if let Err(reason) = self.run_hook(Hook::Forward, &mut skb) {
            return self.ended(skb, reason);
        }
        self.go_out(skb, out, next_hop, via_gateway, false, turns)
    }

    /// Sends a packet that a socket of this host made, once its route is known.
    pub(crate) fn send(&mut self, mut skb: Skb, route: &OutputRoute<'_>, turns: u32) -> Fate {
        self.show_route(&skb, route.found, Some(route.src), false);
        self.note_socket(&skb);
        let mut route = *route;
        // ip_append_data: what may not be fragmented and does not fit is refused at once.
        let mtu = route.found.and_then(|found| found.route.mtu).unwrap_or(self.host.link(route.link).mtu);
        let is_stream = skb.packet.tcp_flags().is_some();
        if skb.packet.length() > mtu && skb.packet.dont_fragment && !is_stream {
            let why = Some(Why::Errno("EMSGSIZE"));
            return self.ended(skb, Reason { outcome: Outcome::LocalError, why, rule: None });
        }
        skb.in_link = None;
        skb.out_link = Some(route.link);
        skb.next_hop = Some(route.gateway.unwrap_or(skb.packet.dst));
        let passed = self
            .output_hook(&mut skb, &mut route)
            .and_then(|()| self.pass_by(Hook::Output, &skb, Some(route.link)));
        if let Err(reason) = passed {
            return self.ended(skb, reason);
        }
        // The chains of OUTPUT all see the link of the first route; from here on it is the last one's.
        skb.out_link = Some(route.link);
        let next_hop = route.gateway.unwrap_or(skb.packet.dst);
        skb.next_hop = Some(next_hop);
        self.go_out(skb, route.link, next_hop, route.gateway.is_some(), route.local, turns)
    }

    /// POSTROUTING, then the wire or lo.
    fn go_out(
        &mut self,
        mut skb: Skb,
        link: LinkId,
        next_hop: IpAddr,
        via_gateway: bool,
        local: bool,
        turns: u32,
    ) -> Fate {
        skb.out_link = Some(link);
        let leaves = !self.host.link(link).loopback;
        // A policy may be for the packet before its source is translated, or after.
        let mut passed = Ok(());
        if leaves {
            passed = self.pass_by(Hook::Postrouting, &skb, Some(link));
        }
        passed = passed.and_then(|()| self.run_hook(Hook::Postrouting, &mut skb));
        if leaves {
            passed = passed.and_then(|()| self.pass_by(Hook::Postrouting, &skb, Some(link)));
        }
        if let Err(reason) = passed {
            return self.ended(skb, reason);
        }
        if leaves {
            self.meet_device(link, false);
            return Fate::Transmit { skb, link, next_hop, via_gateway };
        }
        if turns >= MAX_TURNS {
            return self.ended(skb, Reason::of(Outcome::TtlExceeded));
        }
        // loopback_xmit: the packet keeps its connection and its route.
        skb.in_link = Some(link);
        skb.out_link = None;
        self.come_in(skb, link, local.then_some(()), turns + 1)
    }

    /// Routes and sends a packet this host makes on its own.
    pub(crate) fn send_made(&mut self, made: &Made) -> Fate {
        let mut skb = Skb::new(made.packet);
        skb.mark = made.mark;
        skb.tracked = made.tracked;
        let key = OutputKey {
            dst: made.packet.dst,
            src: made.src,
            any_source: made.any_source,
            bound: None,
            mark: made.mark,
            tos: made.packet.tos & 0x1e,
            protocol: made.packet.protocol(),
            ports: made.packet.ports(),
            uid: None,
            hop: 0,
        };
        match self.route_output(&key) {
            Ok(route) => {
                skb.packet.src = route.src;
                self.send(skb, &route, 0)
            }
            Err(error) => self.unsendable(skb, error),
        }
    }

    /// A packet of this host's that has no route.
    pub(crate) fn unsendable(&mut self, skb: Skb, error: OutputError) -> Fate {
        match error {
            // The source is refused, whatever the route.
            OutputError::Invalid => self.observer.step(|| Step::SourceCheck { why: Why::MartianSource }),
            OutputError::Failed(_) | OutputError::NoSource => {
                let by = self.host.failing_output_route(&skb.packet, skb.mark);
                self.show_route(&skb, by, None, false);
            }
        }
        let (outcome, why) = error.outcome();
        self.ended(skb, Reason { outcome, why, rule: None })
    }

    pub(crate) fn ended(&mut self, skb: Skb, reason: Reason) -> Fate {
        self.observer.step(|| Step::Ended { outcome: reason.outcome, why: reason.why });
        Fate::Ended(skb, reason)
    }

    pub(crate) fn way_out(&self, found: &Found<'_>, dst: IpAddr) -> Option<(LinkId, IpAddr, bool)> {
        let hop = found.next_hop?;
        let link = self.host.link_named(hop.link?)?;
        Some((link, hop.gateway.unwrap_or(dst), hop.gateway.is_some()))
    }

    /// Runs all that is registered at a hook.
    pub(crate) fn run_hook(&mut self, hook: Hook, skb: &mut Skb) -> Result<(), Reason> {
        for step in self.hook_steps(hook, skb) {
            self.run_step(hook, step, skb)?;
        }
        Ok(())
    }

    fn hook_steps(&mut self, hook: Hook, skb: &Skb) -> Vec<HookStep> {
        let family = skb.packet.family();
        self.lean_on_rules(family);
        let host = self.host;
        let choices = &mut self.env.choices;
        host.steps(family, hook, || choices.legacy_first(host.id))
    }

    fn run_step(&mut self, hook: Hook, step: HookStep, skb: &mut Skb) -> Result<(), Reason> {
        match step {
            HookStep::Conntrack => {
                self.track(hook, skb);
                Ok(())
            }
            HookStep::Chain(at) => as_result(self.run_chain(hook, at, skb)),
            HookStep::Nat => as_result(self.nat_hook(hook, skb)),
            HookStep::Confirm => self.confirm(skb),
        }
    }

    /// OUTPUT: as any hook, but what changes addresses or mark has the packet routed again.
    fn output_hook(&mut self, skb: &mut Skb, route: &mut OutputRoute<'_>) -> Result<(), Reason> {
        for step in self.hook_steps(Hook::Output, skb) {
            let before = *skb;
            self.run_step(Hook::Output, step, skb)?;
            let again = match step {
                HookStep::Chain(at) => self.is_route_chain(at) && differs(&before, skb),
                HookStep::Nat => self.has_new_destination(skb),
                HookStep::Conntrack | HookStep::Confirm => false,
            };
            if again {
                self.route_again(skb, route)?;
            }
        }
        Ok(())
    }

    fn is_route_chain(&self, at: ChainAt) -> bool {
        matches!(
            self.host.snapshot.ruleset.chain(at.table, at.chain).kind,
            ChainKind::Base { chain_type: ChainType::Route, .. }
        )
    }

    /// nf_nat_proto.c, `nf_nat_ipv4_local_fn`: whether the entry sends this direction elsewhere.
    fn has_new_destination(&self, skb: &Skb) -> bool {
        let Some((id, direction)) = skb.tracked.entry() else { return false };
        let entry = self.state.conntrack.entry(id);
        entry.tuple(direction).dst.address != entry.tuple(direction.opposite()).src.address
    }

    /// netfilter.c, `ip_route_me_harder`.
    fn route_again(&mut self, skb: &Skb, route: &mut OutputRoute<'_>) -> Result<(), Reason> {
        let packet = skb.packet;
        let bound = skb.bound.map(|link| self.host.link(link).name);
        let usable = |src: IpAddr| {
            use natpath_model::RouteType::{Local, Unicast};
            matches!(self.host.fib.address_type(src, None), Local | Unicast)
        };
        let key = OutputKey {
            dst: packet.dst,
            src: usable(packet.src).then_some(packet.src),
            any_source: true,
            bound,
            mark: skb.mark,
            tos: packet.tos & 0x1e,
            protocol: packet.protocol(),
            ports: packet.ports(),
            uid: skb.sender.map(|sender| sender.uid),
            hop: 0,
        };
        match self.route_output(&key) {
            Ok(again) => {
                self.show_route(skb, again.found, None, true);
                route.link = again.link;
                route.local = again.local;
                route.gateway = again.gateway;
                Ok(())
            }
            Err(error) => {
                let by = self.host.failing_output_route(&skb.packet, skb.mark);
                self.show_route(skb, by, None, true);
                // Only a datagram's sender hears of it; TCP tries again in silence.
                let is_tcp = packet.tcp_flags().is_some();
                match error {
                    OutputError::Invalid if is_tcp => Err(Reason::dropped(Why::MartianSource)),
                    OutputError::Failed(Failed::Blackhole | Failed::Prohibit) if is_tcp => {
                        Err(Reason::dropped(Why::RouteType))
                    }
                    _ => {
                        let (outcome, why) = error.outcome();
                        Err(Reason { outcome, why, rule: None })
                    }
                }
            }
        }
    }

    fn track(&mut self, hook: Hook, skb: &mut Skb) {
        let seen = skb.tracked.entry().is_some();
        let now = self.env.now;
        let known = |pass: &Self, tracked: Tracked| {
            let (id, _) = tracked.entry()?;
            let entry = pass.state.conntrack.entry(id);
            entry.status.has(Status::CONFIRMED).then_some((entry.original, entry.reply))
        };
        skb.tracked = self.state.conntrack.track(&skb.packet, skb.tracked, now, &self.host.conntrack);
        if seen {
            return;
        }
        let (tracked, entry) = (skb.tracked, known(self, skb.tracked));
        self.observer.step(|| Step::Conntrack {
            hook,
            state: tracked.states(),
            direction: tracked.entry().map(|(_, direction)| direction),
            entry,
        });
    }

    /// The end of INPUT and POSTROUTING: a new entry enters the table (`nf_confirm`).
    fn confirm(&mut self, skb: &Skb) -> Result<(), Reason> {
        let Some((id, Direction::Original)) = skb.tracked.entry() else { return Ok(()) };
        let entry = self.state.conntrack.entry(id);
        if entry.status.has(Status::CONFIRMED) {
            return Ok(());
        }
        let (original, reply) = (entry.original, entry.reply);
        self.env.sequence += 1;
        match self.state.conntrack.confirm(id, self.env.sequence, self.env.now) {
            Ok(()) => {
                self.observer.step(|| Step::Confirmed { original, reply });
                Ok(())
            }
            Err(crate::conntrack::Clash) => Err(Reason::dropped(Why::NoPorts)),
        }
    }

    pub(crate) fn show_route(
        &mut self,
        skb: &Skb,
        found: Option<Found<'_>>,
        source: Option<IpAddr>,
        again: bool,
    ) {
        let destination = skb.packet.dst;
        self.observer.step(|| {
            let found = found.map(|found| RouteFound {
                kind: found.route.kind,
                table: found.route.table,
                rule: found.rule,
                prefix: found.route.destination,
                gateway: found.next_hop.and_then(|hop| hop.gateway),
                interface: found.next_hop.and_then(|hop| hop.link),
                line: found.route.line,
            });
            Step::Route(RouteStep { destination, found, source, again })
        });
    }
}

fn as_result(verdict: ChainVerdict) -> Result<(), Reason> {
    match verdict {
        ChainVerdict::Accept => Ok(()),
        ChainVerdict::End(reason) => Err(reason),
    }
}

/// What makes table mangle (or a chain of type route) have a packet routed again (iptable_mangle.c).
fn differs(before: &Skb, after: &Skb) -> bool {
    before.packet.src != after.packet.src
        || before.packet.dst != after.packet.dst
        || before.mark != after.mark
        || before.packet.tos != after.packet.tos
}
