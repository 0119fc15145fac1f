//! Packets as bytes: those that raw sockets hear, and the frames that are sent without a socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use natpath_engine::trace::Header;
use natpath_model::{Endpoint, Mac, Protocol};

use crate::scenario::PacketStep;

/// What the data of a flow's first packet begins with.
pub(super) const QUESTION: &[u8; 8] = b"natpath?";
/// What the data of its answer begins with.
pub(super) const ANSWER: &[u8; 8] = b"natpath!";

/// What part a packet has in a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The flow's first packet.
    First,
    /// What answers it: SYN-ACK, datagram, echo reply.
    Answer,
    /// A reset that answers a packet without ACK.
    Reset,
    /// Another reset.
    LateReset,
    /// An ICMP error.
    Error {
        kind: u8,
        code: u8,
        /// The quoted packet.
        about: Header,
        /// Whether the quoted packet is the flow's first.
        about_first: bool,
    },
    /// Any other.
    Other,
}

/// A packet as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) header: Header,
    pub(super) role: Role,
    /// TCP: the sequence number; ICMP: type and code.
    stamp: u32,
}

impl Read {
    /// Whether this is the packet of a step, whatever became of its header on the way.
    pub(super) fn is_sent(&self, packet: &PacketStep) -> bool {
        self.header.protocol == packet.protocol
            && match packet.protocol {
                Protocol::TCP => self.stamp == SEQUENCE,
                Protocol::ICMP | Protocol::ICMPV6 => {
                    self.stamp == u32::from(packet.icmp.0) << 8 | u32::from(packet.icmp.1)
                }
                _ => self.role == Role::First,
            }
    }
}

/// The sequence number of TCP packets that no socket sends.
const SEQUENCE: u32 = 1_000_000;

/// Reads an IPv4 packet.
pub(super) fn read4(packet: &[u8]) -> Option<Read> {
    let (src, dst, protocol, body) = split4(packet)?;
    read(src, dst, protocol, body)
}

/// Reads what follows an IPv6 header.
pub(super) fn read(src: IpAddr, dst: IpAddr, protocol: Protocol, body: &[u8]) -> Option<Read> {
    if let Some((kind, code, quoted)) = error(protocol, body) {
        let about = if protocol == Protocol::ICMP { split4(quoted) } else { split6(quoted) };
        let about = about.and_then(|(src, dst, protocol, body)| plain(src, dst, protocol, body))?;
        let about_first =
            about.role == Role::First || about.header.protocol == Protocol::TCP && about.stamp == SEQUENCE;
        let role = Role::Error { kind, code, about: about.header, about_first };
        let header = Header { protocol, src: Endpoint::new(src, 0), dst: Endpoint::new(dst, 0) };
        return Some(Read { header, role, stamp: u32::from(kind) << 8 | u32::from(code) });
    }
    plain(src, dst, protocol, body)
}

/// Reads a packet that is not an ICMP error.
fn plain(src: IpAddr, dst: IpAddr, protocol: Protocol, body: &[u8]) -> Option<Read> {
    let number = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let (ports, role, stamp) = match protocol {
        Protocol::TCP => {
            let role = match body.get(13).map(|flags| flags & 0x17) {
                Some(0x02) => Role::First,
                Some(0x12) => Role::Answer,
                Some(0x14) => Role::Reset,
                Some(flags) if flags & 0x04 != 0 => Role::LateReset,
                _ => Role::Other,
            };
            let sequence = u32::from(number(4)?) << 16 | u32::from(number(6)?);
            ((number(0)?, number(2)?), role, sequence)
        }
        Protocol::UDP => {
            let data = body.get(8..16);
            let role = if data == Some(QUESTION) {
                Role::First
            } else if data == Some(ANSWER) {
                Role::Answer
            } else {
                Role::Other
            };
            ((number(0)?, number(2)?), role, 0)
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            let role = match *body.first()? {
                8 | 128 => Role::First,
                0 | 129 => Role::Answer,
                _ => Role::Other,
            };
            ((number(4)?, number(4)?), role, u32::from(number(0)?))
        }
        _ => ((0, 0), Role::Other, 0),
    };
    let header = Header { protocol, src: Endpoint::new(src, ports.0), dst: Endpoint::new(dst, ports.1) };
    Some(Read { header, role, stamp })
}

/// The type, code and quoted packet of an ICMP error; redirects are none.
fn error(protocol: Protocol, body: &[u8]) -> Option<(u8, u8, &[u8])> {
    let (kind, code) = (*body.first()?, *body.get(1)?);
    let is_error = match protocol {
        Protocol::ICMP => matches!(kind, 3 | 4 | 11 | 12),
        Protocol::ICMPV6 => kind < 128,
        _ => false,
    };
    is_error.then_some((kind, code, body.get(8..)?))
}

fn split4(packet: &[u8]) -> Option<(IpAddr, IpAddr, Protocol, &[u8])> {
    let length = usize::from(packet.first()? & 0x0f) * 4;
    let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    Some((address(12)?, address(16)?, Protocol(*packet.get(9)?), packet.get(length..)?))
}

