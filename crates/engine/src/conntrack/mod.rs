//! Connection tracking: which connection a packet belongs to, and in which state that is.
//!
//! ```text
//!  packet ─→ tuple ─→ table ─┬─ found ──→ direction, state ─→ protocol tracker ─→ Tracked::Entry
//!                            └─ nothing → new entry, unconfirmed; it enters the table when the packet
//!                                         leaves POSTROUTING or INPUT (see `confirm`)
//! ```
//!
//! Follows nf_conntrack_core.c of Linux 6.18.

mod icmp;
mod table;
mod tcp;
mod timeout;

pub use table::{Clash, ConntrackEntry, ConntrackTable, EntryId};
pub(crate) use table::{done_bit, nat_bit};
pub use tcp::{TcpState, TcpTrack};

use natpath_model::{CtStates, Direction, Protocol, Status, Zone, ZoneDirection};

use crate::packet::{Packet, Transport};
use crate::time::Instant;
use timeout::Timeouts;

/// What a packet has to do with connection tracking (`skb->_nfct`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tracked {
    /// Not looked up yet, or no entry can be made for it: both are INVALID to a rule.
    #[default]
    No,
    /// Exempt.
    Untracked,
    /// A CT target has chosen the zone; not looked up yet.
    Template(Zone, ZoneDirection),
    /// It has an entry.
    Entry {
        /// Which.
        id: EntryId,
        /// Its direction in it.
        direction: Direction,
        /// Its state.
        info: CtInfo,
    },
}

/// The state of a packet's connection as the packet sees it (`enum ip_conntrack_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtInfo {
    /// Not yet seen in both directions.
    New,
    /// Seen in both directions.
    Established,
    /// An error about a connection.
    Related,
}

impl Tracked {
    /// The bits that `--ctstate` compares, without those for translated entries.
    #[must_use]
    pub fn states(self) -> CtStates {
        match self {
            Self::No => CtStates::INVALID,
            Self::Untracked => CtStates::UNTRACKED,
            Self::Template(..) => CtStates::NEW,
            Self::Entry { info, .. } => match info {
                CtInfo::New => CtStates::NEW,
                CtInfo::Established => CtStates::ESTABLISHED,
                CtInfo::Related => CtStates::RELATED,
            },
        }
    }

    /// The entry, if it has one.
    #[must_use]
    pub fn entry(self) -> Option<(EntryId, Direction)> {
        match self {
            Self::Entry { id, direction, .. } => Some((id, direction)),
            Self::No | Self::Untracked | Self::Template(..) => None,
        }
    }
}

/// What a protocol tracker thinks of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tracking {
    /// It belongs to the entry and counts.
    Valid,
    /// It belongs to the entry and leaves it as it was.
    Ignored,
    /// It does not fit the entry's state: INVALID.
    Invalid,
    /// The entry is over: delete it and look the packet up again.
    Reopen,
}

impl ConntrackTable {
    /// Finds or makes the entry of a packet (`nf_conntrack_in`).
    pub fn track(&mut self, packet: &Packet, tracked: Tracked, now: Instant, settings: &Settings) -> Tracked {
        let (zone, zone_direction) = match tracked {
            // Seen before: it came through lo, or belongs to the packet it answers.
            Tracked::Entry { .. } | Tracked::Untracked => return tracked,
            Tracked::Template(zone, direction) => (zone, direction),
            Tracked::No => (Zone::default(), ZoneDirection::Both),
        };
        if packet.bad_checksum && settings.checksum {
            return Tracked::No;
        }
        if icmp::is_untracked(packet) {
            return Tracked::Untracked;
        }
        if let Transport::Error { .. } = packet.transport {
            return self.track_error(packet, zone, zone_direction, now);
        }
        let Some(tuple) = packet.tuple() else { return Tracked::No };
        // A second look-up can only follow a deletion, so this ends.
        loop {
            let Some((id, direction)) = self.find_in(zone, zone_direction, &tuple, now) else {
                let begun = self.begin(packet, zone, zone_direction, now, settings);
                if let Some((id, direction)) = begun.entry() {
                    self.account(id, direction, packet);
                }
                return begun;
            };
            match self.track_known(packet, id, direction, now, settings) {
                Tracking::Valid => self.account(id, direction, packet),
                Tracking::Ignored => {}
                Tracking::Invalid => return Tracked::No,
                Tracking::Reopen => {
                    self.remove(id);
                    continue;
                }
            }
            return self.attach(id, direction);
        }
    }

    /// Counts a packet of a connection (`nf_ct_acct_update`).
    fn account(&mut self, id: EntryId, direction: Direction, packet: &Packet) {
        let counter = &mut self.entry_mut(id).counted[direction as usize];
        counter.packets += 1;
        counter.bytes += u64::from(packet.length());
    }

    fn attach(&mut self, id: EntryId, direction: Direction) -> Tracked {
        let entry = self.entry_mut(id);
        let info = match direction {
            Direction::Reply => {
                entry.status.set(Status::SEEN_REPLY);
                CtInfo::Established
            }
            Direction::Original if entry.status.has(Status::SEEN_REPLY) => CtInfo::Established,
            Direction::Original => CtInfo::New,
        };
        Tracked::Entry { id, direction, info }
    }

