//! The TCP tracker: which segment may come when, and what state the connection is in afterwards.
//!
//! Follows the state table and `nf_conntrack_tcp_packet` of nf_conntrack_proto_tcp.c (Linux 6.18). Window
//! scaling and selective acknowledgements are not modelled: the scripted endpoints use neither.

mod window;

use std::time::Duration;

use natpath_model::Direction;
pub use natpath_model::TcpState;

use super::Settings;
use crate::packet::{Packet, TcpFlags};
use window::{Fit, Segment, Sent, fit, is_after};

/// What is remembered of a TCP connection (`struct ip_ct_tcp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpTrack {
    /// Its state.
    pub state: TcpState,
    /// What the client's and the server's side have sent.
    seen: [Sent; 2],
    /// Whether a side has begun to close (`IP_CT_TCP_FLAG_CLOSE_INIT`).
    closing: bool,
    /// The last segment.
    last: Option<Last>,
    /// How often the last acknowledgement came again.
    repeated: u8,
    /// Whether both sides sent a SYN (`IP_CT_TCP_SIMULTANEOUS_OPEN`).
    simultaneous: bool,
    /// Whether a SYN came in LAST_ACK, so that the next acknowledgement may be for it
    /// (`IP_CT_EXP_CHALLENGE_ACK`).
    challenged: bool,
}

/// The last segment that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    kind: Kind,
    direction: Direction,
    seq: u32,
    ack: u32,
    end: u32,
}

/// The kinds of segment that the state table tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    None,
}

/// What the table says of a segment.
enum Next {
    To(TcpState),
    /// It is let pass and changes nothing: the other side will answer if it is wrong.
    Ignore,
    Invalid,
}

/// What a segment does to its connection's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It belongs to it. The entry lives on for so long, if the segment renews it; `assured`: it is ASSURED.
    Valid { lives: Option<Duration>, assured: bool },
    /// It belongs to it, and ends it at once.
    Ends,
    /// It does not fit; the entry lives on for this long at the most, where that is told.
    Invalid { at_most: Option<Duration> },
    /// The entry is over: it is deleted, and the packet looked up again.
    Reopens,
}

/// What an entry is before a segment, as far as its status bits tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) answered: bool,
    pub(super) assured: bool,
    /// How long it would live on.
    pub(super) left: Duration,
}

impl Kind {
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

/// The state of an entry before its first segment; `None`: no entry can begin with it (`tcp_new`).
pub(super) fn begin(packet: &Packet, loose: bool) -> Option<TcpTrack> {
    let segment = Segment::of(packet, Direction::Original)?;
    let midway = match segment.kind {
        Kind::Syn => false,
        Kind::Ack if loose => true,
        Kind::Ack | Kind::SynAck | Kind::Fin | Kind::Rst | Kind::None => return None,
    };
    let seen = [Sent::first(&segment, midway), Sent::unknown(midway)];
    Some(TcpTrack { seen, ..TcpTrack::default() })
}

impl TcpTrack {
    /// What is known of a connection that was recorded in this state: its numbers are not, and nobody is
    /// held to them.
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
        Self { state, closing, seen: [Sent::unknown(true); 2], ..Self::default() }
    }

    /// Segments of an open connection may have passed that were not seen.
    pub(super) fn resume(&mut self) {
        if self.state == TcpState::Established {
            self.seen.iter_mut().for_each(Sent::lose);
        }
    }

