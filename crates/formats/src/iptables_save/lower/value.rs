//! The words that options take: numbers, ports, marks, addresses, protocols.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use natpath_model::net::bits;
use natpath_model::{Expr, Family, Field, IntervalSet, Test, Value};

use super::names;
use crate::iptables_save::ast::{Fault, Word};

pub(super) type Result<T> = std::result::Result<T, Fault>;

/// "expected WHAT, found `WORD`" at the word.
pub(super) fn expected(word: Word<'_>, what: &str, help: &str) -> Fault {
    let found: String = word.raw.chars().take(80).collect();
    Fault::syntax(word.at, format!("expected {what}, found `{found}`"), help)
}

/// A number as strtoul(3) reads it: decimal, `0x` hexadecimal or `0` octal.
pub(super) fn number(text: &str, max: u64) -> Option<u64> {
    let value = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(digits(&text[2..])?, 16).ok()?,
        [b'0', _, ..] => u64::from_str_radix(digits(&text[1..])?, 8).ok()?,
        _ => digits(text)?.parse().ok()?,
    };
    (value <= max).then_some(value)
}

/// `from_str_radix` takes a sign, strtoul's callers in iptables don't.
fn digits(text: &str) -> Option<&str> {
    text.bytes().next()?.is_ascii_alphanumeric().then_some(text)
}

pub(super) fn number_word(word: Word<'_>, max: u64, what: &str) -> Result<u64> {
    number(&word.text(), max).ok_or_else(|| expected(word, what, &format!("write a number from 0 to {max}")))
}

/// `LOW[:HIGH]`, either end of which may be left out.
pub(super) fn range(text: &str, max: u64, one: impl Fn(&str) -> Option<u64>) -> Option<(u64, u64)> {
    match text.split_once(':') {
        None => one(text).map(|value| (value, value)),
        Some((low, high)) => {
            let low = if low.is_empty() { 0 } else { one(low)? };
            let high = if high.is_empty() { max } else { one(high)? };
            (low <= high).then_some((low, high))
        }
    }
}

/// A port by number, or by a name of /etc/services that is the same everywhere.
pub(crate) fn port(text: &str) -> Option<u64> {
    number(text, 0xffff).or_else(|| names::service(text).map(u64::from))
}

pub(super) fn port_range(word: Word<'_>) -> Result<(u64, u64)> {
    range(&word.text(), 0xffff, port).ok_or_else(|| {
        expected(
            word,
            "a port or a range LOW:HIGH",
            "write port numbers from 0 to 65535, the lower one first",
        )
    })
}

pub(super) fn set((low, high): (u64, u64)) -> IntervalSet {
    IntervalSet::range(Value::from(low), Value::from(high))
}

/// `VALUE[/MASK]`; the mask is all ones if it is left out.
pub(super) fn mark(word: Word<'_>) -> Result<(u32, u32)> {
    let parse = |text| number(text, u32::MAX.into()).and_then(|value| u32::try_from(value).ok());
    let text = word.text();
    let (value, mask) = text.split_once('/').map_or((&*text, None), |(a, b)| (a, Some(b)));
    parse(value).zip(mask.map_or(Some(u32::MAX), parse)).ok_or_else(|| {
        expected(word, "a mark VALUE[/MASK]", "write numbers of 32 bits, such as 0x4000/0x4000")
    })
}

/// An address as iptables reads it: IPv4 may leave out bytes at the end (`10.1`), names are not looked up.
pub(super) fn address(text: &str, family: Family) -> Option<IpAddr> {
    match family {
        Family::Ip4 => text.parse().map_or_else(|_| short_ip4(text), Some).map(IpAddr::V4),
        Family::Ip6 => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    }
}

fn short_ip4(text: &str) -> Option<Ipv4Addr> {
    let mut bytes = [0; 4];
    let mut parts = text.split('.');
    for (index, byte) in bytes.iter_mut().enumerate() {
        match parts.next() {
            Some(part) => *byte = u8::try_from(number(part, 255)?).ok()?,
            None if index > 0 => break,
            None => return None,
        }
    }
    parts.next().is_none().then(|| Ipv4Addr::from(bytes))
}

/// `ADDRESS[/MASK]`, the mask as a length or as an address; the mask's bits come second.
pub(super) fn masked_address(text: &str, family: Family) -> Option<(IpAddr, IpAddr)> {
    let (address_text, mask) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address = address(address_text, family)?;
    let mask = match mask {
        None => length_mask(family.bits(), family),
        Some(mask) => match mask.parse::<u8>() {
            Ok(length) if length <= family.bits() => length_mask(length, family),
            Ok(_) => return None,
            Err(_) => self::address(mask, family)?,
        },
    };
    Some((address, mask))
}

fn length_mask(length: u8, family: Family) -> IpAddr {
    let ones = if length == 0 { 0 } else { Value::MAX << (128 - u32::from(length)) };
    family.address(ones >> (128 - u32::from(family.bits())))
}

pub(super) fn address_help(family: Family) -> &'static str {
    match family {
        Family::Ip4 => "write an IPv4 address such as 192.0.2.0/24; names are not looked up",
        Family::Ip6 => "write an IPv6 address such as 2001:db8::/64; names are not looked up",
    }
}

/// The test that a field lies under `address/mask`, where the mask may have holes.
pub(super) fn under(field: Field, address: IpAddr, mask: IpAddr) -> Test {
    let all = bits(length_mask(Family::of(address).bits(), Family::of(address)));
    let mask = bits(mask);
    let base = bits(address) & mask;
    let holes = !mask & all;
    if holes & holes.wrapping_add(1) == 0 {
        Test::new(Expr::Field(field), IntervalSet::range(base, base | holes))
    } else {
        Test::new(Expr::Masked { field, mask }, IntervalSet::single(base))
    }
}

/// `FIRST[-LAST]`, in that order.
pub(super) fn address_range(text: &str, family: Family) -> Option<(IpAddr, IpAddr)> {
    addresses(text, family).filter(|(first, last)| first <= last)
}

/// FIRST-LAST in any order: iptables takes a range to translate to that is reversed, and the kernel counts
/// from FIRST on and begins anew at zero.
pub(super) fn addresses(text: &str, family: Family) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((address(first, family)?, address(last, family)?))
}

/// A protocol's number; 0 for `all`.
pub(crate) fn protocol(text: &str) -> Option<u8> {
    if let Some(value) = number(text, 255) {
        return u8::try_from(value).ok();
    }
    names::protocol(text)
}
