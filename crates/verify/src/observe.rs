//! What can be seen of a flow from outside the kernel: the form in which the engine's answer and the
//! kernel's are compared.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use natpath_engine::trace::{Drawn, Header};
use natpath_model::{Endpoint, Port, Status, TcpState, Tuple, ZoneDirection};

/// What was seen of a flow, or what the engine says would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Where a host's own stack took the first packet; `None` if none did.
    pub arrived: Option<Arrival>,
    /// What came back for it; `None` if nothing did.
    pub back: Option<Back>,
    /// Whether the whole flow worked; `None` for a lone packet.
    pub works: Option<bool>,
    /// The entries that the flow left in the conntrack tables, sorted.
    pub entries: Vec<SeenEntry>,
}

/// A first packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Where.
    pub host: String,
    /// Its header then.
    pub header: Header,
    /// Whether somebody listened; `None` where that is not asked, for a lone packet.
    pub listening: Option<bool>,
}

/// What comes back for a first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// An answer.
    Answer {
        /// The host it arrived at.
        host: String,
        /// Its header then.
        header: Header,
    },
    /// A TCP reset.
    Reset {
        /// The host it arrived at.
        host: String,
        /// Its header then.
        header: Header,
    },
    /// An ICMP error.
    Icmp {
        /// The host it arrived at.
        host: String,
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
        /// Who says it.
        from: IpAddr,
        /// The packet that it quotes.
        about: Header,
    },
    /// The sender's own system call failed.
    Errno(String),
}

/// A conntrack entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenEntry {
    /// The host.
    pub host: String,
    /// Its zone.
    pub zone: u16,
    /// The directions in that zone.
    pub zone_direction: ZoneDirection,
    /// The tuple of packets in the original direction.
    pub original: Tuple,
    /// The tuple of replies.
    pub reply: Tuple,
    /// Whether packets were seen both ways.
    pub replied: bool,
    /// Its mark.
    pub mark: u32,
}

/// What was seen of the end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenClosing {
    /// Whether there was a connection to end.
    pub open: bool,
    /// Whether both sides know of it afterwards.
    pub arrived: bool,
    /// The entries whose state it changed, sorted.
    pub changes: Vec<SeenChange>,
}

/// A conntrack entry whose TCP state has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenChange {
    /// The host.
    pub host: String,
    /// Its original tuple.
    pub original: Tuple,
    /// The name of the state it had.
    pub from: &'static str,
    /// The name of the state it has; `None` for an entry that is gone.
    pub to: Option<&'static str>,
}

/// The name that conntrack(8) prints for a state.
#[must_use]
pub fn state_name(state: TcpState) -> &'static str {
    TcpState::NAMES.iter().find(|(_, known)| *known == state).map_or("NONE", |(name, _)| name)
}

impl SeenClosing {
    /// The lines of a scenario file that say this.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let first = match (self.open, self.arrived) {
            (false, _) => "not open",
            (true, true) => "closed",
            (true, false) => "closed by one side only",
        };
        let changes = self.changes.iter().map(ToString::to_string);
        std::iter::once(first.to_owned()).chain(changes).collect()
    }

    /// Whether what was seen, with real ports, is what the engine says here.
    #[must_use]
    pub fn is_seen_as(&self, seen: &Self, drawn: &BTreeMap<NonZeroU16, Drawn>) -> bool {
        let mut ports = Ports { drawn, bound: BTreeMap::new() };
        (self.open, self.arrived, self.changes.len()) == (seen.open, seen.arrived, seen.changes.len())
            && self.changes.iter().zip(&seen.changes).all(|(a, b)| {
                (&a.host, a.from, a.to) == (&b.host, b.from, b.to) && ports.tuple(&a.original, &b.original)
            })
    }
}

impl fmt::Display for SeenChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (original, from) = (shown(&self.original.into()), self.from);
        write!(f, "entry {} {original} {from} to {}", self.host, self.to.unwrap_or("nothing"))
    }
}

impl SeenEntry {
    /// Puts an entry of either judge in this form.
    #[must_use]
    pub fn new(
        host: &str,
        zone: (u16, ZoneDirection),
        tuples: (Tuple, Tuple),
        status: Status,
        mark: u32,
    ) -> Self {
        Self {
            host: host.to_owned(),
            zone: zone.0,
            zone_direction: zone.1,
            original: tuples.0,
            reply: tuples.1,
            replied: status.has(Status::SEEN_REPLY),
            mark,
        }
    }
}

impl Observation {
    /// The lines of a scenario file that say this.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.arrived {
            Some(arrival) => arrival.to_string(),
            None => "lost".to_owned(),
        }];
        lines.push(match &self.back {
            Some(back) => back.to_string(),
            None => "silence".to_owned(),
        });
        lines.extend(self.works.map(|works| if works { "works" } else { "fails" }.to_owned()));
        lines.extend(self.entries.iter().map(ToString::to_string));
        lines
    }

    /// Whether what was seen, with real ports, is what the engine says here.
    #[must_use]
    pub fn is_seen_as(&self, seen: &Self, drawn: &BTreeMap<NonZeroU16, Drawn>) -> bool {
        let mut ports = Ports { drawn, bound: BTreeMap::new() };
        self.works == seen.works
            && pair(&self.arrived, &seen.arrived, |a, b| {
                a.host == b.host && a.listening == b.listening && ports.header(&a.header, &b.header)
            })
            && pair(&self.back, &seen.back, |a, b| ports.back(a, b))
            && self.entries.len() == seen.entries.len()
            && ports.entries(&self.entries, &seen.entries)
    }
}

