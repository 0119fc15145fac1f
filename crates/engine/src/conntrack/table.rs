//! The table of entries, and those that are not in it yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use natpath_model::{
    Connection, Counter, Direction, Endpoint, Family, Manip, Protocol, RuleRef, Status, Tuple, Zone,
    ZoneDirection,
};

use super::{TcpTrack, zone_for};
use crate::time::Instant;

/// The number of an entry within its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(u32);

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackEntry {
    /// Packets in the original direction look so when they come in.
    pub original: Tuple,
    /// Replies look so when they come in.
    pub reply: Tuple,
    /// The zone.
    pub zone: Zone,
    /// The directions that live in it.
    pub zone_direction: ZoneDirection,
    /// Status bits.
    pub status: Status,
    /// The mark.
    pub mark: u32,
    /// What it has carried, by direction (`nf_conn_acct`).
    pub counted: [Counter; 2],
    /// The state of a TCP connection.
    pub tcp: TcpTrack,
    /// When it was made.
    pub made: Instant,
    /// From when on a UDP entry with answers counts as a stream.
    pub stream_from: Instant,
    /// When it is gone unless a packet comes.
    pub expires: Instant,
    /// The link whose address a MASQUERADE gave it.
    pub masqueraded_on: Option<usize>,
    /// The rules that set up its destination and its source translation.
    pub translated_by: [Option<RuleRef>; 2],
    /// Its place among all entries that were confirmed, over all hosts.
    pub sequence: u64,
}

impl ConntrackEntry {
    /// A new connection with nothing decided; `None` for a packet that has no answer.
    #[must_use]
    pub fn untranslated(original: Tuple, now: Instant) -> Option<Self> {
        Some(Self {
            original,
            reply: original.invert()?,
            zone: Zone::default(),
            zone_direction: ZoneDirection::Both,
            status: Status::default(),
            mark: 0,
            counted: [Counter::default(); 2],
            tcp: TcpTrack::default(),
            made: now,
            stream_from: now,
            expires: now,
            masqueraded_on: None,
            translated_by: [None, None],
            sequence: 0,
        })
    }

    /// A connection that was there before the first flow, its translation long decided.
    fn recorded(connection: &Connection) -> Self {
        let mut status = connection.status;
        status.set(Status::CONFIRMED);
        status.set(Status::SRC_NAT_DONE);
        status.set(Status::DST_NAT_DONE);
        let now = Instant::default();
        Self {
            original: connection.original,
            reply: connection.reply,
            zone: connection.zone,
            zone_direction: connection.zone_direction,
            status,
            mark: connection.mark,
            counted: [Counter::default(); 2],
            tcp: TcpTrack::recorded(connection.tcp),
            made: now,
            stream_from: now,
            expires: connection.timeout.map_or(Instant(u64::MAX), |left| now + Duration::from_secs(left)),
            masqueraded_on: None,
            translated_by: [None, None],
            sequence: 0,
        }
    }

    /// The tuple of one direction.
    #[must_use]
    pub fn tuple(&self, direction: Direction) -> &Tuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    /// Whether the translation of this side has been decided, if only that there is none.
    #[must_use]
    pub fn decided(&self, manip: Manip) -> bool {
        self.status.has(done_bit(manip))
    }

    /// The zone of one direction.
    #[must_use]
    pub fn zone_of(&self, direction: Direction) -> Zone {
        zone_for(self.zone, self.zone_direction, direction)
    }

    /// The rule that set up the translation of this side.
    #[must_use]
    pub fn translator(&self, manip: Manip) -> Option<RuleRef> {
        self.translated_by[manip as usize]
    }
}

/// The status bit that says a side's translation is decided.
#[must_use]
pub(crate) fn done_bit(manip: Manip) -> Status {
    match manip {
        Manip::Src => Status::SRC_NAT_DONE,
        Manip::Dst => Status::DST_NAT_DONE,
    }
}

/// The status bit that says a side is translated.
#[must_use]
pub(crate) fn nat_bit(manip: Manip) -> Status {
    match manip {
        Manip::Src => Status::SRC_NAT,
        Manip::Dst => Status::DST_NAT,
    }
}

/// The connections that a host had before the first flow. They are shared: what a flow changes of one is
/// kept in the table.
#[derive(Debug, PartialEq, Eq, Default)]
struct Recorded {
    entries: Vec<ConntrackEntry>,
    by_tuple: HashMap<(Zone, Tuple), Vec<(EntryId, Direction)>>,
    by_source: HashMap<(Protocol, Endpoint), Vec<EntryId>>,
}

/// All connections of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConntrackTable {
    recorded: Arc<Recorded>,
    /// Those of the recorded that are over.
    gone: BTreeSet<EntryId>,
    entries: BTreeMap<EntryId, ConntrackEntry>,
    next: u32,
    /// The entries that have a tuple in a direction that lives in the zone, the latest last. There are several
    /// where their other directions live in different zones.
    by_tuple: HashMap<(Zone, Tuple), Vec<(EntryId, Direction)>>,
    /// Entries whose source has been decided, by protocol and original source, the latest last.
    by_source: HashMap<(Protocol, Endpoint), Vec<EntryId>>,
}

