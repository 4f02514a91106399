//! The directory of something that was started for a device: a container, a virtual machine.
//!
//! It is removed with what it belongs to, or it is kept under a name, and whoever opens the device next
//! finds there what still runs.

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that only this user can see.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    kept: bool,
}

impl RunDir {
    /// One that goes with the value.
    pub(crate) fn temporary(kind: &str) -> io::Result<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("muster-{kind}-{}-{n}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            // Of a process that was killed and had this number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_ours(&path) => {
                remove_all(&path)?;
                DirBuilder::new().mode(0o700).create(&path)?;
            }
            other => other?,
        }
        Ok(Self { path, kept: false })
    }

    /// The one of this name, which stays.
    pub(crate) fn kept(kind: &str, name: &str) -> io::Result<Self> {
        let base = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|d| d.is_dir()) {
            Some(dir) => dir.join("muster"),
            None => std::env::temp_dir().join(format!("muster-{}", geteuid().as_raw())),
        };
        let path = base.join(kind).join(name);
        DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        if !is_ours(&base) {
            let why = format!("`{}` belongs to somebody else or is open to others", base.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Self { path, kept: true })
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes an empty directory in it; what was there before goes.
    pub(crate) fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.at(name);
        remove_all(&path)?;
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Nobody else starts or ends what is in it while this is open.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = File::options().create(true).append(true).open(self.at("lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed is in the directory for temporary files.
            drop(remove_all(&self.path));
        }
    }
}

fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|m| m.is_dir() && m.uid() == geteuid().as_raw() && m.mode() & 0o022 == 0)
}

/// Removes a tree, also where directories in it are closed to their owner. Nothing there is fine.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.is_dir() {
        return fs::remove_file(path);
    }
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    open_up(path);
    fs::remove_dir_all(path)
}

fn open_up(dir: &Path) {
    // What cannot be opened is told by what cannot be removed.
    drop(fs::set_permissions(dir, fs::Permissions::from_mode(0o700)));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// A process, told apart from later ones of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alive {
    pub(crate) pid: u32,
    /// In the kernel's clock ticks since the host has been up.
    started: u64,
}

impl Alive {
    /// The process of this number, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may have blanks and brackets; what follows the last bracket has none.
        let rest = stat.rsplit_once(')')?.1;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    /// Whether it is still there.
    pub(crate) fn still(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills it, if it is still there.
    pub(crate) fn kill(self) {
        let number = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(Ok(fd)) = number.map(|n| pidfd_open(n, PidfdFlags::empty())) else { return };
        if self.still() {
            // It may have ended meanwhile.
            let _ = pidfd_send_signal(&fd, Signal::KILL);
        }
    }
}

/// A program of this host by its name, as a shell finds it.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.map(|dir| dir.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_start() {
        let me = Alive::of(std::process::id()).unwrap();
        assert!(me.still());
        assert!(!Alive { started: me.started + 1, ..me }.still());
        assert_eq!(Alive::of(u32::MAX), None);
    }

    #[test]
    fn a_temporary_directory_goes_with_all_that_is_in_it() {
        let dir = RunDir::temporary("test").unwrap();
        let path = dir.at("closed");
        fs::create_dir_all(path.join("below")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        drop(dir);
        assert!(!path.parent().unwrap().exists());
    }
}
