//! What both recorded tests read: folders of corpus/, and lines of `conntrack -L`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use natpath_engine::trace::{Entry, Path};
use natpath_model::{Port, Protocol, Status, Tuple, Zone};
use serde_json::Value;

/// A folder of corpus/.
pub(crate) fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(name)
}

/// A file of corpus/ that holds JSON.
pub(crate) fn read_json(path: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a file of corpus/ can be read");
    serde_json::from_str(&text).expect("it holds JSON")
}

/// A field that the record always has.
pub(crate) fn text<'j>(object: &'j Value, field: &str) -> &'j str {
    object[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {object}"))
}

/// A list of texts.
pub(crate) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A line of `conntrack -L`.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    protocol: Protocol,
    /// The tuples, original and reply.
    tuples: [Half; 2],
    seen_reply: bool,
    assured: bool,
    mark: u32,
    zone: Zone,
    text: String,
}

/// One tuple of a line; for ICMP both ports are the identifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
}

impl Line {
    /// Reads a line; `None` for protocols that no test sends.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let protocol = words.iter().take(3).find_map(|word| match *word {
            "tcp" => Some(Protocol::TCP),
            "udp" => Some(Protocol::UDP),
            "icmp" => Some(Protocol::ICMP),
            "icmpv6" => Some(Protocol::ICMPV6),
            _ => None,
        })?;
        let nth = |key: &str, n: usize| words.iter().filter_map(|word| word.strip_prefix(key)).nth(n);
        let half = |n: usize| {
            let port = |key| nth(key, n).or_else(|| nth("id=", n)).and_then(|port| port.parse().ok());
            Some(Half {
                src: nth("src=", n)?.parse().ok()?,
                dst: nth("dst=", n)?.parse().ok()?,
                src_port: port("sport=")?,
                dst_port: port("dport=")?,
            })
        };
        Some(Self {
            protocol,
            tuples: [half(0)?, half(1)?],
            seen_reply: !words.contains(&"[UNREPLIED]"),
            assured: words.contains(&"[ASSURED]"),
            mark: nth("mark=", 0)?.parse().ok()?,
            zone: Zone(nth("zone=", 0).and_then(|zone| zone.parse().ok()).unwrap_or_default()),
            text: line.to_owned(),
        })
    }

    /// The tuple of the connection's first packet.
    pub(crate) fn original(&self) -> Half {
        self.tuples[0]
    }

    /// Whether a predicted entry is this one. The recorded number must lie in a drawn port's interval, and
    /// a port that the sender's kernel chose (`ephemeral`) may be any; each is one number in the whole line.
    pub(crate) fn is(&self, entry: &Entry, path: &Path, ephemeral: Option<u16>) -> bool {
        let mut bound = BTreeMap::new();
        let mut same = |port: Port, recorded: u16| match port.drawn {
            Some(number) => {
                let interval = path.drawn(port).expect("a drawn port has an interval");
                (interval.low..=interval.high).contains(&recorded)
                    && *bound.entry(Some(number)).or_insert(recorded) == recorded
            }
            None if Some(port.value) == ephemeral => {
                *bound.entry(None::<NonZeroU16>).or_insert(recorded) == recorded
            }
            None => port.value == recorded,
        };
        let mut alike = |tuple: &Tuple, half: &Half| {
            (tuple.src.address, tuple.dst.address) == (half.src, half.dst)
                && same(tuple.src.port, half.src_port)
                && same(tuple.dst.port, half.dst_port)
        };
        entry.original.protocol == self.protocol
            && alike(&entry.original, &self.tuples[0])
            && alike(&entry.reply, &self.tuples[1])
            && entry.status.has(Status::SEEN_REPLY) == self.seen_reply
            && entry.status.has(Status::ASSURED) == self.assured
            && (entry.mark, entry.zone) == (self.mark, self.zone)
    }

    /// Whether a predicted entry is this one but for its answer, which did not come.
    #[allow(dead_code, reason = "each recorded test uses a part of this")]
    pub(crate) fn is_unanswered(&self, entry: &Entry) -> bool {
        let alike = |tuple: &Tuple, half: &Half| {
            (tuple.src.address, tuple.dst.address) == (half.src, half.dst)
                && (tuple.src.port.value, tuple.dst.port.value) == (half.src_port, half.dst_port)
        };
        !self.seen_reply && alike(&entry.original, &self.tuples[0]) && alike(&entry.reply, &self.tuples[1])
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An entry in conntrack's words.
pub(crate) fn shown(entry: &Entry) -> String {
    let replied = if entry.status.has(Status::SEEN_REPLY) { "" } else { " [UNREPLIED]" };
    let assured = if entry.status.has(Status::ASSURED) { " [ASSURED]" } else { "" };
    let Entry { original, reply, mark, zone, .. } = entry;
    format!("{original} / {reply}{replied}{assured} mark={mark} zone={}", zone.0)
}
