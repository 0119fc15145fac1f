//! The words iproute2 uses for numbers.

use std::net::IpAddr;

use ipnet::IpNet;
use natpath_model::{Family, InterfaceName, Scope, table_id};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A number, or a word that stands for one.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub(super) enum Word {
    Number(u64),
    Text(String),
}

impl Word {
    /// The number, written in decimal or with `0x` in hexadecimal.
    pub(super) fn number(&self) -> Option<u32> {
        match self {
            Self::Number(value) => u32::try_from(*value).ok(),
            Self::Text(text) => match text.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            },
        }
    }
}

/// True where a key is there, whatever it holds: iproute2 writes flags as `"not": null`.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The number of a table. A name that /etc/iproute2/rt_tables gives on the host is not known here; it
/// becomes the same number wherever it occurs, above all numbers that are usually taken.
pub(super) fn table(word: &Word) -> u32 {
    if let Some(number) = word.number() {
        return number;
    }
    let Word::Text(name) = word else { return u32::MAX };
    match name.as_str() {
        "unspec" | "all" => table_id::UNSPEC,
        "default" => table_id::DEFAULT,
        "main" => table_id::MAIN,
        "local" => table_id::LOCAL,
        name => {
            name.bytes()
                .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
                | 0x8000_0000
        }
    }
}

/// The scope of a name or number.
pub(super) fn scope(word: &Word) -> Option<Scope> {
    if let Word::Text(name) = word {
        match name.as_str() {
            "global" => return Some(Scope::GLOBAL),
            "site" => return Some(Scope::SITE),
            "link" => return Some(Scope::LINK),
            "host" => return Some(Scope::HOST),
            "nowhere" => return Some(Scope::NOWHERE),
            _ => {}
        }
    }
    word.number().and_then(|number| u8::try_from(number).ok()).map(Scope)
}

/// A type of service. rt_dsfield's names are the classes of RFC 2474 and the older RFC 1349.
pub(super) fn tos(word: &Word) -> Option<u8> {
    if let Word::Text(name) = word {
        match name.as_str() {
            "default" | "CS0" => return Some(0),
            "lowdelay" => return Some(0x10),
            "throughput" => return Some(0x08),
            "reliability" => return Some(0x04),
            _ => {}
        }
    }
    word.number().and_then(|number| u8::try_from(number).ok())
}

/// `default`, `all`, an address or a prefix; `length` where it stands apart.
pub(super) fn prefix(text: &str, length: Option<u8>, family: Family) -> Option<IpNet> {
    if matches!(text, "default" | "all" | "any") {
        return IpNet::new(family.unspecified(), 0).ok();
    }
    if text.contains('/') {
        return text.parse::<IpNet>().ok().map(|net| net.trunc());
    }
    let address: IpAddr = text.parse().ok()?;
    let length = length.unwrap_or(Family::of(address).bits());
    IpNet::new(address, length).ok().map(|net| net.trunc())
}

pub(super) fn interface(text: &str) -> Option<InterfaceName> {
    InterfaceName::new(text)
}
