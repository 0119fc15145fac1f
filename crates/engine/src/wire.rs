//! Packets as bytes: IPv4, IPv6, TCP, UDP, ICMP and ICMPv6 headers with their checksums
//! (RFC 791, 8200, 9293, 768, 792, 4443; checksum of RFC 1071).
//!
//! Between two hosts of a network every packet crosses the wire as bytes, so a translation that forgot a
//! checksum, or a quoted header, would not arrive.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use natpath_model::{Endpoint, Family, Port, Protocol, Tuple};

use crate::packet::{Numbers, Packet, Quoted, TcpFlags, Transport};

/// Why bytes are not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end before a header does.
    #[error("the packet ends within its header")]
    Truncated,
    /// The version is neither 4 nor 6, or a length is impossible.
    #[error("the header is not one of IPv4 or IPv6")]
    Header,
    /// The checksum of the IPv4 header is wrong.
    #[error("the checksum of the IPv4 header is wrong")]
    Checksum,
}

/// Sends a packet over a wire: writes it and reads it back. Which ports were drawn by chance is no property
/// of bytes and is carried along.
#[must_use]
pub(crate) fn cross(packet: &Packet) -> Packet {
    match parse(&emit(packet)) {
        Ok(mut read) => {
            read.transport = with_drawn(read.transport, packet.transport);
            read
        }
        // What was written can be read: a property test holds this for all packets.
        Err(_) => *packet,
    }
}

/// Writes a packet.
#[must_use]
pub fn emit(packet: &Packet) -> Vec<u8> {
    let mut transport = emit_transport(packet);
    if let Some(at) = checksum_at(packet.protocol()) {
        let mut sum = checksum(&[&pseudo_header(packet, transport.len()), &transport]);
        if packet.protocol() == Protocol::UDP && sum == 0 {
            sum = 0xffff;
        }
        if packet.bad_checksum {
            sum = !sum;
        }
        transport[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let mut bytes = emit_ip(
        packet.src,
        packet.dst,
        packet.protocol(),
        packet.ttl,
        packet.tos,
        packet.dont_fragment,
        transport.len(),
    );
    bytes.extend_from_slice(&transport);
    bytes
}

/// Reads a packet.
///
/// # Errors
/// If it is cut short or has no valid IP header. A wrong transport checksum is noted in the packet.
pub fn parse(bytes: &[u8]) -> Result<Packet, WireError> {
    let ip = parse_ip(bytes)?;
    let payload = bytes.get(ip.header..ip.total).ok_or(WireError::Truncated)?;
    let (transport, data) = parse_transport(ip.protocol, payload, Family::of(ip.dst))?;
    let mut packet = Packet {
        src: ip.src,
        dst: ip.dst,
        ttl: ip.ttl,
        tos: ip.tos,
        dont_fragment: ip.dont_fragment,
        transport,
        data,
        bad_checksum: false,
    };
    if checksum_at(ip.protocol).is_some() {
        packet.bad_checksum = checksum(&[&pseudo_header(&packet, payload.len()), payload]) != 0;
    }
    Ok(packet)
}

struct Ip {
    src: IpAddr,
    dst: IpAddr,
    protocol: Protocol,
    ttl: u8,
    tos: u8,
    dont_fragment: bool,
    header: usize,
    total: usize,
}

fn emit_ip(
    src: IpAddr,
    dst: IpAddr,
    protocol: Protocol,
    ttl: u8,
    tos: u8,
    dont_fragment: bool,
    payload: usize,
) -> Vec<u8> {
    let length = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0x45, tos];
            header.extend_from_slice(&length(20 + payload));
            header.extend_from_slice(&[0, 0, if dont_fragment { 0x40 } else { 0 }, 0, ttl, protocol.0, 0, 0]);
            header.extend_from_slice(&src.octets());
            header.extend_from_slice(&dst.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        }
        _ => {
            let mut header = vec![0x60 | tos >> 4, tos << 4, 0, 0];
            header.extend_from_slice(&length(payload));
            header.extend_from_slice(&[protocol.0, ttl]);
            header.extend_from_slice(&v6(src).octets());
            header.extend_from_slice(&v6(dst).octets());
            header
        }
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn parse_ip(bytes: &[u8]) -> Result<Ip, WireError> {
    match bytes.first().ok_or(WireError::Truncated)? >> 4 {
        4 => parse_ip4(bytes),
        6 => {
            let fixed: &[u8; 40] = bytes.first_chunk().ok_or(WireError::Truncated)?;
            let address = |at: usize| -> IpAddr {
                let mut octets = [0; 16];
                octets.copy_from_slice(&fixed[at..at + 16]);
                Ipv6Addr::from(octets).into()
            };
            Ok(Ip {
                src: address(8),
                dst: address(24),
                protocol: Protocol(fixed[6]),
                ttl: fixed[7],
                tos: fixed[0] << 4 | fixed[1] >> 4,
                dont_fragment: true,
                header: 40,
                total: 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]])),
            })
        }
        _ => Err(WireError::Header),
    }
}

