//! What an answer leans on that no file says, in words a user can check.

use std::fmt;
use std::net::IpAddr;

use natpath_model::{InterfaceName, Item};

/// Something a path leans on that no file says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assumption {
    /// A file was missing and a default stood in for it.
    Missing {
        /// The host.
        host: String,
        /// What was missing.
        item: Item,
    },
    /// A part of a file could not be read and was left out.
    Unread {
        /// The host.
        host: String,
        /// The file and line of the first such part of the file.
        place: String,
    },
    /// A host that nobody recorded has this address.
    AssumedHost {
        /// The address.
        address: IpAddr,
        /// The host that is connected to it.
        host: String,
        /// By this interface.
        interface: InterfaceName,
    },
    /// Somebody nobody recorded sits behind a port of a bridge, but it is not known which.
    BehindBridge {
        /// The address.
        address: IpAddr,
        /// The host.
        host: String,
        /// The bridge.
        bridge: InterfaceName,
    },
    /// The outside answers by the way it was reached.
    OutsideAnswers {
        /// The host the packet left from.
        host: String,
        /// By this interface.
        interface: InterfaceName,
    },
    /// A construct of unknown effect was taken to apply, or not to apply.
    Opaque {
        /// The host.
        host: String,
        /// The construct.
        construct: String,
        /// The file and line it stands in.
        place: String,
        /// Why it is unknown.
        reason: String,
        /// Whether it was taken to apply; `None` where both were tried and the result depends on it.
        applies: Option<bool>,
    },
    /// A socket may have addresses that its host lacks (`IP_TRANSPARENT`).
    Transparent {
        /// The host.
        host: String,
        /// The socket's port.
        port: u16,
    },
    /// Something acts on the packet beside netfilter, and it is not known what it does.
    Bypass {
        /// The host.
        host: String,
        /// What.
        what: String,
        /// The file and line it stands in.
        place: String,
    },
    /// The counter of a `statistic --mode nth` is not listed.
    NthStart {
        /// The host.
        host: String,
        /// The file and line of the rule.
        place: String,
    },
    /// The order of chains at equal priority is not listed.
    EqualPriority {
        /// The host.
        host: String,
        /// The chains.
        chains: String,
    },
    /// There are more courses than were tried.
    CoursesCut {
        /// How many were tried.
        tried: usize,
    },
    /// Some histories of earlier flows were too improbable to be kept.
    HistoriesCut {
        /// How many are kept.
        kept: usize,
    },
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { host, item } => {
                let stands_in = match item {
                    Item::Links => "it has no interfaces but lo",
                    Item::Routes(_) => "it has the routes of its addresses only",
                    Item::PolicyRules(_) => "it has the default policy rules",
                    Item::Neighbours => "no neighbour has failed",
                    Item::BridgePorts => "no port of a bridge is in hairpin mode",
                    Item::Forwarding => "its bridges know no hardware address",
                    Item::Connections => "it has no connections",
                    Item::Sysctls => "forwarding is on, rp_filter and route_localnet are off",
                    Item::Sockets => "somebody listens",
                    Item::Rules(_) => "it has no rules",
                    Item::Sets => "it has no sets",
                    Item::Date => "the time is not known",
                };
                write!(f, "{host} has no {}: assumed that {stands_in}", item.file())
            }
            Self::Unread { host, place } => {
                write!(f, "{host} {place} can't be read and is left out")
            }
            Self::AssumedHost { address, host, interface } => {
                write!(
                    f,
                    "{address} is assumed to be a host behind {host} {interface} that answers on every port"
                )
            }
            Self::BehindBridge { address, host, bridge } => {
                write!(
                    f,
                    "it is not known behind which port of {host} {bridge} {address} sits: taken to be alone \
                     behind one"
                )
            }
            Self::OutsideAnswers { host, interface } => {
                write!(
                    f,
                    "what lies beyond {host} {interface} is assumed to answer by the way it was reached"
                )
            }
            Self::Opaque { host, construct, place, reason, applies } => {
                let taken = match applies {
                    Some(true) => "assumed to match",
                    Some(false) => "assumed not to match",
                    None => "the result depends on it",
                };
                write!(f, "{host} {place}: {construct} is not decidable ({reason}); {taken}")
            }
            Self::Transparent { host, port } => {
                write!(
                    f,
                    "{host}: no listing says whether the socket on port {port} is transparent: taken to be one"
                )
            }
            Self::Bypass { host, what, place } => {
                write!(
                    f,
                    "{host} {place}: {what} acts on this packet beside netfilter; what it does is not known"
                )
            }
            Self::NthStart { host, place } => {
                write!(
                    f,
                    "{host} {place}: the counter of statistic nth is not listed; each start is taken as equally likely"
                )
            }
            Self::EqualPriority { host, chains } => {
                write!(
                    f,
                    "{host}: the order of {chains} at equal priority is not listed; the later listed is taken to run first"
                )
            }
            Self::CoursesCut { tried } => {
                write!(f, "only the first {tried} courses were tried; there are more")
            }
            Self::HistoriesCut { kept } => {
                write!(f, "only the {kept} most probable histories of the earlier flows were kept")
            }
        }
    }
}