fn pair<T>(one: &Option<T>, other: &Option<T>, same: impl FnOnce(&T, &T) -> bool) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// Ports that were drawn, with what they turned out to be.
struct Ports<'a> {
    drawn: &'a BTreeMap<NonZeroU16, Drawn>,
    bound: BTreeMap<NonZeroU16, u16>,
}

/// The most pairs of entries that are tried: those of a loop are all alike.
const MAX_PAIRS: usize = 20_000;

impl Ports<'_> {
    fn port(&mut self, said: Port, seen: Port) -> bool {
        let Some(number) = said.drawn else { return said.value == seen.value };
        let inside =
            self.drawn.get(&number).is_some_and(|drawn| (drawn.low..=drawn.high).contains(&seen.value));
        inside && *self.bound.entry(number).or_insert(seen.value) == seen.value
    }

    fn endpoint(&mut self, said: Endpoint, seen: Endpoint) -> bool {
        said.address == seen.address && self.port(said.port, seen.port)
    }

    fn header(&mut self, said: &Header, seen: &Header) -> bool {
        said.protocol == seen.protocol
            && self.endpoint(said.src, seen.src)
            && self.endpoint(said.dst, seen.dst)
    }

    fn back(&mut self, said: &Back, seen: &Back) -> bool {
        match (said, seen) {
            (Back::Answer { host: a, header: said }, Back::Answer { host: b, header: seen })
            | (Back::Reset { host: a, header: said }, Back::Reset { host: b, header: seen }) => {
                a == b && self.header(said, seen)
            }
            (
                Back::Icmp { host: a, kind, code, from, about },
                Back::Icmp { host: b, kind: kind_seen, code: code_seen, from: from_seen, about: about_seen },
            ) => {
                (a, kind, code, from) == (b, kind_seen, code_seen, from_seen)
                    && self.header(about, about_seen)
            }
            (Back::Errno(said), Back::Errno(seen)) => said == seen,
            _ => false,
        }
    }

    /// Whether each entry is one that was seen. Drawn ports have no place in the order, so all pairs are tried,
    /// beginning with those whose ports are known best.
    fn entries(&mut self, said: &[SeenEntry], seen: &[SeenEntry]) -> bool {
        self.pairs(&mut said.iter().collect(), &mut seen.iter().collect(), &mut 0)
    }

    fn pairs(&mut self, said: &mut Vec<&SeenEntry>, left: &mut Vec<&SeenEntry>, tried: &mut usize) -> bool {
        let Some(next) = (0..said.len()).min_by_key(|at| self.unknown(said[*at])) else { return true };
        let entry = said.remove(next);
        for at in 0..left.len() {
            *tried += 1;
            if *tried > MAX_PAIRS {
                return false;
            }
            let before = self.bound.clone();
            if self.entry(entry, left[at]) {
                let other = left.remove(at);
                if self.pairs(said, left, tried) {
                    return true;
                }
                left.insert(at, other);
            }
            self.bound = before;
        }
        said.insert(next, entry);
        false
    }

    /// How many of an entry's ports are still unknown.
    fn unknown(&self, entry: &SeenEntry) -> usize {
        let ends = [&entry.original, &entry.reply].into_iter().flat_map(|tuple| [tuple.src, tuple.dst]);
        let drawn = ends.filter_map(|end| end.port.drawn);
        drawn.filter(|number| !self.bound.contains_key(number)).count()
    }

    fn entry(&mut self, said: &SeenEntry, seen: &SeenEntry) -> bool {
        let plain = |entry: &SeenEntry| {
            (entry.host.clone(), entry.zone, entry.zone_direction, entry.replied, entry.mark)
        };
        plain(said) == plain(seen)
            && self.tuple(&said.original, &seen.original)
            && self.tuple(&said.reply, &seen.reply)
    }

    fn tuple(&mut self, said: &Tuple, seen: &Tuple) -> bool {
        said.icmp == seen.icmp && self.header(&Header::from(*said), &Header::from(*seen))
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = match self.listening {
            Some(true) => "takes",
            Some(false) => "has no listener for",
            None => "gets",
        };
        write!(f, "{} {took} {}", self.host, shown(&self.header))
    }
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { host, header } => write!(f, "{host} hears {}", shown(header)),
            Self::Reset { host, header } => write!(f, "{host} hears reset {}", shown(header)),
            Self::Icmp { host, kind, code, from, about } => {
                write!(f, "{host} hears error {kind}/{code} from {from} about {}", shown(about))
            }
            Self::Errno(name) => write!(f, "send fails with {name}"),
        }
    }
}

impl fmt::Display for SeenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (original, reply) = (shown(&self.original.into()), shown(&self.reply.into()));
        write!(
            f,
            "entry {} {original} replies {}",
            self.host,
            reply.split_once(' ').map_or("", |(_, rest)| rest)
        )?;
        if !self.replied {
            f.write_str(" unreplied")?;
        }
        match self.zone_direction {
            ZoneDirection::Both if self.zone == 0 => {}
            ZoneDirection::Both => write!(f, " zone={}", self.zone)?,
            ZoneDirection::Original => write!(f, " zone-orig={}", self.zone)?,
            ZoneDirection::Reply => write!(f, " zone-reply={}", self.zone)?,
        }
        if self.mark != 0 {
            write!(f, " mark={:#x}", self.mark)?;
        }
        Ok(())
    }
}

/// A header in a line of a scenario file.
fn shown(header: &Header) -> String {
    let Header { protocol, src, dst } = header;
    if protocol.is_icmp() {
        format!("{protocol} {} > {} id {}", src.address, dst.address, src.port)
    } else if protocol.has_ports() {
        format!("{protocol} {src} > {dst}")
    } else {
        format!("{protocol} {} > {}", src.address, dst.address)
    }
}