    fn track_known(
        &mut self,
        packet: &Packet,
        id: EntryId,
        direction: Direction,
        now: Instant,
        settings: &Settings,
    ) -> Tracking {
        let entry = self.entry_mut(id);
        match packet.transport {
            Transport::Tcp { .. } => return track_segment(entry, packet, direction, now, settings),
            Transport::Ports { protocol, .. } => {
                if protocol == Protocol::UDP && entry.status.has(Status::SEEN_REPLY) {
                    // udp_packet: an entry becomes a stream two seconds after it was made.
                    if now >= entry.stream_from {
                        entry.status.set(Status::ASSURED);
                        entry.expires = now + settings.timeouts.udp_stream;
                    } else {
                        entry.expires = now + settings.timeouts.udp;
                    }
                } else {
                    // Whether an association is answered is all that is known of it here.
                    let answered = direction == Direction::Reply || entry.status.has(Status::SEEN_REPLY);
                    entry.expires = now + settings.timeouts.of(protocol, answered);
                }
            }
            Transport::Query { .. } | Transport::Error { .. } | Transport::Other(_) => {
                entry.expires = now + settings.timeouts.of(packet.protocol(), false);
            }
        }
        Tracking::Valid
    }

    fn begin(
        &mut self,
        packet: &Packet,
        zone: Zone,
        zone_direction: ZoneDirection,
        now: Instant,
        settings: &Settings,
    ) -> Tracked {
        let Some(tuple) = packet.tuple() else { return Tracked::No };
        let Some(mut entry) = ConntrackEntry::untranslated(tuple, now) else { return Tracked::No };
        entry.stream_from = now + timeout::UDP_STREAM_AFTER;
        entry.expires = now + settings.timeouts.of(packet.protocol(), false);
        match packet.transport {
            Transport::Tcp { .. } => {
                let Some(begun) = tcp::begin(packet, settings.tcp_loose) else { return Tracked::No };
                entry.tcp = begun;
                if track_segment(&mut entry, packet, Direction::Original, now, settings) != Tracking::Valid {
                    return Tracked::No;
                }
            }
            Transport::Query { .. } if !icmp::begins(packet) => return Tracked::No,
            _ => {}
        }
        (entry.zone, entry.zone_direction) = (zone, zone_direction);
        let id = self.insert_unconfirmed(entry);
        Tracked::Entry { id, direction: Direction::Original, info: CtInfo::New }
    }

    /// Finds the connection an ICMP error is about (`nf_conntrack_inet_error`).
    fn track_error(&self, packet: &Packet, zone: Zone, which: ZoneDirection, now: Instant) -> Tracked {
        let Some(about) = packet.quoted().and_then(|quoted| quoted.tuple.invert()) else {
            return Tracked::No;
        };
        let Some((id, direction)) = self.find_in(zone, which, &about, now) else { return Tracked::No };
        // The quoted packet's answer would go to the address the error goes to; if not, it is a stray.
        if self.entry(id).tuple(direction).dst.address != packet.dst {
            return Tracked::No;
        }
        Tracked::Entry { id, direction, info: CtInfo::Related }
    }
}

/// What a segment does to its entry.
fn track_segment(
    entry: &mut ConntrackEntry,
    packet: &Packet,
    direction: Direction,
    now: Instant,
    settings: &Settings,
) -> Tracking {
    let before = tcp::Before {
        answered: entry.status.has(Status::SEEN_REPLY),
        assured: entry.status.has(Status::ASSURED),
        left: entry.expires.since(now),
    };
    match entry.tcp.advance(packet, direction, before, settings) {
        tcp::Effect::Valid { lives, assured } => {
            if assured {
                entry.status.set(Status::ASSURED);
            }
            let Some(lives) = lives else { return Tracking::Ignored };
            entry.expires = now + lives;
            Tracking::Valid
        }
        // Only a reset came back: the entry is deleted at once.
        tcp::Effect::Ends => {
            entry.status.set(Status::DYING);
            Tracking::Valid
        }
        tcp::Effect::Invalid { at_most } => {
            if let Some(at_most) = at_most {
                entry.expires = entry.expires.min(now + at_most);
            }
            Tracking::Invalid
        }
        tcp::Effect::Reopens => Tracking::Reopen,
    }
}

/// The zone that one direction of an entry lives in (`nf_ct_zone_id`).
fn zone_for(zone: Zone, which: ZoneDirection, direction: Direction) -> Zone {
    match (which, direction) {
        (ZoneDirection::Both, _)
        | (ZoneDirection::Original, Direction::Original)
        | (ZoneDirection::Reply, Direction::Reply) => zone,
        (ZoneDirection::Original, Direction::Reply) | (ZoneDirection::Reply, Direction::Original) => {
            Zone::default()
        }
    }
}

/// The sysctls that connection tracking reads (`net.netfilter.nf_conntrack_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `tcp_loose`: whether a connection may be picked up in its middle.
    pub tcp_loose: bool,
    /// `tcp_be_liberal`: whether segments outside the window are let pass.
    pub tcp_be_liberal: bool,
    /// `tcp_max_retrans`: how often an acknowledgement may come again before the entry's life is shortened.
    pub tcp_max_retrans: i64,
    /// `checksum`: whether a packet with a wrong checksum is invalid.
    pub checksum: bool,
    /// The timeouts.
    pub(crate) timeouts: Timeouts,
}

impl Settings {
    /// Reads them, with the kernel's defaults for what is not listed.
    #[must_use]
    pub fn read(sysctls: &natpath_model::Sysctls) -> Self {
        let number = |key: &str, default| {
            sysctls.number(&format!("net.netfilter.nf_conntrack_{key}")).unwrap_or(default)
        };
        Self {
            tcp_loose: number("tcp_loose", 1) != 0,
            tcp_be_liberal: number("tcp_be_liberal", 0) != 0,
            tcp_max_retrans: number("tcp_max_retrans", 3),
            checksum: number("checksum", 1) != 0,
            timeouts: Timeouts::read(sysctls),
        }
    }
}
