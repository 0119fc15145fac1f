//! Matches of an option or two: mac, pkttype, realm, tos, ecn, ipv6header, helper, policy, cluster, tcpmss,
//! ipvs.

use natpath_model::set::mac_value;
use natpath_model::xt::Cluster;
use natpath_model::{Expr, Field, IntervalSet, Mac, Match, Test, Value, Xt};

use super::{Options, Reading};
use crate::iptables_save::ast::Fault;
use crate::iptables_save::lower::names;
use crate::iptables_save::lower::rule::{Proto, RuleReader};
use crate::iptables_save::lower::value::{self, Result, expected};

pub(super) const POLICY: Options = &[
    ("--dir", 1),
    ("--pol", 1),
    ("--strict", 0),
    ("--next", 0),
    ("--reqid", 1),
    ("--spi", 1),
    ("--proto", 1),
    ("--mode", 1),
    ("--tunnel-src", 1),
    ("--tunnel-dst", 1),
];

pub(super) const ECN: Options = &[("--ecn-tcp-cwr", 0), ("--ecn-tcp-ece", 0), ("--ecn-ip-ect", 1)];

pub(super) const IP6_HEADER: Options = &[("--header", 1), ("--soft", 0)];

pub(super) const CLUSTER: Options = &[
    ("--cluster-total-nodes", 1),
    ("--cluster-local-node", 1),
    ("--cluster-local-nodemask", 1),
    ("--cluster-hash-seed", 1),
];

pub(super) const IPVS: Options = &[
    ("--ipvs", 0),
    ("--vproto", 1),
    ("--vaddr", 1),
    ("--vport", 1),
    ("--vdir", 1),
    ("--vmethod", 1),
    ("--vportctl", 1),
];

/// The most nodes of a cluster (`XT_CLUSTER_NODES_MAX`).
const MOST_NODES: u64 = 32;

/// The kinds of frames (linux/if_packet.h).
pub(crate) const PACKET_TYPES: [(&str, Value); 6] =
    [("unicast", 0), ("broadcast", 1), ("multicast", 2), ("host", 0), ("bcast", 1), ("mcast", 2)];

/// The headers of IPv6 (linux/netfilter_ipv6/ip6t_ipv6header.h), in iptables' words.
pub(crate) const IP6_HEADERS: [(&str, u8); 15] = [
    ("hop-by-hop", 128),
    ("ipv6-opts", 64),
    ("ipv6-route", 32),
    ("ipv6-frag", 16),
    ("ah", 8),
    ("esp", 4),
    ("ipv6-nonxt", 2),
    ("protocol", 1),
    ("hop", 128),
    ("dst", 64),
    ("route", 32),
    ("frag", 16),
    ("auth", 8),
    ("none", 2),
    ("prot", 1),
];

fn needed<'a>(
    rule: &RuleReader<'_, 'a>,
    reading: &Reading<'_>,
    name: &str,
) -> Result<(crate::iptables_save::ast::Word<'a>, bool)> {
    let help = format!("write `-m {} {name} VALUE`", reading.module.name());
    reading.value(rule, name).ok_or_else(|| reading.fault(rule, &format!("expected `{name}`"), &help))
}

fn is(expr: Expr, value: Value, negated: bool) -> Match {
    Match::Is(Test::new(expr, IntervalSet::single(value)).negate_if(negated))
}

/// A field, under a mask unless it is all ones.
fn masked(field: Field, mask: Value, all: Value) -> Expr {
    if mask == all { Expr::Field(field) } else { Expr::Masked { field, mask } }
}

