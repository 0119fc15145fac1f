//! The one closed form of a match: an expression over the packet lies in a set of intervals.
//!
//! Every match of every front end lowers to this form, so that the engine, printers and the all-packets
//! analysis read one language and no match is written twice. What does not fit is carried as [`Opaque`].

use std::net::IpAddr;

use crate::conntrack::Direction;
use crate::hook::Manip;
use crate::net::{Family, Protocol, bits};
use crate::origin::Origin;
use crate::value::{IntervalSet, Value};
use crate::xt::Xt;

/// One condition of a rule. A rule applies when all its conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// An expression lies, or does not lie, in a set.
    Is(Test),
    /// At least one of the tests holds, or none where `negated` (multiport `--ports`).
    ///
    /// A test whose field is absent makes the whole condition fail, negated or not.
    AnyOf {
        /// The tests, each without a negation of its own.
        tests: Vec<Test>,
        /// Whether the condition is that none holds.
        negated: bool,
    },
    /// A draw by chance (xt_statistic.c, mode random).
    Chance {
        /// The probability in units of 2^-31.
        probability: u32,
        /// Whether the rule applies when the draw fails.
        negated: bool,
    },
    /// Every so many packets (xt_statistic.c, mode nth). The count lives in the rule.
    Nth {
        /// The period, at least 1.
        every: u32,
        /// Which packet of the period, from 0.
        packet: u32,
        /// Whether the rule applies to all the others.
        negated: bool,
    },
    /// A match that looks beyond the header, or has a memory.
    Xt(Box<Xt>),
    /// A construct that is carried verbatim because its result is not known.
    Opaque(Opaque),
}

impl Match {
    /// The condition that `field` is in `set`.
    #[must_use]
    pub fn is(field: Field, set: IntervalSet) -> Self {
        Self::Is(Test::new(Expr::Field(field), set))
    }
}

/// An expression and the set it is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What is looked at.
    pub expr: Expr,
    /// The values that satisfy the test.
    pub set: IntervalSet,
    /// Whether it is the values outside the set that satisfy it.
    pub negated: bool,
    /// The result where the packet has no such field (a port of an ICMP packet, an entry of an untracked
    /// packet). `false` but where the kernel's extension says otherwise.
    pub if_absent: bool,
}

impl Test {
    /// A test that is not negated and fails where the field is absent.
    #[must_use]
    pub fn new(expr: Expr, set: IntervalSet) -> Self {
        Self { expr, set, negated: false, if_absent: false }
    }

    /// The same test, negated if `negated`.
    #[must_use]
    pub fn negate_if(mut self, negated: bool) -> Self {
        self.negated ^= negated;
        self
    }

    /// Whether a packet with this value satisfies the test.
    #[must_use]
    pub fn accepts(&self, value: Option<Value>) -> bool {
        match value {
            Some(value) => self.set.contains(self.expr.apply(value)) != self.negated,
            None => self.if_absent,
        }
    }
}

/// A value computed from a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// The field itself.
    Field(Field),
    /// The field with some bits cleared.
    Masked {
        /// The field.
        field: Field,
        /// The bits that are kept.
        mask: Value,
    },
}

impl Expr {
    /// The field that the expression reads.
    #[must_use]
    pub fn field(&self) -> Field {
        match self {
            Self::Field(field) | Self::Masked { field, .. } => *field,
        }
    }

    /// The expression's value, given the field's.
    #[must_use]
    pub fn apply(&self, value: Value) -> Value {
        match self {
            Self::Field(_) => value,
            Self::Masked { mask, .. } => value & mask,
        }
    }
}

