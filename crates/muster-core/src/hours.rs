//! Hours of the week, by the clocks of a place: `Mon-Fri 19:00-07:00`.
//!
//! Pure: how far those clocks are from UTC, and when that changes, is given as a [`Zone`], which whoever knows
//! such things makes and which is recorded with the run.

use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::fmt;

const DAY_SECS: i64 = 86_400;
const DAY_MINUTES: u16 = 1_440;
/// How far the next change is looked for.
// Limit: hours come again every week, but for those that a change of the clocks leaves out once.
const DAYS_AHEAD: i64 = 16;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Hours of the week. Something is within them if it is within one of its spans.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hours {
    /// As they were written.
    text: String,
    spans: Vec<Span>,
}

/// From a minute of some days of the week to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Span {
    /// A bit for each day that it begins on, Monday's is the lowest.
    days: u8,
    /// In minutes of the day.
    from: u16,
    /// Not later than `from`: on the day after.
    to: u16,
}

/// What the clocks of a place show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name: `Europe/Berlin`.
    pub name: String,
    /// From this second since 1970 on they are so many seconds ahead of UTC; by rising time. The first holds before
    /// too.
    pub offsets: Vec<(i64, i32)>,
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: "UTC".to_owned(), offsets: Vec::new() }
    }
}

impl Zone {
    fn local(&self, secs: i64) -> i64 {
        let known = self.offsets.iter().rev().find(|(from, _)| *from <= secs).or(self.offsets.first());
        secs + i64::from(known.map_or(0, |(_, offset)| *offset))
    }

    /// Day of the week and time of day that the clocks show: `Sat 07:00`.
    pub fn clock(&self, at: Time) -> String {
        let local = self.local(secs(at));
        let minute = local.rem_euclid(DAY_SECS) / 60;
        format!("{} {:02}:{:02}", DAYS[usize::from(weekday(local))], minute / 60, minute % 60)
    }
}

fn secs(at: Time) -> i64 {
    i64::try_from(at.0 / 1_000_000).unwrap_or(i64::MAX)
}

/// 0 on Mondays.
fn weekday(local: i64) -> u8 {
    // 1970 began on a Thursday.
    u8::try_from((local.div_euclid(DAY_SECS) + 3).rem_euclid(7)).expect("below seven")
}

impl Span {
    fn holds(self, local: i64) -> bool {
        let minute = u16::try_from(local.rem_euclid(DAY_SECS) / 60).expect("below a day's");
        let today = weekday(local);
        let begins = |day: u8| self.days & (1 << day) != 0;
        if self.from < self.to {
            return begins(today) && (self.from..self.to).contains(&minute);
        }
        (begins(today) && minute >= self.from) || (begins((today + 6) % 7) && minute < self.to)
    }
}

