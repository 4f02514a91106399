//! The agent's clock: the time of day at its start plus what has passed since, so that it never jumps.

use muster_core::time::Time;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that shows the time of day and never goes backwards.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Time,
    start: Instant,
}

impl Clock {
    /// A clock set by the system's time of day.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { wall: Time(0) + wall, start: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.wall + self.start.elapsed()
    }
}
