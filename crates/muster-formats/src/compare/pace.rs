//! Whether an item takes longer or shorter than it did, or only jitters.

use super::Kind;
use muster_core::time::micros;
use serde::Serialize;
use std::time::Duration;

/// Changes of no more than this are noise, whatever else is known.
pub const NOISE: Duration = Duration::from_millis(100);

/// A change by this factor counts where nothing is known of earlier runs.
pub const FACTOR: f64 = 1.5;

/// From so many earlier times on it is known how long an item usually takes.
pub const SAMPLES_MIN: usize = 5;

/// Times of an item spread by so many of its usual spreads without that anything has changed: of a thousand runs
/// of which nothing has changed, at most a few are told.
const SPREADS: f64 = 4.0;

/// And by this part of what it takes: less is no news.
const PART: f64 = 0.1;

/// How long an item usually takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Usual {
    /// How many times it is made of.
    pub samples: usize,
    /// The median of them.
    pub median_micros: u64,
    /// How far they are from it: the median of the distances, scaled so that it is the standard deviation of times
    /// that are spread as chance does it. A single outlier leaves it as it is.
    pub spread_micros: u64,
}

impl Usual {
    /// Of the times of earlier runs; `None` for too few.
    pub(super) fn of(times: &[Duration]) -> Option<Self> {
        if times.len() < SAMPLES_MIN {
            return None;
        }
        let mut times: Vec<u64> = times.iter().map(|t| micros(*t)).collect();
        let median_micros = median(&mut times);
        let mut distances: Vec<u64> = times.iter().map(|t| t.abs_diff(median_micros)).collect();
        let spread_micros = (median(&mut distances) as f64 * 1.4826) as u64;
        Some(Self { samples: times.len(), median_micros, spread_micros })
    }

    /// What is further than this from what it was is another duration.
    fn limit(self) -> Duration {
        let limit = (self.spread_micros as f64 * SPREADS).max(self.median_micros as f64 * PART);
        Duration::from_micros(limit as u64).max(NOISE)
    }
}

/// The median; of an even number the higher one of the middle.
fn median(all: &mut [u64]) -> u64 {
    let middle = all.len() / 2;
    *all.select_nth_unstable(middle).1
}

/// Slower, faster, or neither. By what is usual both the time before and the usual one must be far off: the time before
/// may have been an outlier itself.
pub(super) fn kind(was: Duration, is: Duration, factor: f64, usual: Option<Usual>) -> Option<Kind> {
    let is_longer = |long: Duration, short: Duration| match usual {
        Some(usual) => long > short + usual.limit(),
        None => long > short.mul_f64(factor) && long - short > NOISE,
    };
    let median = usual.map(|u| Duration::from_micros(u.median_micros));
    if is_longer(is, was) && median.is_none_or(|m| is_longer(is, m)) {
        Some(Kind::Slower)
    } else if is_longer(was, is) && median.is_none_or(|m| is_longer(m, is)) {
        Some(Kind::Faster)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(was: u64, is: u64, earlier: &[u64]) -> Option<Kind> {
        let earlier: Vec<Duration> = earlier.iter().map(|t| Duration::from_millis(*t)).collect();
        kind(Duration::from_millis(was), Duration::from_millis(is), FACTOR, Usual::of(&earlier))
    }

    #[test]
    fn without_history_a_factor_decides() {
        assert_eq!(said(1_000, 1_400, &[]), None);
        assert_eq!(said(1_000, 1_600, &[]), Some(Kind::Slower));
        assert_eq!(said(1_600, 1_000, &[]), Some(Kind::Faster));
        assert_eq!(said(1, 90, &[]), None, "less than the noise");
        assert_eq!(said(1_000, 1_400, &[1_000; 4]), None, "four are too few to know");
    }

    #[test]
    fn what_is_steady_is_slower_sooner_than_what_jitters() {
        let steady = [2_000, 2_010, 1_990, 2_005, 1_995];
        assert_eq!(said(2_000, 2_300, &steady), Some(Kind::Slower));
        assert_eq!(said(2_000, 1_700, &steady), Some(Kind::Faster));
        assert_eq!(said(2_000, 2_150, &steady), None, "less than a tenth");
        let jittery = [1_000, 3_000, 2_000, 1_500, 2_600];
        assert_eq!(said(1_000, 3_000, &jittery), None, "three times as long, as ever");
        assert_eq!(said(1_000, 9_000, &jittery), Some(Kind::Slower));
    }

    #[test]
    fn a_run_before_that_was_an_outlier_makes_nothing_slow() {
        let steady = [2_000, 2_010, 1_990, 2_005, 1_995];
        assert_eq!(said(900, 2_000, &steady), None);
        assert_eq!(said(9_000, 2_000, &steady), None);
    }
}
