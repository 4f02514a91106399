//! Which runs tell how long items take, and what their attempts amount to.
//!
//! Nothing is kept for this when an attempt is recorded: a summary table would touch a random page for
//! each attempt, which costs more in the write-ahead log than the records themselves. The few runs that
//! matter are read when a run is planned.

use crate::types::Durations;
use std::collections::HashMap;
use std::sync::Arc;

/// Runs looked at for choosing.
pub(crate) const CANDIDATES_MAX: u32 = 200;
/// The newest of them that are read.
const NEWEST: usize = 4;
/// The newest large ones that are read beside those: many small runs must not hide the last whole one.
const LARGE: usize = 2;
/// Items ended in the runs that are read, about: planning must not wait for more.
const ITEMS_MAX: u32 = 100_000;
/// Attempts of an item that count.
const SAMPLES_MAX: usize = 5;

/// Which of the runs are read, given how many items ended in each, newest first. The newest large one
/// is always among them.
pub(crate) fn choose(ended: &[u32]) -> Vec<usize> {
    let largest = ended.iter().copied().max().unwrap_or(0);
    let (mut large, mut items) = (0, 0u32);
    let mut chosen = Vec::new();
    for (i, &n) in ended.iter().enumerate().filter(|(_, n)| **n > 0) {
        let is_large = n >= largest.div_ceil(2);
        let is_wanted = i < NEWEST || (is_large && large < LARGE);
        if is_wanted && (items.saturating_add(n) <= ITEMS_MAX || (is_large && large == 0)) {
            chosen.push(i);
            items = items.saturating_add(n);
            large += usize::from(is_large);
        }
    }
    chosen
}

/// Good attempts by test and path.
#[derive(Default)]
pub(crate) struct Samples(HashMap<Arc<str>, HashMap<Arc<str>, Sample>>);

#[derive(Default)]
struct Sample {
    len: u8,
    micros: [u32; SAMPLES_MAX],
}

impl Samples {
    /// Items of one test.
    pub(crate) fn test(&mut self, name: &str) -> TestSamples<'_> {
        if !self.0.contains_key(name) {
            self.0.insert(Arc::from(name), HashMap::new());
        }
        TestSamples(self.0.get_mut(name).expect("inserted above"))
    }

    /// The medians.
    pub(crate) fn into_durations(self) -> Durations {
        let mut durations = Durations::default();
        for (test, items) in self.0 {
            if items.is_empty() {
                continue;
            }
            durations.set(test, items.into_iter().map(|(path, sample)| (path, sample.median())).collect());
        }
        durations
    }
}

/// Good attempts of one test's items.
pub(crate) struct TestSamples<'a>(&'a mut HashMap<Arc<str>, Sample>);

impl TestSamples<'_> {
    /// One more attempt; newer ones come first.
    pub(crate) fn add(&mut self, path: &str, nanos: u64) {
        let micros = u32::try_from(nanos / 1000).unwrap_or(u32::MAX);
        let sample = match self.0.get_mut(path) {
            Some(sample) => sample,
            None => self.0.entry(path.into()).or_default(),
        };
        if let Some(free) = sample.micros.get_mut(usize::from(sample.len)) {
            *free = micros;
            sample.len += 1;
        }
    }
}

impl Sample {
    /// Of an even number the lower of the middle two: one slow outlier of two does not count.
    fn median(mut self) -> u32 {
        let known = &mut self.micros[..usize::from(self.len)];
        known.sort_unstable();
        known[(known.len() - 1) / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_runs_do_not_hide_the_last_whole_one() {
        let mut ended = vec![1; 50];
        ended.push(900);
        ended.push(1000);
        ended.push(1000);
        assert_eq!(choose(&ended), [0, 1, 2, 3, 50, 51]);
    }

    #[test]
    fn of_very_large_runs_only_the_newest_are_read() {
        assert_eq!(choose(&[50_000; 9]), [0, 1]);
        assert_eq!(choose(&[90_000, 8, 500_000, 9, 500_000]), [0, 1, 2]);
        assert_eq!(choose(&[50_000, 60_000, 8, 9]), [0, 2, 3]);
    }

    #[test]
    fn runs_in_which_nothing_ended_tell_nothing() {
        assert_eq!(choose(&[0, 5, 0]), [1]);
        assert_eq!(choose(&[]), [0; 0]);
    }

    #[test]
    fn one_slow_attempt_does_not_move_the_expectation() {
        let mut samples = Samples::default();
        for nanos in [90_000_000, 10_000, 11_000, 12_000, 9_000, 1] {
            samples.test("t").add("i", nanos);
        }
        use muster_core::plan::History as _;
        assert_eq!(samples.into_durations().micros("t", "i"), Some(11));
    }
}
