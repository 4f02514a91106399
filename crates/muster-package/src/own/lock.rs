//! Locks and files that are there whole or not at all.

use super::error::{At as _, PackageError};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A lock that the system gives back when its holder ends, however that is.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for it. The file is made, and stays.
    pub(super) fn exclusive(path: &Path) -> Result<Self, PackageError> {
        Self::take(path, FlockOperation::LockExclusive)
    }

    /// Waits until nobody holds it alone.
    pub(super) fn shared(path: &Path) -> Result<Self, PackageError> {
        Self::take(path, FlockOperation::LockShared)
    }

    /// Takes it if nobody has it.
    pub(super) fn try_exclusive(path: &Path) -> Result<Option<Self>, PackageError> {
        match Self::take(path, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(PackageError::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn take(path: &Path, how: FlockOperation) -> Result<Self, PackageError> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).at(dir)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path).at(path)?;
        loop {
            match rustix::fs::flock(&file, how) {
                Err(rustix::io::Errno::INTR) => {}
                done => {
                    done.at(path)?;
                    return Ok(Self { _file: file });
                }
            }
        }
    }
}

/// A name for something that is being written, which nobody else uses.
pub(super) fn unused(dir: &Path, what: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    dir.join(format!("{what}.{}.{}.{count}", std::process::id(), now.as_nanos()))
}

/// Writes a file so that it is there whole, or as it was before; survives a power cut when this returns.
pub(super) fn write_file(path: &Path, bytes: &[u8], incoming: &Path) -> Result<(), PackageError> {
    write_beside(bytes, incoming, |file, temporary| {
        file.sync_all().at(temporary)?;
        keep(temporary, path)
    })
}

/// The same without waiting for the disk, which may have to write all else first: after a power cut it may be
/// gone, or torn. For what is held against a digest whenever it is read, and can be had again.
pub(super) fn write_soon(path: &Path, bytes: &[u8], incoming: &Path) -> Result<(), PackageError> {
    write_beside(bytes, incoming, |_, temporary| fs::rename(temporary, path).at(path))
}

fn write_beside(
    bytes: &[u8],
    incoming: &Path,
    keep: impl FnOnce(&File, &Path) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let temporary = unused(incoming, "file");
    let written = (|| {
        let mut file = File::create_new(&temporary).at(&temporary)?;
        file.write_all(bytes).at(&temporary)?;
        keep(&file, &temporary)
    })();
    if written.is_err() {
        // Perhaps the disk is full of it.
        let _left = fs::remove_file(&temporary);
    }
    written
}

/// Gives what was written its name.
pub(super) fn keep(temporary: &Path, path: &Path) -> Result<(), PackageError> {
    fs::rename(temporary, path).at(path)?;
    match path.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), PackageError> {
    let fd =
        rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(dir)?;
    rustix::fs::fsync(fd).at(dir)
}
