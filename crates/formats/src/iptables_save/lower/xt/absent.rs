//! Matches on headers that packets of a flow lack: AH, ESP, IPComp, and the extension headers of IPv6.

use super::Options;

/// A match on a header that packets of a flow lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    Rt,
    Frag,
    Dst,
    Hbh,
    Mh,
    Srh,
    Ah,
    Esp,
    IpComp,
}

impl Absent {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rt => "rt",
            Self::Frag => "frag",
            Self::Dst => "dst",
            Self::Hbh => "hbh",
            Self::Mh => "mh",
            Self::Srh => "srh",
            Self::Ah => "ah",
            Self::Esp => "esp",
            Self::IpComp => "ipcomp",
        }
    }

    pub(super) fn options(self) -> Options {
        match self {
            Self::Rt => &[
                ("--rt-type", 1),
                ("--rt-segsleft", 1),
                ("--rt-len", 1),
                ("--rt-0-res", 0),
                ("--rt-0-addrs", 1),
                ("--rt-0-not-strict", 0),
            ],
            Self::Frag => &[
                ("--fragid", 1),
                ("--fraglen", 1),
                ("--fragres", 0),
                ("--fragfirst", 0),
                ("--fragmore", 0),
                ("--fraglast", 0),
            ],
            Self::Dst => &[("--dst-len", 1), ("--dst-opts", 1)],
            Self::Hbh => &[("--hbh-len", 1), ("--hbh-opts", 1)],
            Self::Mh => &[("--mh-type", 1)],
            Self::Srh => &[
                ("--srh-next-hdr", 1),
                ("--srh-hdr-len-eq", 1),
                ("--srh-hdr-len-gt", 1),
                ("--srh-hdr-len-lt", 1),
                ("--srh-segs-left-eq", 1),
                ("--srh-segs-left-gt", 1),
                ("--srh-segs-left-lt", 1),
                ("--srh-last-entry-eq", 1),
                ("--srh-last-entry-gt", 1),
                ("--srh-last-entry-lt", 1),
                ("--srh-tag", 1),
                ("--srh-psid", 1),
                ("--srh-nsid", 1),
                ("--srh-lsid", 1),
            ],
            Self::Ah => &[("--ahspi", 1), ("--ahlen", 1), ("--ahres", 0)],
            Self::Esp => &[("--espspi", 1)],
            Self::IpComp => &[("--ipcompspi", 1), ("--compres", 0)],
        }
    }
}
