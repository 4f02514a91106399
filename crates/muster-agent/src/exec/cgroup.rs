//! A control group per slot, where the machine allows: its processes cannot leave it, and one write kills
//! them all at once, which a process that forks faster than it can be found does not survive.
//!
//! Version 2 only, also beside version 1 (hybrid). Used where this process's own group is writable; no
//! controller is enabled and no limit set.

use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};

/// The group all slots' groups are in. Removed when dropped, if the slots' have been.
#[derive(Debug)]
pub(super) struct Root {
    dir: PathBuf,
    /// As `/proc/PID/cgroup` names it.
    name: String,
}

/// The group of one slot, used for process after process.
#[derive(Debug)]
pub(super) struct Group {
    dir: PathBuf,
    name: String,
    procs: OwnedFd,
    events: OwnedFd,
    kill: OwnedFd,
}

impl Root {
    /// Makes a group in this process's own; `None` where that is not possible.
    pub(super) fn make() -> Option<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let (mount, shown) = mounts.lines().find_map(mount_of_v2)?;
        // The mount may show a part of the hierarchy only.
        let within = Path::new(own).strip_prefix(shown).ok()?;
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let leaf = format!("muster-{}-{count}", std::process::id());
        let parent = Path::new(mount).join(within);
        let dir = parent.join(&leaf);
        std::fs::create_dir(&dir).ok()?;
        remove_abandoned(&parent);
        let root = Self { name: format!("{}/{leaf}", own.trim_end_matches('/')), dir };
        // Only a group that a process can be moved to is of use; the slots' groups find that out.
        root.slot(u32::MAX).map(|_| ()).map(|()| root)
    }

    /// Where it is, for people.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a slot's group.
    pub(super) fn slot(&self, slot: u32) -> Option<Group> {
        let dir = self.dir.join(format!("slot-{slot}"));
        std::fs::create_dir(&dir).ok()?;
        let open =
            |file: &str, flags| rustix::fs::open(dir.join(file), flags | OFlags::CLOEXEC, Mode::empty()).ok();
        let files = (
            open("cgroup.procs", OFlags::WRONLY),
            open("cgroup.events", OFlags::RDONLY),
            open("cgroup.kill", OFlags::WRONLY),
        );
        let (Some(procs), Some(events), Some(kill)) = files else {
            drop(std::fs::remove_dir(&dir));
            return None;
        };
        let name = format!("{}/slot-{slot}", self.name);
        Some(Group { dir, name, procs: super::above_std(procs).ok()?, events, kill })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // It stays if a process in uninterruptible sleep does; nothing depends on it.
        drop(std::fs::remove_dir(&self.dir));
    }
}

impl Group {
    /// What a process writes `0` to, to enter.
    pub(super) fn procs(&self) -> BorrowedFd<'_> {
        self.procs.as_fd()
    }

    /// As `/proc/PID/cgroup` names it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a process (not only a zombie) is in it.
    pub(super) fn is_populated(&self) -> bool {
        let mut text = [0u8; 64];
        let n = rustix::io::pread(&self.events, &mut text, 0).unwrap_or(0);
        text[..n].starts_with(b"populated 1")
    }

    /// Kills every process in it.
    pub(super) fn kill(&self) {
        // Should it fail, the processes are still found one by one.
        let _ = rustix::io::pwrite(&self.kill, b"1", 0);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.dir));
    }
}

/// Removes the groups of engines whose process is gone without having done so. The kernel refuses where a
/// process is still inside.
fn remove_abandoned(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix("muster-")?.split_once('-')).map(|(pid, _)| pid);
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            for slot in std::fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                drop(std::fs::remove_dir(slot.path()));
            }
            drop(std::fs::remove_dir(entry.path()));
        }
    }
}

/// Mount point and shown part of a line of `/proc/PID/mountinfo` that is of version 2.
fn mount_of_v2(line: &str) -> Option<(&str, &str)> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let shown = fields.next()?;
    Some((fields.next()?, shown))
}