/// An entry can't be confirmed: one of its tuples is in the table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clash;

impl ConntrackTable {
    /// A table with the connections of a snapshot.
    #[must_use]
    pub fn with(connections: &[Connection]) -> Self {
        let mut recorded = Recorded::default();
        for connection in connections {
            let id = EntryId(u32::try_from(recorded.entries.len()).unwrap_or(u32::MAX));
            let entry = ConntrackEntry::recorded(connection);
            let keys = [Direction::Original, Direction::Reply]
                .map(|direction| ((entry.zone_of(direction), *entry.tuple(direction)), direction));
            if keys.iter().any(|(key, _)| recorded.by_tuple.contains_key(key)) {
                continue;
            }
            for (key, direction) in keys {
                recorded.by_tuple.entry(key).or_default().push((id, direction));
            }
            let source = (entry.original.protocol, entry.original.src);
            recorded.by_source.entry(source).or_default().push(id);
            recorded.entries.push(entry);
        }
        let next = u32::try_from(recorded.entries.len()).unwrap_or(u32::MAX);
        Self { recorded: Arc::new(recorded), next, ..Self::default() }
    }

    /// The entry with this number, if it is there.
    fn known(&self, id: EntryId) -> Option<&ConntrackEntry> {
        self.entries
            .get(&id)
            .or_else(|| self.recorded.entries.get(id.0 as usize).filter(|_| !self.gone.contains(&id)))
    }

    /// The entry with this number.
    ///
    /// # Panics
    /// If the number is of another table, or older than the last sweep.
    #[must_use]
    pub fn entry(&self, id: EntryId) -> &ConntrackEntry {
        self.known(id).expect("an entry's number is of this table and lives no longer than its packet")
    }

    /// The entry with this number, to change.
    ///
    /// # Panics
    /// As [`Self::entry`].
    pub fn entry_mut(&mut self, id: EntryId) -> &mut ConntrackEntry {
        if !self.entries.contains_key(&id)
            && let Some(recorded) = self.known(id).cloned()
        {
            self.entries.insert(id, recorded);
        }
        self.entries
            .get_mut(&id)
            .expect("an entry's number is of this table and lives no longer than its packet")
    }

    /// The confirmed entries, but for those that were recorded and that no packet has met.
    pub fn confirmed(&self) -> impl Iterator<Item = (EntryId, &ConntrackEntry)> {
        self.entries.iter().filter(|(_, entry)| is_live(entry)).map(|(id, entry)| (*id, entry))
    }

    /// The confirmed entry with this number, if it is there.
    pub(crate) fn live(&self, id: EntryId) -> Option<&ConntrackEntry> {
        self.known(id).filter(|entry| is_live(entry))
    }

