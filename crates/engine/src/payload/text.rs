//! `-m string` (xt_string.c, `skb_find_text`).

use natpath_model::payload::TextSearch;

use super::{Image, Seen};

/// Whether the bytes hold the text.
pub(super) fn find(image: &Image, search: &TextSearch) -> Seen {
    let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    let (_, most) = image.length();
    let end = most.min(place(search.to));
    let last = end.checked_sub(search.pattern.len());
    let mut seen = Seen::No;
    for start in place(search.from)..last.map_or(0, |last| last + 1) {
        match stands_at(image, start, search) {
            Seen::Yes => return Seen::Yes,
            Seen::Unknown => seen = Seen::Unknown,
            Seen::No => {}
        }
    }
    seen
}

fn stands_at(image: &Image, start: usize, search: &TextSearch) -> Seen {
    let mut seen = Seen::Yes;
    for (offset, wanted) in search.pattern.iter().enumerate() {
        let Some((byte, known)) = image.byte(start + offset) else { return Seen::No };
        let is = |wanted: u8| (byte ^ wanted) & known == 0;
        let either =
            search.ignore_case && (is(wanted.to_ascii_uppercase()) || is(wanted.to_ascii_lowercase()));
        if !is(*wanted) && !either {
            return Seen::No;
        }
        if known != 0xff {
            seen = Seen::Unknown;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use natpath_model::Port;

    use super::*;
    use crate::packet::{Numbers, Packet, TcpFlags, Transport};

    fn check(pattern: &[u8], (from, to): (u32, u32), ignore_case: bool, data: u16, expected: Seen) {
        let flags = if data == 0 { TcpFlags::SYN } else { TcpFlags::ACK };
        let (src, dst, numbers) = (Port::new(4000), Port::new(80), Numbers::default());
        let transport = Transport::Tcp { src, dst, flags, numbers };
        let (src, dst) = ("65.66.67.68".parse().expect("ABCD"), "10.0.0.2".parse().expect("an address"));
        let packet = Packet { data, ..Packet::new(src, dst, transport) };
        let search = TextSearch {
            pattern: pattern.to_vec(),
            algorithm: "bm".to_owned(),
            from,
            to,
            ignore_case,
            negated: false,
        };
        assert_eq!(find(&Image::of(&packet), &search), expected, "{search:?}");
    }

    #[test]
    fn headers_are_searched_too() {
        check(b"ABCD", (0, 65535), false, 0, Seen::Yes);
        check(b"abcd", (0, 20), true, 0, Seen::Yes);
        check(b"abcd", (0, 20), false, 0, Seen::No);
        check(&[0x0f, 0xa0, 0, 80], (0, 24), false, 0, Seen::Yes);
    }

    #[test]
    fn the_text_must_begin_and_end_between_the_limits() {
        check(b"ABCD", (12, 16), false, 0, Seen::Yes);
        check(b"ABCD", (13, 20), false, 0, Seen::No);
        check(b"ABCD", (0, 15), false, 0, Seen::No);
        check(b"ABCD", (900, 65535), false, 0, Seen::No);
    }

    #[test]
    fn data_and_options_may_hold_anything() {
        check(b"GET /", (40, 65535), false, 0, Seen::Unknown);
        check(b"GET /", (0, 65535), false, 8, Seen::Unknown);
        check(&[b'x'; 41], (0, 65535), false, 0, Seen::No);
    }
}
