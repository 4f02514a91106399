//! Who is executing a run: an advisory lock that ends with the process that holds it.
//!
//! Does not protect the records (the database does that itself); it keeps two processes from executing
//! the same run, and lets others see that a run which is not over is alive.

use crate::error::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// The right to execute a run. It ends when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    path: PathBuf,
}

/// Why a run cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process executes it.
    #[error("the run is being executed by another process{}", pid.map(|p| format!(" ({p})")).unwrap_or_default())]
    Held {
        /// That process, as it called itself.
        pid: Option<u32>,
    },
    /// The lock file cannot be made or locked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RunLock {
    /// Its name in the run's directory.
    pub(crate) const FILE: &'static str = "lock";

    /// Locks the run whose directory this is, making the directory where needed.
    pub fn acquire(run_dir: &Path) -> Result<Self, LockError> {
        let path = run_dir.join(Self::FILE);
        let io = |doing| {
            let path = path.clone();
            move |source| StoreError::Io { doing, path, source }
        };
        std::fs::create_dir_all(run_dir).map_err(io("make the directory of"))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io("open"))?;
        // Somebody who asks for the holder has the lock for an instant; an executing process keeps it.
        let mut tries = 0;
        while let Err(refused) = file.try_lock() {
            tries += 1;
            match refused {
                TryLockError::WouldBlock if tries < TRIES_MAX => std::thread::sleep(PAUSE),
                TryLockError::WouldBlock => return Err(LockError::Held { pid: read_pid(&mut file) }),
                TryLockError::Error(source) => return Err(io("lock")(source).into()),
            }
        }
        // Who holds it is for people only, so a failure to say so is not one to lock.
        let said = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        drop(said);
        Ok(Self { file, path })
    }

    /// Whether some process executes the run whose directory this is, and which one it says it is.
    /// Never blocks and takes nothing away.
    pub fn holder(run_dir: &Path) -> Option<Option<u32>> {
        let mut file = File::open(run_dir.join(Self::FILE)).ok()?;
        // A shared lock is refused just when somebody has the exclusive one.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_pid(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing the file unlocks too, unless a child still has it; then this does.
        drop(self.file.unlock());
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_locked_is_refused_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/1");
        assert_eq!(RunLock::holder(&run), None);
        let lock = RunLock::acquire(&run).unwrap();
        assert_eq!(RunLock::holder(&run), Some(Some(std::process::id())));
        let refused = RunLock::acquire(&run).unwrap_err();
        assert!(matches!(refused, LockError::Held { pid: Some(p) } if p == std::process::id()), "{refused}");
        drop(lock);
        assert_eq!(RunLock::holder(&run), None);
        RunLock::acquire(&run).unwrap();
    }
}
