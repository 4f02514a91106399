//! Control groups: whether an attempt can be held, measured and killed as a whole.

use super::Finding;
use std::path::{Path, PathBuf};

const WHAT: &str = "cgroups";

pub(super) fn look() -> Vec<Finding> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let layout = Layout::of(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    vec![finding(&layout, |dir| {
        rustix::fs::access(dir.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
            && rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
    })]
}

/// How this process is placed in the control groups of its system.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    /// No hierarchy is mounted.
    None,
    /// Version 1 only.
    V1 {
        /// The controllers that are mounted.
        controllers: Vec<String>,
    },
    /// Both: controllers on version 1, and a version 2 hierarchy beside them.
    Hybrid {
        /// Where this process is in the latter.
        dir: PathBuf,
    },
    /// Version 2 only.
    V2 {
        /// Where this process is.
        dir: PathBuf,
    },
}

impl Layout {
    /// From `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7), proc(5)).
    fn of(cgroup: &str, mountinfo: &str) -> Self {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::read).collect();
        let two = mounts.iter().find(|m| m.kind == "cgroup2");
        let controllers: Vec<String> = mounts
            .iter()
            .filter(|m| m.kind == "cgroup")
            .flat_map(|m| m.options.split(','))
            .filter(|o| KNOWN.contains(o))
            .map(str::to_owned)
            .collect();
        let own = cgroup.lines().find_map(|l| l.strip_prefix("0::"));
        let dir = two.zip(own).map(|(m, own)| m.resolve(own));
        match (dir, controllers.is_empty()) {
            (None, true) => Self::None,
            (None, false) => Self::V1 { controllers },
            (Some(dir), false) => Self::Hybrid { dir },
            (Some(dir), true) => Self::V2 { dir },
        }
    }
}

/// Controllers that matter to tests.
const KNOWN: [&str; 5] = ["cpu", "memory", "pids", "freezer", "cpuacct"];

struct Mount<'a> {
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, place) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        let (kind, _, options) = (back.next()?, back.next()?, back.next()?);
        Some(Self { root, place, kind, options })
    }

    /// Where a group's directory is: its path is told from the hierarchy's root, of which only a part may
    /// be mounted.
    fn resolve(&self, group: &str) -> PathBuf {
        let below = group.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(group);
        match below.trim_matches('/') {
            "" => PathBuf::from(self.place),
            below => Path::new(self.place).join(below),
        }
    }
}

/// What holds without control groups.
const WITHOUT: &str = "attempts are still ended by process group and session, memory is per process";

fn finding(layout: &Layout, writable: impl Fn(&Path) -> bool) -> Finding {
    match layout {
        Layout::None => Finding::warn(
            WHAT,
            format!("none mounted: {WITHOUT}"),
            "sudo mount -t cgroup2 none /sys/fs/cgroup",
        ),
        Layout::V1 { controllers } => Finding::warn(
            WHAT,
            format!("version 1 ({}): {WITHOUT}", controllers.join(", ")),
            "boot with `systemd.unified_cgroup_hierarchy=1`",
        ),
        Layout::Hybrid { dir } | Layout::V2 { dir } => {
            let name = if matches!(layout, Layout::V2 { .. }) { "version 2" } else { "hybrid" };
            let shown = dir.display();
            if writable(dir) {
                Finding::ok(WHAT, format!("{name}, `{shown}` is ours"))
            } else {
                Finding::warn(
                    WHAT,
                    format!("{name}, `{shown}` is not ours to divide: {WITHOUT}"),
                    "systemd-run --user --scope -p Delegate=yes muster run",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    const V2: &str = "24 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "31 30 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 30 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";

    #[test]
    fn each_layout_is_told_from_the_mounts() {
        let own = "0::/user.slice/user-1000.slice/session-2.scope\n";
        let dir = PathBuf::from("/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope");
        assert_eq!(Layout::of(own, V2), Layout::V2 { dir });
        let controllers = vec!["memory".to_owned(), "pids".to_owned()];
        assert_eq!(Layout::of("9:memory:/docker/ab\n", V1), Layout::V1 { controllers });
        assert_eq!(Layout::of("", ""), Layout::None);
        let both = format!("{V1}40 30 0:40 /docker/ab /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let dir = PathBuf::from("/sys/fs/cgroup/unified/inner");
        assert_eq!(Layout::of("0::/docker/ab/inner\n", &both), Layout::Hybrid { dir });
    }

    #[test]
    fn a_group_that_is_not_ours_is_told_with_the_command_that_makes_it_so() {
        let layout = Layout::V2 { dir: PathBuf::from("/sys/fs/cgroup/x") };
        assert_eq!(finding(&layout, |_| true).level, Level::Ok);
        let told = finding(&layout, |_| false);
        assert_eq!(told.level, Level::Warn);
        assert!(told.fix.is_some_and(|f| f.contains("Delegate=yes")));
    }
}