impl Hours {
    /// Reads them: days (`Mon-Fri`, `Sat,Sun`), hours (`19:00-07:00`, until the day after where they end sooner than
    /// they begin), or both.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let texts: Vec<&str> = texts.into_iter().map(str::trim).collect();
        let spans = texts.iter().map(|text| span(text)).collect::<Result<Vec<_>, _>>()?;
        if spans.is_empty() {
            return Err("no hours are given".to_owned());
        }
        Ok(Self { text: texts.join(" or "), spans })
    }

    /// Whether a moment is within them.
    pub fn holds(&self, zone: &Zone, at: Time) -> bool {
        self.holds_at(zone, secs(at))
    }

    fn holds_at(&self, zone: &Zone, secs: i64) -> bool {
        let local = zone.local(secs);
        self.spans.iter().any(|span| span.holds(local))
    }

    /// When they next begin, or end; `None`: never, as far as one can see.
    pub fn next_change(&self, zone: &Zone, after: Time) -> Option<Time> {
        let after = secs(after);
        let holds = self.holds_at(zone, after);
        let first_day = zone.local(after).div_euclid(DAY_SECS) - 1;
        let edges = self.spans.iter().flat_map(|s| [s.from, s.to]);
        let locals = edges.flat_map(|minute| {
            (first_day..first_day + DAYS_AHEAD).map(move |day| day * DAY_SECS + i64::from(minute) * 60)
        });
        // What clocks show changes at an edge, whichever offset holds then, or because they are put back or on.
        let mut offsets: Vec<i64> = zone.offsets.iter().map(|(_, offset)| i64::from(*offset)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        if offsets.is_empty() {
            offsets.push(0);
        }
        let mut moments: Vec<i64> =
            locals.flat_map(|local| offsets.iter().map(move |offset| local - offset)).collect();
        moments.extend(zone.offsets.iter().map(|(from, _)| *from));
        moments.retain(|at| *at > after);
        moments.sort_unstable();
        let change = moments.into_iter().find(|at| self.holds_at(zone, *at) != holds)?;
        Some(Time(u64::try_from(change).ok()?.saturating_mul(1_000_000)))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn span(text: &str) -> Result<Span, String> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next());
    let wrong = || format!("`{text}` names no hours of the week");
    if first.is_empty() || words.next().is_some() {
        return Err(wrong());
    }
    let (all_days, all_day) = (0x7f, (0, DAY_MINUTES));
    let (days, (from, to)) = match (first.contains(':'), second) {
        (true, None) => (all_days, minutes(first).ok_or_else(wrong)?),
        (false, None) => (days(first).ok_or_else(wrong)?, all_day),
        (false, Some(hours)) => (days(first).ok_or_else(wrong)?, minutes(hours).ok_or_else(wrong)?),
        (true, Some(_)) => return Err(wrong()),
    };
    Ok(Span { days, from, to })
}

/// `Mon-Fri`, `Sat,Sun`; a range may go over the end of the week.
fn days(text: &str) -> Option<u8> {
    let day = |name: &str| -> Option<usize> {
        let short = name.get(..3)?;
        let rest = name[3..].to_ascii_lowercase();
        let at = DAYS.iter().position(|d| d.eq_ignore_ascii_case(short))?;
        let long = ["day", "sday", "nesday", "rsday", "day", "urday", "day"][at];
        (rest.is_empty() || rest == long).then_some(at)
    };
    let mut all = 0;
    for part in text.split(',') {
        let (from, to) = match part.split_once('-') {
            None => (day(part)?, day(part)?),
            Some((from, to)) => (day(from)?, day(to)?),
        };
        for step in 0..=(to + 7 - from) % 7 {
            all |= 1u8 << ((from + step) % 7);
        }
    }
    Some(all)
}

