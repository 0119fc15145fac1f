//! `-m time` (xt_time.c, `time_mt`).

use natpath_model::xt::TimeWindow;

use super::Answer;
use crate::time::Instant;

const DAY: u64 = 86_400;

/// Whether a moment after the host was recorded lies in the window.
pub(super) fn holds(recorded: Option<u64>, now: Instant, window: &TimeWindow) -> Answer {
    if window.kernel_zone {
        return Answer::Unknown("depends on the kernel's time zone".to_owned());
    }
    match recorded {
        Some(seconds) => Answer::Is(contains(window, seconds.saturating_add(now.0 / 1000))),
        None => Answer::Unknown("depends on the time of day; record `date +%s` as date".to_owned()),
    }
}

fn contains(window: &TimeWindow, mut stamp: u64) -> bool {
    let (first, last) = window.dates;
    if stamp < first.into() || stamp > last.into() {
        return false;
    }
    let clock = stamp % DAY;
    let (start, stop) = (u64::from(window.day.0), u64::from(window.day.1));
    if start < stop {
        if clock < start || clock > stop {
            return false;
        }
    } else {
        if clock < start && clock > stop {
            return false;
        }
        if window.contiguous && clock <= stop {
            stamp = stamp.saturating_sub(DAY);
        }
    }
    let days = stamp / DAY;
    // 1970-01-01 was a Thursday; Monday is 1.
    let weekday = (days + 3) % 7 + 1;
    window.weekdays & 1 << weekday != 0 && window.monthdays & 1 << month_day(days) != 0
}

/// The day of the month of a day since 1970. Years begin in March here, so that leap days come last.
fn month_day(days: u64) -> u64 {
    let day = (days + 719_468) % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22 12:00, a Sunday.
    const SUNDAY_NOON: u64 = 1_795_348_800;

    fn check(window: TimeWindow, expected: bool) {
        assert_eq!(holds(Some(SUNDAY_NOON), Instant(0), &window), Answer::Is(expected), "{window:?}");
    }

    #[test]
    fn days_and_hours_are_those_of_utc() {
        let all = TimeWindow::default();
        check(all, true);
        check(TimeWindow { weekdays: 1 << 7, ..all }, true);
        check(TimeWindow { weekdays: 1 << 6, ..all }, false);
        check(TimeWindow { monthdays: 1 << 22, ..all }, true);
        check(TimeWindow { monthdays: 1 << 21, ..all }, false);
        check(TimeWindow { day: (8 * 3600, 12 * 3600), ..all }, true);
        check(TimeWindow { day: (12 * 3600 + 1, 17 * 3600), ..all }, false);
        check(TimeWindow { dates: (0, 1_795_348_799), ..all }, false);
    }

    #[test]
    fn a_window_over_midnight_may_belong_to_the_day_before() {
        let night = TimeWindow { day: (22 * 3600, 13 * 3600), ..TimeWindow::default() };
        check(TimeWindow { weekdays: 1 << 7, ..night }, true);
        check(TimeWindow { weekdays: 1 << 7, contiguous: true, ..night }, false);
        check(TimeWindow { weekdays: 1 << 6, contiguous: true, ..night }, true);
    }

    #[test]
    fn without_a_date_it_is_not_known() {
        assert!(matches!(holds(None, Instant(0), &TimeWindow::default()), Answer::Unknown(_)));
    }
}
