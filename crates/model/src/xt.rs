//! Matches that look beyond the packet's header: at its socket, at sets, routes and the time, and at what
//! the rule has seen before. What a rule remembers is not here: this is what it was told.

use std::net::IpAddr;

use crate::hook::Manip;
use crate::payload::{Instruction, TextSearch, U32};
use crate::value::Value;

/// A match of an iptables extension that is no test of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Xt {
    /// `-m owner`: who holds the sending socket.
    Owner(Owner),
    /// `-m set`: whether parts of the packet are an element of an ipset.
    Set(SetTest),
    /// `-m limit`: one bucket of tokens for the rule.
    Limit(Rate),
    /// `-m hashlimit`: a bucket for each value of some fields.
    HashLimit(HashLimit),
    /// `-m recent`: a list of addresses and when they were seen.
    Recent(Recent),
    /// `-m connlimit`: how many connections of an address group the rule has seen that still live.
    ConnLimit(ConnLimit),
    /// `-m connbytes`: what the packet's connection has carried.
    ConnBytes(ConnBytes),
    /// `-m quota`: until so many bytes have passed.
    Quota {
        /// The bytes.
        bytes: u64,
        /// Whether the rule applies once they have.
        negated: bool,
    },
    /// `-m rpfilter`: whether the answer would leave where the packet came in.
    ReversePath(ReversePath),
    /// `-m socket`: whether a socket takes the packet.
    Socket(SocketTest),
    /// `-m time`: when it is.
    Time(TimeWindow),
    /// `-m helper`: whether the connection was expected because of another one that has this helper.
    Helper {
        /// The helper's name; empty for any.
        name: String,
        /// Whether the rule applies to all other connections.
        negated: bool,
    },
    /// `-m policy`: IPsec.
    Policy {
        /// Whether the rule applies where no policy does (`--pol none`).
        none: bool,
        /// The words of the rule.
        text: String,
    },
    /// `-m cluster`: whether the connection's source is one of those of this node.
    Cluster(Cluster),
    /// `-m cgroup`: whether the sending socket is in a control group.
    ControlGroup {
        /// The words of the rule.
        text: String,
    },
    /// `-m tcpmss`: whether the largest segment that a sender offers to take lies in a range.
    SegmentSize {
        /// The smallest.
        min: u16,
        /// The largest.
        max: u16,
        /// Whether the rule applies to what lies outside, or is not offered.
        negated: bool,
    },
    /// `-m ipvs`.
    Ipvs {
        /// Whether the rule applies to packets that IPVS has nothing to do with (`! --ipvs`).
        of_others: bool,
        /// The words of the rule.
        text: String,
    },
    /// `-m string`: whether the packet holds a text.
    Text(TextSearch),
    /// `-m u32`: whether numbers in the packet lie in ranges.
    U32(U32),
    /// `-m bpf --bytecode`: whether a program says so (xt_bpf.c).
    Bpf(Vec<Instruction>),
    /// A match on a header that packets of a flow don't have: an IPv6 extension header, AH, ESP. It fails,
    /// negated or not.
    AbsentHeader {
        /// The words of the rule.
        text: String,
    },
}

impl Xt {
    /// The name after `-m`; empty where the words say it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Owner(_) => "owner",
            Self::Set(_) => "set",
            Self::Limit(_) => "limit",
            Self::HashLimit(_) => "hashlimit",
            Self::Recent(_) => "recent",
            Self::ConnLimit(_) => "connlimit",
            Self::ConnBytes(_) => "connbytes",
            Self::Quota { .. } => "quota",
            Self::ReversePath(_) => "rpfilter",
            Self::Socket(_) => "socket",
            Self::Time(_) => "time",
            Self::Helper { .. } => "helper",
            Self::Policy { .. } => "policy",
            Self::Cluster(_) => "cluster",
            Self::ControlGroup { .. } => "cgroup",
            Self::SegmentSize { .. } => "tcpmss",
            Self::Ipvs { .. } => "ipvs",
            Self::Text(_) => "string",
            Self::U32(_) => "u32",
            Self::Bpf(_) => "bpf",
            Self::AbsentHeader { .. } => "",
        }
    }

    /// Whether asking changes what the next packet is told, so that it matters in which order conditions
    /// are asked.
    #[must_use]
    pub fn remembers(&self) -> bool {
        match self {
            Self::Limit(_)
            | Self::HashLimit(_)
            | Self::Recent(_)
            | Self::ConnLimit(_)
            | Self::Quota { .. } => true,
            Self::Owner(_)
            | Self::Set(_)
            | Self::ConnBytes(_)
            | Self::ReversePath(_)
            | Self::Socket(_)
            | Self::Time(_)
            | Self::Helper { .. }
            | Self::Policy { .. }
            | Self::Cluster(_)
            | Self::ControlGroup { .. }
            | Self::SegmentSize { .. }
            | Self::Ipvs { .. }
            | Self::Text(_)
            | Self::U32(_)
            | Self::Bpf(_)
            | Self::AbsentHeader { .. } => false,
        }
    }

    /// Whether the kernel tracks connections because of such a rule.
    #[must_use]
    pub fn needs_conntrack(&self) -> bool {
        matches!(self, Self::ConnLimit(_) | Self::ConnBytes(_) | Self::Helper { .. } | Self::Cluster(_))
    }
}

