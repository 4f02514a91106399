//! What the host tells of itself: load and free disk, read at most once a second.

use muster_core::exchange::Gauges;
use std::fs;
use std::num::NonZero;
use std::time::{Duration, Instant};

/// How long a reading is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The host's gauges.
#[derive(Debug)]
pub(super) struct Dial {
    area_dir: String,
    cores: f64,
    last: Option<(Instant, Gauges)>,
}

impl Dial {
    pub(super) fn new(area_dir: String) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { area_dir, cores: cores as f64, last: None }
    }

    /// The gauges. What cannot be read never closes a gate: no load, and all the disk there can be.
    pub(super) fn read(&mut self) -> Gauges {
        if let Some((at, gauges)) = self.last
            && at.elapsed() < GOOD_FOR
        {
            return gauges;
        }
        let load = fs::read_to_string("/proc/loadavg")
            .ok()
            .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
            .unwrap_or(0.0);
        let free = rustix::fs::statvfs(self.area_dir.as_str());
        let gauges = Gauges {
            load_per_core: load / self.cores,
            disk_free_bytes: free.map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize)),
        };
        self.last = Some((Instant::now(), gauges));
        gauges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_read_and_missing_ones_close_no_gate() {
        let real = Dial::new("/".into()).read();
        assert!(real.load_per_core >= 0.0 && real.disk_free_bytes < u64::MAX);
        assert_eq!(Dial::new("/no/such/dir".into()).read().disk_free_bytes, u64::MAX);
    }
}
