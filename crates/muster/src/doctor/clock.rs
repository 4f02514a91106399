//! The clock: whether its time can be true, whether it keeps pace, whether something keeps it right.

use super::Finding;
use muster_formats::report::words;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const WHAT: &str = "clock";

/// How long the two clocks are compared.
const SAMPLE: Duration = Duration::from_millis(40);

/// Difference in that time above which one of them is being moved.
const DRIFT_MAX: Duration = Duration::from_millis(10);

/// Seconds from 1970 to 2025: no program of ours ran before.
const YEAR_2025: u64 = 1_735_689_600;
/// Seconds from 1970 to 2100.
const YEAR_2100: u64 = 4_102_444_800;

pub(super) fn look() -> Vec<Finding> {
    let mut all = vec![sane(SystemTime::now())];
    all.extend(pace());
    all.extend(kept());
    all
}

fn sane(now: SystemTime) -> Finding {
    let secs = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let micros = secs.saturating_mul(1_000_000);
    let shown = words::timestamp(muster_core::time::Time(micros));
    if (YEAR_2025..YEAR_2100).contains(&secs) {
        Finding::ok(WHAT, shown)
    } else {
        Finding::bad(WHAT, format!("it says {shown}"), "sudo timedatectl set-ntp true, or `sudo date -s '…'`")
    }
}

fn pace() -> Option<Finding> {
    let (wall, steady) = (SystemTime::now(), Instant::now());
    std::thread::sleep(SAMPLE);
    let steady = steady.elapsed();
    let drift = match wall.elapsed() {
        Ok(wall) => wall.abs_diff(steady),
        // It went backwards.
        Err(e) => e.duration() + steady,
    };
    (drift > DRIFT_MAX).then(|| {
        Finding::warn(
            WHAT,
            format!("it jumped by {} within {}", words::duration(drift), words::duration(steady)),
            "something sets the time in steps; let one service keep it: `timedatectl status`",
        )
    })
}

/// Signs that a service keeps the time right. Where there is none, nobody may, and in a container nobody
/// need.
fn kept() -> Option<Finding> {
    let by = [
        ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
        ("/run/chrony/chronyd.pid", "chrony"),
        ("/var/run/ntpd.pid", "ntpd"),
    ];
    if let Some((_, name)) = by.iter().find(|(path, _)| Path::new(path).exists()) {
        return Some(Finding::ok(WHAT, format!("kept by {name}")));
    }
    let container = ["/.dockerenv", "/run/.containerenv"].iter().any(|p| Path::new(p).exists());
    if container || !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    Some(Finding::warn(WHAT, "nothing seems to keep it right", "sudo timedatectl set-ntp true"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_that_lost_its_battery_is_bad() {
        assert_eq!(sane(SystemTime::UNIX_EPOCH).level, Level::Bad);
        assert_eq!(sane(SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_2025)).level, Level::Ok);
        assert_eq!(sane(SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_2100)).level, Level::Bad);
    }
}
