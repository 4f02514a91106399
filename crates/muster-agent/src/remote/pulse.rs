//! A sign that the agent's loop goes round, for who watches over its process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest the loop rests without a beat.
pub(super) const BEAT_MAX: Duration = Duration::from_secs(5);

/// Beats each time the agent's loop goes round. Clones share it.
#[derive(Clone, Debug)]
pub struct Pulse {
    born: Instant,
    /// Milliseconds from then to the last beat.
    last: Arc<AtomicU64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { born: Instant::now(), last: Arc::default() }
    }
}

impl Pulse {
    pub(super) fn beat(&self) {
        self.last.store(self.millis(), Ordering::Relaxed);
    }

    /// Whether the loop went round lately: it is not stuck in a call that does not return.
    pub fn is_felt(&self) -> bool {
        let silent = self.millis().saturating_sub(self.last.load(Ordering::Relaxed));
        u128::from(silent) < 4 * BEAT_MAX.as_millis()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
