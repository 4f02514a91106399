//! Files that are there whole or not at all: written beside their place, and given their name at the end.

use crate::context::Context;
use crate::error::Complaint;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// A file beside this place, for [`NamedTempFile::persist`]. Two processes that write to one place each have their own.
///
/// # Errors
/// The directory is not there, or nothing can be written to it.
pub(crate) fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix(".muster-").permissions(Permissions::from_mode(0o666)).tempfile_in(dir)
}

/// Writes it to this file, or, without one (or with `-`), to standard output.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_or_print(
    to: Option<&Path>,
    bytes: &[u8],
    context: &Context,
) -> Result<(), anyhow::Error> {
    let Some(path) = to.filter(|path| path.as_os_str() != "-") else {
        context.stdout().write_all(bytes)?;
        return Ok(());
    };
    let path = context.dir.join(path);
    let write = || -> io::Result<()> {
        let mut file = beside(&path)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| {
        Complaint::usage(format!("`{}` cannot be written", path.display()))
            .because(e)
            .hint("name a file in a directory that is there and writable")
    })?;
    Ok(())
}
