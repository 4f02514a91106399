//! The agent's clock: the time of day at its start plus what has passed since, so that it never jumps. Time
//! for which the host was suspended has passed: leases go on meanwhile.

use muster_core::time::Time;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that shows the time of day and never goes backwards.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Time,
    /// Since the system was started.
    start: Duration,
}

impl Clock {
    /// A clock set by the system's time of day.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { wall: Time(0) + wall, start: since_boot() }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.wall + since_boot().saturating_sub(self.start)
    }
}

fn since_boot() -> Duration {
    let at = clock_gettime(ClockId::Boottime);
    Duration::new(at.tv_sec.unsigned_abs(), at.tv_nsec.unsigned_abs() as u32)
}