    /// What a segment does to the connection (`nf_conntrack_tcp_packet`).
    pub(super) fn advance(
        &mut self,
        packet: &Packet,
        direction: Direction,
        before: Before,
        settings: &Settings,
    ) -> Effect {
        let Some(segment) = Segment::of(packet, direction) else {
            return Effect::Invalid { at_most: None };
        };
        let mut old = self.state;
        // 1) What the table says.
        let mut next = match direction {
            Direction::Original => original(old, segment.kind),
            Direction::Reply => reply(old, segment.kind),
        };
        if matches!(next, Next::To(TcpState::SynSent)) && matches!(old, TcpState::TimeWait | TcpState::Close)
        {
            // A SYN on a closed connection: a new one, if this side or both ended the old.
            if self.closing || self.last_was(Kind::Rst, direction) {
                return Effect::Reopens;
            }
            next = Next::Ignore;
        }
        let mut new = match next {
            Next::To(state) => state,
            Next::Invalid => return Effect::Invalid { at_most: None },
            Next::Ignore if self.answers_ignored_syn(&segment) => {
                old = TcpState::SynSent;
                TcpState::SynRecv
            }
            Next::Ignore => {
                self.note_ignored(&segment, old);
                return Effect::Valid { lives: None, assured: before.assured };
            }
        };
        // 2) Exceptions to it.
        let mut judged = true;
        match new {
            TcpState::TimeWait if self.is_challenge(&segment, old) => {
                self.challenged = false;
                return Effect::Valid { lives: None, assured: before.assured };
            }
            TcpState::SynSent2 => self.simultaneous = true,
            TcpState::SynRecv
                if direction == Direction::Reply && segment.kind == Kind::Ack && self.simultaneous =>
            {
                new = TcpState::Established;
            }
            TcpState::Close if segment.kind == Kind::Rst => match self.reset(&segment, old, before) {
                Reset::Fits => judged = false,
                Reset::Judged(state) => new = state,
                Reset::Invalid => return Effect::Invalid { at_most: None },
            },
            _ => {}
        }
        // 3) Its numbers.
        if judged {
            match fit(&mut self.seen, self.state, &segment, settings.tcp_be_liberal) {
                Fit::Accept => {}
                Fit::Ignore => return Effect::Valid { lives: None, assured: before.assured },
                Fit::Invalid => return self.note_invalid(&segment, before, settings),
            }
            if segment.kind == Kind::Ack {
                let again = Last { kind: Kind::Ack, ..last_of(&segment) };
                let same = self.last.is_some_and(|last| Last { kind: Kind::Ack, ..last } == again);
                self.repeated = if same { self.repeated.saturating_add(1) } else { 0 };
            }
        }
        // 4) It is the connection's.
        self.last = Some(self.remembered(&segment));
        self.state = new;
        self.closing |= old != new && new == TcpState::FinWait;
        self.lives(&segment, (old, new), before, settings)
    }

    /// How long the entry lives on.
    fn lives(
        &self,
        segment: &Segment,
        (old, new): (TcpState, TcpState),
        before: Before,
        settings: &Settings,
    ) -> Effect {
        let timeouts = &settings.timeouts;
        let mut lives = timeouts.tcp(new);
        let unacknowledged = self.seen.iter().any(|side| side.unacknowledged);
        if i64::from(self.repeated) >= settings.tcp_max_retrans && lives > timeouts.tcp_max_retrans {
            lives = timeouts.tcp_max_retrans;
        } else if segment.kind == Kind::Rst {
            lives = timeouts.tcp(TcpState::Close);
        } else if unacknowledged {
            lives = lives.min(timeouts.tcp_unacknowledged);
        }
        if before.answered {
            let opens =
                matches!(old, TcpState::SynRecv | TcpState::Established) && new == TcpState::Established;
            return Effect::Valid { lives: Some(lives), assured: before.assured || opens };
        }
        if segment.kind == Kind::Rst {
            return Effect::Ends;
        }
        if segment.kind == Kind::Syn && old == TcpState::SynSent {
            // A SYN that is sent again does not renew the entry.
            return Effect::Valid { lives: None, assured: before.assured };
        }
        if new == TcpState::Established {
            lives = lives.min(timeouts.tcp_unacknowledged);
        }
        Effect::Valid { lives: Some(lives), assured: before.assured }
    }

    /// The last segment as it is remembered: only those that acknowledge and those that were ignored leave
    /// their numbers behind.
    fn remembered(&self, segment: &Segment) -> Last {
        match (segment.kind, self.last) {
            (Kind::Ack, _) => last_of(segment),
            (kind, Some(last)) => Last { kind, direction: segment.direction, ..last },
            (kind, None) => Last { kind, direction: segment.direction, seq: 0, ack: 0, end: 0 },
        }
    }

    fn last_was(&self, kind: Kind, direction: Direction) -> bool {
        self.last.is_some_and(|last| last.kind == kind && last.direction == direction)
    }

    /// Whether a SYN-ACK answers a SYN that was let pass though the connection seemed open. Then the two
    /// sides agree and the entry does not: it begins anew from what was noted.
    fn answers_ignored_syn(&mut self, segment: &Segment) -> bool {
        let Some(last) = self.last else { return false };
        let answers = segment.kind == Kind::SynAck
            && last.kind == Kind::Syn
            && last.direction != segment.direction
            && last.end == segment.ack;
        if answers {
            self.seen[last.direction as usize] = Sent::in_step(last.end);
            let own = &mut self.seen[segment.direction as usize];
            *own = own.renewed();
            (self.closing, self.challenged) = (false, false);
        }
        answers
    }

