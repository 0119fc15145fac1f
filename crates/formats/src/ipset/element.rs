//! One element of a set: its numbers, and the ranges that people write for several.

use std::net::IpAddr;

use natpath_model::net::bits;
use natpath_model::set::{ANY_MAC, Element, Key, Method, PHYSICAL, Part, mac_value};
use natpath_model::{Family, InterfaceName, IpSet, Protocol, Value};

use super::Words;
use crate::iptables_save::names_of;

/// The most elements that the ranges of a file may make; `ipset save` prints none.
const MAX_ELEMENTS: Value = 1 << 20;

/// What is wrong with a line, and at which word.
pub(super) struct Fault<'l> {
    pub(super) word: &'l str,
    pub(super) message: String,
}

impl<'l> Fault<'l> {
    pub(super) fn new(word: &'l str, message: impl Into<String>) -> Self {
        Self { word, message: message.into() }
    }
}

/// A part of an element as it is written: the values from the first to the last, of which a network is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: Value,
    last: Value,
    /// The length of a network's prefix.
    length: Option<u8>,
}

impl Span {
    fn one(value: Value) -> Self {
        Self { first: value, last: value, length: None }
    }
}

/// Reads `ELEMENT [nomatch] [timeout N] ...` into a set. `made` counts what the file's ranges have made of
/// their lines beyond one element each.
pub(super) fn add<'l>(
    set: &mut IpSet,
    value: &'l str,
    words: &mut Words<'l>,
    made: &mut Value,
) -> Result<(), Fault<'l>> {
    // What a set with timeouts does not say stays as long as its default; 0 is for ever.
    let mut element = Element { nomatch: false, timeout: set.timeout.filter(|seconds| *seconds != 0) };
    while let Some(option) = words.next() {
        match option {
            "nomatch" => element.nomatch = true,
            "timeout" => {
                let word = words.needed("seconds")?;
                let seconds = number(word).ok_or_else(|| Fault::new(word, "expected a number of seconds"))?;
                element.timeout = (seconds != 0).then_some(seconds);
            }
            "wildcard" => {
                set.unsupported = Some("it has patterns of interfaces".to_owned());
            }
            "packets" | "bytes" | "comment" | "skbmark" | "skbprio" | "skbqueue" | "before" | "after" => {
                words.needed("a value")?;
            }
            _ => return Err(Fault::new(option, format!("an element has no option `{option}`"))),
        }
    }
    if set.method == Method::List {
        set.members.push(value.to_owned());
        return Ok(());
    }
    let wrong = || Fault::new(value, format!("`{value}` is no element of a set of this type"));
    let parts = set.parts.clone();
    let mut texts: Vec<&str> = value.split(',').collect();
    if texts.len() < parts.len() && parts.last() == Some(&Part::Mac) && set.method == Method::Bitmap {
        // An address whose hardware address is not known yet takes any.
        texts.push("");
    }
    if texts.len() != parts.len() {
        return Err(wrong());
    }
    let mut spans = Vec::with_capacity(parts.len());
    for (part, text) in parts.iter().zip(&texts) {
        spans.push(span(set, *part, text).ok_or_else(wrong)?);
    }
    let count = spans.iter().fold(1, |count: Value, span| count.saturating_mul(values(span)));
    let more = made.saturating_add(count.saturating_sub(1));
    if more >= MAX_ELEMENTS {
        let message = "the ranges down to here stand for more than a million elements";
        return Err(Fault::new(value, message));
    }
    *made = more;
    insert_all(set, &spans, &mut Vec::new(), [0; 3], element);
    Ok(())
}

/// How many elements a span makes.
fn values(span: &Span) -> Value {
    if span.length.is_some() { 1 } else { (span.last - span.first).saturating_add(1) }
}

/// Inserts every combination of the spans' values.
fn insert_all(set: &mut IpSet, spans: &[Span], lengths: &mut Vec<u8>, key: Key, element: Element) {
    let index = set.parts.len() - spans.len();
    let Some((span, rest)) = spans.split_first() else {
        set.insert(key, lengths, element);
        return;
    };
    let is_net = set.parts[index] == Part::Net;
    let mut at = span.first;
    loop {
        let mut key = key;
        key[index] = at;
        let length = if is_net {
            Some(span.length.unwrap_or_else(|| fitting(set.width(), at, span.last)))
        } else {
            None
        };
        lengths.extend(length);
        insert_all(set, rest, lengths, key, element);
        if length.is_some() {
            lengths.pop();
        }
        let step = match length {
            Some(length) if length > 0 => 1 << (set.width() - length),
            Some(_) => return,
            None => 1,
        };
        match at.checked_add(step).filter(|next| *next <= span.last && span.length.is_none()) {
            Some(next) => at = next,
            None => return,
        }
    }
}