fn parse_ip4(bytes: &[u8]) -> Result<Ip, WireError> {
    let fixed: &[u8; 20] = bytes.first_chunk().ok_or(WireError::Truncated)?;
    let header = usize::from(fixed[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if header < 20 || total < header {
        return Err(WireError::Header);
    }
    if checksum(&[bytes.get(..header).ok_or(WireError::Truncated)?]) != 0 {
        return Err(WireError::Checksum);
    }
    Ok(Ip {
        src: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into(),
        dst: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into(),
        protocol: Protocol(fixed[9]),
        ttl: fixed[8],
        tos: fixed[1],
        dont_fragment: fixed[6] & 0x40 != 0,
        header,
        total,
    })
}

fn emit_transport(packet: &Packet) -> Vec<u8> {
    let data = vec![0; usize::from(packet.data)];
    match packet.transport {
        Transport::Tcp { src, dst, flags, numbers } => {
            [tcp_header(src, dst, flags, numbers).as_slice(), &data].concat()
        }
        Transport::Ports { protocol, src, dst } => {
            let length = packet.transport_length();
            [ports_header(protocol, src, dst, length, packet.data).as_slice(), &data].concat()
        }
        Transport::Query { kind, code, id } => {
            let [high, low] = id.value.to_be_bytes();
            [[kind, code, 0, 0, high, low, 0, 1].as_slice(), &data].concat()
        }
        Transport::Error { kind, code, info, quoted } => {
            let mut bytes = vec![kind, code, 0, 0];
            bytes.extend_from_slice(&info.to_be_bytes());
            bytes.extend_from_slice(&emit_quoted(&quoted));
            bytes.truncate(usize::from(packet.transport_length()));
            bytes.extend_from_slice(&data);
            bytes
        }
        Transport::Other(_) => data,
    }
}

fn tcp_header(src: Port, dst: Port, flags: TcpFlags, numbers: Numbers) -> Vec<u8> {
    let ports = [src.value.to_be_bytes(), dst.value.to_be_bytes()].concat();
    let numbers = [numbers.seq.to_be_bytes(), numbers.ack.to_be_bytes()].concat();
    [ports.as_slice(), &numbers, &[0x50, flags.0, 0xff, 0xff, 0, 0, 0, 0]].concat()
}

fn ports_header(protocol: Protocol, src: Port, dst: Port, length: u16, data: u16) -> Vec<u8> {
    let mut header = [src.value.to_be_bytes(), dst.value.to_be_bytes()].concat();
    if protocol == Protocol::UDP {
        header.extend_from_slice(&(length.saturating_add(data)).to_be_bytes());
    }
    header.resize(usize::from(length), 0);
    header
}

/// A quoted packet: its IP header and the head of its transport header, which is all that is ever read.
fn emit_quoted(quoted: &Quoted) -> Vec<u8> {
    let Tuple { protocol, src, dst, icmp } = quoted.tuple;
    let head = if protocol.is_icmp() {
        let [high, low] = src.port.value.to_be_bytes();
        vec![icmp.0, icmp.1, 0, 0, high, low, 0, 1]
    } else if protocol == Protocol::TCP {
        tcp_header(src.port, dst.port, quoted.flags, Numbers::default())
    } else {
        ports_header(protocol, src.port, dst.port, 8, quoted.data)
    };
    let data = vec![0; usize::from(quoted.data)];
    let mut bytes =
        emit_ip(src.address, dst.address, protocol, quoted.ttl, 0, false, head.len() + data.len());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&data);
    bytes
}

fn parse_transport(protocol: Protocol, bytes: &[u8], family: Family) -> Result<(Transport, u16), WireError> {
    let rest = |header: usize| u16::try_from(bytes.len() - header).unwrap_or(u16::MAX);
    if protocol == Protocol::TCP {
        let fixed: &[u8; 20] = bytes.first_chunk().ok_or(WireError::Truncated)?;
        let number = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let numbers = Numbers { seq: number(4), ack: number(8) };
        let (src, dst, flags) = (port(fixed, 0), port(fixed, 2), TcpFlags(fixed[13]));
        let transport = Transport::Tcp { src, dst, flags, numbers };
        let header = usize::from(fixed[12] >> 4) * 4;
        if header < 20 || header > bytes.len() {
            return Err(WireError::Header);
        }
        Ok((transport, rest(header)))
    } else if protocol.has_ports() {
        let header = if protocol == Protocol::SCTP { 12 } else { 8 };
        let fixed = bytes.get(..header).ok_or(WireError::Truncated)?;
        Ok((Transport::Ports { protocol, src: port(fixed, 0), dst: port(fixed, 2) }, rest(header)))
    } else if protocol == family.icmp() {
        let fixed: &[u8; 8] = bytes.first_chunk().ok_or(WireError::Truncated)?;
        let (kind, code) = (fixed[0], fixed[1]);
        if !is_error(family, kind) {
            return Ok((Transport::Query { kind, code, id: port(fixed, 4) }, rest(8)));
        }
        let info = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let quoted = parse_quoted(&bytes[8..])?;
        Ok((Transport::Error { kind, code, info, quoted }, 0))
    } else {
        Ok((Transport::Other(protocol), rest(0)))
    }
}

/// The ICMP types that quote a packet.
fn is_error(family: Family, kind: u8) -> bool {
    match family {
        Family::Ip4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        Family::Ip6 => kind < 128 || kind == 137,
    }
}

fn parse_quoted(bytes: &[u8]) -> Result<Quoted, WireError> {
    let ip = parse_ip(bytes)?;
    let head: &[u8; 8] = bytes.get(ip.header..).and_then(<[u8]>::first_chunk).ok_or(WireError::Truncated)?;
    let is_icmp = ip.protocol.is_icmp();
    let (src, dst) = if is_icmp {
        (port(head, 4), port(head, 4))
    } else if ip.protocol.has_ports() {
        (port(head, 0), port(head, 2))
    } else {
        (Port::default(), Port::default())
    };
    let tuple = Tuple {
        protocol: ip.protocol,
        src: Endpoint::new(ip.src, src),
        dst: Endpoint::new(ip.dst, dst),
        icmp: if is_icmp { (head[0], head[1]) } else { (0, 0) },
    };
    let tcp = ip.protocol == Protocol::TCP;
    let flags =
        bytes.get(ip.header + 13).filter(|_| tcp).map_or(TcpFlags::default(), |flags| TcpFlags(*flags));
    let header = if tcp { 20 } else { 8 };
    let data = ip.total.saturating_sub(ip.header + header);
    Ok(Quoted { tuple, ttl: ip.ttl, flags, data: u16::try_from(data).unwrap_or(u16::MAX) })
}

fn port(bytes: &[u8], at: usize) -> Port {
    Port::new(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// Where a transport header keeps its checksum over the pseudo header; SCTP has a CRC, which NAT leaves to
/// the sender's offload.
fn checksum_at(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::TCP => Some(16),
        Protocol::UDP | Protocol::UDPLITE => Some(6),
        Protocol::ICMP | Protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

/// The pseudo header of TCP, UDP and ICMPv6; ICMP has none.
fn pseudo_header(packet: &Packet, length: usize) -> Vec<u8> {
    let protocol = packet.protocol();
    if protocol == Protocol::ICMP {
        return Vec::new();
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            [src.octets().as_slice(), &dst.octets(), &[0, protocol.0, length[2], length[3]]].concat()
        }
        (src, dst) => {
            [v6(src).octets().as_slice(), &v6(dst).octets(), &length, &[0, 0, 0, protocol.0]].concat()
        }
    }
}

/// The ones' complement of the ones' complement sum of 16-bit words; 0 over bytes that hold their own.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for word in part.chunks(2) {
            sum += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Gives the ports that were drawn their numbers back.
fn with_drawn(read: Transport, sent: Transport) -> Transport {
    let keep = |read: Port, sent: Port| Port { drawn: sent.drawn, ..read };
    match (read, sent) {
        (Transport::Tcp { src, dst, flags, numbers }, Transport::Tcp { src: old_src, dst: old_dst, .. }) => {
            Transport::Tcp { src: keep(src, old_src), dst: keep(dst, old_dst), flags, numbers }
        }
        (Transport::Ports { protocol, src, dst }, Transport::Ports { src: old_src, dst: old_dst, .. }) => {
            Transport::Ports { protocol, src: keep(src, old_src), dst: keep(dst, old_dst) }
        }
        (Transport::Query { kind, code, id }, Transport::Query { id: old, .. }) => {
            Transport::Query { kind, code, id: keep(id, old) }
        }
        (Transport::Error { kind, code, info, mut quoted }, Transport::Error { quoted: old, .. }) => {
            quoted.tuple.src.port = keep(quoted.tuple.src.port, old.tuple.src.port);
            quoted.tuple.dst.port = keep(quoted.tuple.dst.port, old.tuple.dst.port);
            Transport::Error { kind, code, info, quoted }
        }
        (read, _) => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natpath_model::Manip;

    fn packets() -> Vec<Packet> {
        let port = Port::new;
        let mut packets = Vec::new();
        for (src, dst) in [("198.51.100.2", "10.0.0.1"), ("2001:db8::2", "fd00::1")] {
            let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            let icmp = if src.is_ipv4() { (8, 3) } else { (128, 1) };
            let numbers = Numbers { seq: 0xdead_beef, ack: 7 };
            let tcp = Transport::Tcp { src: port(40000), dst: port(80), flags: TcpFlags::SYN, numbers };
            let udp = Transport::Ports { protocol: Protocol::UDP, src: port(5), dst: port(53) };
            let query = Transport::Query { kind: icmp.0, code: 0, id: port(7) };
            for transport in [tcp, udp, query, Transport::Other(Protocol::GRE)] {
                for data in [0, 1, 8, 1400] {
                    let mut packet = Packet::new(src, dst, transport);
                    packet.data = data;
                    packet.dont_fragment = true;
                    packet.tos = 0x1c;
                    let mut error = packet;
                    if let Some(quoted) = packet.quote() {
                        error.data = 0;
                        error.transport = Transport::Error { kind: icmp.1, code: 1, info: 0, quoted };
                        packets.push(error);
                    }
                    packets.push(packet);
                }
            }
        }
        packets
    }

    #[test]
    fn what_is_written_is_read() {
        for packet in packets() {
            assert_eq!(parse(&emit(&packet)).as_ref(), Ok(&packet));
        }
    }

    #[test]
    fn a_translated_packet_has_a_valid_checksum() {
        for mut packet in packets() {
            let to: IpAddr = if packet.src.is_ipv4() { "10.9.9.9" } else { "fd00::9" }.parse().unwrap();
            packet.rewrite(Manip::Dst, Endpoint::new(to, 8080));
            packet.rewrite(Manip::Src, Endpoint::new(to, 8080));
            assert_eq!(cross(&packet), packet);
            assert!(!cross(&packet).bad_checksum);
        }
    }

    #[test]
    fn a_wrong_checksum_is_seen() {
        for mut packet in packets().into_iter().filter(|packet| checksum_at(packet.protocol()).is_some()) {
            packet.bad_checksum = true;
            assert!(parse(&emit(&packet)).expect("a packet").bad_checksum, "{packet:?}");
        }
    }

    #[test]
    fn broken_bytes_are_refused() {
        for packet in packets() {
            let bytes = emit(&packet);
            for end in 0..bytes.len().min(60) {
                let _ = parse(&bytes[..end]);
            }
        }
        assert_eq!(parse(&[]), Err(WireError::Truncated));
        assert_eq!(parse(&[0x20; 40]), Err(WireError::Header));
        assert_eq!(parse(&[0x45; 40]), Err(WireError::Checksum));
    }
}