    fn note_ignored(&mut self, segment: &Segment, old: TcpState) {
        // Of ignored segments only a possible answer to a SYN has its acknowledgement noted.
        let of_challenge =
            old == TcpState::SynSent && segment.kind == Kind::Ack && segment.direction == Direction::Reply;
        let ack = match self.last {
            Some(last) if !of_challenge => last.ack,
            _ => segment.ack,
        };
        self.last = Some(Last { ack, ..last_of(segment) });
        if segment.kind == Kind::Syn && segment.direction == Direction::Original {
            self.challenged = old == TcpState::LastAck;
            self.simultaneous = false;
        }
    }

    /// Whether an acknowledgement answers a stray SYN, not the last FIN (RFC 5961, 4).
    fn is_challenge(&self, segment: &Segment, old: TcpState) -> bool {
        old == TcpState::LastAck
            && segment.kind == Kind::Ack
            && self.challenged
            && self.last.is_some_and(|last| last.kind == Kind::Syn && last.direction != segment.direction)
    }

    fn reset(&self, segment: &Segment, old: TcpState, before: Before) -> Reset {
        if is_closing(old) {
            return Reset::Fits;
        }
        let established = old == TcpState::Established && before.assured;
        let last = self.last;
        let last_is = |kind| last.is_some_and(|last| last.kind == kind);
        let expected = self.seen[segment.direction.opposite() as usize].acknowledged;
        let mut new = TcpState::Close;
        if let Some(expected) = expected.filter(|_| !last_is(Kind::Syn)) {
            if segment.seq == 0 && !established {
                return Reset::Judged(new);
            }
            if is_after(expected, segment.seq) {
                return Reset::Invalid;
            }
            let follows_data = self.last_was(Kind::Ack, segment.direction)
                && last.is_some_and(|last| last.end == segment.seq);
            if !established || segment.seq == expected || follows_data {
                return Reset::Judged(new);
            }
            // Not exactly what is expected: the other side will ask back.
            new = old;
        }
        let of_ignored = before.answered && last_is(Kind::Syn) || !before.assured && last_is(Kind::Ack);
        let of_challenge = old == TcpState::SynSent
            && self.last_was(Kind::Ack, Direction::Reply)
            && last.is_some_and(|last| last.ack == segment.seq);
        if of_ignored && last.is_some_and(|last| last.end == segment.ack) || of_challenge {
            return Reset::Fits;
        }
        Reset::Judged(new)
    }

    /// `nf_tcp_handle_invalid`: an open connection that both sides seem to have closed does not live on for
    /// days.
    fn note_invalid(&mut self, segment: &Segment, before: Before, settings: &Settings) -> Effect {
        const LEFT: Duration = Duration::from_secs(120);
        let ends = |kind| matches!(kind, Kind::Rst | Kind::Fin);
        let mut at_most = None;
        if before.assured && ends(segment.kind) {
            let by_other =
                self.last.is_some_and(|last| last.direction != segment.direction && ends(last.kind));
            if by_other && before.left >= LEFT {
                at_most = Some(settings.timeouts.tcp_unacknowledged);
            } else if !by_other && let Some(last) = &mut self.last {
                (last.kind, last.direction) = (segment.kind, segment.direction);
            }
        }
        Effect::Invalid { at_most }
    }
}

/// What is thought of a reset.
enum Reset {
    /// It ends the connection, whatever its numbers.
    Fits,
    /// Its numbers decide; then the connection is in this state.
    Judged(TcpState),
    /// It is not the connection's.
    Invalid,
}

fn last_of(segment: &Segment) -> Last {
    let &Segment { kind, direction, seq, ack, end, .. } = segment;
    Last { kind, direction, seq, ack, end }
}

/// The states whose entry may be in use for another connection already (`tcp_can_early_drop`).
fn is_closing(state: TcpState) -> bool {
    match state {
        TcpState::FinWait
        | TcpState::CloseWait
        | TcpState::LastAck
        | TcpState::TimeWait
        | TcpState::Close => true,
        TcpState::None
        | TcpState::SynSent
        | TcpState::SynSent2
        | TcpState::SynRecv
        | TcpState::Established => false,
    }
}

