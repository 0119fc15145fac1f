//! Conditions as options and `-m`.

use std::net::IpAddr;

use natpath_model::matching::AddressTypeBy;
use natpath_model::{
    CtStates, Expr, Family, Field, IntervalSet, Manip, Match, Protocol, RouteType, Status, Test, Value,
};

use super::{put, xt};
use crate::iptables_save::lower::{TUPLE_OPTIONS, names, statistic};

/// Writes conditions in their order. Those of the IP header come first, each once and in the kernel's order;
/// an address that comes later is written with `-m iprange`, which means the same.
pub(super) fn write(out: &mut String, family: Family, matches: &[Match]) {
    let mut writer = Writer { out, family, rank: 0, protocol: None, in_conntrack: false };
    for condition in matches {
        writer.condition(condition);
    }
}

struct Writer<'o> {
    out: &'o mut String,
    family: Family,
    /// How far the options of the IP header have come; `END` after the last.
    rank: u8,
    protocol: Option<Protocol>,
    /// Within a `-m conntrack --ctstate`, whose other options may follow.
    in_conntrack: bool,
}

const END: u8 = 7;

impl Writer<'_> {
    fn condition(&mut self, condition: &Match) {
        match condition {
            Match::Is(test) => self.test(test),
            Match::AnyOf { tests, negated } => {
                self.module();
                if let Some(test) = tests.first() {
                    let ports = port_list(&test.set);
                    put(self.out, format_args!(" -m multiport{} --ports {ports}", bang(*negated)));
                }
            }
            Match::Chance { probability, negated } => {
                self.module();
                let value = f64::from(*probability) / statistic::CERTAIN;
                let bang = bang(*negated);
                put(self.out, format_args!(" -m statistic --mode random{bang} --probability {value:.11}"));
            }
            Match::Nth { every, packet, negated } => {
                self.module();
                let bang = bang(*negated);
                put(
                    self.out,
                    format_args!(" -m statistic --mode nth{bang} --every {every} --packet {packet}"),
                );
            }
            Match::Xt(condition) => {
                self.module();
                xt::write(self.out, self.family, condition);
            }
            Match::Opaque(opaque) => {
                self.module();
                put(self.out, format_args!(" {}", opaque.text));
            }
        }
    }

    /// A condition that is not of the IP header begins.
    fn module(&mut self) {
        self.rank = END;
        self.in_conntrack = false;
    }

    /// Whether a header option may come here.
    fn header(&mut self, rank: u8) -> bool {
        let fits = self.rank < rank;
        if fits {
            self.rank = rank;
        }
        fits
    }

    fn test(&mut self, test: &Test) {
        let bang = bang(test.negated);
        let field = test.expr.field();
        match field {
            Field::Address(of) => self.address(of, test),
            Field::InInterface | Field::OutInterface => {
                let (rank, option) = if field == Field::InInterface { (3, "-i") } else { (4, "-o") };
                self.header(rank);
                put(self.out, format_args!("{bang} {option} {}", interface(&test.set)));
            }
            Field::Protocol => self.write_protocol(test),
            Field::LaterFragment => {
                self.header(6);
                put(self.out, format_args!("{bang} -f"));
            }
            Field::CtState
            | Field::CtStatus
            | Field::CtAddress(..)
            | Field::CtPort(..)
            | Field::CtProtocol
            | Field::CtDirection
            | Field::CtExpires => self.conntrack(test),
            _ => {
                self.module();
                let text = self.module_test(test);
                put(self.out, format_args!(" -m {text}"));
            }
        }
    }

    fn address(&mut self, of: Manip, test: &Test) {
        let bang = bang(test.negated);
        let (rank, option, range) = match of {
            Manip::Src => (1, "-s", "--src-range"),
            Manip::Dst => (2, "-d", "--dst-range"),
        };
        let all = test.set == IntervalSet::range(0, all_bits(self.family)) && !test.negated;
        if let Some(text) = prefix(self.family, test).filter(|_| !all && self.rank < rank) {
            self.rank = rank;
            put(self.out, format_args!("{bang} {option} {text}"));
            return;
        }
        self.module();
        let (low, high) = bounds(&test.set);
        let (low, high) = (self.family.address(low), self.family.address(high));
        put(self.out, format_args!(" -m iprange{bang} {range} {low}-{high}"));
    }

    fn write_protocol(&mut self, test: &Test) {
        self.header(5);
        let number = bounds(&test.set).0 as u8;
        self.protocol = (!test.negated).then_some(Protocol(number));
        let bang = bang(test.negated);
        match names::protocol_name(number) {
            Some(name) => put(self.out, format_args!("{bang} -p {name}")),
            None => put(self.out, format_args!("{bang} -p {number}")),
        }
    }

    /// The words after `-m` of a condition that is neither of the IP header nor of conntrack.
    fn module_test(&self, test: &Test) -> String {
        let bang = bang(test.negated);
        let (low, high) = bounds(&test.set);
        match test.expr.field() {
            Field::Port(side) => self.ports(side, test),
            Field::TcpFlags => {
                match mask_of(&test.expr, 0xff) {
                    0x40 => return format!("ecn{bang} --ecn-tcp-ece"),
                    0x80 => return format!("ecn{bang} --ecn-tcp-cwr"),
                    _ => {}
                }
                let mask = tcp_flags(mask_of(&test.expr, 0xff));
                format!("tcp{bang} --tcp-flags {mask} {}", tcp_flags(low))
            }
            Field::TcpOption(kind) => format!("tcp{bang} --tcp-option {kind}"),
            Field::IcmpType => format!("icmp{bang} --icmp-type {}", icmp_type(low, high)),
            Field::Icmp6Type => format!("icmp6{bang} --icmpv6-type {}", icmp_type(low, high)),
            Field::Mark => format!("mark{bang} --mark {}", mark(&test.expr, low)),
            Field::ConnMark => format!("connmark{bang} --mark {}", mark(&test.expr, low)),
            Field::AddressType { of, by } => {
                let option = if of == Manip::Src { "--src-type" } else { "--dst-type" };
                let limit = match by {
                    AddressTypeBy::Any => "",
                    AddressTypeBy::InInterface => " --limit-iface-in",
                    AddressTypeBy::OutInterface => " --limit-iface-out",
                };
                format!("addrtype{bang} {option} {}{limit}", address_types(&test.set))
            }
            Field::Length => format!("length{bang} --length {low}:{high}"),
            Field::Dscp => format!("dscp{bang} --dscp {low:#04x}"),
            Field::Ttl => self.ttl(test),
            Field::Tos
            | Field::SourceMac
            | Field::PacketType
            | Field::Realm
            | Field::Ip6Headers
            | Field::BridgeIn
            | Field::BridgeOut
            | Field::Bridged => xt::field_test(test),
            // The others are written elsewhere.
            _ => String::new(),
        }
    }

    fn ports(&self, side: Manip, test: &Test) -> String {
        let (one, many) = match side {
            Manip::Src => ("--sport", "--sports"),
            Manip::Dst => ("--dport", "--dports"),
        };
        let bang = bang(test.negated);
        let list = port_list(&test.set);
        match (self.protocol, test.set.intervals()) {
            (Some(protocol), [_]) if protocol.has_ports() => format!("{protocol}{bang} {one} {list}"),
            _ => format!("multiport{bang} {many} {list}"),
        }
    }

    fn ttl(&self, test: &Test) -> String {
        let module = if self.family == Family::Ip4 { "ttl" } else { "hl" };
        let (low, high) = bounds(&test.set);
        let bang = bang(test.negated);
        match test.set.intervals() {
            // Nothing is below 0.
            [] => format!("{module} --{module}-lt 0"),
            [_] if low == high => format!("{module}{bang} --{module}-eq {low}"),
            [_] if low == 0 => format!("{module} --{module}-lt {}", high + 1),
            _ => format!("{module} --{module}-gt {}", low.saturating_sub(1)),
        }
    }

    fn conntrack(&mut self, test: &Test) {
        // Only options beside a state hold where there is no entry.
        let joins = self.in_conntrack && test.if_absent;
        self.module();
        self.in_conntrack = joins || test.expr.field() == Field::CtState;
        if !joins {
            self.out.push_str(" -m conntrack");
        }
        let text = conntrack_option(self.family, test);
        put(self.out, format_args!("{} {text}", bang(test.negated != is_bit_test(test))));
    }
}

