//! The lab's clock: steady, so that leases last as long as they should whatever is done to the time of day,
//! and near the time of day, so that records can be read.
//!
//! It goes with the clock that nobody sets, and follows the time of day by at most a twentieth of what has
//! passed: less than the tenth of a lease by which agents stop early.

use muster_core::time::{Time, micros};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The part of the time passed by which the time of day is followed.
const FOLLOWS: u32 = 20;

/// The time, for the lab and its records.
pub(crate) fn now() -> Time {
    static CLOCK: LazyLock<(Instant, Mutex<Steady>)> = LazyLock::new(|| {
        (Instant::now(), Mutex::new(Steady { passed: Duration::ZERO, shown: time_of_day() }))
    });
    let (start, steady) = &*CLOCK;
    let mut steady = steady.lock().unwrap_or_else(PoisonError::into_inner);
    steady.advance(start.elapsed(), time_of_day())
}

fn time_of_day() -> Time {
    Time(micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

struct Steady {
    /// Since the start, when it was last looked at.
    passed: Duration,
    shown: Time,
}

impl Steady {
    fn advance(&mut self, passed: Duration, time_of_day: Time) -> Time {
        let since = passed.saturating_sub(self.passed);
        self.passed = self.passed.max(passed);
        let even = self.shown + since;
        let most = since / FOLLOWS;
        self.shown = if time_of_day > even {
            even + time_of_day.since(even).min(most)
        } else {
            self.shown + (since - even.since(time_of_day).min(most))
        };
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(1_795_197_600_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_jump_of_the_time_of_day_ends_no_lease_and_keeps_none_alive() {
        for (jump, least, most) in [(10 * MINUTE, 60, 64), (Duration::ZERO, 60, 60)] {
            let mut clock = Steady { passed: Duration::ZERO, shown: START };
            let mut shown = START;
            for second in 1..=60 {
                let passed = Duration::from_secs(second);
                shown = clock.advance(passed, START + passed + jump);
            }
            let lasted = shown.since(START).as_secs();
            assert!((least..most + 1).contains(&lasted), "a minute lasted {lasted} s, jump {jump:?}");
        }
        let mut clock = Steady { passed: Duration::ZERO, shown: START };
        let mut last = START;
        for second in 1..=60 {
            let shown = clock.advance(Duration::from_secs(second), Time(START.0 - 600_000_000));
            assert!(shown > last, "it never stands still nor goes back");
            last = shown;
        }
        assert_eq!(last.since(START).as_secs(), 57);
    }

    #[test]
    fn the_time_of_day_is_reached_in_the_end_and_then_kept() {
        let mut clock = Steady { passed: Duration::ZERO, shown: START };
        let at = |minutes: u32| (MINUTE * minutes, START + MINUTE * (minutes + 10));
        for minutes in 1..=300 {
            let (passed, time_of_day) = at(minutes);
            clock.advance(passed, time_of_day);
        }
        assert_eq!(clock.shown, at(300).1);
    }
}
