//! `-m time`.

use natpath_model::xt::TimeWindow;

use super::{Options, Reading};
use crate::iptables_save::ast::Word;
use crate::iptables_save::lower::rule::RuleReader;
use crate::iptables_save::lower::value::{Result, expected};

pub(super) const OPTIONS: Options = &[
    ("--datestart", 1),
    ("--datestop", 1),
    ("--timestart", 1),
    ("--timestop", 1),
    ("--weekdays", 1),
    ("--monthdays", 1),
    ("--contiguous", 0),
    ("--kerneltz", 0),
    ("--utc", 0),
    ("--localtz", 0),
];

/// The days of the week, bit 1 first.
pub(crate) const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

pub(super) fn read(rule: &RuleReader<'_, '_>, reading: &Reading<'_>) -> Result<TimeWindow> {
    let all = TimeWindow::default();
    let value = |name| reading.value(rule, name);
    let date_of = |name, default| value(name).map_or(Ok(default), |(word, _)| date(word));
    let clock_of = |name, default| value(name).map_or(Ok(default), |(word, _)| clock(word));
    let days = |name, default: u32, read: fn(&str) -> Option<u32>| match value(name) {
        None => Ok(default),
        Some((word, negated)) => {
            let mask = word.text().split(',').try_fold(0, |mask, day| Some(mask | 1 << read(day)?));
            let mask: u32 =
                mask.ok_or_else(|| expected(word, "a list of days", "write Mon,Tue or 1,2 with commas"))?;
            Ok(if negated { mask ^ default } else { mask })
        }
    };
    Ok(TimeWindow {
        dates: (date_of("--datestart", all.dates.0)?, date_of("--datestop", all.dates.1)?),
        day: (clock_of("--timestart", all.day.0)?, clock_of("--timestop", all.day.1)?),
        weekdays: days("--weekdays", all.weekdays.into(), weekday)? as u8,
        monthdays: days("--monthdays", all.monthdays, monthday)?,
        contiguous: reading.has("--contiguous"),
        kernel_zone: reading.has("--kerneltz") || reading.has("--localtz"),
    })
}

fn weekday(text: &str) -> Option<u32> {
    if let Some(day) = text.parse().ok().filter(|day| (1..=7).contains(day)) {
        return Some(day);
    }
    let begin = text.get(..2)?;
    let place = WEEKDAYS.iter().position(|day| day[..2].eq_ignore_ascii_case(begin))?;
    u32::try_from(place + 1).ok()
}

fn monthday(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}

/// `HH:MM[:SS]` as seconds of the day.
fn clock(word: Word<'_>) -> Result<u32> {
    clock_text(&word.text())
        .ok_or_else(|| expected(word, "a time HH:MM[:SS]", "write a time from 00:00 to 23:59:59"))
}

fn clock_text(text: &str) -> Option<u32> {
    let mut parts = text.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes) = (parts.next()??, parts.next().unwrap_or(Some(0))?);
    let seconds = parts.next().unwrap_or(Some(0))?;
    let fits = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
    fits.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]` as seconds since 1970.
fn date(word: Word<'_>) -> Result<u32> {
    let wrong = || {
        expected(word, "a date YYYY[-MM[-DD[Thh:mm:ss]]]", "write a moment from 1970 to 2038-01-19T03:14:07")
    };
    let text = word.text();
    let (day, time) = text.split_once('T').map_or((&*text, None), |(day, time)| (day, Some(time)));
    let mut parts = day.split('-').map(|part| part.parse::<u32>().ok());
    let mut next = |default| parts.next().unwrap_or(default);
    let numbers = next(None).zip(next(Some(1))).zip(next(Some(1)));
    let ((year, month), day) = numbers.ok_or_else(wrong)?;
    let in_range = (1970..=2038).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || parts.next().is_some() {
        return Err(wrong());
    }
    let clock = time.map_or(Some(0), clock_text).ok_or_else(wrong)?;
    let seconds = days_since_1970(year, month, day) * 86400 + clock;
    Ok(seconds.min(TimeWindow::LAST))
}

/// The days before a date of the Gregorian calendar; years begin in March here, so that leap days come last.
fn days_since_1970(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // That of 1970-01-01.
    before.saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11017);
        assert_eq!(days_since_1970(2038, 1, 19) * 86400 + 3 * 3600 + 14 * 60 + 7, TimeWindow::LAST);
    }
}
