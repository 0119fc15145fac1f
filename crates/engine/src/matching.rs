//! Whether a rule applies to a packet.
//!
//! A field that the packet lacks fails its test. A construct of unknown effect is asked of the choices, but
//! only where all the other conditions hold, so that it matters only where it can.

use natpath_model::matching::AddressTypeBy;
use natpath_model::set::mac_value;
use natpath_model::value::Value;
use natpath_model::{
    CtStates, Field, InterfaceName, Manip, Match, Opaque, Port, Protocol, RouteType, Rule, RuleRef,
    Statement, Status, Test, net,
};

use crate::conntrack::{ConntrackEntry, Tracked};
use crate::host::LinkId;
use crate::pass::{Observer, Pass};
use crate::skb::{BridgePort, Skb};
use crate::trace::{Assumption, Step};
use crate::xt::Answer;

/// Whether a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applies {
    Yes,
    /// The match with this number is the first that fails.
    No(u32),
}

/// The value of a field: a number, or a port that may have been drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FieldValue {
    Number(Value),
    Port(Port),
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Tests all conditions of a rule.
    pub(crate) fn applies(&mut self, skb: &Skb, at: RuleRef, rule: &Rule) -> Applies {
        // 1) The first condition without memory or doubt that fails: beyond it nothing matters.
        let failed = self.first_failure(skb, at, rule);
        let end = failed.unwrap_or(u32::MAX);
        // 2) Those before it with a memory or in doubt, in order, as the kernel asks them. One that is in
        //    doubt is only asked if it matters: if the rule can still apply, or another has a memory.
        let before = rule.matches.iter().take(end as usize);
        let last_memory = before.clone().rposition(remembers);
        let matters = |index: u32| {
            (failed.is_none() && has_effect(rule)) || last_memory.is_some_and(|last| index < last as u32)
        };
        for (index, condition) in (0u32..).zip(before) {
            let holds = match condition {
                Match::Is(test) if !self.is_unknown(skb, test) => true,
                Match::AnyOf { .. } => true,
                Match::Is(_) => matters(index) && self.decide_mac(at, index, rule),
                Match::Chance { .. } if failed.is_some() && !matters(index) => true,
                Match::Chance { probability, negated } => {
                    let probability = f64::from(*probability) / f64::from(1u32 << 31);
                    self.env.choices.chance(probability) != *negated
                }
                Match::Nth { every, packet, negated } => {
                    self.nth(at, rule, index, *every, *packet) != *negated
                }
                Match::Xt(condition) => match self.xt(skb, (at, index), condition) {
                    Answer::Is(holds) => holds,
                    Answer::Assumed(holds, _) if !matters(index) => holds || failed.is_some(),
                    Answer::Assumed(holds, reason) => {
                        let opaque = self.unknown(rule, condition.name(), reason);
                        self.assume_of(&opaque, holds);
                        holds
                    }
                    Answer::Unknown(reason) => {
                        let opaque = self.unknown(rule, condition.name(), reason);
                        matters(index) && self.decide(at, index, &opaque)
                    }
                },
                Match::Opaque(opaque) => matters(index) && self.decide(at, index, opaque),
            };
            if !holds {
                return Applies::No(index);
            }
        }
        failed.map_or(Applies::Yes, Applies::No)
    }

    /// The number of the first condition that fails for certain and has no memory.
    fn first_failure(&mut self, skb: &Skb, at: RuleRef, rule: &Rule) -> Option<u32> {
        for (index, condition) in (0u32..).zip(&rule.matches) {
            let holds = match condition {
                Match::Is(test) => self.is_unknown(skb, test) || self.holds(skb, test),
                Match::AnyOf { tests, negated } => self.any_holds(skb, tests, *negated),
                Match::Xt(condition) if !condition.remembers() => {
                    self.xt(skb, (at, index), condition) != Answer::Is(false)
                }
                Match::Chance { .. } | Match::Nth { .. } | Match::Xt(_) | Match::Opaque(_) => true,
            };
            if !holds {
                return Some(index);
            }
        }
        None
    }

    /// Whether a field is there that was not recorded: the hardware address of a sender elsewhere.
    fn is_unknown(&self, skb: &Skb, test: &Test) -> bool {
        test.expr.field() == Field::SourceMac && skb.src_mac.is_none() && self.frame_source(skb)
    }

    fn decide_mac(&mut self, at: RuleRef, index: u32, rule: &Rule) -> bool {
        let reason = "the sender's hardware address is not known".to_owned();
        let opaque = self.unknown(rule, "mac", reason);
        self.decide(at, index, &opaque)
    }

    fn holds(&mut self, skb: &Skb, test: &Test) -> bool {
        match self.value(skb, test.expr.field()) {
            Some(FieldValue::Number(value)) => test.accepts(Some(value)),
            Some(FieldValue::Port(port)) => self.env.compare(port, &test.set) != test.negated,
            None => test.if_absent,
        }
    }

    fn any_holds(&mut self, skb: &Skb, tests: &[Test], negated: bool) -> bool {
        let mut any = false;
        for test in tests {
            if self.value(skb, test.expr.field()).is_none() {
                return test.if_absent;
            }
            any = any || self.holds(skb, test);
        }
        any != negated
    }

    /// xt_statistic.c, mode nth: where the count of a recorded rule stands is not listed, so the first time it
    /// is a choice.
    fn nth(&mut self, at: RuleRef, rule: &Rule, index: u32, every: u32, packet: u32) -> bool {
        let every = every.max(1);
        let key = (at, index);
        let seen = match self.state.nth.get(&key) {
            Some(seen) => *seen,
            None if every == 1 || self.state.loaded => 0,
            None => {
                let host = self.host.snapshot.name.clone();
                let place = self.place(&rule.origin);
                self.env.assumptions.insert(Assumption::NthStart { host, place });
                let weights = vec![1.0 / f64::from(every); every.min(4096) as usize];
                u32::try_from(self.env.choices.pick(&weights)).unwrap_or(0)
            }
        };
        self.state.nth.insert(key, (seen + 1) % every);
        seen == packet
    }

    /// Notes that the result leans on what is likely of a construct.
    fn assume_of(&mut self, opaque: &Opaque, applies: bool) {
        let assumed = Assumption::Opaque {
            host: self.host.snapshot.name.clone(),
            construct: opaque.construct.clone(),
            place: self.place(&opaque.origin),
            reason: opaque.reason.clone(),
            applies: Some(applies),
        };
        self.env.assumptions.insert(assumed);
    }

    fn decide(&mut self, at: RuleRef, part: u32, opaque: &Opaque) -> bool {
        let host = self.host.snapshot.name.clone();
        let place = self.place(&opaque.origin);
        let assumption = |applies| Assumption::Opaque {
            host,
            construct: opaque.construct.clone(),
            place,
            reason: opaque.reason.clone(),
            applies: Some(applies),
        };
        let mut noted = None;
        let applies = self.env.choices.opaque(self.host.id, at, part, |applies| {
            let made = assumption(applies);
            noted = Some(made.clone());
            made
        });
        if let Some(noted) = noted {
            self.observer.step(|| Step::Assumed(noted));
        }
        applies
    }

    /// `file:line` of an origin.
    pub(crate) fn place(&self, origin: &natpath_model::Origin) -> String {
        let file = self.host.snapshot.files.get(usize::from(origin.file.0));
        format!("{}:{}", file.map_or("?", |file| file.name.as_str()), origin.line)
    }

    /// The value of a field, `None` where the packet has none.
    pub(crate) fn value(&self, skb: &Skb, field: Field) -> Option<FieldValue> {
        let packet = &skb.packet;
        let number = |value: u128| Some(FieldValue::Number(value));
        let entry = skb.tracked.entry().map(|(id, _)| self.state.conntrack.entry(id));
        if let Tracked::Template(..) = skb.tracked
            && let Some(value) = of_template(field)
        {
            return number(value);
        }
        match field {
            Field::InInterface => number(self.name_of(skb.in_link)),
            Field::OutInterface => number(self.name_of(skb.out_link)),
            Field::Protocol => number(packet.protocol().0.into()),
            Field::Address(Manip::Src) => number(net::bits(packet.src)),
            Field::Address(Manip::Dst) => number(net::bits(packet.dst)),
            Field::Port(Manip::Src) => packet.ports().map(|(src, _)| FieldValue::Port(src)),
            Field::Port(Manip::Dst) => packet.ports().map(|(_, dst)| FieldValue::Port(dst)),
            Field::TcpFlags => number(packet.tcp_flags()?.0.into()),
            // The scripted endpoints send an MSS with each SYN and no other option.
            Field::TcpOption(kind) => {
                let flags = packet.tcp_flags()?;
                number((kind == 2 && flags.has(crate::packet::TcpFlags::SYN)).into())
            }
            Field::IcmpType | Field::Icmp6Type => {
                let wanted = if field == Field::IcmpType { Protocol::ICMP } else { Protocol::ICMPV6 };
                let (kind, code) = packet.icmp().filter(|_| packet.protocol() == wanted)?;
                number(u128::from(kind) << 8 | u128::from(code))
            }
            Field::LaterFragment => number(0),
            Field::Mark => number(skb.mark.into()),
            Field::ConnMark => number(entry?.mark.into()),
            Field::AddressType { of, by } => {
                let address = match of {
                    Manip::Src => packet.src,
                    Manip::Dst => packet.dst,
                };
                let link = match by {
                    AddressTypeBy::Any => None,
                    AddressTypeBy::InInterface => skb.in_link,
                    AddressTypeBy::OutInterface => skb.out_link,
                };
                let interface = link.map(|link| self.host.link(link).name);
                number(self.host.fib.address_type_for_rules(address, interface) as u128)
            }
            Field::CtState => number(states(skb.tracked, entry).0.into()),
            Field::CtStatus => number(entry?.status.0.into()),
            Field::CtAddress(direction, manip) => number(net::bits(side(entry?, direction, manip).address)),
            Field::CtPort(direction, manip) => {
                let tuple = entry?.tuple(direction);
                match manip {
                    // xt_conntrack.c, `ct_proto_port_check_v3`, reads what a tuple of ICMP has in its place.
                    Manip::Dst if tuple.protocol.is_icmp() => {
                        number(u128::from(tuple.icmp.0) << 8 | u128::from(tuple.icmp.1))
                    }
                    _ => Some(FieldValue::Port(side(entry?, direction, manip).port)),
                }
            }
            Field::CtProtocol => number(entry?.original.protocol.0.into()),
            Field::CtDirection => number(skb.tracked.entry()?.1 as u128),
            Field::CtExpires => number((entry?.expires.0.saturating_sub(self.env.now.0) / 1000).into()),
            Field::Length => number(packet.length().into()),
            Field::Ttl => number(packet.ttl.into()),
            Field::Dscp => number((packet.tos >> 2).into()),
            Field::Tos => number(packet.tos.into()),
            Field::SourceMac => number(skb.src_mac.filter(|_| self.frame_source(skb)).map(mac_value)?),
            Field::PacketType => number(self.packet_type(skb)),
            Field::Realm => number(0),
            Field::Ip6Headers => number(1),
            Field::BridgeIn => number(self.port_name(skb.physdev.map(|ports| ports.in_port))),
            Field::BridgeOut => number(self.port_name(skb.physdev.and_then(|ports| ports.out_port))),
            // xt_physdev.c: the port it goes out by is known of bridged packets only.
            Field::Bridged => number(skb.physdev.is_some_and(|ports| ports.out_port.is_some()).into()),
        }
    }

    /// To whom the frame was sent that a packet came in; one made here counts as sent to this host.
    fn packet_type(&self, skb: &Skb) -> Value {
        match skb.packet.dst {
            _ if skb.in_link.is_none() => 0,
            dst if dst.is_multicast() => 2,
            dst => (self.host.fib.address_type(dst, None) == RouteType::Broadcast).into(),
        }
    }

    /// The name of a bridge's port. One that nothing tells has a name that no rule can write, so it is a port
    /// but none that a rule names; the path says that it leans on this (`Assumption::BehindBridge`).
    fn port_name(&self, port: Option<BridgePort>) -> Value {
        match port {
            None => 0,
            Some(BridgePort::Known(link)) => self.name_of(Some(link)),
            Some(BridgePort::Unknown) => 1,
        }
    }

    fn name_of(&self, link: Option<LinkId>) -> Value {
        link.map_or(0, |link| InterfaceName::value(self.host.link(link).name))
    }
}

