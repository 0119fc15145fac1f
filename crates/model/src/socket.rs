//! Listening sockets.

use std::net::IpAddr;

use crate::net::{Family, Protocol};
use crate::value::InterfaceName;

/// A socket that takes new connections or datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// tcp, udp, sctp ...
    pub protocol: Protocol,
    /// The addresses it takes.
    pub bind: Bind,
    /// The port.
    pub port: u16,
    /// The interface it is bound to (`%eth0`).
    pub interface: Option<InterfaceName>,
    /// The program, as `ss -p` prints it, if it was printed.
    pub process: Option<String>,
    /// Whether it may have an address that the host lacks (`IP_TRANSPARENT`), as `ss --inet-sockopt` prints
    /// it; `None` where that was not asked.
    pub transparent: Option<bool>,
}

/// The addresses that a socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bind {
    /// One address.
    Address(IpAddr),
    /// All of a family (`0.0.0.0:80`, `[::]:80`).
    Any(Family),
    /// All of both families (`*:80`).
    AnyBoth,
}

impl Bind {
    /// Whether a packet for this address is for the socket.
    #[must_use]
    pub fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::Address(own) => own == address,
            Self::Any(family) => family == Family::of(address),
            Self::AnyBoth => true,
        }
    }
}
