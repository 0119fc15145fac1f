//! A packet's bytes as a match sees them.

use natpath_model::{Family, Protocol};

use super::Seen;
use super::bits::Bits;
use crate::packet::{Packet, TcpFlags, Transport};
use crate::wire;

/// The most bytes of options that a TCP header has (RFC 9293, 3.1).
const MOST_OPTIONS: usize = 40;

/// The bytes from the network header on, and which of their bits are known.
///
/// Not known are the data, and what a sender makes up: identification, sequence numbers, windows, options,
/// and so the checksums. Behind the bytes of a TCP packet more may follow, for those that natpath sends have no
/// options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    bytes: Vec<u8>,
    known: Vec<u8>,
    /// How many more bytes there may be.
    spare: usize,
}

impl Image {
    /// The bytes of a packet.
    pub(super) fn of(packet: &Packet) -> Self {
        let bytes = wire::emit(packet);
        let mut known = vec![0xff; bytes.len()];
        let header = match packet.family() {
            Family::Ip4 => 20,
            Family::Ip6 => 40,
        };
        hide_of_network(packet, &mut known[..header]);
        hide_of_transport(packet, &mut known[header..]);
        let spare = if packet.tcp_flags().is_some() { MOST_OPTIONS } else { 0 };
        Self { bytes, known, spare }
    }

    /// The fewest bytes it can have, and the most.
    pub(super) fn length(&self) -> (usize, usize) {
        (self.bytes.len(), self.bytes.len() + self.spare)
    }

    /// A byte and its known bits; none of one that may be there.
    pub(super) fn byte(&self, at: usize) -> Option<(u8, u8)> {
        match (self.bytes.get(at), self.known.get(at)) {
            (Some(byte), Some(known)) => Some((*byte, *known)),
            _ => (at < self.bytes.len() + self.spare).then_some((0, 0)),
        }
    }

    /// The number that some bytes are, the first being the highest; `Err` with whether that is known if there
    /// are not so many.
    pub(super) fn number(&self, at: usize, size: usize) -> Result<Bits, Seen> {
        let (least, most) = self.length();
        match at.checked_add(size) {
            Some(end) if end <= least => {}
            Some(end) if end <= most => return Err(Seen::Unknown),
            _ => return Err(Seen::No),
        }
        let parts = (at..at + size).filter_map(|at| self.byte(at));
        let (value, known) = parts.fold((0, 0), |(value, known), (byte, bits)| {
            (value << 8 | u32::from(byte), known << 8 | u32::from(bits))
        });
        let high = if size < 4 { u32::MAX << (8 * size) } else { 0 };
        Ok(Bits::new(value, known | high))
    }
}

fn hide_of_network(packet: &Packet, known: &mut [u8]) {
    if packet.family() == Family::Ip6 {
        // The flow label.
        known[1] &= 0xf0;
        known[2..4].fill(0);
        return;
    }
    known[4..6].fill(0);
    if packet.tcp_flags().is_none() && !packet.dont_fragment {
        // A sender that looks for the path's MTU forbids fragments though the flow does not say so.
        known[6] &= !0x40;
    }
    known[10..12].fill(0);
}

fn hide_of_transport(packet: &Packet, known: &mut [u8]) {
    let data = usize::from(packet.data);
    let header = known.len().saturating_sub(data);
    known[header..].fill(0);
    let mut hide = |range: std::ops::Range<usize>| {
        let end = range.end.min(known.len());
        known[range.start.min(end)..end].fill(0);
    };
    if let Some((src, dst)) = packet.ports() {
        for (port, at) in [(src, 0), (dst, 2)] {
            if port.drawn.is_some() {
                hide(at..at + 2);
            }
        }
    }
    match packet.transport {
        Transport::Tcp { flags, .. } => {
            hide(4..8);
            if flags.has(TcpFlags::ACK) {
                hide(8..12);
            }
            // The length of the header, the window and the checksum.
            hide(12..13);
            hide(14..18);
        }
        Transport::Ports { protocol: Protocol::UDP | Protocol::UDPLITE, .. } => hide(6..8),
        Transport::Ports { .. } => hide(4..header),
        Transport::Query { id, .. } => {
            hide(2..4);
            if id.drawn.is_some() {
                hide(4..6);
            }
            hide(6..8);
        }
        Transport::Error { .. } => {
            hide(2..4);
            hide(8..header);
        }
        Transport::Other(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use natpath_model::Port;

    use super::*;
    use crate::packet::Numbers;

    fn shown(packet: &Packet) -> String {
        let image = Image::of(packet);
        let digit = |value: u8, known: u8| if known == 15 { format!("{value:x}") } else { ".".to_owned() };
        (0..image.bytes.len())
            .filter_map(|at| image.byte(at))
            .map(|(byte, known)| digit(byte >> 4, known >> 4) + &digit(byte & 15, known & 15))
            .collect()
    }

    fn packet(src: &str, dst: &str, transport: Transport) -> Packet {
        Packet::new(src.parse().expect("an address"), dst.parse().expect("an address"), transport)
    }

    #[test]
    fn what_a_sender_makes_up_is_not_known() {
        let (src, dst) = (Port::new(4000), Port::new(80));
        let (flags, numbers) = (TcpFlags::SYN, Numbers { seq: 100_000, ack: 0 });
        let syn = packet("10.0.0.1", "10.0.0.2", Transport::Tcp { src, dst, flags, numbers });
        let syn = Packet { dont_fragment: true, ..syn };
        assert_eq!(
            shown(&syn),
            "45000028....40004006....0a0000010a0000020fa00050........00000000..02........0000"
        );
        let udp = Transport::Ports { protocol: Protocol::UDP, src, dst };
        let udp = Packet { data: 2, ..packet("10.0.0.1", "10.0.0.2", udp) };
        assert_eq!(shown(&udp), "4500001e.....0004011....0a0000010a0000020fa00050000a........");
        let id = Port::new(7);
        let echo = packet("fd00::1", "fd00::2", Transport::Query { kind: 128, code: 0, id });
        let addresses = "fd000000000000000000000000000001fd000000000000000000000000000002";
        assert_eq!(shown(&echo), format!("600.....00083a40{addresses}8000....0007...."));
    }
}
