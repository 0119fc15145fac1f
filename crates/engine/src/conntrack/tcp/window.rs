//! Which sequence numbers fit a connection.
//!
//! ```text
//!  sender:    ... acknowledged ... end ─────────── max_end
//!                 (all it has sent)   (all the receiver takes)
//! ```
//!
//! A segment must begin before the sender's `max_end`, must not acknowledge what the receiver has not sent
//! yet, and must not be far behind either (nf_conntrack_proto_tcp.c, `tcp_in_window`; after Guido van Rooij,
//! "Real Stateful TCP Packet Filtering in IP Filter"). All comparisons are modulo 2^32 (RFC 9293, 3.4).

use natpath_model::{Direction, TcpState};

use super::Kind;
use crate::packet::{Packet, TcpFlags};

/// How far behind an acknowledgement may be (`MAXACKWINCONST`).
const OLDEST_ACK: u32 = 66_000;
/// The window that the scripted endpoints offer.
const WINDOW: u32 = 0xffff;

/// What is known of the numbers that one side sends (`struct ip_ct_tcp_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sent {
    /// The number after the last byte that it has sent.
    pub(super) end: u32,
    /// The number after the last byte that the other side takes.
    max_end: u32,
    /// The widest window that it has offered; 0 as long as nothing of it is known.
    max_window: u32,
    /// The highest number that it has acknowledged.
    pub(super) acknowledged: Option<u32>,
    /// Whether it waits for an acknowledgement.
    pub(super) unacknowledged: bool,
    /// Whether its numbers are not held against it, because its connection was picked up in the middle.
    liberal: bool,
}

/// A segment as the tracker reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) kind: Kind,
    pub(super) direction: Direction,
    pub(super) flags: TcpFlags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// The sequence number that follows it.
    pub(super) end: u32,
}

/// What the numbers of a segment say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is the connection's.
    Accept,
    /// It is let pass, but nothing is learned from it.
    Ignore,
    /// It can't be the connection's.
    Invalid,
}

impl Segment {
    pub(super) fn of(packet: &Packet, direction: Direction) -> Option<Self> {
        let flags = packet.tcp_flags()?;
        let numbers = packet.numbers();
        Some(Self {
            kind: Kind::of(flags),
            direction,
            flags,
            seq: numbers.seq,
            ack: numbers.ack,
            end: packet.seq_end(),
        })
    }
}

impl Sent {
    /// What the first segment of an entry says of its sender. `midway`: its beginning was not seen.
    pub(super) fn first(segment: &Segment, midway: bool) -> Self {
        let max_end = if midway { segment.end.wrapping_add(WINDOW) } else { segment.end };
        Self { end: segment.end, max_end, max_window: WINDOW, liberal: midway, ..Self::default() }
    }

    /// A side that nothing is known of.
    pub(super) fn unknown(liberal: bool) -> Self {
        Self { liberal, ..Self::default() }
    }

    /// What is left of a side whose numbers begin anew.
    pub(super) fn renewed(self) -> Self {
        Self::unknown(self.liberal)
    }

    /// The side has sent what was not seen: its next segment tells where it is.
    pub(super) fn lose(&mut self) {
        self.max_window = 0;
    }

    /// A side whose SYN was let pass without being counted, once it is answered.
    pub(super) fn in_step(end: u32) -> Self {
        Self { end, max_end: end, max_window: WINDOW, ..Self::default() }
    }

    fn begin(&mut self, end: u32) {
        (self.end, self.max_end, self.max_window) = (end, end, WINDOW);
        (self.acknowledged, self.unacknowledged) = (None, false);
    }
}

