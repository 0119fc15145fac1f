//! The model to `ipset save` text.

use std::fmt::Write;

use natpath_model::set::{ANY_MAC, Key, Method, PHYSICAL, Part};
use natpath_model::{Family, InterfaceName, IpSet, IpSets, Mac, Protocol, Value};

use super::TYPES;

/// Writes sets, so that [`parse`](fn@super::parse) gives them back. Lists come as they were listed: after
/// the sets they name, since ipset reads them so.
#[must_use]
pub fn write(sets: &IpSets) -> String {
    let mut out = String::new();
    for set in sets.iter() {
        let options = if set.options.is_empty() { String::new() } else { format!(" {}", set.options) };
        line(&mut out, format_args!("create {} {}{options}", set.name, kind(set)));
        for member in &set.members {
            line(&mut out, format_args!("add {} {member}", set.name));
        }
        for (key, lengths, element) in set.elements() {
            let nomatch = if element.nomatch { " nomatch" } else { "" };
            let timeout = match (set.timeout, element.timeout) {
                (None, None) => String::new(),
                (_, seconds) => format!(" timeout {}", seconds.unwrap_or(0)),
            };
            line(&mut out, format_args!("add {} {}{timeout}{nomatch}", set.name, value(set, key, *lengths)));
        }
    }
    out
}

fn kind(set: &IpSet) -> &'static str {
    let known = TYPES.iter().find(|(_, method, parts)| *method == set.method && *parts == set.parts);
    known.map_or("list:set", |(name, ..)| name)
}

fn value(set: &IpSet, key: &Key, lengths: [u8; 2]) -> String {
    let family = set.family.unwrap_or(Family::Ip4);
    let mut lengths = lengths.into_iter();
    let mut texts = Vec::with_capacity(3);
    for (part, value) in set.parts.iter().zip(key) {
        texts.push(match part {
            Part::Ip => family.address(*value).to_string(),
            Part::Net => {
                let length = lengths.next().unwrap_or_else(|| family.bits());
                format!("{}/{length}", family.address(*value))
            }
            Part::Port if set.method == Method::Bitmap => value.to_string(),
            Part::Port => port(*value),
            Part::Mac if *value == ANY_MAC => continue,
            Part::Mac => mac(*value).to_string(),
            Part::Interface => interface(*value),
            Part::Mark => format!("{value:#x}"),
        });
    }
    texts.join(",")
}

fn port(value: Value) -> String {
    let [.., protocol, high, low] = value.to_be_bytes();
    let protocol = Protocol(protocol);
    match protocol.is_icmp() {
        true => format!("{}:{high}/{low}", if protocol == Protocol::ICMP { "icmp" } else { "icmpv6" }),
        false => format!("{protocol}:{}", u16::from_be_bytes([high, low])),
    }
}

fn mac(value: Value) -> Mac {
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&value.to_be_bytes()[10..]);
    Mac(bytes)
}

fn interface(value: Value) -> String {
    let name = |value: Value| {
        let bytes = value.to_be_bytes();
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    match value & PHYSICAL == PHYSICAL {
        true => format!("physdev:{}", name(value << 8)),
        false => InterfaceName::new(&name(value)).map_or_else(String::new, |name| name.to_string()),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
    out.push('\n');
}
