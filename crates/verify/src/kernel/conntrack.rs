//! The conntrack table of a namespace, read by ctnetlink (linux/netfilter/nfnetlink_conntrack.h).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use natpath_model::{Endpoint, Protocol, Status, Tuple, Zone, ZoneDirection};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use super::namespace::Namespace;

/// An entry as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelEntry {
    /// The kernel's number for it.
    pub id: u32,
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

const DUMP_CONNTRACK: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 1; // IPCTNL_MSG_CT_GET
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_MARK: u16 = 8;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_TUPLE_ZONE: u16 = 3;

/// The conntrack table of a namespace.
#[derive(Debug)]
pub struct Table {
    socket: OwnedFd,
}

impl Table {
    /// Opens the table.
    ///
    /// # Errors
    /// If the kernel has no ctnetlink.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        namespace.run(|| {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkNetFilter,
            );
            Ok(Self { socket: socket.context("no netlink socket for netfilter")? })
        })
    }

    /// All entries of both families, by the kernel's number.
    ///
    /// # Errors
    /// If the kernel's answer can't be read.
    pub fn entries(&self) -> Result<BTreeMap<u32, KernelEntry>> {
        dump(&self.socket)
    }
}

fn dump(socket: &OwnedFd) -> Result<BTreeMap<u32, KernelEntry>> {
    // nlmsghdr (length, type, flags, sequence, port), nfgenmsg (family, version, resource).
    let mut request = Vec::with_capacity(20);
    request.extend(20u32.to_ne_bytes());
    request.extend(DUMP_CONNTRACK.to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_UNSPEC as u8, 0, 0, 0]);
    sendto(socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())
        .context("can't ask for the conntrack table")?;

    let mut entries = BTreeMap::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
            .context("no answer about the conntrack table")?;
        let mut rest = &buffer[..length];
        while let Some((kind, body, next)) = message(rest) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(entries),
                libc::NLMSG_ERROR => bail!("the kernel refuses to list the conntrack table"),
                _ => {
                    let entry = body.get(4..).and_then(entry).context("an unreadable conntrack entry")?;
                    entries.insert(entry.id, entry);
                }
            }
            rest = next;
        }
    }
}

/// The type and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, bytes.get(16..length)?, next))
}

/// The attributes of a message or of a nested attribute.
fn attributes(mut bytes: &[u8]) -> BTreeMap<u16, &[u8]> {
    let mut found = BTreeMap::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        let Some(value) = bytes.get(4..length) else { break };
        found.insert(kind, value);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}

fn entry(bytes: &[u8]) -> Option<KernelEntry> {
    let all = attributes(bytes);
    let (original, original_zone) = tuple(all.get(&CTA_TUPLE_ORIG)?)?;
    let (reply, reply_zone) = tuple(all.get(&CTA_TUPLE_REPLY)?)?;
    let (zone, zone_direction) = match (all.get(&CTA_ZONE), original_zone, reply_zone) {
        (Some(zone), _, _) => (be16(zone)?, ZoneDirection::Both),
        (None, Some(zone), _) => (zone, ZoneDirection::Original),
        (None, None, Some(zone)) => (zone, ZoneDirection::Reply),
        (None, None, None) => (0, ZoneDirection::Both),
    };
    Some(KernelEntry {
        id: be32(all.get(&CTA_ID)?)?,
        zone: Zone(zone),
        zone_direction,
        original,
        reply,
        status: Status(be32(all.get(&CTA_STATUS)?)?),
        mark: all.get(&CTA_MARK).and_then(|mark| be32(mark)).unwrap_or(0),
    })
}

fn tuple(bytes: &[u8]) -> Option<(Tuple, Option<u16>)> {
    let all = attributes(bytes);
    let addresses = attributes(all.get(&CTA_TUPLE_IP)?);
    let (src, dst) = match (addresses.get(&1), addresses.get(&2), addresses.get(&3), addresses.get(&4)) {
        (Some(src), Some(dst), _, _) => (address(src)?, address(dst)?),
        (_, _, Some(src), Some(dst)) => (address(src)?, address(dst)?),
        _ => return None,
    };
    let proto = attributes(all.get(&CTA_TUPLE_PROTO)?);
    let number = |kind: u16| proto.get(&kind).and_then(|bytes| be16(bytes));
    let byte = |kind: u16| proto.get(&kind).and_then(|bytes| bytes.first().copied());
    // CTA_PROTO_SRC_PORT and DST_PORT, else ICMP_ID, TYPE, CODE, else ICMPV6_ID, TYPE, CODE.
    let (src_port, dst_port, icmp) = if let Some(id) = number(4) {
        (id, id, (byte(5)?, byte(6)?))
    } else if let Some(id) = number(7) {
        (id, id, (byte(8)?, byte(9)?))
    } else {
        (number(2).unwrap_or(0), number(3).unwrap_or(0), (0, 0))
    };
    let tuple = Tuple {
        protocol: Protocol(byte(1)?),
        src: Endpoint::new(src, src_port),
        dst: Endpoint::new(dst, dst_port),
        icmp,
    };
    Some((tuple, all.get(&CTA_TUPLE_ZONE).and_then(|zone| be16(zone))))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(bytes)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}