/// The length of the largest network that begins at `at` and does not go past `last`.
fn fitting(width: u8, at: Value, last: Value) -> u8 {
    let mut length = width;
    while length > 1 {
        let size: Value = 1 << (width - (length - 1));
        if !at.is_multiple_of(size) || last - at < size - 1 {
            break;
        }
        length -= 1;
    }
    length
}

fn span(set: &IpSet, part: Part, text: &str) -> Option<Span> {
    match part {
        Part::Ip => addresses(set, text),
        Part::Net => network(set, text),
        Part::Port => ports(set, text),
        Part::Mac if text.is_empty() => Some(Span::one(ANY_MAC)),
        Part::Mac => text.parse().ok().map(|mac| Span::one(mac_value(mac))),
        Part::Interface => {
            // The kernel then looks at the port of the bridge.
            let name = text.strip_prefix("physdev:").map_or_else(
                || InterfaceName::new(text).map(InterfaceName::value),
                |name| InterfaceName::new(name).map(|name| PHYSICAL | name.value() >> 8),
            );
            name.map(Span::one)
        }
        Part::Mark => number(text).map(|mark| Span::one((mark & set.mark_mask).into())),
    }
}

fn address(set: &IpSet, text: &str) -> Option<Value> {
    let address: IpAddr = text.parse().ok()?;
    (Some(Family::of(address)) == set.family).then(|| bits(address))
}

/// `ADDRESS`, `FIRST-LAST` or `ADDRESS/LENGTH`: single addresses.
fn addresses(set: &IpSet, text: &str) -> Option<Span> {
    let mask = set.mask.unwrap_or(Value::MAX);
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(set, first)?, address(set, last)?);
        let masked = Span { first: first & mask, last: last & mask, length: None };
        // A mask may turn the ends of a range around.
        return (first <= last && masked.first <= masked.last).then_some(masked);
    }
    if let Some((base, length)) = text.split_once('/') {
        let (first, last) = prefix(set, base, length)?;
        if set.mask.is_some() {
            return Some(Span::one(first & mask));
        }
        return Some(Span { first, last, length: None });
    }
    address(set, text).map(|value| Span::one(value & mask))
}

fn prefix(set: &IpSet, base: &str, length: &str) -> Option<(Value, Value)> {
    let length: u8 = length.parse().ok().filter(|length| *length <= set.width())?;
    let host = u32::from(set.width() - length);
    let holes = if host == 128 { Value::MAX } else { (1 << host) - 1 };
    let base = address(set, base)? & !holes;
    Some((base, base | holes))
}

/// `ADDRESS[/LENGTH]` or `FIRST-LAST`, which is cut into networks.
fn network(set: &IpSet, text: &str) -> Option<Span> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(set, first)?, address(set, last)?);
        return (first <= last).then_some(Span { first, last, length: None });
    }
    let (base, length) = text.split_once('/').unwrap_or((text, ""));
    let length = if length.is_empty() { set.width() } else { length.parse().ok()? };
    (length <= set.width()).then_some(())?;
    address(set, base).map(|first| Span { first, last: first, length: Some(length) })
}

/// `[PROTOCOL:]PORT[-PORT]`, or `icmp:TYPE/CODE`.
fn ports(set: &IpSet, text: &str) -> Option<Span> {
    let (protocol, port) = text.split_once(':').map_or((None, text), |(name, port)| (Some(name), port));
    let protocol = match protocol {
        None => Protocol::TCP,
        Some(name) => Protocol(names_of::protocol(name)?),
    };
    let base = if set.method == Method::Bitmap { 0 } else { Value::from(protocol.0) << 16 };
    if protocol.is_icmp() {
        let family = if protocol == Protocol::ICMP { Family::Ip4 } else { Family::Ip6 };
        return Some(Span::one(base | icmp(port, family)?));
    }
    let one = |text: &str| names_of::port(text).map(Value::from);
    let (first, last) = match one(port) {
        Some(port) => (port, port),
        None => port.split_once('-').and_then(|(first, last)| one(first).zip(one(last)))?,
    };
    (first <= last).then_some(Span { first: base | first, last: base | last, length: None })
}

fn icmp(text: &str, family: Family) -> Option<Value> {
    if let Some((kind, code)) = text.split_once('/') {
        let (kind, code): (u8, u8) = (kind.parse().ok()?, code.parse().ok()?);
        return Some(Value::from(kind) << 8 | Value::from(code));
    }
    let (kind, code) = names_of::icmp(text, family)?;
    Some(Value::from(kind) << 8 | Value::from(code.unwrap_or(0)))
}

/// The range of a bitmap: addresses or ports.
pub(super) fn bitmap_range(set: &IpSet, text: &str) -> Option<(Value, Value)> {
    let span = match set.parts.first()? {
        Part::Port => ports(set, text)?,
        _ => {
            let mut plain = set.clone();
            plain.mask = None;
            addresses(&plain, text)?
        }
    };
    Some((span.first, span.last))
}

/// A number, decimal or hexadecimal.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
