//! The targets that translate: DNAT, SNAT, MASQUERADE, REDIRECT, NETMAP.

use std::net::IpAddr;

use ipnet::IpNet;
use natpath_model::net::bits;
use natpath_model::{Family, Nat, NatRange, PortRange, Protocol};

use super::rule::RuleReader;
use super::target::{Kind, Target};
use super::value::{self, Result, expected};
use crate::iptables_save::ast::{Fault, Word};

pub(super) fn build(target: &Target, rule: &RuleReader<'_, '_>) -> Result<Nat> {
    let needed = |name| target.value(rule, name).ok_or_else(|| target.missing(rule));
    let range = NatRange {
        random: target.has("--random") || target.has("--random-fully"),
        persistent: target.has("--persistent"),
        ..NatRange::default()
    };
    Ok(match target.kind {
        Kind::Dnat => Nat::Dnat(to_range(rule, needed("--to-destination")?, range, true)?),
        Kind::Snat => Nat::Snat(to_range(rule, needed("--to-source")?, range, false)?),
        Kind::Masquerade => Nat::Masquerade(to_ports(target, rule, range)?),
        Kind::Redirect => Nat::Redirect(to_ports(target, rule, range)?),
        _ => Nat::Netmap(network(needed("--to")?, rule.context.family)?),
    })
}

fn to_ports(target: &Target, rule: &RuleReader<'_, '_>, range: NatRange) -> Result<NatRange> {
    let Some(word) = target.value(rule, "--to-ports") else { return Ok(range) };
    let base_allowed = target.kind == Kind::Redirect;
    let ports = ports(&word.text(), base_allowed).ok_or_else(|| bad_ports(word, base_allowed))?;
    check_protocol(rule, word)?;
    Ok(NatRange { ports: Some(ports), ..range })
}

/// `[FIRST[-LAST]][:PORT[-PORT[/BASE]]]`; IPv6 addresses stand in brackets where ports follow.
fn to_range(rule: &RuleReader<'_, '_>, word: Word<'_>, range: NatRange, base: bool) -> Result<NatRange> {
    let family = rule.context.family;
    let text = word.text();
    let (address_text, port_text) = split_ports(&text, family);
    let addresses = if address_text.is_empty() {
        None
    } else {
        let plain: String =
            address_text.chars().filter(|character| !matches!(character, '[' | ']')).collect();
        Some(value::addresses(&plain, family).ok_or_else(|| {
            let help = match family {
                Family::Ip4 => "write ADDRESS[-ADDRESS][:PORT[-PORT]], such as 192.0.2.1:8080",
                Family::Ip6 => "write ADDRESS[-ADDRESS] or [ADDRESS]:PORT, such as [2001:db8::1]:8080",
            };
            expected(word, "an address or a range FIRST-LAST", help)
        })?)
    };
    let ports = match port_text {
        None => None,
        Some(text) => {
            check_protocol(rule, word)?;
            Some(ports(text, base).ok_or_else(|| bad_ports(word, base))?)
        }
    };
    Ok(NatRange { addresses, ports, ..range })
}

fn split_ports(text: &str, family: Family) -> (&str, Option<&str>) {
    let colon = match (family, text.rfind(']')) {
        (Family::Ip4, _) => text.find(':'),
        (Family::Ip6, Some(bracket)) => text[bracket..].starts_with("]:").then_some(bracket + 1),
        // `:8080` has no address; any other colon is an address's own.
        (Family::Ip6, None) => (text.starts_with(':') && !text.starts_with("::")).then_some(0),
    };
    match colon {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn ports(text: &str, base_allowed: bool) -> Option<PortRange> {
    let one = |text: &str| value::port(text).and_then(|port| u16::try_from(port).ok());
    let (range, base) = text.split_once('/').map_or((text, None), |(range, base)| (range, Some(base)));
    // A service's name may hold a hyphen.
    let (min, max) = match one(range) {
        Some(port) => (port, port),
        None => range.split_once('-').and_then(|(min, max)| one(min).zip(one(max)))?,
    };
    let base = match base {
        None => None,
        Some(base) if base_allowed => Some(one(base)?),
        Some(_) => return None,
    };
    (min <= max).then_some(PortRange { min, max, base })
}

fn bad_ports(word: Word<'_>, base_allowed: bool) -> Fault {
    let help = match base_allowed {
        true => "write PORT, PORT-PORT or PORT-PORT/BASE, the lower port first",
        false => "write PORT or PORT-PORT, the lower port first",
    };
    expected(word, "ports to translate to", help)
}

fn check_protocol(rule: &RuleReader<'_, '_>, word: Word<'_>) -> Result<()> {
    // libxt_NAT.c takes ICMP too: its identifier is drawn from the range. Whether `!` stands before the
    // protocol it does not ask.
    let known = rule.protocol;
    let allowed = |number| Protocol(number).has_ports() || Protocol(number).is_icmp();
    if known.is_some_and(|protocol| allowed(protocol.number)) {
        return Ok(());
    }
    let help = "write `-p tcp`, udp, sctp, dccp or udplite in the rule";
    Err(Fault::syntax(word.at, "a translation of ports needs a protocol with ports", help))
}

fn network(word: Word<'_>, family: Family) -> Result<IpNet> {
    let wrong = || expected(word, "a network ADDRESS/LENGTH", "write `--to 192.0.2.0/24`");
    let (address, mask) = value::masked_address(&word.text(), family).ok_or_else(wrong)?;
    let length = prefix_length(mask, family).ok_or_else(wrong)?;
    IpNet::new(address, length).map(|net| net.trunc()).map_err(|_| wrong())
}

fn prefix_length(mask: IpAddr, family: Family) -> Option<u8> {
    let shifted = bits(mask) << (128 - u32::from(family.bits()));
    let length = shifted.leading_ones();
    (length == shifted.count_ones()).then(|| u8::try_from(length).ok())?
}