/// A range of user or group numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
    /// Whether it is the others that are meant.
    pub negated: bool,
}

impl IdRange {
    /// Whether a number is meant.
    #[must_use]
    pub fn takes(self, id: u32) -> bool {
        (self.min..=self.max).contains(&id) != self.negated
    }
}

/// `-m owner` (xt_owner.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// `--uid-owner`.
    pub uid: Option<IdRange>,
    /// `--gid-owner`.
    pub gid: Option<IdRange>,
    /// `--socket-exists`, and whether it is negated.
    pub socket_exists: Option<bool>,
}

/// `-m set --match-set` (xt_set.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetTest {
    /// The set's name.
    pub set: String,
    /// The packet's side for each part of an element.
    pub sides: Vec<Manip>,
    /// Whether the rule applies to what is not in the set.
    pub negated: bool,
}

/// The time for which a [`Rate`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Per {
    /// Each with its word in iptables.
    pub const NAMES: [(&'static str, Self); 4] =
        [("sec", Self::Second), ("min", Self::Minute), ("hour", Self::Hour), ("day", Self::Day)];

    /// Its length in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86400,
        }
    }
}

/// A rate of packets, and how many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Packets, at least 1.
    pub packets: u32,
    /// In this time.
    pub per: Per,
    /// The bucket's size in packets.
    pub burst: u32,
}

impl Rate {
    /// What a packet costs, in nanoseconds.
    #[must_use]
    pub fn cost(self) -> u64 {
        self.per.seconds() * 1_000_000_000 / u64::from(self.packets.max(1))
    }

    /// The most that can be saved, in nanoseconds.
    #[must_use]
    pub fn most(self) -> u64 {
        self.cost().saturating_mul(self.burst.into())
    }
}

/// The fields that [`HashLimit`] keeps buckets for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HashKey {
    /// `srcip`, with the length of its mask.
    pub src: Option<u8>,
    /// `dstip`, with the length of its mask.
    pub dst: Option<u8>,
    /// `srcport`.
    pub src_port: bool,
    /// `dstport`.
    pub dst_port: bool,
}

/// What [`HashLimit`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashRate {
    /// Packets.
    Packets(Rate),
    /// Bytes.
    Bytes(ByteRate),
}

/// A rate of bytes as the kernel keeps it: in chunks of 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRate {
    /// What a chunk costs, in 2^-32 of what a second brings in.
    pub cost: u32,
    /// How often the credit of a second is given at once when it is used up.
    pub refills: u32,
}

impl ByteRate {
    /// The cost of chunks at a rate of bytes a second (libxt_hashlimit.c, `bytes_to_cost`).
    #[must_use]
    pub fn cost_of(bytes: u64) -> u32 {
        u32::try_from(u64::from(u32::MAX) / ((bytes >> 4) + 1)).unwrap_or(u32::MAX)
    }

    /// The bytes a second (`cost_to_bytes`).
    #[must_use]
    pub fn bytes(self) -> u64 {
        let chunks = u32::MAX.checked_div(self.cost).unwrap_or(u32::MAX);
        u64::from(chunks.saturating_sub(1)) << 4
    }
}

/// `-m hashlimit` (xt_hashlimit.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashLimit {
    /// The table's name; rules of one name share it.
    pub name: String,
    /// The rate.
    pub rate: HashRate,
    /// `--hashlimit-above`: whether the rule applies to what exceeds the rate.
    pub above: bool,
    /// What has a bucket of its own.
    pub key: HashKey,
    /// After so many milliseconds without a packet a bucket is forgotten.
    pub expire: u32,
}

