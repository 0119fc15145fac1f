//! What the engine says of a flow: its possible paths, where each ends and what happened on the way.
//!
//! A [`FlowTrace`] has one [`Path`] for each result that chance, or something no listing shows, can give.
//! A path has [`Hop`]s, one for each host a packet crosses, and a hop has typed [`Step`]s. Rules are named
//! by reference into the host's ruleset; text is a renderer's business.

mod assumption;

pub use assumption::Assumption;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use natpath_model::{
    ChainId, CtStates, Direction, Endpoint, Hook, InterfaceName, Manip, Port, Protocol, RouteType, RuleRef,
    Status, TcpState, Tuple, Zone, ZoneDirection,
};

/// Index of a host in the traced network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u32);

/// All that can become of one flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowTrace {
    /// The flow's first packet as it was sent, with the addresses and ports the kernel chose.
    pub sent: Header,
    /// The results, the most probable first; their probabilities sum to 1.
    pub paths: Vec<Path>,
}

/// One possible course of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// `FLOW.PATH`, both counted from 1.
    pub id: String,
    /// The paths of earlier flows it needs.
    pub given: Vec<String>,
    /// Its probability over everything that is left to chance.
    pub probability: f64,
    /// What is to be known of it but for the steps.
    pub result: PathResult,
    /// The hosts that the first packet crossed.
    pub hops: Vec<Hop>,
    /// The hosts that the first answer crossed.
    pub reply_hops: Vec<Hop>,
    /// Faults that show on this path.
    pub findings: Vec<Finding>,
    /// What else explains the result.
    pub hints: Vec<Hint>,
    /// What it leans on that no file says.
    pub assumptions: Vec<Assumption>,
    /// All ports that were drawn by then, by number.
    pub drawn: BTreeMap<NonZeroU16, Drawn>,
    /// Those nobody recorded whom its packets came from or were sent to.
    pub unrecorded: Vec<Unrecorded>,
}

/// Somebody nobody recorded, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrecorded {
    /// The address.
    pub address: IpAddr,
    /// The recorded host whose wire leads there.
    pub host: HostId,
    /// The interface on that wire; of a bridge, the bridge.
    pub interface: InterfaceName,
    /// The port of the bridge, where it is known.
    pub port: Option<InterfaceName>,
    /// The next hop that the address lies behind; `None` where it is on the wire itself.
    pub router: Option<IpAddr>,
}

/// What may become of a connection that is ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    /// Whether there was a connection to end.
    pub open: bool,
    /// Whether both sides know of it afterwards.
    pub arrived: bool,
    /// How the segment ended that was to end it.
    pub end: End,
    /// The conntrack entries whose state it changed.
    pub changes: Vec<StateChange>,
    /// All ports that were drawn by then, by number.
    pub drawn: BTreeMap<NonZeroU16, Drawn>,
}

/// A conntrack entry of a TCP connection whose state has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The host whose table it is in.
    pub host: HostId,
    /// Its original tuple.
    pub original: Tuple,
    /// The state it had.
    pub from: TcpState,
    /// The state it has, and how long it lives on; `None`: it is deleted.
    pub to: Option<(TcpState, Duration)>,
}

/// The result of a path: what two courses must share to be one path.
#[derive(Debug, Clone, PartialEq)]
pub struct PathResult {
    /// How the first packet ended.
    pub end: End,
    /// What the sender sees come back; `None` where nothing is sent back.
    pub reply: Option<Reply>,
    /// Whether every packet of the flow arrives as the connection it belongs to.
    pub works: bool,
    /// The packet that fails where a delivered flow does not work.
    pub broken: Option<Broken>,
    /// The conntrack entries that the flow made and that are still there, in the order of the path.
    pub conntrack: Vec<Entry>,
    /// The drawn ports that occur in this result, by number.
    pub drawn: BTreeMap<NonZeroU16, Drawn>,
}

/// How and where a packet ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// In a word.
    pub outcome: Outcome,
    /// The cause, where the outcome leaves it open.
    pub why: Option<Why>,
    /// The rule that decided, where one did.
    pub rule: Option<(HostId, RuleRef)>,
    /// Where.
    pub at: At,
    /// The header at that moment.
    pub header: Header,
}

/// A place of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The host.
    pub host: Place,
    /// The interface the packet came in by (or was about to leave by); `None` where it has none.
    pub interface: Option<InterfaceName>,
}

/// A host that was recorded, or one that must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A host of the network.
    Host(HostId),
    /// A host that nobody recorded, assumed because an open segment has its address.
    Assumed(IpAddr),
}

