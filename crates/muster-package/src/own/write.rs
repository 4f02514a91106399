//! Writes the files of a package into a directory that is nobody else's yet. Files are made anew, never opened
//! where something may be, and links come last, so nothing is written through one.

use super::chunk::{ChunkId, Piece};
use super::error::{At as _, PackageError};
use super::fingerprint::{DirOf, dirs_of};
use super::manifest::{Manifest, What};
use super::parallel;
use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Nobody writes to what is installed: it may be shared by several versions.
const FILE_MODE: u32 = 0o444;
const PROGRAM_MODE: u32 = 0o555;

/// A package that is written.
pub(super) struct Writer<'a> {
    pub(super) tree: PathBuf,
    pub(super) manifest: &'a Manifest,
    pub(super) dirs: Vec<DirOf>,
}

/// Where the bytes of a chunk go: to an entry, from there on.
pub(super) type Targets = HashMap<u32, Vec<(usize, u64)>>;

impl<'a> Writer<'a> {
    /// Makes all directories of it in a new one.
    pub(super) fn begin(tree: PathBuf, manifest: &'a Manifest) -> Result<Self, PackageError> {
        let dirs = dirs_of(manifest);
        fs::create_dir(&tree).at(&tree)?;
        for dir in &dirs {
            let path = dir.path.as_ref().map_or_else(|| tree.clone(), |p| p.below(&tree));
            if dir.path.is_some() {
                fs::create_dir(&path).at(&path)?;
            }
            // Whatever the umask is: who runs tests must get in.
            fs::set_permissions(&path, Permissions::from_mode(0o755)).at(&path)?;
        }
        Ok(Self { tree, manifest, dirs })
    }

    pub(super) fn path(&self, entry: usize) -> PathBuf {
        self.manifest.entries[entry].path.below(&self.tree)
    }

    /// Makes files that need no bytes of a chunk of their own, or bytes of several: those that are empty,
    /// whole holes, or long.
    pub(super) fn prepare(&self, entries: &[usize]) -> Result<(), PackageError> {
        parallel::each(entries, 64, |_, entry| {
            let What::File { pieces, .. } = &self.manifest.entries[*entry].what else { return Ok(()) };
            if is_one_chunk(pieces) {
                return Ok(());
            }
            let path = self.path(*entry);
            let file = create(&path, 0o600)?;
            file.set_len(self.manifest.entries[*entry].what.len()).at(&path)
        })?;
        Ok(())
    }

    /// Where the chunks of these entries go, by their numbers among those of the package.
    pub(super) fn targets(&self, entries: &[usize], chunks: &[(ChunkId, u32)]) -> Targets {
        let numbers: HashMap<_, u32> =
            chunks.iter().zip(0..).map(|((id, _), number)| (*id, number)).collect();
        let mut targets = Targets::new();
        for entry in entries {
            let What::File { pieces, .. } = &self.manifest.entries[*entry].what else { continue };
            let mut at = 0;
            for piece in pieces {
                if let Piece::Data { id, .. } = piece {
                    targets.entry(numbers[id]).or_default().push((*entry, at));
                }
                at += piece.len();
            }
        }
        targets
    }

    /// Writes a chunk to where it belongs.
    pub(super) fn put(&self, targets: &[(usize, u64)], bytes: &[u8]) -> Result<(), PackageError> {
        for (entry, at) in targets {
            let What::File { executable, pieces } = &self.manifest.entries[*entry].what else { continue };
            let path = self.path(*entry);
            if is_one_chunk(pieces) {
                let mut file = create(&path, mode(*executable))?;
                file.write_all(bytes).at(&path)?;
            } else {
                let file = File::options().write(true).open(&path).at(&path)?;
                file.write_all_at(bytes, *at).at(&path)?;
            }
        }
        Ok(())
    }

    /// Gives the files that were prepared their modes, and makes the links.
    pub(super) fn finish(&self, entries: &[usize]) -> Result<(), PackageError> {
        parallel::each(entries, 64, |_, entry| {
            let path = self.path(*entry);
            match &self.manifest.entries[*entry].what {
                What::File { executable, pieces } if !is_one_chunk(pieces) => {
                    fs::set_permissions(&path, Permissions::from_mode(mode(*executable))).at(&path)
                }
                What::Link { to } => {
                    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(to.bytes()), &path).at(&path)
                }
                What::File { .. } | What::Dir => Ok(()),
            }
        })?;
        Ok(())
    }
}

pub(super) fn mode(executable: bool) -> u32 {
    if executable { PROGRAM_MODE } else { FILE_MODE }
}

fn is_one_chunk(pieces: &[Piece]) -> bool {
    matches!(pieces, [Piece::Data { .. }])
}

fn create(path: &Path, mode: u32) -> Result<File, PackageError> {
    let file = File::options().write(true).create_new(true).mode(mode).open(path).at(path)?;
    if umask_takes(mode) {
        file.set_permissions(Permissions::from_mode(mode)).at(path)?;
    }
    Ok(file)
}

/// Whether files do not get the mode they are made with.
fn umask_takes(mode: u32) -> bool {
    static MASK: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let mask = MASK.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("Umask:"));
        // Where it cannot be known, it is taken to take everything.
        line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o777)
    });
    mode & mask != 0
}