/// What `-m recent` does with its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecentOp {
    /// `--set`: adds the address or updates its entry.
    Set,
    /// `--rcheck`: looks whether it is there.
    Check,
    /// `--update`: looks, and updates what it finds.
    Update,
    /// `--remove`: looks, and removes what it finds.
    Remove,
}

/// `-m recent` (xt_recent.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// The list's name; rules of one name share it.
    pub name: String,
    /// What is done.
    pub op: RecentOp,
    /// `--seconds`: only what was seen within this time counts; 0 for any.
    pub seconds: u32,
    /// `--hitcount`: it must have been seen so often.
    pub hits: u32,
    /// `--reap`: the oldest entry is forgotten once it is older than `seconds`.
    pub reap: bool,
    /// `--rttl`: the time to live must be the same.
    pub same_ttl: bool,
    /// Whose address: source or destination.
    pub of: Manip,
    /// The bits of the address that count.
    pub mask: IpAddr,
    /// Whether the result is turned round.
    pub negated: bool,
}

/// `-m connlimit` (xt_connlimit.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnLimit {
    /// The number.
    pub limit: u32,
    /// `--connlimit-above`: whether the rule applies to more than that; else to no more.
    pub above: bool,
    /// Whose address groups connections.
    pub of: Manip,
    /// The bits of it that count.
    pub mask: Value,
}

/// What `-m connbytes` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Packets.
    Packets,
    /// Bytes.
    Bytes,
    /// Bytes a packet.
    AveragePacket,
}

impl Measure {
    /// Each with its word in iptables.
    pub const NAMES: [(&'static str, Self); 3] =
        [("packets", Self::Packets), ("bytes", Self::Bytes), ("avgpkt", Self::AveragePacket)];
}

/// `-m connbytes` (xt_connbytes.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnBytes {
    /// The lowest.
    pub from: u64,
    /// The highest.
    pub to: u64,
    /// What is counted.
    pub measure: Measure,
    /// Which direction: 0 for original, 1 for reply; `None` for both together.
    pub direction: Option<crate::conntrack::Direction>,
    /// Whether it is what lies outside that is meant.
    pub negated: bool,
}

/// `-m rpfilter` (ipt_rpfilter.c, ip6t_rpfilter.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReversePath {
    /// `--loose`: any route back will do.
    pub loose: bool,
    /// `--validmark`: the packet's mark counts in the look-up.
    pub valid_mark: bool,
    /// `--accept-local`: so may an address of this host.
    pub accept_local: bool,
    /// `--invert`.
    pub inverted: bool,
}

/// `-m socket` (xt_socket.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketTest {
    /// `--transparent`: only transparent sockets count.
    pub transparent: bool,
    /// `--nowildcard`: sockets of any address count too.
    pub no_wildcard: bool,
}

/// `-m cluster` (xt_cluster.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// How many nodes there are, at least 1.
    pub nodes: u32,
    /// Those that are meant, a bit for each.
    pub own: u32,
    /// What the hash begins with.
    pub seed: u32,
    /// Whether it is the other nodes that are meant.
    pub negated: bool,
}

/// `-m time` (xt_time.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// First and last second since 1970.
    pub dates: (u32, u32),
    /// First and last second of the day; the first is the later where midnight lies between them.
    pub day: (u32, u32),
    /// The days of the week, Monday bit 1 to Sunday bit 7.
    pub weekdays: u8,
    /// The days of the month, bits 1 to 31.
    pub monthdays: u32,
    /// `--contiguous`: after midnight it is still the day before.
    pub contiguous: bool,
    /// `--kerneltz`: by the kernel's time zone, else by UTC.
    pub kernel_zone: bool,
}

impl TimeWindow {
    /// All days of the week.
    pub const ALL_WEEKDAYS: u8 = 0xfe;
    /// All days of a month.
    pub const ALL_MONTHDAYS: u32 = 0xffff_fffe;
    /// The last second of a day.
    pub const DAY_END: u32 = 86399;
    /// The last second that the kernel's comparison knows.
    pub const LAST: u32 = i32::MAX as u32;
}

impl Default for TimeWindow {
    fn default() -> Self {
        Self {
            dates: (0, Self::LAST),
            day: (0, Self::DAY_END),
            weekdays: Self::ALL_WEEKDAYS,
            monthdays: Self::ALL_MONTHDAYS,
            contiguous: false,
            kernel_zone: false,
        }
    }
}