fn split6(packet: &[u8]) -> Option<(IpAddr, IpAddr, Protocol, &[u8])> {
    let address = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    Some((address(8)?, address(24)?, Protocol(*packet.get(6)?), packet.get(40..)?))
}

/// An echo request; its checksum is left to the kernel for ICMPv6.
pub(super) fn echo_request(v6: bool, id: u16, size: usize) -> Vec<u8> {
    let mut body = vec![if v6 { 128 } else { 8 }, 0, 0, 0];
    body.extend(id.to_be_bytes());
    body.extend(1u16.to_be_bytes());
    body.extend(data(QUESTION, size));
    if !v6 {
        let sum = checksum(&body, 0);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    body
}

/// Data that begins with a mark and is `size` long, but not shorter than the mark.
pub(super) fn data(mark: &[u8; 8], size: usize) -> Vec<u8> {
    let mut data = mark.to_vec();
    data.resize(size.max(mark.len()), b'.');
    data
}

/// The Ethernet frame of a packet step.
pub(super) fn frame(packet: &PacketStep, from: Mac, to: Mac) -> Vec<u8> {
    let kind: u16 = if packet.dst.address.is_ipv4() { 0x0800 } else { 0x86dd };
    let mut frame = [to.0, from.0].concat();
    frame.extend(kind.to_be_bytes());
    frame.extend(datagram(packet));
    frame
}

/// The IP packet of a packet step.
pub(crate) fn datagram(packet: &PacketStep) -> Vec<u8> {
    let body = transport(packet);
    let mut datagram = match (packet.src.address, packet.dst.address) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => header4(src, dst, packet.protocol, packet.ttl, body.len()),
        (src, dst) => header6(as_v6(src), as_v6(dst), packet.protocol, packet.ttl, body.len()),
    };
    datagram.extend(body);
    datagram
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn header4(src: Ipv4Addr, dst: Ipv4Addr, protocol: Protocol, ttl: u8, length: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(((length + 20) as u16).to_be_bytes());
    header.extend([0x12, 0x34, 0, 0, ttl, protocol.0, 0, 0]);
    header.extend(src.octets());
    header.extend(dst.octets());
    let sum = checksum(&header, 0);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn header6(src: Ipv6Addr, dst: Ipv6Addr, protocol: Protocol, ttl: u8, length: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((length as u16).to_be_bytes());
    header.extend([protocol.0, ttl]);
    header.extend(src.octets());
    header.extend(dst.octets());
    header
}

/// The transport header and data of a packet step, with its checksum.
fn transport(packet: &PacketStep) -> Vec<u8> {
    let ports = [packet.src.port.value.to_be_bytes(), packet.dst.port.value.to_be_bytes()].concat();
    let (mut body, sum_at) = match packet.protocol {
        Protocol::TCP => {
            let mut body = ports;
            body.extend(SEQUENCE.to_be_bytes());
            let acknowledged: u32 = if packet.flags & 0x10 != 0 { 2_000_000 } else { 0 };
            body.extend(acknowledged.to_be_bytes());
            body.extend([0x50, packet.flags, 0xff, 0xff, 0, 0, 0, 0]);
            (body, Some(16))
        }
        Protocol::UDP => {
            let mut body = ports;
            body.extend(16u16.to_be_bytes());
            body.extend([0, 0]);
            body.extend(QUESTION);
            (body, Some(6))
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            let mut body = vec![packet.icmp.0, packet.icmp.1, 0, 0];
            match packet.about {
                Some((protocol, src, dst)) => {
                    body.extend([0; 4]);
                    body.extend(quoted(protocol, src, dst));
                }
                None => {
                    body.extend(packet.src.port.value.to_be_bytes());
                    body.extend([0, 1]);
                    body.extend(QUESTION);
                }
            }
            (body, Some(2))
        }
        _ => (QUESTION.to_vec(), None),
    };
    if let Some(at) = sum_at {
        let pseudo = if packet.protocol == Protocol::ICMP { 0 } else { pseudo_sum(packet, body.len()) };
        let sum = checksum(&body, pseudo) ^ if packet.bad_checksum { 0x5555 } else { 0 };
        body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    body
}

/// The packet that an ICMP error quotes.
fn quoted(protocol: Protocol, src: Endpoint, dst: Endpoint) -> Vec<u8> {
    let about = PacketStep {
        host: String::new(),
        interface: natpath_model::InterfaceName::LO,
        protocol,
        src,
        dst,
        flags: 0x02,
        ttl: 63,
        bad_checksum: false,
        icmp: if protocol == Protocol::ICMPV6 { (128, 0) } else { (8, 0) },
        about: None,
    };
    datagram(&about)
}

fn pseudo_sum(packet: &PacketStep, length: usize) -> u32 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    address(packet.src.address) + address(packet.dst.address) + u32::from(packet.protocol.0) + length as u32
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut total = start + sum(bytes);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}
