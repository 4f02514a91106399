//! Files that are there whole or not at all, and a lock that others of the field take too.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// How long somebody else may keep a directory locked.
// Limit: an upload of everything is some minutes; what is longer hangs.
const LOCK_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether it is free: the system has no waiting with a limit.
const LOOK: Duration = Duration::from_millis(20);

/// A file beside `to` that is to become it. Dropped, it is gone; after a power cut its name tells whose it was.
pub(super) fn partial(dir: &Path, to: &Path) -> io::Result<NamedTempFile> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    // Limit: with what makes it unique it must fit into 255 bytes.
    let name: String = name.chars().take(60).collect();
    tempfile::Builder::new().prefix(&format!("{PARTIAL}{name}.")).tempfile_in(dir)
}

/// What the names of files begin with that are not whole yet.
pub(super) const PARTIAL: &str = ".muster-partial.";

/// Gives it its name, readable by all, when it is on the disk.
pub(super) fn publish(partial: NamedTempFile, to: &Path) -> io::Result<()> {
    partial.as_file().set_permissions(Permissions::from_mode(0o644))?;
    partial.as_file().sync_all()?;
    partial.persist(to).map_err(|e| e.error)?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Writes a file whole or not at all.
pub(super) fn write(to: &Path, text: &[u8]) -> io::Result<()> {
    let dir = to.parent().unwrap_or(Path::new("."));
    let mut file = partial(dir, to)?;
    io::Write::write_all(file.as_file_mut(), text)?;
    publish(file, to)
}

/// Makes names that were given in a directory survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Locks a directory against everybody who does the same, as `flock DIR COMMAND` does. Held until dropped.
pub(super) fn lock_dir(dir: &Path) -> io::Result<File> {
    lock(File::open(dir)?)
}

/// Locks a file of this name, which is made and never removed: whoever holds it open must find the same one.
pub(super) fn lock_file(path: &Path) -> io::Result<File> {
    lock(File::options().create(true).truncate(false).write(true).open(path)?)
}

fn lock(file: File) -> io::Result<File> {
    let until = Instant::now() + LOCK_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOOK),
            Err(fs::TryLockError::WouldBlock) => {
                let why = format!("somebody else has had it locked for {} seconds", LOCK_MAX.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Err(fs::TryLockError::Error(e)) => return Err(e),
        }
    }
}
