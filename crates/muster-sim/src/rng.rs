//! Chance that follows from a seed, the same on every machine and in every version.

use std::time::Duration;

/// A stream of chance (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

/// Mixes numbers into one that looks like chance: for what must not depend on the order of asking.
pub fn mix(numbers: impl IntoIterator<Item = u64>) -> u64 {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut mixed = 0;
    for n in numbers {
        rng.0 ^= n;
        mixed = rng.next();
    }
    mixed
}

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this one; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { usize::try_from(self.next() % n as u64).unwrap_or(0) }
    }

    /// A number of these, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True so many times in a thousand.
    pub fn permille(&mut self, n: u32) -> bool {
        self.next() % 1000 < u64::from(n)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// A time between these, short ones as likely as long ones.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (low.as_micros().max(1) as u64, high.as_micros().max(1) as u64);
        let doublings = (high / low).checked_ilog2().unwrap_or(0) + 1;
        let base = low << self.below(doublings as usize);
        Duration::from_micros((base + self.next() % base).min(high))
    }
}
