//! Matches that look beyond one field of the header. What they remember from packet to packet is in
//! [`Memory`]; each follows the kernel's file of its name (Linux 6.18).

mod memory;
mod owner;
mod rate;
mod recent;
mod reverse_path;
mod set;
mod small;
mod socket;
mod time;

pub(crate) use memory::Memory;

use natpath_model::{Opaque, Rule, RuleRef, Xt};

use crate::pass::{Observer, Pass};
use crate::payload;
use crate::skb::Skb;

/// What a match says of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Whether it holds.
    Is(bool),
    /// It depends on what was not recorded, but all that is likely says so; and what that is.
    Assumed(bool, String),
    /// It depends on what was not recorded, and why.
    Unknown(String),
}

impl Answer {
    /// The opposite, where it is known.
    pub(crate) fn negate_if(self, negated: bool) -> Self {
        match self {
            Self::Is(holds) => Self::Is(holds != negated),
            Self::Assumed(holds, reason) => Self::Assumed(holds != negated, reason),
            unknown @ Self::Unknown(_) => unknown,
        }
    }
}

/// A match's place: its rule, and its number there.
pub(crate) type Place = (RuleRef, u32);

impl<O: Observer> Pass<'_, '_, O> {
    /// Asks a match.
    pub(crate) fn xt(&mut self, skb: &Skb, place: Place, condition: &Xt) -> Answer {
        match condition {
            Xt::Owner(owner) => Answer::Is(owner::holds(skb, owner)),
            Xt::Set(test) => self.in_set(skb, &test.set, &test.sides).negate_if(test.negated),
            Xt::Limit(rate) => Answer::Is(self.state.memory.limit(place, *rate, self.env.now)),
            Xt::HashLimit(limit) => Answer::Is(self.hash_limit(skb, limit)),
            Xt::Recent(recent) => Answer::Is(self.recent(skb, recent)),
            Xt::ConnLimit(limit) => Answer::Is(self.conn_limit(skb, place, *limit)),
            Xt::ConnBytes(test) => Answer::Is(self.conn_bytes(skb, test)),
            Xt::Quota { bytes, negated } => {
                Answer::Is(self.state.memory.quota(place, *bytes, skb.packet.length().into()) != *negated)
            }
            Xt::ReversePath(path) => Answer::Is(self.reverse_path(skb, *path)),
            Xt::Socket(test) => self.has_socket(skb, *test),
            Xt::Time(window) => time::holds(self.host.snapshot.date, self.env.now, window),
            // xt_helper.c: only a connection that another one announced has a helper to ask about, and
            // flows announce none.
            Xt::Helper { negated, .. } => Answer::Is(*negated),
            Xt::Policy { none, .. } => match self.host.snapshot.ipsec {
                true => Answer::Unknown("depends on IPsec policies, which are not modelled".to_owned()),
                false => Answer::Is(*none),
            },
            Xt::Cluster(cluster) => Answer::Is(self.in_cluster(skb, *cluster)),
            Xt::ControlGroup { .. } => small::in_control_group(skb),
            Xt::SegmentSize { negated, .. } => small::segment_size(&skb.packet, *negated),
            // xt_ipvs.c: what IPVS takes does not get here.
            Xt::Ipvs { of_others, .. } => Answer::Is(*of_others),
            Xt::Text(search) => payload::find_text(&skb.packet, search),
            Xt::U32(condition) => payload::compare_numbers(&skb.packet, condition),
            Xt::Bpf(program) => payload::run_program(&skb.packet, skb.mark, program),
            Xt::AbsentHeader { .. } => Answer::Is(false),
        }
    }

    /// A match whose answer is not known, in the form of a construct that can't be decided.
    pub(crate) fn unknown(&self, rule: &Rule, condition: &str, reason: String) -> Opaque {
        Opaque {
            construct: format!("-m {condition}"),
            text: self.host.snapshot.text(&rule.origin).to_owned(),
            reason,
            origin: rule.origin.clone(),
        }
    }
}