/// Addresses and ports of a packet. For ICMP queries both ports are the identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The protocol.
    pub protocol: Protocol,
    /// Source.
    pub src: Endpoint,
    /// Destination.
    pub dst: Endpoint,
}

impl From<Tuple> for Header {
    fn from(tuple: Tuple) -> Self {
        Self { protocol: tuple.protocol, src: tuple.src, dst: tuple.dst }
    }
}

/// How a packet ended, in the words of the trace contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// A socket or the echo responder took it.
    Delivered,
    /// The host's own stack took it; no socket there.
    NoListener,
    /// It is gone in silence.
    Dropped,
    /// A rule or a `prohibit` route answered with an error.
    Rejected,
    /// No route, or an `unreachable` one.
    NoRoute,
    /// Nobody owns the on-link destination.
    NoNeighbor,
    /// Its time to live ran out.
    TtlExceeded,
    /// It is larger than the next link takes and must not be fragmented.
    TooBig,
    /// The sender's own send failed.
    LocalError,
    /// It went to a next hop that nobody recorded.
    Left,
    /// It met a construct whose effect is not known.
    Undecided,
}

impl Outcome {
    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::NoListener => "no-listener",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::NoRoute => "no-route",
            Self::NoNeighbor => "no-neighbor",
            Self::TtlExceeded => "ttl-exceeded",
            Self::TooBig => "too-big",
            Self::LocalError => "local-error",
            Self::Left => "left",
            Self::Undecided => "undecided",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a packet ended, in the words of the trace contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// A rule said so.
    Rule,
    /// A base chain's policy.
    Policy,
    /// The reverse path filter.
    RpFilter,
    /// A source address that can't come from there.
    MartianSource,
    /// A destination address that can't be sent there.
    MartianDestination,
    /// Forwarding is off.
    NoForwarding,
    /// No port was free for the translation.
    NoPorts,
    /// REDIRECT or MASQUERADE found no address on the interface.
    RedirectNoAddress,
    /// The packet itself is faulty.
    Invalid,
    /// A blackhole or throw route, or a route of a kind that takes no such packet.
    RouteType,
    /// An answer came from another address than was asked.
    WrongSource,
    /// The sender's system call failed with this error.
    Errno(&'static str),
}

impl Why {
    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Policy => "policy",
            Self::RpFilter => "rp-filter",
            Self::MartianSource => "martian-source",
            Self::MartianDestination => "martian-destination",
            Self::NoForwarding => "no-forwarding",
            Self::NoPorts => "no-ports",
            Self::RedirectNoAddress => "redirect-no-address",
            Self::Invalid => "invalid",
            Self::RouteType => "route-type",
            Self::WrongSource => "wrong-source",
            Self::Errno(name) => name,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What the sender sees come back first.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// How the answer's own path ended: `delivered` where the sender's host took it.
    pub end: End,
    /// For an ICMP error: what it says, and who says it.
    pub icmp: Option<IcmpError>,
    /// Whether the answer is a TCP reset.
    pub reset: bool,
}

/// An ICMP error as the sender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The outer source address.
    pub from: IpAddr,
    /// The packet it is about, as quoted in it.
    pub about: Header,
}

/// The first packet that fails in a flow whose first packet was delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    /// Which packet.
    pub packet: FlowPacket,
    /// How and where it ended.
    pub end: End,
    /// The hosts it crossed.
    pub hops: Vec<Hop>,
}

/// The packets of a flow after its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowPacket {
    /// The answer to the first packet: SYN-ACK, datagram, echo reply.
    Answer,
    /// The client's ACK that ends the TCP handshake.
    HandshakeAck,
    /// Data from the client.
    ClientData,
    /// Data from the server.
    ServerData,
}

impl FlowPacket {
    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::HandshakeAck => "handshake-ack",
            Self::ClientData => "client-data",
            Self::ServerData => "server-data",
        }
    }
}

/// A conntrack entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The host whose table it is in.
    pub host: HostId,
    /// Its zone.
    pub zone: Zone,
    /// The directions that live in that zone.
    pub zone_direction: ZoneDirection,
    /// The tuple of packets in the original direction.
    pub original: Tuple,
    /// The tuple of replies.
    pub reply: Tuple,
    /// Its status bits.
    pub status: Status,
    /// Its mark.
    pub mark: u32,
}

/// A port that the kernel drew by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Drawn {
    /// The lowest port it can be.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

