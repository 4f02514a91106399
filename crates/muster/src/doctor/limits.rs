//! What the system lets a process and a user have, and what else is using the machine.

use super::{Finding, Subject, line_of, number_of};
use crate::terminal::text::count;
use muster_formats::report::words::bytes;
use rustix::process::{Resource, getrlimit};

/// Descriptors Muster itself needs, and those of each attempt: pipes, process, log.
const FILES_BASE: u64 = 128;
const FILES_EACH: u64 = 8;
/// Processes an attempt may be expected to have.
const PROCESSES_EACH: u64 = 64;

pub(super) fn look(subject: &Subject<'_>) -> Vec<Finding> {
    let mut all = vec![files(subject.jobs), processes(subject.jobs)];
    all.extend(cgroup_processes(subject.jobs));
    all.extend(inotify());
    all.extend(memory());
    all.extend(load());
    all
}

fn files(jobs: u64) -> Finding {
    let what = "open files";
    let need = (FILES_BASE + jobs * FILES_EACH).max(1024);
    let limit = getrlimit(Resource::Nofile);
    let (now, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let found = if now == u64::MAX { "unlimited".to_owned() } else { format!("up to {}", count(now)) };
    if now >= need {
        return Finding::ok(what, found);
    }
    let fix = if most >= need {
        format!("ulimit -n {need}")
    } else {
        format!("add `* hard nofile {need}` to /etc/security/limits.conf and sign in again")
    };
    Finding::warn(what, format!("{found}, {} attempts at once want {need}", count(jobs)), fix)
}

fn processes(jobs: u64) -> Finding {
    let what = "processes";
    let need = 512 + jobs * PROCESSES_EACH;
    let user = getrlimit(Resource::Nproc).current.unwrap_or(u64::MAX);
    let system = number_of("/proc/sys/kernel/pid_max").unwrap_or(u64::MAX);
    let least = user.min(system);
    let found = format!("up to {}", count(least));
    if least >= need {
        return Finding::ok(what, found);
    }
    let fix = if user < need {
        format!("ulimit -u {need}")
    } else {
        format!("sudo sysctl kernel.pid_max={}", need.max(32_768))
    };
    Finding::warn(what, format!("{found}, {} attempts at once may want {need}", count(jobs)), fix)
}

/// Containers often have a limit of their own, and running into it looks like a broken test.
fn cgroup_processes(jobs: u64) -> Option<Finding> {
    let what = "processes";
    let (max, now) = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].iter().find_map(|dir| {
        Some((number_of(format!("{dir}/pids.max"))?, number_of(format!("{dir}/pids.current"))?))
    })?;
    let need = jobs * PROCESSES_EACH;
    let left = max.saturating_sub(now);
    let found = format!("{} of {} left in this control group", count(left), count(max));
    Some(if left >= need {
        Finding::ok(what, found)
    } else {
        Finding::warn(what, found, "give the container more: `--pids-limit 4096` (docker, podman)")
    })
}

fn inotify() -> Vec<Finding> {
    let limits = [("max_user_watches", 65_536, 524_288), ("max_user_instances", 128, 1_024)];
    limits
        .into_iter()
        .filter_map(|(name, need, better)| {
            let what = "inotify";
            let now = number_of(format!("/proc/sys/fs/inotify/{name}"))?;
            let found = format!("{name} {}", count(now));
            Some(if now >= need {
                Finding::ok(what, found)
            } else {
                Finding::warn(
                    what,
                    format!("{found}: tests that watch files may fail"),
                    format!("sudo sysctl fs.inotify.{name}={better}"),
                )
            })
        })
        .collect()
}

/// Less memory than this and the kernel begins to kill.
const MEMORY_LOW: u64 = 512 << 20;

fn memory() -> Option<Finding> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let free = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let free = free.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024;
    let found = format!("{} available", bytes(free));
    Some(if free >= MEMORY_LOW {
        Finding::ok("memory", found)
    } else {
        Finding::warn(
            "memory",
            found,
            "end what needs it (`ps aux --sort=-rss | head`), or run with fewer `--jobs`",
        )
    })
}

/// Load per core above which times are not to be trusted.
const LOAD_HIGH: f64 = 1.5;

fn load() -> Option<Finding> {
    let cores = crate::local::area::cores();
    let line = line_of("/proc/loadavg")?;
    let load: f64 = line.split(' ').next()?.parse().ok()?;
    let found = format!("{load:.2} on {}", crate::terminal::text::plural(cores.into(), "core", "cores"));
    Some(if load / f64::from(cores) <= LOAD_HIGH {
        Finding::ok("load", found)
    } else {
        Finding::warn(
            "load",
            format!("{found}: time limits may be reached for no fault of the tests"),
            "wait, or set `limits.load` so that Muster does; `ps aux --sort=-%cpu | head` shows who it is",
        )
    })
}
