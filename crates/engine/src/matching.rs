//! Whether a rule applies to a packet.
//!
//! A field that the packet lacks fails its test. A construct of unknown effect is asked of the choices, but
//! only where all the other conditions hold, so that it matters only where it can.

use natpath_model::matching::AddressTypeBy;
use natpath_model::value::Value;
use natpath_model::{
    CtStates, Field, InterfaceName, Manip, Match, Opaque, Port, Protocol, Rule, RuleRef, Statement, Status,
    Test, net,
};

use crate::conntrack::{ConntrackEntry, Tracked};
use crate::host::LinkId;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::trace::{Assumption, Step};

/// Whether a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applies {
    Yes,
    /// The match with this number is the first that fails.
    No(u32),
}

/// The value of a field: a number, or a port that may have been drawn.
#[derive(Debug, Clone, Copy)]
enum FieldValue {
    Number(Value),
    Port(Port),
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Tests all conditions of a rule.
    pub(crate) fn applies(&mut self, skb: &Skb, at: RuleRef, rule: &Rule) -> Applies {
        // 1) Conditions without memory or doubt: if one fails, nothing else matters. A condition with memory
        //    is only asked if those before it hold, as in the kernel, and the doubtful are asked last.
        for (index, condition) in (0u32..).zip(&rule.matches) {
            let holds = match condition {
                Match::Is(test) => self.holds(skb, test),
                Match::AnyOf { tests, negated } => self.any_holds(skb, tests, *negated),
                Match::Chance { .. } | Match::Nth { .. } | Match::Opaque(_) => true,
            };
            if !holds {
                return Applies::No(index);
            }
        }
        // 2) The others, in order.
        for (index, condition) in (0u32..).zip(&rule.matches) {
            let holds = match condition {
                Match::Is(_) | Match::AnyOf { .. } => true,
                Match::Chance { probability, negated } => {
                    let probability = f64::from(*probability) / f64::from(1u32 << 31);
                    self.env.choices.chance(probability) != *negated
                }
                Match::Nth { every, packet, negated } => {
                    self.nth(at, rule, index, *every, *packet) != *negated
                }
                Match::Opaque(opaque) => has_effect(rule) && self.decide(at, index, opaque),
            };
            if !holds {
                return Applies::No(index);
            }
        }
        Applies::Yes
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

    /// xt_statistic.c, mode nth: where the count stands is not listed, so the first time it is a choice.
    fn nth(&mut self, at: RuleRef, rule: &Rule, index: u32, every: u32, packet: u32) -> bool {
        let every = every.max(1);
        let key = (at, index);
        let seen = match self.state.nth.get(&key) {
            Some(seen) => *seen,
            None if every == 1 => 0,
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
    fn value(&self, skb: &Skb, field: Field) -> Option<FieldValue> {
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
                number(self.host.fib.address_type(address, interface) as u128)
            }
            Field::CtState => number(states(skb.tracked, entry).0.into()),
            Field::CtStatus => number(entry?.status.0.into()),
            Field::CtAddress(direction, manip) => number(net::bits(side(entry?, direction, manip).address)),
            Field::CtPort(direction, manip) => Some(FieldValue::Port(side(entry?, direction, manip).port)),
            Field::CtProtocol => number(entry?.original.protocol.0.into()),
            Field::CtDirection => number(skb.tracked.entry()?.1 as u128),
            Field::CtExpires => number((entry?.expires.0.saturating_sub(self.env.now.0) / 1000).into()),
            Field::Length => number(packet.length().into()),
            Field::Ttl => number(packet.ttl.into()),
            Field::Dscp => number((packet.tos >> 2).into()),
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

/// Whether it makes a difference to a packet that a rule applies.
fn has_effect(rule: &Rule) -> bool {
    rule.statements
        .iter()
        .any(|statement| !matches!(statement, Statement::Log { .. } | Statement::Inert { .. }))
}