pub(super) fn helper(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Xt> {
    let (word, negated) = needed(rule, reading, "--helper")?;
    Ok(Xt::Helper { name: word.text().into_owned(), negated })
}

/// Without any policy only `--pol none` holds (xt_policy.c).
pub(super) fn policy(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Xt {
    let none = reading.value(rule, "--pol").is_some_and(|(word, _)| word.text() == "none");
    Xt::Policy { none, text: reading.text(rule) }
}

pub(super) fn mac(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    let (word, negated) = needed(rule, reading, "--mac-source")?;
    let mac: Mac = word
        .text()
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| expected(word, "a hardware address", "write `02:00:00:00:00:01`"))?;
    Ok(is(Expr::Field(Field::SourceMac), mac_value(mac), negated))
}

pub(super) fn packet_type(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    let (word, negated) = needed(rule, reading, "--pkt-type")?;
    let known = PACKET_TYPES.iter().find(|(name, _)| word.text().eq_ignore_ascii_case(name));
    let (_, kind) =
        known.ok_or_else(|| expected(word, "a kind of frame", "write unicast, broadcast or multicast"))?;
    Ok(is(Expr::Field(Field::PacketType), *kind, negated))
}

pub(super) fn realm(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    let (word, negated) = needed(rule, reading, "--realm")?;
    let (value, mask) = value::mark(word)?;
    Ok(is(masked(Field::Realm, mask.into(), u32::MAX.into()), value.into(), negated))
}

pub(super) fn tos(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    let (word, negated) = needed(rule, reading, "--tos")?;
    let (value, mask) = names::tos(&word.text(), 0x3f).ok_or_else(|| {
        expected(word, "a type of service VALUE[/MASK]", "write numbers up to 255, such as 0x10/0x3f")
    })?;
    Ok(is(masked(Field::Tos, mask.into(), 0xff), value.into(), negated))
}

pub(super) fn ecn(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Vec<Match>> {
    let mut tests = Vec::new();
    for given in reading.given {
        let bit = match given.name {
            "--ecn-tcp-ece" => 0x40,
            "--ecn-tcp-cwr" => 0x80,
            _ => {
                let (word, negated) = needed(rule, reading, "--ecn-ip-ect")?;
                let value = value::number_word(word, 3, "an ECN code point")?;
                tests.push(is(Expr::Masked { field: Field::Tos, mask: 3 }, value.into(), negated));
                continue;
            }
        };
        tests.push(is(Expr::Masked { field: Field::TcpFlags, mask: bit }, bit, given.inverted));
    }
    Ok(tests)
}

pub(super) fn ip6_header(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Match> {
    let (word, negated) = needed(rule, reading, "--header")?;
    let text = word.text();
    let bits = text.split(',').try_fold(0, |bits, name| {
        let named = IP6_HEADERS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
        Some(bits | named.or_else(|| header_of_protocol(value::protocol(name)?))?)
    });
    let bits: u8 = bits.ok_or_else(|| {
        expected(word, "a list of IPv6 headers", "write some of hop,dst,route,frag,auth,esp,none,prot")
    })?;
    let field = Field::Ip6Headers;
    // Softly only the headers named count: all are there, or none (ip6t_ipv6header.c). Else it must have
    // these and no others.
    if reading.has("--soft") {
        let wanted = if negated { 0 } else { bits };
        return Ok(is(Expr::Masked { field, mask: bits.into() }, wanted.into(), false));
    }
    Ok(is(Expr::Field(field), bits.into(), negated))
}

fn header_of_protocol(protocol: u8) -> Option<u8> {
    Some(match protocol {
        0 => 128,
        60 => 64,
        43 => 32,
        44 => 16,
        51 => 8,
        50 => 4,
        59 => 2,
        _ => return None,
    })
}

pub(super) fn cluster(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Cluster> {
    let number = |name: &str, max: u64| -> Option<Result<(u32, bool)>> {
        let (word, negated) = reading.value(rule, name)?;
        Some(value::number_word(word, max, "a number").map(|number| (number as u32, negated)))
    };
    let missing =
        |name: &str| reading.fault(rule, &format!("expected `{name}`"), "see `iptables -m cluster -h`");
    let needed = |name: &str, max| number(name, max).ok_or_else(|| missing(name))?;
    let (nodes, _) = needed("--cluster-total-nodes", MOST_NODES)?;
    let (seed, _) = needed("--cluster-hash-seed", u32::MAX.into())?;
    let (own, negated) = match number("--cluster-local-node", MOST_NODES) {
        Some(node) => {
            let (node, negated) = node?;
            (1u32.checked_shl(node.wrapping_sub(1)).unwrap_or(0), negated)
        }
        None => needed("--cluster-local-nodemask", u32::MAX.into())?,
    };
    if nodes == 0 || own == 0 {
        return Err(reading.fault(rule, "expected a cluster with nodes", "nodes are counted from 1"));
    }
    Ok(Cluster { nodes, own, seed, negated })
}

pub(super) fn segment_size(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<Xt> {
    let needs_tcp = |protocol: &Proto| protocol.number == 6 && !protocol.inverted;
    if !rule.protocol.as_ref().is_some_and(needs_tcp) {
        let at = rule.words[reading.word].at;
        return Err(Fault::syntax(at, "`-m tcpmss` needs the protocol tcp", "write `-p tcp` before it"));
    }
    let Some((word, negated)) = reading.value(rule, "--mss") else {
        return Err(reading.fault(rule, "expected `--mss`", "write `--mss LOW:HIGH`"));
    };
    let (min, max) = value::range(&word.text(), 0xffff, |text| value::number(text, 0xffff))
        .ok_or_else(|| expected(word, "a size or a range LOW:HIGH", "write numbers up to 65535"))?;
    Ok(Xt::SegmentSize { min: min as u16, max: max as u16, negated })
}

/// xt_ipvs.c: of a packet that IPVS has not handled nothing holds but that.
pub(super) fn ipvs(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Xt {
    let of_others = match reading.given {
        [only] => only.name == "--ipvs" && only.inverted,
        _ => false,
    };
    Xt::Ipvs { of_others, text: reading.text(rule) }
}
