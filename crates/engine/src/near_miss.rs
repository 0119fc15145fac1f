//! Rules that nearly applied: those that ask for an address or port as it was before translation, and those
//! that ask for a connection's state of a packet that is tracked by none.
//!
//! A rule of FORWARD that names a published port is the best known: DNAT is done by then.

use natpath_model::{
    CtStates, Direction, Endpoint, Field, Hook, Manip, Match, Rule, RuleRef, Status, Test, net,
};

use crate::conntrack::Tracked;
use crate::matching::FieldValue;
use crate::pass::{Observer, Pass};
use crate::skb::Skb;
use crate::trace::{Header, HostId};

/// A rule that did not apply for one reason.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NearMiss {
    pub(crate) host: HostId,
    pub(crate) hook: Hook,
    pub(crate) rule: RuleRef,
    /// The packet that the rule saw.
    pub(crate) header: Header,
    pub(crate) cause: MissCause,
}

/// Why a rule did not apply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MissCause {
    /// These matches, by number, ask for what was there before translation.
    BeforeTranslation {
        matches: Vec<u32>,
        /// The side of the packet that they ask for.
        side: Manip,
        /// What it was before, as the connection's first packet came.
        was: Endpoint,
    },
    /// This match asks for the state of a known connection, and the packet is in none.
    State { matched: u32, is: CtStates },
}

/// How one condition stands to a packet.
enum Standing {
    Holds,
    /// It would hold of the packet before translation.
    HeldBefore,
    /// It would hold of a packet of a known connection.
    WouldHoldIfKnown,
    Fails,
}

impl<O: Observer> Pass<'_, '_, O> {
    /// Notes a rule that did not apply but for what translation changed, or for the lack of a connection.
    pub(crate) fn note_near_miss(&mut self, hook: Hook, at: RuleRef, rule: &Rule, skb: &Skb) {
        let former = self.former(skb);
        let unknown = matches!(skb.tracked, Tracked::Untracked | Tracked::No)
            && self.env.noted.near_misses.len() < MAX_NOTED;
        if former.is_none() && !unknown {
            return;
        }
        let Some(cause) = self.cause_of_miss(rule, skb, former) else { return };
        let header = skb.packet.header();
        let miss = NearMiss { host: self.host.id, hook, rule: at, header, cause };
        if !self.env.noted.near_misses.contains(&miss) {
            self.env.noted.near_misses.push(miss);
        }
    }

    fn cause_of_miss(&self, rule: &Rule, skb: &Skb, former: Option<(Manip, Endpoint)>) -> Option<MissCause> {
        let (mut before, mut state) = (Vec::new(), None);
        for (index, condition) in (0u32..).zip(&rule.matches) {
            match self.standing(condition, skb, former) {
                Standing::Holds => {}
                Standing::HeldBefore => before.push(index),
                Standing::WouldHoldIfKnown => state = Some(index),
                Standing::Fails => return None,
            }
        }
        match (&before[..], state, former) {
            ([], Some(matched), _) => Some(MissCause::State { matched, is: skb.tracked.states() }),
            ([_, ..], None, Some((side, was))) => {
                Some(MissCause::BeforeTranslation { matches: before, side, was })
            }
            _ => None,
        }
    }

    /// The side of a packet that is or will be translated by DNAT, and what it is called on the other side of
    /// the translation: the destination that was asked for; of an answer, its source.
    fn former(&self, skb: &Skb) -> Option<(Manip, Endpoint)> {
        let (id, direction) = skb.tracked.entry()?;
        let entry = self.state.conntrack.entry(id);
        let side = match direction {
            Direction::Original => Manip::Dst,
            Direction::Reply => Manip::Src,
        };
        let header = skb.packet.header();
        let is = if side == Manip::Dst { header.dst } else { header.src };
        (entry.status.has(Status::DST_NAT) && is != entry.original.dst).then_some((side, entry.original.dst))
    }

    fn standing(&self, condition: &Match, skb: &Skb, former: Option<(Manip, Endpoint)>) -> Standing {
        match condition {
            Match::Is(test) => {
                if self.holds_surely(skb, test) {
                    return Standing::Holds;
                }
                if former.is_some_and(|former| held_before(test, former)) {
                    return Standing::HeldBefore;
                }
                let established = u128::from(CtStates::ESTABLISHED.0);
                let asks_state = test.expr.field() == Field::CtState;
                if asks_state && former.is_none() && test.accepts(Some(established)) {
                    return Standing::WouldHoldIfKnown;
                }
                Standing::Fails
            }
            Match::AnyOf { tests, negated: false } => {
                if tests.iter().any(|test| self.holds_surely(skb, test)) {
                    Standing::Holds
                } else if former.is_some_and(|former| tests.iter().any(|test| held_before(test, former))) {
                    Standing::HeldBefore
                } else {
                    Standing::Fails
                }
            }
            Match::Chance { .. } | Match::Nth { .. } => Standing::Holds,
            Match::AnyOf { .. } | Match::Xt(_) | Match::Opaque(_) => Standing::Fails,
        }
    }

    /// Whether a test holds, whatever a drawn port turns out to be.
    fn holds_surely(&self, skb: &Skb, test: &Test) -> bool {
        match self.value(skb, test.expr.field()) {
            Some(FieldValue::Number(value)) => test.accepts(Some(value)),
            Some(FieldValue::Port(port)) => port.drawn.is_none() && test.accepts(Some(port.value.into())),
            None => test.if_absent,
        }
    }
}

/// The most that are noted of packets without a connection: every stateful rule they meet is one.
const MAX_NOTED: usize = 64;

/// Whether a test holds of an address or port as it was before translation.
fn held_before(test: &Test, (side, was): (Manip, Endpoint)) -> bool {
    let value = match test.expr.field() {
        Field::Address(of) if of == side => net::bits(was.address),
        Field::Port(of) if of == side && was.port.drawn.is_none() => was.port.value.into(),
        _ => return false,
    };
    !test.negated && test.accepts(Some(value))
}