/// Holds a segment against what was seen so far, and learns from it.
pub(super) fn fit(seen: &mut [Sent; 2], state: TcpState, segment: &Segment, liberal: bool) -> Fit {
    let [original, reply] = seen;
    let (sender, receiver) = match segment.direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    let &Segment { flags, mut seq, mut ack, mut end, .. } = segment;
    let has = |flag| flags.has(flag);
    // 1) The first of this side that is seen, or its SYN again.
    if sender.max_window == 0 {
        if has(TcpFlags::SYN) {
            sender.begin(end);
            if !has(TcpFlags::ACK) {
                return Fit::Accept;
            }
        } else {
            (sender.end, sender.max_end) = (end, end.wrapping_add(WINDOW));
            sender.max_window = WINDOW;
            if receiver.max_window == 0 {
                (receiver.end, receiver.max_end) = (ack, ack);
            } else if ack == receiver.end.wrapping_add(1) {
                receiver.end = ack;
            }
        }
    } else if has(TcpFlags::SYN)
        && is_after(end, sender.end)
        && matches!(state, TcpState::SynSent | TcpState::SynRecv)
    {
        sender.begin(end);
        if segment.direction == Direction::Reply && !has(TcpFlags::ACK) {
            return Fit::Accept;
        }
    }
    // 2) Numbers that are not there are taken to be right.
    if !has(TcpFlags::ACK) || has(TcpFlags::RST) && ack == 0 {
        ack = receiver.end;
    }
    if has(TcpFlags::RST) && seq == 0 && state == TcpState::SynSent {
        (seq, end) = (sender.end, sender.end);
    }
    // 3) The bounds.
    let tolerated = |fit| if liberal || sender.liberal { Fit::Accept } else { fit };
    let oldest = receiver.end.wrapping_sub(sender.max_window.max(OLDEST_ACK)).wrapping_sub(1);
    let lowest = sender.end.wrapping_sub(receiver.max_window).wrapping_sub(1);
    if is_after(seq, sender.max_end) {
        let over = end.wrapping_sub(sender.max_end).wrapping_add(1);
        let near = receiver.max_window != 0 && is_after(end, lowest) && over <= receiver.max_window;
        if near && is_after(ack, oldest) && !is_after(ack, receiver.end) {
            (sender.end, sender.unacknowledged) = (end, true);
            return tolerated(Fit::Ignore);
        }
        return tolerated(Fit::Invalid);
    }
    if is_after(ack, receiver.end) {
        return tolerated(Fit::Invalid);
    }
    if receiver.max_window != 0 && !is_after(end, lowest) || !is_after(ack, oldest) {
        return tolerated(Fit::Ignore);
    }
    // 4) What is learned of the sender, then of the receiver.
    sender.max_window = sender.max_window.max(WINDOW);
    if is_after(end, sender.end) {
        (sender.end, sender.unacknowledged) = (end, true);
    }
    if has(TcpFlags::ACK) && sender.acknowledged.is_none_or(|highest| is_after(ack, highest)) {
        sender.acknowledged = Some(ack);
    }
    if receiver.max_window != 0 && is_after(end, sender.max_end) {
        receiver.max_window += end.wrapping_sub(sender.max_end);
    }
    let takes_to = ack.wrapping_add(WINDOW);
    if is_after(takes_to, receiver.max_end.wrapping_sub(1)) {
        receiver.max_end = takes_to;
    }
    if ack == receiver.end {
        receiver.unacknowledged = false;
    }
    Fit::Accept
}

/// Whether a number follows another, modulo 2^32.
pub(super) fn is_after(number: u32, other: u32) -> bool {
    other.wrapping_sub(number).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    fn segment(direction: Direction, flags: TcpFlags, seq: u32, ack: u32, length: u32) -> Segment {
        Segment { kind: Kind::of(flags), direction, flags, seq, ack, end: seq.wrapping_add(length) }
    }

    /// An open connection whose client has sent up to 101, whose server up to 501.
    fn open() -> [Sent; 2] {
        let syn = segment(Original, TcpFlags::SYN, 100, 0, 1);
        let mut seen = [Sent::first(&syn, false), Sent::unknown(false)];
        let answer = segment(Reply, TcpFlags::SYN.with(TcpFlags::ACK), 500, 101, 1);
        assert_eq!(fit(&mut seen, TcpState::SynSent, &answer, false), Fit::Accept);
        let ack = segment(Original, TcpFlags::ACK, 101, 501, 0);
        assert_eq!(fit(&mut seen, TcpState::SynRecv, &ack, false), Fit::Accept);
        seen
    }

    #[test]
    fn numbers_are_compared_modulo_their_size() {
        assert!(is_after(5, u32::MAX - 5) && !is_after(u32::MAX - 5, 5) && !is_after(5, 5));
    }

    #[test]
    fn what_nobody_sent_is_not_acknowledged() {
        let early = segment(Original, TcpFlags::ACK, 101, 509, 8);
        assert_eq!(fit(&mut open(), TcpState::Established, &early, false), Fit::Invalid);
        assert_eq!(fit(&mut open(), TcpState::Established, &early, true), Fit::Accept, "be_liberal");
    }

    #[test]
    fn data_waits_for_its_acknowledgement() {
        let mut seen = open();
        let data = segment(Original, TcpFlags::ACK, 101, 501, 8);
        assert_eq!(fit(&mut seen, TcpState::Established, &data, false), Fit::Accept);
        assert!(seen[0].unacknowledged);
        let answer = segment(Reply, TcpFlags::ACK, 501, 109, 0);
        assert_eq!(fit(&mut seen, TcpState::Established, &answer, false), Fit::Accept);
        assert!(!seen[0].unacknowledged && seen[1].acknowledged == Some(109));
    }

    #[test]
    fn segments_far_from_the_window_teach_nothing() {
        let mut seen = open();
        let before = seen;
        let ahead = segment(Original, TcpFlags::ACK, 1_000_000, 501, 8);
        assert_eq!(fit(&mut seen, TcpState::Established, &ahead, false), Fit::Invalid);
        let behind = segment(Original, TcpFlags::ACK, 101_u32.wrapping_sub(1_000_000), 501, 8);
        assert_eq!(fit(&mut seen, TcpState::Established, &behind, false), Fit::Ignore);
        assert_eq!(seen, before);
    }

    #[test]
    fn a_connection_picked_up_in_the_middle_is_not_held_to_its_numbers() {
        let data = segment(Original, TcpFlags::ACK, 7000, 9000, 8);
        let mut seen = [Sent::first(&data, true), Sent::unknown(true)];
        assert_eq!(fit(&mut seen, TcpState::None, &data, false), Fit::Accept);
        let odd = segment(Reply, TcpFlags::ACK, 1, 8_000_000, 0);
        assert_eq!(fit(&mut seen, TcpState::Established, &odd, false), Fit::Accept);
    }
}