/// A packet's way through one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Hop {
    /// The host.
    pub host: Place,
    /// The interface it came in by; `None` where the host made it.
    pub in_interface: Option<InterfaceName>,
    /// The interface it left by; `None` where it ended here.
    pub out_interface: Option<InterfaceName>,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// One thing that happened to a packet.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Connection tracking looked it up (PREROUTING and OUTPUT, priority -200).
    Conntrack {
        /// The hook.
        hook: Hook,
        /// Its state.
        state: CtStates,
        /// Its direction, where it has an entry.
        direction: Option<Direction>,
        /// The entry's tuples, original and reply, where it has one that existed before.
        entry: Option<(Tuple, Tuple)>,
    },
    /// A base chain was entered.
    Chain {
        /// The hook.
        hook: Hook,
        /// Index of the table.
        table: u32,
        /// The chain.
        chain: ChainId,
        /// The rules that were tried, in all chains it called.
        tried: u32,
        /// Those that applied.
        matched: u32,
        /// How it ended.
        end: ChainEnd,
    },
    /// A rule applied.
    Rule {
        /// The hook.
        hook: Hook,
        /// The rule.
        rule: RuleRef,
        /// What it did.
        effect: Effect,
        /// The header before.
        before: Header,
        /// The header after.
        after: Header,
    },
    /// A rule was tried and did not apply.
    Miss {
        /// The hook.
        hook: Hook,
        /// The rule.
        rule: RuleRef,
        /// Index of the first of its matches that failed.
        failed: u32,
    },
    /// A nat rule that was not tried because the translation was already decided, though it would apply to
    /// the packet as it now is.
    NotReached {
        /// The hook.
        hook: Hook,
        /// The rule.
        rule: RuleRef,
        /// Why.
        why: NotReached,
    },
    /// The entry's translation changed the header without a rule being asked: a later packet or an answer.
    Translated {
        /// The hook.
        hook: Hook,
        /// The side that changed.
        manip: Manip,
        /// Whether it undoes a translation of the other direction.
        undone: bool,
        /// The header before.
        before: Header,
        /// The header after.
        after: Header,
    },
    /// No rule maps it, but its reply tuple was taken, so its source port was changed (null binding).
    PortChanged {
        /// The hook.
        hook: Hook,
        /// The header before.
        before: Header,
        /// The header after.
        after: Header,
    },
    /// A route was chosen.
    Route(RouteStep),
    /// The reverse path check of an incoming packet failed.
    SourceCheck {
        /// Why.
        why: Why,
    },
    /// The time to live was reduced to this.
    Ttl(u8),
    /// An ICMP error or reset was made here about this packet.
    Answered {
        /// ICMP type and code; `None` for a TCP reset.
        icmp: Option<(u8, u8)>,
    },
    /// The host's own stack took it.
    Socket {
        /// Whether somebody listens.
        listening: bool,
        /// The socket's program, if known.
        process: Option<String>,
    },
    /// It belongs to a socket of the host, so that it is not forwarded though its route leads away.
    OfSocket,
    /// A bridge passed the frame on from port to port, or did not.
    Bridged {
        /// The port it came in by, where that is known.
        in_port: Option<InterfaceName>,
        /// The port it leaves by, where that is known.
        out_port: Option<InterfaceName>,
        /// What kept it from leaving.
        stopped: Option<StoppedBy>,
    },
    /// The new entry was put in the table.
    Confirmed {
        /// Original and reply tuple.
        original: Tuple,
        /// The tuple of replies.
        reply: Tuple,
    },
    /// A construct of unknown effect was met; the path goes on as assumed.
    Assumed(Assumption),
    /// The packet ended here.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why.
        why: Option<Why>,
    },
}

/// What keeps a frame from leaving a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// It came in by the port it would leave by, which is not in hairpin mode.
    SamePort,
    /// Both ports are isolated.
    Isolated,
    /// A port is not in forwarding state.
    Blocked,
    /// No port leads to its destination.
    NoPort,
    /// It is not known whether the port it came in by is in hairpin mode.
    UnknownPort,
}

impl fmt::Display for StoppedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SamePort => "it would leave by the port it came in by, which is not in hairpin mode",
            Self::Isolated => "both ports are isolated",
            Self::Blocked => "the port does not forward",
            Self::NoPort => "no port leads there",
            Self::UnknownPort => "it is not known whether its port is in hairpin mode",
        })
    }
}

