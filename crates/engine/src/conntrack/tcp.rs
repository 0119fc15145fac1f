//! The TCP tracker: which segment may come when, and what state the connection is in afterwards.
//!
//! Follows the state table of nf_conntrack_proto_tcp.c (Linux 6.18). Sequence numbers are not modelled:
//! the scripted endpoints never leave their windows.

use natpath_model::Direction;
pub use natpath_model::TcpState;

use super::Tracking;
use crate::packet::TcpFlags;

/// What is remembered of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpTrack {
    /// Its state.
    pub state: TcpState,
    /// Whether a side has begun to close (`IP_CT_TCP_FLAG_CLOSE_INIT`).
    pub closing: bool,
    /// The direction of the last segment if that was a reset.
    pub reset_from: Option<Direction>,
}

impl TcpTrack {
    /// What is known of a connection that was recorded in this state.
    pub(super) fn recorded(state: TcpState) -> Self {
        let closing = match state {
            TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck | TcpState::TimeWait => true,
            TcpState::None
            | TcpState::SynSent
            | TcpState::SynSent2
            | TcpState::SynRecv
            | TcpState::Established
            | TcpState::Close => false,
        };
        Self { state, closing, reset_from: None }
    }
}

/// The kinds of segment that the state table tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    None,
}

impl Segment {
    fn of(flags: TcpFlags) -> Self {
        if flags.has(TcpFlags::RST) {
            Self::Rst
        } else if flags.has(TcpFlags::SYN) {
            if flags.has(TcpFlags::ACK) { Self::SynAck } else { Self::Syn }
        } else if flags.has(TcpFlags::FIN) {
            Self::Fin
        } else if flags.has(TcpFlags::ACK) {
            Self::Ack
        } else {
            Self::None
        }
    }
}

/// What the table says of a segment.
enum Next {
    To(TcpState),
    /// It is let pass and changes nothing: the other side will answer if it is wrong.
    Ignore,
    Invalid,
}

/// The state after the first segment of an entry; `None`: no entry can begin with it (`tcp_new`).
pub(super) fn begin(flags: TcpFlags, loose: bool) -> Option<TcpTrack> {
    let state = match Segment::of(flags) {
        Segment::Syn => TcpState::SynSent,
        Segment::Ack if loose => TcpState::Established,
        Segment::Ack | Segment::SynAck | Segment::Fin | Segment::Rst | Segment::None => return None,
    };
    Some(TcpTrack { state, ..TcpTrack::default() })
}

/// What a segment does to a connection that has an entry (`nf_conntrack_tcp_packet`).
pub(super) fn advance(track: TcpTrack, direction: Direction, flags: TcpFlags) -> (Tracking, TcpTrack) {
    let segment = Segment::of(flags);
    let next = match direction {
        Direction::Original => original(track.state, segment),
        Direction::Reply => reply(track.state, segment),
    };
    match next {
        Next::Invalid => (Tracking::Invalid, track),
        Next::Ignore => (Tracking::Valid, track),
        Next::To(TcpState::SynSent) if matches!(track.state, TcpState::TimeWait | TcpState::Close) => {
            // A SYN on a closed connection: a new one, if this side or both ended the old.
            if track.closing || track.reset_from == Some(direction) {
                (Tracking::Reopen, track)
            } else {
                (Tracking::Valid, track)
            }
        }
        Next::To(state) => {
            let after = TcpTrack {
                state,
                closing: track.closing || segment == Segment::Fin,
                reset_from: (segment == Segment::Rst).then_some(direction),
            };
            (Tracking::Valid, after)
        }
    }
}

/// Whether the step makes an answered entry ASSURED.
pub(super) fn assures(from: TcpState, to: TcpState) -> bool {
    matches!(from, TcpState::SynRecv | TcpState::Established) && to == TcpState::Established
}