fn original(state: TcpState, kind: Kind) -> Next {
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, None, SynRecv, SynSent, SynSent2, TimeWait,
    };
    match (kind, state) {
        (Kind::None, _) => Next::Invalid,
        (Kind::Rst, None) => Next::Invalid,
        (Kind::Rst, _) => Next::To(Close),

        (Kind::Syn, None | SynSent | TimeWait | Close) => Next::To(SynSent),
        (Kind::Syn, SynSent2) => Next::To(SynSent2),
        (Kind::Syn, SynRecv | Established | FinWait | CloseWait | LastAck) => Next::Ignore,

        (Kind::SynAck, SynRecv | SynSent2) => Next::To(SynRecv),
        (Kind::SynAck, _) => Next::Invalid,

        (Kind::Fin, SynRecv | Established) => Next::To(FinWait),
        (Kind::Fin, FinWait | CloseWait | LastAck) => Next::To(LastAck),
        (Kind::Fin, TimeWait) => Next::To(TimeWait),
        (Kind::Fin, Close) => Next::To(Close),
        (Kind::Fin, None | SynSent | SynSent2) => Next::Invalid,

        (Kind::Ack, None | SynRecv | Established) => Next::To(Established),
        (Kind::Ack, FinWait | CloseWait) => Next::To(CloseWait),
        (Kind::Ack, LastAck | TimeWait) => Next::To(TimeWait),
        (Kind::Ack, Close) => Next::To(Close),
        (Kind::Ack, SynSent | SynSent2) => Next::Invalid,
    }
}