    /// The entries that have this tuple in a direction that lives in this zone, the latest first.
    fn at(&self, zone: Zone, tuple: &Tuple) -> impl Iterator<Item = (EntryId, Direction)> + '_ {
        let key = (zone, *tuple);
        let recorded = self.recorded.by_tuple.get(&key).into_iter().flatten();
        let recorded = recorded.filter(|(id, _)| !self.gone.contains(id));
        self.by_tuple.get(&key).into_iter().flatten().rev().chain(recorded).copied()
    }

    /// The live entry that has a tuple in a direction that lives in the zone `bucket`, and in which. The tuple is
    /// of somebody who has the zone `of` in that direction (`nf_ct_key_equal`).
    fn find(
        &self,
        bucket: Zone,
        tuple: &Tuple,
        of: impl Fn(Direction) -> Zone,
        now: Instant,
    ) -> Option<(EntryId, Direction)> {
        self.at(bucket, tuple).find(|(id, direction)| {
            let entry = self.entry(*id);
            let lives = now < entry.expires && !entry.status.has(Status::DYING);
            lives && entry.zone_of(*direction) == of(*direction)
        })
    }

    /// The entry of a packet in these zones: looked up in the zone of the original direction, then in that of
    /// replies if it is another (`resolve_normal_ct`).
    #[must_use]
    pub fn find_in(
        &self,
        zone: Zone,
        which: ZoneDirection,
        tuple: &Tuple,
        now: Instant,
    ) -> Option<(EntryId, Direction)> {
        let of = |direction| zone_for(zone, which, direction);
        let lookup = |direction| self.find(of(direction), tuple, of, now);
        lookup(Direction::Original).or_else(|| lookup(Direction::Reply))
    }

    /// Keeps a new entry that is not in the table yet.
    pub fn insert_unconfirmed(&mut self, entry: ConntrackEntry) -> EntryId {
        let id = EntryId(self.next);
        self.next += 1;
        self.entries.insert(id, entry);
        id
    }

    /// Whether another entry would take packets of this tuple (`nf_conntrack_tuple_taken`).
    #[must_use]
    pub fn taken(&self, tuple: &Tuple, by_other_than: EntryId, now: Instant) -> bool {
        let own = self.entry(by_other_than);
        // The kernel looks among the tuples that live in the zone of replies.
        let bucket = own.zone_of(Direction::Reply);
        self.at(bucket, tuple).any(|(id, direction)| {
            let other = self.entry(id);
            let lives = now < other.expires && !other.status.has(Status::DYING);
            // Two packets of one connection that race each other don't clash.
            let is_same = other.original == own.original
                && other.zone_of(Direction::Original) == own.zone_of(Direction::Original);
            id != by_other_than && lives && other.zone_of(direction) == own.zone_of(direction) && !is_same
        })
    }

    /// Files an entry under its source, once its source translation is decided.
    pub fn file_by_source(&mut self, id: EntryId) {
        let original = self.entry(id).original;
        self.by_source.entry((original.protocol, original.src)).or_default().push(id);
    }

    /// The entries with this original source, the latest first.
    pub fn from_source(&self, protocol: Protocol, src: Endpoint) -> impl Iterator<Item = &ConntrackEntry> {
        let key = (protocol, src);
        [self.by_source.get(&key), self.recorded.by_source.get(&key)]
            .into_iter()
            .flatten()
            .flat_map(|ids| ids.iter().rev())
            .filter_map(|id| self.known(*id))
            .filter(|entry| !entry.status.has(Status::DYING))
    }

    /// Puts an entry in the table (`__nf_conntrack_confirm`).
    ///
    /// # Errors
    /// If one of its tuples is there already.
    pub fn confirm(&mut self, id: EntryId, sequence: u64, now: Instant) -> Result<(), Clash> {
        let entry = self.entry(id);
        let keys = [Direction::Original, Direction::Reply]
            .map(|direction| ((entry.zone_of(direction), *entry.tuple(direction)), direction));
        let taken = keys.iter().any(|((zone, tuple), _)| {
            self.find(*zone, tuple, |direction| entry.zone_of(direction), now).is_some()
        });
        if taken {
            return Err(Clash);
        }
        for (key, direction) in keys {
            let over: Vec<EntryId> = self
                .at(key.0, &key.1)
                .map(|(old, _)| old)
                .filter(|old| now >= self.entry(*old).expires)
                .collect();
            over.into_iter().for_each(|old| self.remove(old));
            self.by_tuple.entry(key).or_default().push((id, direction));
        }
        let entry = self.entry_mut(id);
        entry.status.set(Status::CONFIRMED);
        entry.sequence = sequence;
        Ok(())
    }

    /// Takes an entry out of the table. It stays readable for packets that still carry it, until the next
    /// sweep.
    pub fn remove(&mut self, id: EntryId) {
        if self.known(id).is_none() {
            return;
        }
        self.entry_mut(id).status.set(Status::DYING);
        if (id.0 as usize) < self.recorded.entries.len() {
            self.gone.insert(id);
        }
        let entry = &self.entries[&id];
        for direction in [Direction::Original, Direction::Reply] {
            let key = (entry.zone_of(direction), *entry.tuple(direction));
            if let Some(ids) = self.by_tuple.get_mut(&key) {
                ids.retain(|(other, _)| *other != id);
                if ids.is_empty() {
                    self.by_tuple.remove(&key);
                }
            }
        }
        let source = (entry.original.protocol, entry.original.src);
        if let Some(ids) = self.by_source.get_mut(&source) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_source.remove(&source);
            }
        }
    }

    /// Deletes the entries that a condition holds of, and says how many there were (`conntrack -D`).
    pub fn delete(&mut self, condition: impl Fn(&ConntrackEntry) -> bool, now: Instant) -> usize {
        let recorded = (0u32..).map(EntryId).take(self.recorded.entries.len());
        let numbers: BTreeSet<EntryId> = recorded.chain(self.entries.keys().copied()).collect();
        let over: Vec<EntryId> = numbers
            .into_iter()
            .filter(|id| self.known(*id).is_some_and(|entry| is_live(entry) && condition(entry)))
            .filter(|id| now < self.entry(*id).expires)
            .collect();
        for id in &over {
            self.remove(*id);
            self.entries.remove(id);
        }
        over.len()
    }

    /// Tracking of a family is switched on again: of open TCP connections it is not known what they have sent
    /// in the meantime (nf_conntrack_proto.c, `nf_ct_tcp_fixup`).
    pub(crate) fn resume(&mut self, family: Family) {
        for entry in self.entries.values_mut().filter(|entry| entry.original.family() == family) {
            entry.tcp.resume();
        }
    }

    /// The entries that are not only recorded, to change.
    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut ConntrackEntry> {
        self.entries.values_mut()
    }

    /// Forgets the entries that no packet in flight can still refer to: dying, expired or never confirmed.
    pub fn sweep(&mut self, now: Instant) {
        let over: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !is_live(entry) || now >= entry.expires)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.remove(id);
            self.entries.remove(&id);
        }
    }
}

fn is_live(entry: &ConntrackEntry) -> bool {
    entry.status.has(Status::CONFIRMED) && !entry.status.has(Status::DYING)
}