fn original(state: TcpState, segment: Segment) -> Next {
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, None, SynRecv, SynSent, SynSent2, TimeWait,
    };
    match (segment, state) {
        (Segment::None, _) => Next::Invalid,
        (Segment::Rst, None) => Next::Invalid,
        (Segment::Rst, _) => Next::To(Close),

        (Segment::Syn, None | SynSent | TimeWait | Close) => Next::To(SynSent),
        (Segment::Syn, SynSent2) => Next::To(SynSent2),
        (Segment::Syn, SynRecv | Established | FinWait | CloseWait | LastAck) => Next::Ignore,

        (Segment::SynAck, SynRecv | SynSent2) => Next::To(SynRecv),
        (Segment::SynAck, _) => Next::Invalid,

        (Segment::Fin, SynRecv | Established) => Next::To(FinWait),
        (Segment::Fin, FinWait | CloseWait | LastAck) => Next::To(LastAck),
        (Segment::Fin, TimeWait) => Next::To(TimeWait),
        (Segment::Fin, Close) => Next::To(Close),
        (Segment::Fin, None | SynSent | SynSent2) => Next::Invalid,

        (Segment::Ack, None | SynRecv | Established) => Next::To(Established),
        (Segment::Ack, FinWait | CloseWait) => Next::To(CloseWait),
        (Segment::Ack, LastAck | TimeWait) => Next::To(TimeWait),
        (Segment::Ack, Close) => Next::To(Close),
        (Segment::Ack, SynSent | SynSent2) => Next::Invalid,
    }
}

fn reply(state: TcpState, segment: Segment) -> Next {
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, None, SynRecv, SynSent, SynSent2, TimeWait,
    };
    match (segment, state) {
        (Segment::None, _) | (_, None) => Next::Invalid,
        (Segment::Rst, _) => Next::To(Close),

        (Segment::Syn, SynSent | SynSent2) => Next::To(SynSent2),
        (Segment::Syn, TimeWait) => Next::To(SynSent),
        (Segment::Syn, SynRecv | Established | FinWait | CloseWait | LastAck | Close) => Next::Invalid,

        (Segment::SynAck, SynSent | SynSent2) => Next::To(SynRecv),
        (Segment::SynAck, _) => Next::Ignore,

        (Segment::Fin, SynRecv | Established) => Next::To(FinWait),
        (Segment::Fin, FinWait | CloseWait | LastAck) => Next::To(LastAck),
        (Segment::Fin, TimeWait) => Next::To(TimeWait),
        (Segment::Fin, Close) => Next::To(Close),
        (Segment::Fin, SynSent | SynSent2) => Next::Invalid,

        (Segment::Ack, SynSent | SynSent2) => Next::Ignore,
        (Segment::Ack, SynRecv) => Next::To(SynRecv),
        (Segment::Ack, Established) => Next::To(Established),
        (Segment::Ack, FinWait | CloseWait) => Next::To(CloseWait),
        (Segment::Ack, LastAck | TimeWait) => Next::To(TimeWait),
        (Segment::Ack, Close) => Next::To(Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const FIN: TcpFlags = TcpFlags::FIN;
    const RST: TcpFlags = TcpFlags::RST;

    fn run(segments: &[(Direction, TcpFlags)]) -> Option<TcpState> {
        let mut track = TcpTrack::default();
        for (index, (direction, flags)) in segments.iter().enumerate() {
            track = if index == 0 {
                begin(*flags, true)?
            } else {
                let (verdict, after) = advance(track, *direction, *flags);
                if verdict != Tracking::Valid {
                    return None;
                }
                after
            };
        }
        Some(track.state)
    }

    #[test]
    fn connections_pass_through_the_states_of_rfc_9293() {
        let handshake = [(Original, SYN), (Reply, SYN.with(ACK)), (Original, ACK)];
        assert_eq!(run(&handshake), Some(TcpState::Established));
        let closed =
            [handshake.as_slice(), &[(Original, FIN.with(ACK)), (Reply, FIN.with(ACK)), (Original, ACK)]];
        assert_eq!(run(&closed.concat()), Some(TcpState::TimeWait));
        assert_eq!(run(&[(Original, SYN), (Reply, RST.with(ACK))]), Some(TcpState::Close));
    }

    #[test]
    fn stray_segments_begin_nothing() {
        for flags in [RST, SYN.with(ACK), FIN, FIN.with(ACK), TcpFlags(0)] {
            assert_eq!(run(&[(Original, flags)]), None, "{flags:?}");
        }
        assert_eq!(run(&[(Original, ACK)]), Some(TcpState::Established), "picked up in the middle");
    }

    #[test]
    fn an_ack_before_the_syn_ack_was_seen_is_invalid() {
        assert_eq!(run(&[(Original, SYN), (Original, ACK)]), None);
    }
}
