//! Files that are there whole or not at all.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// A file beside `to` that is to become it. Dropped, it is gone; after a power cut its name tells whose it was.
pub(super) fn partial(dir: &Path, to: &Path) -> io::Result<NamedTempFile> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    // Limit: with what makes it unique it must fit into 255 bytes.
    let name: String = name.chars().take(60).collect();
    tempfile::Builder::new().prefix(&format!("{PARTIAL}{name}.")).tempfile_in(dir)
}

/// What the names of files begin with that are not whole yet.
const PARTIAL: &str = ".muster-partial.";

/// Gives it its name, readable by all, when it is on the disk.
pub(super) fn publish(partial: NamedTempFile, to: &Path) -> io::Result<()> {
    partial.as_file().set_permissions(Permissions::from_mode(0o644))?;
    partial.as_file().sync_all()?;
    partial.persist(to).map_err(|e| e.error)?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Makes names that were given in a directory survive a power cut.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}