/// How the walk of a base chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEnd {
    /// Its policy let the packet pass.
    PolicyAccept,
    /// Its policy dropped the packet.
    PolicyDrop,
    /// A rule decided.
    Rule(RuleRef),
}

/// What a rule did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Only counted.
    Counted,
    /// Let the packet pass this base chain.
    Accept,
    /// Dropped it.
    Drop,
    /// Answered with an error and dropped it.
    Reject,
    /// Back to the caller.
    Return,
    /// Into a chain.
    Jump(ChainId),
    /// Into a chain for good.
    Goto(ChainId),
    /// Wrote a log line.
    Log,
    /// Set the packet's mark, from and to.
    Mark(u32, u32),
    /// Set the entry's mark, from and to.
    Connmark(u32, u32),
    /// Set the type of service, from and to.
    Tos(u8, u8),
    /// Set the time to live, from and to.
    Ttl(u8, u8),
    /// Changed a set.
    Set,
    /// Gave it to a local socket.
    Tproxy {
        /// The port of the socket that was looked for.
        port: u16,
        /// The packet's mark, from and to.
        mark: (u32, u32),
    },
    /// Dropped it, for no socket that may take it has this port.
    NoProxy(u16),
    /// Exempted it from tracking.
    Notrack,
    /// Chose a zone.
    Zone(Zone),
    /// Set up a destination translation.
    Dnat,
    /// Set up a source translation.
    Snat,
    /// Set up a source translation to the interface's address.
    Masquerade,
    /// Set up a translation to this host.
    Redirect,
    /// Set up a translation of the network part.
    Netmap,
    /// Is not known.
    Unknown,
}

impl Effect {
    /// A word for it, in the trace contract's style.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counted => "count",
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Return => "return",
            Self::Jump(_) => "jump",
            Self::Goto(_) => "goto",
            Self::Log => "log",
            Self::Mark(..) => "mark",
            Self::Connmark(..) => "connmark",
            Self::Tos(..) => "tos",
            Self::Ttl(..) => "ttl",
            Self::Set => "set",
            Self::Tproxy { .. } => "tproxy",
            Self::NoProxy(_) => "drop",
            Self::Notrack => "notrack",
            Self::Zone(_) => "zone",
            Self::Dnat => "dnat",
            Self::Snat => "snat",
            Self::Masquerade => "masquerade",
            Self::Redirect => "redirect",
            Self::Netmap => "netmap",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a nat rule was not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReached {
    /// This rule had already translated the connection.
    TranslatedBy(RuleRef),
    /// The connection's entry was made earlier and its translation decided then.
    DecidedEarlier,
    /// The packet has no entry, so nat chains do not see it.
    NotTracked,
    /// The connection was made on this host: its destination was decided in OUTPUT.
    MadeHere,
}

/// The route that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStep {
    /// The destination that was looked up.
    pub destination: IpAddr,
    /// What the lookup gave; `None`: no route.
    pub found: Option<RouteFound>,
    /// The source address that was chosen for a packet of this host's.
    pub source: Option<IpAddr>,
    /// Whether the packet had been routed before and was routed again.
    pub again: bool,
}

/// A found route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFound {
    /// What kind.
    pub kind: RouteType,
    /// The table it stands in.
    pub table: u32,
    /// The preference of the policy rule that led there.
    pub rule: u32,
    /// The prefix.
    pub prefix: ipnet::IpNet,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: Option<InterfaceName>,
    /// The line in the file of routes; 0 if it was derived from an address.
    pub line: u32,
}

/// A fault that shows on a traced path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The code of the contract: `dead-dnat`.
    pub code: &'static str,
    /// The host.
    pub host: HostId,
    /// One sentence without a full stop.
    pub headline: String,
    /// What to do.
    pub help: String,
    /// The rules that have a part in it, the one that ran first.
    pub rules: Vec<RuleRef>,
    /// Text to apply, if there is a remedy that is sure.
    pub fix: Option<String>,
}

/// Something that explains a result and is no fault with a code: a rule that nearly applied, a port of a
/// bridge, a neighbour that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The host.
    pub host: HostId,
    /// One sentence without a full stop.
    pub headline: String,
    /// What to do.
    pub help: String,
    /// The rules that have a part in it.
    pub rules: Vec<RuleRef>,
    /// Text to apply, if there is a remedy that is sure.
    pub fix: Option<String>,
}

impl Path {
    /// The interval of a drawn port; `None` for one that is known.
    #[must_use]
    pub fn drawn(&self, port: Port) -> Option<Drawn> {
        self.drawn.get(&port.drawn?).copied()
    }
}
