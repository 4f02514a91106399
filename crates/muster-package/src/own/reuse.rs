//! What is installed already and need not be fetched: files of other versions, by hard link or reflink, and
//! chunks of their long files. All of it is verified before it is used.

use super::chunk::{ChunkId, Piece};
use super::error::{At as _, PackageError};
use super::fingerprint::{Record, open_dir};
use super::manifest::{Entry, Manifest, What};
use super::parallel;
use super::tree_path::TreePath;
use super::verify;
use super::write::{Writer, mode};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

/// Something installed, of which what is right can be used again.
pub(super) struct Old {
    pub(super) tree: PathBuf,
    pub(super) manifest: Manifest,
    /// What in it was found to be other than it should be.
    spoiled: HashSet<TreePath>,
}

impl Old {
    /// Finds out what of it is right: by its record where nothing was touched, by reading otherwise.
    pub(super) fn look(tree: PathBuf, manifest: Manifest, record: Option<&Record>) -> Self {
        let suspects: Vec<&Entry> = match record.filter(|r| r.is_of_this_boot()) {
            None => manifest.entries.iter().collect(),
            Some(record) => {
                let names: HashSet<TreePath> = record.suspects(&tree).names.into_iter().collect();
                manifest.entries.iter().filter(|e| names.contains(&e.path)).collect()
            }
        };
        let spoiled = Self::spoiled(&tree, &suspects);
        Self { tree, manifest, spoiled }
    }

    /// What an install that was killed had of a package.
    pub(super) fn left(tree: PathBuf, manifest: Manifest) -> Self {
        let spoiled = Self::spoiled(&tree, &manifest.entries.iter().collect::<Vec<_>>());
        for entry in &manifest.entries {
            let What::File { executable, pieces } = &entry.what else { continue };
            // A file of several chunks gets its mode last.
            if pieces.len() > 1 && !spoiled.contains(&entry.path) {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(mode(*executable));
                // Then it is used with another mode, or not at all.
                let _as_it_is = std::fs::set_permissions(entry.path.below(&tree), mode);
            }
        }
        Self { tree, manifest, spoiled }
    }

    fn spoiled(tree: &Path, suspects: &[&Entry]) -> HashSet<TreePath> {
        verify::read(tree, suspects).into_iter().map(|(e, _)| e.path.clone()).collect()
    }
}

/// What of old packages serves a new one.
#[derive(Default)]
pub(super) struct Reuse {
    /// For each entry of the new one: the old package, by its place, and the entry there.
    pub(super) files: Vec<Option<(usize, usize)>>,
    /// Chunks in long files: the old package, its entry, and where in that file.
    pub(super) chunks: HashMap<ChunkId, (usize, usize, u64)>,
}

impl Old {
    /// The entries that can be used again: files that are right. An empty one is made faster than it is linked.
    pub(super) fn usable(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let is_usable = |entry: &Entry| {
            matches!(&entry.what, What::File { pieces, .. } if !pieces.is_empty())
                && !self.spoiled.contains(&entry.path)
        };
        self.manifest.entries.iter().enumerate().filter(move |(_, entry)| is_usable(entry))
    }
}

impl Reuse {
    /// With these files of old packages; of what is left, what long old files have in common with it is found.
    pub(super) fn of(olds: &[Old], new: &Manifest, files: Vec<Option<(usize, usize)>>) -> Self {
        let mut reuse = Self { files, chunks: HashMap::new() };
        let wanted: HashSet<ChunkId> = new
            .entries
            .iter()
            .zip(&reuse.files)
            .filter_map(|(entry, found)| match (&entry.what, found) {
                (What::File { pieces, .. }, None) => Some(pieces),
                _ => None,
            })
            .flatten()
            .filter_map(|piece| match piece {
                Piece::Data { id, .. } => Some(*id),
                Piece::Hole { .. } => None,
            })
            .collect();
        for (at, old) in olds.iter().enumerate() {
            for (place, entry) in old.manifest.entries.iter().enumerate() {
                let What::File { pieces, .. } = &entry.what else { continue };
                let mut offset = 0;
                for piece in pieces {
                    if let Piece::Data { id, .. } = piece
                        && wanted.contains(id)
                    {
                        reuse.chunks.entry(*id).or_insert((at, place, offset));
                    }
                    offset += piece.len();
                }
            }
        }
        reuse
    }
}

