//! Holds what is installed against its manifest, byte by byte.

use super::chunk::{ChunkId, Piece};
use super::fingerprint::dirs_of;
use super::manifest::{Entry, Manifest, What};
use super::parallel;
use super::tree_path::TreePath;
use serde::Serialize;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// What is wrong with something that is installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Damage {
    /// It is not there.
    Missing(String),
    /// It is not what it should be.
    Changed(String),
    /// It should not be there.
    Extra(String),
}

/// Reads these entries; says which are not what they should be.
pub(super) fn read<'a>(tree: &Path, entries: &[&'a Entry]) -> Vec<(&'a Entry, Damage)> {
    let found = parallel::each(entries, 64, |_, entry| -> Result<_, ()> {
        let path = entry.path.below(tree);
        Ok(match is_whole(&path, &entry.what) {
            Ok(true) => None,
            Ok(false) => Some((*entry, Damage::Changed(entry.path.to_string()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Some((*entry, Damage::Missing(entry.path.to_string())))
            }
            Err(_) => Some((*entry, Damage::Changed(entry.path.to_string()))),
        })
    });
    found.unwrap_or_default().into_iter().flatten().collect()
}

/// Whether what is at a path is this.
fn is_whole(path: &Path, what: &What) -> std::io::Result<bool> {
    match what {
        What::Dir => Ok(fs::symlink_metadata(path)?.is_dir()),
        What::Link { to } => {
            let meta = fs::symlink_metadata(path)?;
            Ok(meta.is_symlink() && fs::read_link(path)?.as_os_str().as_bytes() == to.bytes())
        }
        What::File { executable, pieces } => {
            // A link is not followed, and a pipe in its place not waited for.
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
            let flags = i32::try_from(flags.bits()).expect("flags are few");
            let mut file = File::options().read(true).custom_flags(flags).open(path)?;
            let meta = file.metadata()?;
            let is_like = meta.is_file()
                && meta.len() == what.len()
                && (meta.mode() & 0o100 != 0) == *executable
                && meta.mode() & 0o6000 == 0;
            if !is_like {
                return Ok(false);
            }
            let mut bytes = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Data { id, len } => {
                        bytes.resize(*len as usize, 0);
                        file.read_exact(&mut bytes)?;
                        if ChunkId::of(&bytes) != *id {
                            return Ok(false);
                        }
                    }
                    Piece::Hole { len } => {
                        let mut left = *len;
                        while left > 0 {
                            bytes.resize(usize::try_from(left.min(1 << 20)).expect("it is short"), 0);
                            file.read_exact(&mut bytes)?;
                            if bytes.iter().any(|b| *b != 0) {
                                return Ok(false);
                            }
                            left -= bytes.len() as u64;
                        }
                    }
                }
            }
            Ok(true)
        }
    }
}

/// What is in the directories of an installed package and is not of it.
pub(super) fn extras(tree: &Path, manifest: &Manifest) -> Vec<Damage> {
    let dirs = dirs_of(manifest);
    let known: HashSet<&[u8]> = dirs.iter().filter_map(|d| d.path.as_ref()).map(TreePath::bytes).collect();
    let found = parallel::each(&dirs, 8, |_, dir| -> Result<Vec<Damage>, ()> {
        let path = dir.path.as_ref().map_or_else(|| tree.to_owned(), |p| p.below(tree));
        let names: HashSet<&[u8]> = dir.names.iter().map(TreePath::bytes).collect();
        let mut extra = Vec::new();
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let mut whole = dir.path.as_ref().map(|p| [p.bytes(), b"/"].concat()).unwrap_or_default();
            whole.extend_from_slice(name.as_bytes());
            if !names.contains(name.as_bytes()) && !known.contains(&whole[..]) {
                extra.push(Damage::Extra(whole.escape_ascii().to_string()));
            }
        }
        Ok(extra)
    });
    found.unwrap_or_default().into_iter().flatten().collect()
}