/// What a rule sees of the template that a CT target has attached: an entry with nothing in it, which counts
/// as confirmed (xt_CT.c).
fn of_template(field: Field) -> Option<Value> {
    match field {
        Field::CtStatus => Some(Status::CONFIRMED.0.into()),
        Field::ConnMark
        | Field::CtAddress(..)
        | Field::CtPort(..)
        | Field::CtProtocol
        | Field::CtDirection
        | Field::CtExpires => Some(0),
        _ => None,
    }
}

/// The bits that `--ctstate` compares (xt_conntrack.c).
fn states(tracked: Tracked, entry: Option<&ConntrackEntry>) -> CtStates {
    let mut states = tracked.states();
    if let Some(entry) = entry {
        if entry.status.has(Status::SRC_NAT) {
            states = states.with(CtStates::SNAT);
        }
        if entry.status.has(Status::DST_NAT) {
            states = states.with(CtStates::DNAT);
        }
    }
    states
}

fn side(
    entry: &ConntrackEntry,
    direction: natpath_model::Direction,
    manip: Manip,
) -> natpath_model::Endpoint {
    let tuple = entry.tuple(direction);
    match manip {
        Manip::Src => tuple.src,
        Manip::Dst => tuple.dst,
    }
}

/// Whether asking a condition changes what the next packet is told.
fn remembers(condition: &Match) -> bool {
    match condition {
        Match::Nth { .. } => true,
        Match::Xt(condition) => condition.remembers(),
        Match::Is(_) | Match::AnyOf { .. } | Match::Chance { .. } | Match::Opaque(_) => false,
    }
}

/// Whether it makes a difference to a packet that a rule applies.
fn has_effect(rule: &Rule) -> bool {
    rule.statements
        .iter()
        .any(|statement| !matches!(statement, Statement::Log { .. } | Statement::Inert { .. }))
}