/// A field of the packet, of its metadata or of its conntrack entry, in the units given with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The interface it came in by, as a packed name; an empty name (0) where it was made here.
    InInterface,
    /// The interface it is routed to, as a packed name; an empty name (0) where it is not yet routed.
    OutInterface,
    /// The IP protocol number; for IPv6 that of the first header that is not an extension.
    Protocol,
    /// Source or destination address as a number of 32 or 128 bits.
    Address(Manip),
    /// Source or destination port; absent in other protocols and in later fragments.
    Port(Manip),
    /// The flags byte of a TCP header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    TcpFlags,
    /// 1 where the TCP header has an option of this kind, else 0.
    TcpOption(u8),
    /// ICMP type times 256 plus code.
    IcmpType,
    /// ICMPv6 type times 256 plus code.
    Icmp6Type,
    /// 1 for a later fragment (an offset other than 0), else 0.
    LaterFragment,
    /// The packet's mark (`skb->mark`).
    Mark,
    /// The entry's mark; absent where the packet has no entry.
    ConnMark,
    /// The kind of address, as a route type number, in the whole FIB or seen from one interface.
    AddressType {
        /// Source or destination address.
        of: Manip,
        /// Whether only routes by the in- or out-interface count.
        by: AddressTypeBy,
    },
    /// The entry's state for this packet as bits of [`crate::CtStates`]; never absent.
    CtState,
    /// The status bits of the entry, of [`crate::Status`].
    CtStatus,
    /// An address of one of the entry's tuples.
    CtAddress(Direction, Manip),
    /// A port of one of the entry's tuples.
    CtPort(Direction, Manip),
    /// The protocol of the entry.
    CtProtocol,
    /// 0 for a packet in the original direction of its entry, 1 for a reply.
    CtDirection,
    /// The seconds until the entry expires.
    CtExpires,
    /// Total length in bytes: the IPv4 total length, or the IPv6 payload length plus 40.
    Length,
    /// Time to live or hop limit.
    Ttl,
    /// The differentiated services code point, 6 bits.
    Dscp,
    /// The type of service or traffic class, all 8 bits.
    Tos,
    /// The hardware source address; absent where the packet did not come in an Ethernet frame.
    SourceMac,
    /// To whom the frame was sent: 0 this host, 1 all (broadcast), 2 many (multicast).
    PacketType,
    /// The realm of the packet's route; 0 where routes have none.
    Realm,
    /// The headers of an IPv6 packet as ip6t_ipv6header.h numbers them: 1 for the transport's own.
    Ip6Headers,
    /// The bridge port it came in by, as a packed name; 0 where it crosses no bridge.
    BridgeIn,
    /// The bridge port it goes out by, as a packed name; 0 where it crosses no bridge.
    BridgeOut,
    /// 1 where the packet goes from one port of a bridge to another, else 0.
    Bridged,
}

/// The routes that count for [`Field::AddressType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressTypeBy {
    /// All.
    Any,
    /// Those of the in-interface (`--limit-iface-in`).
    InInterface,
    /// Those of the out-interface (`--limit-iface-out`).
    OutInterface,
}

/// A construct whose effect natpath can't compute, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// What it is, in the tool's own words: `-m string`, `-j TPROXY`.
    pub construct: String,
    /// The words of the rule that belong to it.
    pub text: String,
    /// Why it can't be decided, for a reader: "depends on payload", "not modelled".
    pub reason: String,
    /// Where it stands.
    pub origin: Origin,
}

/// The addresses of a prefix as an interval; host bits of `address` are ignored.
#[must_use]
pub fn prefix_interval(prefix: ipnet::IpNet) -> IntervalSet {
    IntervalSet::range(bits(prefix.network()), bits(prefix.broadcast()))
}

/// The test that an address lies under `address/mask`, where the mask may have holes.
#[must_use]
pub fn masked_address(of: Manip, address: IpAddr, mask: IpAddr) -> Test {
    let mask = bits(mask);
    let all = match Family::of(address) {
        Family::Ip4 => Value::from(u32::MAX),
        Family::Ip6 => Value::MAX,
    };
    let base = bits(address) & mask;
    let holes = !mask & all;
    if holes & holes.wrapping_add(1) == 0 {
        Test::new(Expr::Field(Field::Address(of)), IntervalSet::range(base, base | holes))
    } else {
        Test::new(Expr::Masked { field: Field::Address(of), mask }, IntervalSet::single(base))
    }
}

/// The condition that the packet is of a protocol.
#[must_use]
pub fn protocol(protocol: Protocol) -> Test {
    Test::new(Expr::Field(Field::Protocol), IntervalSet::single(Value::from(protocol.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_without_holes_is_one_interval() {
        let test = masked_address(Manip::Src, "10.1.2.3".parse().unwrap(), "255.255.0.0".parse().unwrap());
        assert_eq!(test.set, IntervalSet::range(0x0a01_0000, 0x0a01_ffff));
        assert!(matches!(test.expr, Expr::Field(_)));
    }

    #[test]
    fn a_mask_with_holes_clears_bits_first() {
        let test = masked_address(Manip::Dst, "10.0.0.5".parse().unwrap(), "255.0.0.255".parse().unwrap());
        assert!(test.accepts(Some(0x0a63_6305)));
        assert!(!test.accepts(Some(0x0a63_6306)));
    }

    #[test]
    fn an_absent_field_fails_a_negated_test_too() {
        let test = Test::new(Expr::Field(Field::Port(Manip::Dst)), IntervalSet::single(80)).negate_if(true);
        assert!(test.accepts(Some(81)) && !test.accepts(Some(80)) && !test.accepts(None));
    }
}
