//! A flow: the connection that a user asks about, and what may happen on it afterwards.

use std::net::IpAddr;

use crate::net::{Family, Mac, Protocol};
use crate::value::InterfaceName;

/// A connection to trace: its first packet, and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// tcp, udp, sctp, icmp or icmpv6.
    pub protocol: Protocol,
    /// The source address; `None` for the kernel's choice by route.
    pub src: Option<IpAddr>,
    /// The source port; `None` for an ephemeral one.
    pub src_port: Option<u16>,
    /// The destination address.
    pub dst: IpAddr,
    /// The destination port; 0 for ICMP.
    pub dst_port: u16,
    /// The identifier of an ICMP echo request.
    pub icmp_id: u16,
    /// The host that makes the packet (`from=`).
    pub from: Option<String>,
    /// The host and interface it enters by (`in=`).
    pub enters: Option<(String, InterfaceName)>,
    /// The interface its socket is bound to (`iface=`).
    pub bound: Option<InterfaceName>,
    /// Time to live; `None` for the sender's default, 64.
    pub ttl: Option<u8>,
    /// The socket's mark.
    pub mark: u32,
    /// The length in bytes of the data sent; `None` for a few bytes.
    pub size: Option<u16>,
    /// The differentiated services code point.
    pub dscp: u8,
    /// The user of the sending socket.
    pub uid: Option<u32>,
    /// The group of the sending socket.
    pub gid: Option<u32>,
    /// The hardware source address of the frame.
    pub src_mac: Option<Mac>,
    /// The simulated time at which it is sent, in milliseconds.
    pub at: Option<u64>,
    /// Whether fragmentation is forbidden.
    pub dont_fragment: bool,
    /// The flow's own name (`id=`).
    pub id: Option<String>,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one that opened it.
    Client,
    /// The one that was asked.
    Server,
}

/// How a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseHow {
    /// The client sends FIN.
    Fin,
    /// The client sends RST.
    Rst,
    /// The server sends FIN.
    ServerFin,
    /// The server sends RST.
    ServerRst,
}

impl Flow {
    /// The port that stands for an ephemeral one.
    pub const EPHEMERAL: u16 = 40000;

    /// A flow between two addresses, with nothing else said.
    #[must_use]
    pub fn new(
        protocol: Protocol,
        src: Option<IpAddr>,
        src_port: Option<u16>,
        dst: IpAddr,
        dst_port: u16,
    ) -> Self {
        Self {
            protocol,
            src,
            src_port,
            dst,
            dst_port,
            icmp_id: 1,
            from: None,
            enters: None,
            bound: None,
            ttl: None,
            mark: 0,
            size: None,
            dscp: 0,
            uid: None,
            gid: None,
            src_mac: None,
            at: None,
            dont_fragment: false,
            id: None,
        }
    }

    /// The family of its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.dst)
    }
}