/// States and statuses are tested as "no bit in common", negated.
fn is_bit_test(test: &Test) -> bool {
    matches!(test.expr.field(), Field::CtState | Field::CtStatus)
}

fn conntrack_option(family: Family, test: &Test) -> String {
    let (low, high) = bounds(&test.set);
    let mask = mask_of(&test.expr, 0);
    match test.expr.field() {
        Field::CtState => {
            let names = CtStates::NAMES.iter().filter(|(_, state)| mask & Value::from(state.0) != 0);
            format!("--ctstate {}", join(names.map(|(name, _)| *name)))
        }
        Field::CtStatus => {
            let names = Status::NAMES.iter().filter(|(_, status)| mask & Value::from(status.0) != 0);
            let list = join(names.map(|(name, _)| *name));
            format!("--ctstatus {}", if list.is_empty() { "NONE" } else { &list })
        }
        Field::CtProtocol => format!("--ctproto {low}"),
        Field::CtDirection => format!("--ctdir {}", if low == 0 { "ORIGINAL" } else { "REPLY" }),
        Field::CtExpires => format!("--ctexpire {low}:{high}"),
        field => {
            let option = TUPLE_OPTIONS.iter().find(|(_, known)| *known == field).map_or("", |(name, _)| name);
            match field {
                Field::CtAddress(..) => format!("{option} {}", prefix(family, test).unwrap_or_default()),
                _ => format!("{option} {low}:{high}"),
            }
        }
    }
}