/// `19:00-07:00`.
fn minutes(text: &str) -> Option<(u16, u16)> {
    let minute = |text: &str| -> Option<u16> {
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str, most: u16| {
            let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|n| plain && *n <= most)
        };
        let whole = number(hour, 24)? * 60 + number(minute, 59)?;
        (whole <= DAY_MINUTES).then_some(whole)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from < DAY_MINUTES).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of 2026 in UTC.
    fn at(month: i64, day: i64, hour: i64, minute: i64) -> Time {
        let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let days = 20_454 + months[usize::try_from(month - 1).unwrap()] + day - 1;
        Time(u64::try_from((days * DAY_SECS) + hour * 3600 + minute * 60).unwrap() * 1_000_000)
    }

    fn utc() -> Zone {
        Zone::default()
    }

    /// Summer time from March 29, 01:00 UTC, to October 25, 01:00 UTC.
    fn berlin() -> Zone {
        let secs = |t: Time| i64::try_from(t.0 / 1_000_000).unwrap();
        let offsets = vec![(0, 3600), (secs(at(3, 29, 1, 0)), 7200), (secs(at(10, 25, 1, 0)), 3600)];
        Zone { name: "Europe/Berlin".to_owned(), offsets }
    }

    fn hours(text: &str) -> Hours {
        Hours::parse(text.split(';')).unwrap()
    }

    #[test]
    fn the_clock_of_a_place_is_read_with_its_day() {
        // November 21, 2026 is a Saturday.
        assert_eq!(utc().clock(at(11, 21, 22, 5)), "Sat 22:05");
        assert_eq!(berlin().clock(at(11, 21, 23, 5)), "Sun 00:05");
        assert_eq!(berlin().clock(at(7, 1, 22, 0)), "Thu 00:00");
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_begin_on() {
        let nights = hours("Mon-Fri 19:00-07:00");
        for (when, holds) in [
            (at(11, 20, 18, 59), false),
            (at(11, 20, 19, 0), true),
            // Friday's night ends on Saturday, and Saturday has none.
            (at(11, 21, 6, 59), true),
            (at(11, 21, 7, 0), false),
            (at(11, 21, 22, 0), false),
            (at(11, 23, 3, 0), false),
            (at(11, 24, 3, 0), true),
        ] {
            assert_eq!(nights.holds(&utc(), when), holds, "{}", utc().clock(when));
        }
        assert_eq!(nights.next_change(&utc(), at(11, 21, 8, 0)), Some(at(11, 23, 19, 0)));
        assert_eq!(nights.next_change(&utc(), at(11, 23, 20, 0)), Some(at(11, 24, 7, 0)));
    }

    #[test]
    fn days_alone_are_whole_and_hours_alone_are_daily() {
        let both = hours("Sat,Sun; 22:00-24:00");
        assert!(both.holds(&utc(), at(11, 21, 12, 0)));
        assert!(both.holds(&utc(), at(11, 20, 23, 0)));
        assert!(!both.holds(&utc(), at(11, 20, 12, 0)));
        assert_eq!(both.next_change(&utc(), at(11, 20, 23, 0)), Some(at(11, 23, 0, 0)));
        assert_eq!(both.to_string(), "Sat,Sun or 22:00-24:00");
        assert!(hours("Fri-Mon").holds(&utc(), at(11, 22, 1, 0)));
        assert_eq!(hours("Mon-Sun 00:00-24:00").next_change(&utc(), at(11, 20, 23, 0)), None);
    }

    #[test]
    fn clocks_that_are_put_on_and_back_shift_the_hours() {
        let early = hours("02:30-04:00");
        let zone = berlin();
        // The half hour from 02:30 is left out: 03:00 comes at 01:00 UTC.
        assert_eq!(early.next_change(&zone, at(3, 28, 22, 0)), Some(at(3, 29, 1, 0)));
        assert_eq!(early.next_change(&zone, at(3, 29, 1, 0)), Some(at(3, 29, 2, 0)));
        // 02:30 comes twice: the hours are interrupted as the clocks are put back.
        assert!(early.holds(&zone, at(10, 25, 0, 45)));
        assert_eq!(early.next_change(&zone, at(10, 25, 0, 45)), Some(at(10, 25, 1, 0)));
        assert_eq!(early.next_change(&zone, at(10, 25, 1, 0)), Some(at(10, 25, 1, 30)));
        // Hours that this one day does not have begin a week later.
        let never = hours("Sun 02:10-02:20");
        assert_eq!(never.next_change(&zone, at(3, 28, 12, 0)), Some(at(4, 5, 0, 10)));
    }

    #[test]
    fn what_names_no_hours_is_told() {
        for wrong in [
            "",
            "Mon-",
            "Foo",
            "25:00-26:00",
            "19:00",
            "19-7",
            "Mon 19:00-07:00 x",
            "19:00-07:00 Mon",
            "1:2:3-4:5",
        ] {
            assert!(Hours::parse([wrong]).is_err(), "{wrong}");
        }
        for right in ["monday", "Wed-Thursday 7:00-8:30", "SAT 0:00-24:00"] {
            assert!(Hours::parse([right]).is_ok(), "{right}");
        }
        assert!(Hours::parse([]).is_err());
    }
}
