//! What an agent finds wrong with its host: full disk, overload, a clock that is off. The server gives its
//! devices nothing new meanwhile; what runs goes on, and it is looked at again by itself.
//!
//! The same thread asks the server which devices were added to this host.

use super::{Done, Mail, RemoteConfig, added};
use muster_api::Client;
use muster_core::time::Time;
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// What an agent minds of its host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfCheck {
    /// Least free bytes in the agent's directory.
    pub disk_free_bytes_min: u64,
    /// Highest load average of the last minute, for each core.
    pub load_max: f64,
    /// How far the clock may be from the server's.
    pub clock_max: Duration,
}

impl Default for SelfCheck {
    fn default() -> Self {
        Self { disk_free_bytes_min: 256 << 20, load_max: 20.0, clock_max: Duration::from_secs(60) }
    }
}

impl SelfCheck {
    /// What is wrong, for people. `clock`: this host's, the server's, and what their comparison may be off by.
    fn judge(
        &self,
        free: Option<u64>,
        load: Option<f64>,
        clock: Option<(Time, Time, Duration)>,
    ) -> Vec<String> {
        let mut trouble = Vec::new();
        if let Some(free) = free.filter(|free| *free < self.disk_free_bytes_min) {
            let (free, min) = (free >> 20, self.disk_free_bytes_min >> 20);
            trouble.push(format!("{free} MiB are free on the agent's disk, {min} MiB are needed"));
        }
        if let Some(load) = load.filter(|load| *load > self.load_max) {
            trouble.push(format!("the load per core is {load:.1}, above {:.1}", self.load_max));
        }
        if let Some((here, server, unsure)) = clock {
            let (ahead, behind) = (here.since(server), server.since(here));
            let limit = self.clock_max + unsure;
            // To the second, so that it is not told anew at each look.
            if ahead > limit {
                trouble.push(format!("its clock is {} s ahead of the server's", ahead.as_secs()));
            } else if behind > limit {
                trouble.push(format!("its clock is {} s behind the server's", behind.as_secs()));
            }
        }
        trouble
    }

    fn look(&self, dir: &Path, client: &Client) -> Vec<String> {
        let free = rustix::fs::statvfs(dir).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize));
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get) as f64;
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        let load = load.and_then(|text| text.split(' ').next()?.parse::<f64>().ok()).map(|l| l / cores);
        let before = crate::Clock::start().now();
        let server = client.clock().ok();
        let after = crate::Clock::start().now();
        // Its answer was given some time in between.
        let clock = server.map(|server| (after, server, after.since(before)));
        self.judge(free, load, clock)
    }
}

/// Looks again and again, on a thread of its own, for as long as somebody listens; tells what has changed.
pub(super) fn watch(config: &RemoteConfig, client: Client, mail: Mail) -> std::io::Result<()> {
    let (check, dir, host) = (config.self_check, config.state_dir.clone(), config.host.clone());
    let work = move || {
        let mut last = Vec::new();
        let mut last_added = added::remembered(&dir);
        loop {
            // A server that is away, or of before there was this, changes nothing.
            if let Ok(now) = client.added_to(&host)
                && now != last_added
                && added::remember(&dir, &now).is_ok()
            {
                last_added.clone_from(&now);
                if !mail.send(Done::Added(now)) {
                    return;
                }
            }
            let found = check.look(&dir, &client);
            if found != last {
                last.clone_from(&found);
                if !mail.send(Done::Looked(found)) {
                    return;
                }
            }
            std::thread::sleep(EVERY);
        }
    };
    std::thread::Builder::new().name("self-check".into()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_and_what_is_not_known_is_not_wrong() {
        let check =
            SelfCheck { disk_free_bytes_min: 1 << 30, load_max: 2.0, clock_max: Duration::from_secs(5) };
        assert_eq!(check.judge(None, None, None), Vec::<String>::new());
        let at = |secs: u64| Time(secs * 1_000_000);
        let unsure = Duration::from_secs(1);
        assert_eq!(
            check.judge(Some(1 << 30), Some(2.0), Some((at(106), at(100), unsure))),
            Vec::<String>::new()
        );
        assert_eq!(
            check.judge(Some(1 << 29), Some(2.5), Some((at(107), at(100), unsure))),
            [
                "512 MiB are free on the agent's disk, 1024 MiB are needed",
                "the load per core is 2.5, above 2.0",
                "its clock is 7 s ahead of the server's",
            ]
        );
        assert_eq!(
            check.judge(None, None, Some((at(50), at(100), unsure))),
            ["its clock is 50 s behind the server's"]
        );
    }
}