pub(super) fn bang(negated: bool) -> &'static str {
    if negated { " !" } else { "" }
}

/// The lowest and the highest value; 0 and 0 of an empty set.
pub(super) fn bounds(set: &IntervalSet) -> (Value, Value) {
    let intervals = set.intervals();
    match (intervals.first(), intervals.last()) {
        (Some((low, _)), Some((_, high))) => (*low, *high),
        _ => (0, 0),
    }
}

pub(super) fn mask_of(expr: &Expr, default: Value) -> Value {
    match expr {
        Expr::Field(_) => default,
        Expr::Masked { mask, .. } => *mask,
    }
}

fn all_bits(family: Family) -> Value {
    match family {
        Family::Ip4 => u32::MAX.into(),
        Family::Ip6 => Value::MAX,
    }
}

/// `ADDRESS/MASK`, if the test is one of a prefix or of a mask with holes.
fn prefix(family: Family, test: &Test) -> Option<String> {
    let [(low, high)] = test.set.intervals() else { return None };
    let address = |value| -> IpAddr { family.address(value) };
    if let Expr::Masked { mask, .. } = test.expr {
        return Some(format!("{}/{}", address(*low), address(mask)));
    }
    let holes = low ^ high;
    let is_prefix = holes & holes.wrapping_add(1) == 0 && low & holes == 0;
    let length = u32::from(family.bits()) - holes.count_ones();
    is_prefix.then(|| format!("{}/{length}", address(*low)))
}

pub(super) fn interface(set: &IntervalSet) -> String {
    let (low, high) = bounds(set);
    let bytes = low.to_be_bytes();
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..length]);
    if low == high { name.into_owned() } else { format!("{name}+") }
}

fn port_list(set: &IntervalSet) -> String {
    let range = |(low, high): &(Value, Value)| match low == high {
        true => low.to_string(),
        false => format!("{low}:{high}"),
    };
    set.intervals().iter().map(range).collect::<Vec<_>>().join(",")
}

fn tcp_flags(bits: Value) -> String {
    let all = bits & 0x3f == 0x3f;
    let names = names::TCP_FLAGS.iter().filter(|(_, flag)| bits & Value::from(*flag) != 0);
    match bits & 0x3f {
        0 => "NONE".to_owned(),
        _ if all => "ALL".to_owned(),
        _ => join(names.map(|(name, _)| *name)),
    }
}

fn icmp_type(low: Value, high: Value) -> String {
    if (low, high) == (0, 0xffff) {
        return "255".to_owned();
    }
    let (kind, code) = (low >> 8, low & 0xff);
    if low == high { format!("{kind}/{code}") } else { kind.to_string() }
}

pub(super) fn mark(expr: &Expr, value: Value) -> String {
    match expr {
        Expr::Field(_) => format!("{value:#x}"),
        Expr::Masked { mask, .. } => format!("{value:#x}/{mask:#x}"),
    }
}

fn address_types(set: &IntervalSet) -> String {
    const ALL: [RouteType; 10] = [
        RouteType::Unspec,
        RouteType::Unicast,
        RouteType::Local,
        RouteType::Broadcast,
        RouteType::Anycast,
        RouteType::Multicast,
        RouteType::Blackhole,
        RouteType::Unreachable,
        RouteType::Prohibit,
        RouteType::Throw,
    ];
    let named = ALL.iter().filter(|kind| set.contains(**kind as Value));
    named.map(|kind| kind.name().to_ascii_uppercase()).collect::<Vec<_>>().join(",")
}

fn join<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(",")
}
