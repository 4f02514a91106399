//! Directories for what is on its way into an archive or out of it. What a process that was killed has left is taken away
//! by the next one that works there.

use crate::error::Complaint;
use muster_store::RunLock;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What they are called, with something random behind it.
const PREFIX: &str = ".muster-archive-";
/// Files are made here, beside the lock.
const INSIDE: &str = "work";

/// A directory that goes away with this.
pub(super) struct Scratch {
    dir: tempfile::TempDir,
    /// Says that somebody is here.
    _lock: RunLock,
}

impl Scratch {
    /// Below this directory, which is there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new(parent: &Path) -> Result<Self, anyhow::Error> {
        sweep(parent);
        let refused = |e: io::Error| {
            Complaint::lab(format!("no directory can be made in `{}`", parent.display())).because(e)
        };
        loop {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).map_err(refused)?;
            // Somebody who sweeps just now may have been faster, and takes it away.
            let Ok(lock) = RunLock::acquire(dir.path()) else { continue };
            match fs::create_dir(dir.path().join(INSIDE)) {
                Ok(()) if lock.path().exists() => return Ok(Self { dir, _lock: lock }),
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(refused(e).into()),
            }
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join(INSIDE)
    }
}

/// Takes away what nobody works in any more.
fn sweep(parent: &Path) {
    let Ok(list) = fs::read_dir(parent) else { return };
    for entry in list.flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // What cannot be taken away now is tried again by the next.
        if let Ok(_lock) = RunLock::acquire(&entry.path()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_that_was_killed_has_left_goes_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let used = Scratch::new(dir.path()).unwrap();
        fs::write(used.path().join("file"), "x").unwrap();
        let left = dir.path().join(format!("{PREFIX}left"));
        fs::create_dir_all(left.join(INSIDE)).unwrap();
        fs::write(dir.path().join("other"), "x").unwrap();
        let another = Scratch::new(dir.path()).unwrap();
        assert!(!left.exists());
        assert!(used.path().join("file").exists() && another.path().is_dir());
        drop((used, another));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but what is somebody else's");
    }
}