/// How a file is used again.
const LINK: u8 = 0;
const CLONE: u8 = 1;
const COPY: u8 = 2;

/// Puts files of old packages into a new one. Says which could not be.
pub(super) fn place(writer: &Writer<'_>, olds: &[Old], reuse: &Reuse) -> Result<Vec<usize>, PackageError> {
    // A reflink keeps the two apart, so it is tried first, until the file system says no.
    let how = AtomicU8::new(CLONE);
    let failed = parallel::each(&writer.dirs, 8, |_, dir| -> Result<Vec<usize>, PackageError> {
        let mut failed = Vec::new();
        let path = dir.path.as_ref().map_or_else(|| writer.tree.clone(), |p| p.below(&writer.tree));
        let to = open_dir(&path)?;
        let mut from: Option<(usize, Vec<u8>, std::os::fd::OwnedFd)> = None;
        for (name, entry) in dir.names.iter().zip(&dir.entries) {
            let Some((at, place)) = reuse.files[*entry] else { continue };
            let What::File { executable, .. } = writer.manifest.entries[*entry].what else { continue };
            let (old_dir, old_name) = olds[at].manifest.entries[place].path.split();
            let fd = match &from {
                Some((last, dir, fd)) if *last == at && dir == old_dir => fd,
                _ => {
                    let path = olds[at].tree.join(OsStr::from_bytes(old_dir));
                    &from.insert((at, old_dir.to_vec(), open_dir(&path)?)).2
                }
            };
            let (old_name, name) = (OsStr::from_bytes(old_name), OsStr::from_bytes(name.bytes()));
            if put(&how, fd, old_name, &to, name, mode(executable)).is_err() {
                failed.push(*entry);
            }
        }
        Ok(failed)
    })?;
    Ok(failed.into_iter().flatten().collect())
}

fn put(
    how: &AtomicU8,
    from: &std::os::fd::OwnedFd,
    old_name: &OsStr,
    to: &std::os::fd::OwnedFd,
    name: &OsStr,
    mode: u32,
) -> rustix::io::Result<()> {
    if how.load(Ordering::Relaxed) == LINK {
        match rustix::fs::linkat(from, old_name, to, name, AtFlags::empty()) {
            // Of another file system, or linked too often.
            Err(rustix::io::Errno::XDEV | rustix::io::Errno::PERM) => how.store(COPY, Ordering::Relaxed),
            Err(rustix::io::Errno::MLINK) => {}
            done => return done,
        }
    }
    let old = rustix::fs::openat(
        from,
        old_name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let new = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(mode))?;
    rustix::fs::fchmod(&new, Mode::from_raw_mode(mode))?;
    if how.load(Ordering::Relaxed) == CLONE {
        if rustix::fs::ioctl_ficlone(&new, &old).is_ok() {
            return Ok(());
        }
        how.store(LINK, Ordering::Relaxed);
        rustix::fs::unlinkat(to, name, AtFlags::empty())?;
        return put(how, from, old_name, to, name, mode);
    }
    loop {
        // Limit: one call copies at most this much.
        if rustix::fs::copy_file_range(&old, None, &new, None, 1 << 30)? == 0 {
            return Ok(());
        }
    }
}

/// The bytes of a chunk of an old package's long file, if they are still what they were.
pub(super) fn chunk(olds: &[Old], reuse: &Reuse, id: ChunkId, len: u32) -> Option<Vec<u8>> {
    let (at, place, offset) = *reuse.chunks.get(&id)?;
    let path = olds[at].manifest.entries[place].path.below(&olds[at].tree);
    let mut bytes = vec![0; len as usize];
    File::open(&path).at(&path).ok()?.read_exact_at(&mut bytes, offset).ok()?;
    (ChunkId::of(&bytes) == id).then_some(bytes)
}
