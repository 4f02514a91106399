//! Copies of directories.

use std::fs;
use std::io;
use std::path::Path;

/// Copies what is in a directory into another that is there: files with their modes, links as links. What is neither
/// is left out; what has the name of something that is copied is written over.
///
/// # Errors
/// Something cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            drop(fs::remove_file(&target));
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            // A file that is being executed cannot be written over, but taken away.
            drop(fs::remove_file(&target));
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