fn reply(state: TcpState, kind: Kind) -> Next {
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, None, SynRecv, SynSent, SynSent2, TimeWait,
    };
    match (kind, state) {
        (Kind::None, _) | (_, None) => Next::Invalid,
        (Kind::Rst, _) => Next::To(Close),

        (Kind::Syn, SynSent | SynSent2) => Next::To(SynSent2),
        (Kind::Syn, TimeWait) => Next::To(SynSent),
        (Kind::Syn, SynRecv | Established | FinWait | CloseWait | LastAck | Close) => Next::Invalid,

        (Kind::SynAck, SynSent | SynSent2) => Next::To(SynRecv),
        (Kind::SynAck, _) => Next::Ignore,

        (Kind::Fin, SynRecv | Established) => Next::To(FinWait),
        (Kind::Fin, FinWait | CloseWait | LastAck) => Next::To(LastAck),
        (Kind::Fin, TimeWait) => Next::To(TimeWait),
        (Kind::Fin, Close) => Next::To(Close),
        (Kind::Fin, SynSent | SynSent2) => Next::Invalid,

        (Kind::Ack, SynSent | SynSent2) => Next::Ignore,
        (Kind::Ack, SynRecv) => Next::To(SynRecv),
        (Kind::Ack, Established) => Next::To(Established),
        (Kind::Ack, FinWait | CloseWait) => Next::To(CloseWait),
        (Kind::Ack, LastAck | TimeWait) => Next::To(TimeWait),
        (Kind::Ack, Close) => Next::To(Close),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use natpath_model::{Port, Sysctls};

    use super::*;
    use crate::packet::{Numbers, Transport};
    use Direction::{Original, Reply};

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const SYN_ACK: TcpFlags = SYN.with(ACK);
    const FIN: TcpFlags = TcpFlags::FIN.with(ACK);
    const RST: TcpFlags = TcpFlags::RST;

    fn packet(flags: TcpFlags, seq: u32, ack: u32, data: u16) -> Packet {
        let any = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let numbers = Numbers { seq, ack };
        let transport = Transport::Tcp { src: Port::new(1), dst: Port::new(2), flags, numbers };
        Packet { data, ..Packet::new(any, any, transport) }
    }

    /// An entry that segments come to one after the other: (direction, flags, seq, ack, bytes of data).
    struct Entry {
        track: TcpTrack,
        before: Before,
        settings: Settings,
    }

    impl Entry {
        fn new(first: Packet) -> Option<Self> {
            let settings = Settings::read(&Sysctls::default());
            let before = Before { answered: false, assured: false, left: Duration::ZERO };
            let mut entry = Self { track: begin(&first, true)?, before, settings };
            entry.see(Original, first);
            Some(entry)
        }

        fn see(&mut self, direction: Direction, packet: Packet) -> Effect {
            let effect = self.track.advance(&packet, direction, self.before, &self.settings);
            if let Effect::Valid { lives, assured } = effect {
                self.before.assured = assured;
                self.before.answered |= direction == Reply;
                self.before.left = lives.unwrap_or(self.before.left);
            }
            effect
        }
    }

    /// A connection whose client has sent up to 101, whose server up to 501.
    fn open() -> Entry {
        let mut entry = Entry::new(packet(SYN, 100, 0, 0)).expect("a SYN begins an entry");
        entry.see(Reply, packet(SYN_ACK, 500, 101, 0));
        entry.see(Original, packet(ACK, 101, 501, 0));
        assert_eq!(entry.track.state, TcpState::Established);
        assert!(entry.before.assured);
        entry
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn connections_pass_through_the_states_of_rfc_9293() {
        let mut entry = open();
        let mut states = Vec::new();
        for (direction, flags, seq, ack) in [
            (Original, FIN, 101, 501),
            (Reply, ACK, 501, 102),
            (Reply, FIN, 501, 102),
            (Original, ACK, 102, 502),
        ] {
            entry.see(direction, packet(flags, seq, ack, 0));
            states.push(entry.track.state);
        }
        use TcpState::{CloseWait, FinWait, LastAck, TimeWait};
        assert_eq!(states, [FinWait, CloseWait, LastAck, TimeWait]);
        assert_eq!(entry.see(Original, packet(SYN, 9000, 0, 0)), Effect::Reopens);
    }

    #[test]
    fn stray_segments_begin_nothing() {
        for flags in [RST, SYN_ACK, TcpFlags::FIN, FIN, TcpFlags(0)] {
            assert!(Entry::new(packet(flags, 1, 1, 0)).is_none(), "{flags:?}");
        }
        let entry = Entry::new(packet(ACK, 7, 9, 8)).expect("it is picked up in the middle");
        assert_eq!((entry.track.state, entry.before.left), (TcpState::Established, Duration::from_secs(300)));
    }

    #[test]
    fn an_ack_before_the_syn_ack_was_seen_is_invalid() {
        let mut entry = Entry::new(packet(SYN, 100, 0, 0)).expect("a SYN begins an entry");
        assert_eq!(entry.see(Original, packet(ACK, 101, 501, 0)), Effect::Invalid { at_most: None });
    }

    #[test]
    fn a_syn_that_is_sent_again_does_not_renew_the_entry() {
        let mut entry = Entry::new(packet(SYN, 100, 0, 0)).expect("a SYN begins an entry");
        let again = entry.see(Original, packet(SYN, 100, 0, 0));
        assert_eq!(again, Effect::Valid { lives: None, assured: false });
        assert_eq!(entry.see(Reply, packet(RST.with(ACK), 0, 101, 0)), Effect::Ends);
    }

    #[test]
    fn data_that_waits_for_its_acknowledgement_shortens_the_life() {
        let mut entry = open();
        assert_eq!(entry.before.left, Duration::from_secs(432_000));
        let data = entry.see(Original, packet(ACK, 101, 501, 8));
        assert_eq!(data, Effect::Valid { lives: seconds(300), assured: true });
        let answer = entry.see(Reply, packet(ACK, 501, 109, 0));
        assert_eq!(answer, Effect::Valid { lives: seconds(432_000), assured: true });
    }

    #[test]
    fn a_reset_must_be_exactly_what_is_expected() {
        let mut entry = open();
        let behind = entry.see(Reply, packet(RST, 400, 0, 0));
        assert_eq!((behind, entry.track.state), (Effect::Invalid { at_most: None }, TcpState::Established));
        let ahead = entry.see(Reply, packet(RST, 505, 0, 0));
        assert_eq!(ahead, Effect::Valid { lives: seconds(10), assured: true });
        assert_eq!(entry.track.state, TcpState::Established, "the client will ask back");
        let mut entry = open();
        assert_eq!(
            entry.see(Reply, packet(RST, 501, 0, 0)),
            Effect::Valid { lives: seconds(10), assured: true }
        );
        assert_eq!(entry.track.state, TcpState::Close);
    }

    #[test]
    fn a_syn_after_the_servers_reset_goes_on_in_the_old_entry() {
        let mut entry = open();
        entry.see(Reply, packet(RST, 501, 0, 0));
        let syn = entry.see(Original, packet(SYN, 9000, 0, 0));
        assert_eq!((syn, entry.track.state), (Effect::Valid { lives: None, assured: true }, TcpState::Close));
        entry.see(Reply, packet(SYN_ACK, 7000, 9001, 0));
        assert_eq!(entry.track.state, TcpState::SynRecv);
        entry.see(Original, packet(ACK, 9001, 7001, 0));
        assert_eq!(entry.track.state, TcpState::Established);
        // After a reset of its own the client's SYN begins anew.
        let mut entry = open();
        entry.see(Original, packet(RST, 101, 0, 0));
        assert_eq!(entry.see(Original, packet(SYN, 9000, 0, 0)), Effect::Reopens);
    }
}
