//! `-m rpfilter` and `-m socket`.

use natpath_model::xt::{ReversePath, SocketTest};
use natpath_model::{Match, Xt};

use super::{Options, Reading, xt};
use crate::iptables_save::lower::rule::RuleReader;

pub(super) const RPFILTER: Options =
    &[("--loose", 0), ("--validmark", 0), ("--accept-local", 0), ("--invert", 0)];

pub(super) const SOCKET: Options = &[("--transparent", 0), ("--nowildcard", 0), ("--restore-skmark", 0)];

pub(super) fn rpfilter(reading: &Reading<'_>) -> ReversePath {
    ReversePath {
        loose: reading.has("--loose"),
        valid_mark: reading.has("--validmark"),
        accept_local: reading.has("--accept-local"),
        inverted: reading.has("--invert"),
    }
}

pub(super) fn socket(rule: &mut RuleReader<'_, '_>, reading: &Reading<'_>) -> Match {
    if reading.has("--restore-skmark") {
        return reading.opaque(rule, "takes the mark of a socket, which is not recorded");
    }
    xt(Xt::Socket(SocketTest {
        transparent: reading.has("--transparent"),
        no_wildcard: reading.has("--nowildcard"),
    }))
}
