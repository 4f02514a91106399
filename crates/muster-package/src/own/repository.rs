//! A repository in a directory: what packages are published, and their bytes. All of it are plain files that
//! any web server can give out; none is ever changed but the list of what is published, and that at once.
//!
//! ```text
//! muster-repository.toml      that it is one
//! packages.jsonl              what is published, oldest first
//! manifests/DIGEST            compressed
//! maps/DIGEST                 where the chunks of that package are
//! packs/DIGEST, .index        chunks
//! patches/NEW-OLD             a manifest as what differs from an older one
//! lock, incoming/             for those who write
//! ```
//!
//! The bytes are there before the list names them, so what is listed can be had, and what a crash leaves
//! behind is in nobody's way until [`Repository::collect`] takes it away.

use super::about::{About, Reference};
use super::build::{Built, Tree, build_into};
use super::error::{At as _, PackageError};
use super::lock::{Lock, keep, write_file};
use super::manifest::Manifest;
use super::names::{self, NAMES_FILE, Published};
use super::pack::{PackIndex, Shelf, TABLE_BYTES_MAX};
use super::packs::{Frames as _, Gathered, Packs};
use super::source::{Source, Sources};
use muster_core::digest::Digest;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file that makes a directory a repository.
pub(super) const MARK_FILE: &str = "muster-repository.toml";
const MARK: &str = "# Packages of Muster, published by `muster package`.\nformat = 1\n";
/// How many older manifests a new one is told as a patch of.
// Limit: each costs the time to compress the manifest once.
const PATCHES: usize = 2;
/// How hard patches are compressed: they are small, and fetched often.
const PATCH_LEVEL: i32 = 9;

/// A repository in a directory.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

/// What publishing a package came to.
#[derive(Clone, Debug, Serialize)]
pub struct Upload {
    /// What was published.
    pub package: Published,
    /// Whether it was there already.
    pub is_known: bool,
    /// Bytes that were written for it.
    pub bytes_written: u64,
    /// Chunks it has, and those of them that were new.
    pub chunks: usize,
    /// See [`Upload::chunks`].
    pub chunks_new: usize,
}

/// What was taken off the list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pruned {
    /// The packages.
    pub removed: Vec<Published>,
}

impl Repository {
    /// The repository in this directory; `None` where there is none.
    pub fn open(root: &Path) -> Option<Self> {
        root.join(MARK_FILE).is_file().then(|| Self { root: root.to_owned() })
    }

    /// The same; it is made where the directory is empty or not there.
    ///
    /// # Errors
    /// The directory has other things in it, or cannot be written to.
    pub fn create(root: &Path) -> Result<Self, PackageError> {
        if let Some(there) = Self::open(root) {
            return Ok(there);
        }
        fs::create_dir_all(root).at(root)?;
        let own = ["lock", "incoming", "packs", "maps", "manifests", "patches", NAMES_FILE];
        for entry in fs::read_dir(root).at(root)? {
            let name = entry.at(root)?.file_name();
            if !own.iter().any(|o| name == *o) {
                return Err(PackageError::Asked(format!(
                    "`{}` is no repository, and holds `{}`: name an empty directory for a new one",
                    root.display(),
                    name.display()
                )));
            }
        }
        let repository = Self { root: root.to_owned() };
        let _lock = repository.lock()?;
        for dir in ["incoming", "packs", "maps", "manifests", "patches"] {
            fs::create_dir_all(root.join(dir)).at(root)?;
        }
        if !root.join(NAMES_FILE).exists() {
            repository.write(NAMES_FILE, &names::encode(&[]))?;
        }
        repository.write(MARK_FILE, MARK.as_bytes())?;
        Ok(repository)
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// To fetch from it.
    pub fn source(&self) -> Source {
        Source::dir(self.root.clone())
    }

    /// What is published, oldest first.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn list(&self) -> Result<Vec<Published>, PackageError> {
        self.source().list()
    }

    /// Makes a package of a folder and publishes it.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn build(&self, tree: &Tree, about: About) -> Result<Upload, PackageError> {
        let _lock = self.lock()?;
        let shelf = self.shelf()?;
        let mut packs = Packs::new(self);
        let is_known = |id: &_| shelf.chunks.contains_key(id);
        let Built { manifest, bytes } = build_into(tree, about, &is_known, &mut |frame| packs.push(frame))?;
        self.publish(&manifest, &bytes, shelf, packs)
    }

    /// Makes a package of a folder and keeps it, known by its digest and on no list.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn make(&self, tree: &Tree, about: About) -> Result<Published, PackageError> {
        let _lock = self.lock()?;
        let shelf = self.shelf()?;
        let mut packs = Packs::new(self);
        let is_known = |id: &_| shelf.chunks.contains_key(id);
        let Built { manifest, bytes } = build_into(tree, about, &is_known, &mut |frame| packs.push(frame))?;
        let package = Published::of(&manifest, super::manifest::digest_of(&bytes));
        self.keep_all(&manifest, &bytes, package.digest, shelf, packs)?;
        Ok(package)
    }

    /// Publishes a package that is in another repository. What is lacking here is fetched from there.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn copy(&self, from: &Sources, package: &Published) -> Result<Upload, PackageError> {
        let _lock = self.lock()?;
        let shelf = self.shelf()?;
        let mut packs = Packs::new(self);
        let (manifest, bytes) = from.manifest(package, None)?;
        let chunks = manifest.chunks();
        let lacking: Vec<bool> = chunks.iter().map(|(id, _)| !shelf.chunks.contains_key(id)).collect();
        let gathered = Mutex::new(Gathered::new(&mut packs));
        from.fetch(package, &chunks, &lacking, &|number, bytes| {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.add(chunks[number as usize], bytes)
        })?;
        gathered.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?;
        self.publish(&manifest, &bytes, shelf, packs)
    }

    /// Writes all that a package needs, and last its name. The lock is held.
    fn publish(
        &self,
        manifest: &Manifest,
        bytes: &[u8],
        shelf: Shelf,
        packs: Packs<'_>,
    ) -> Result<Upload, PackageError> {
        let package = Published::of(manifest, super::manifest::digest_of(bytes));
        let list = self.list()?;
        must_not_clash(&list, &package)?;
        let (kept, chunks_new) = self.keep_all(manifest, bytes, package.digest, shelf, packs)?;
        let chunks = manifest.chunk_count();
        let (is_known, listed) = self.enlist(list, &package, bytes)?;
        Ok(Upload { package, is_known, bytes_written: kept + listed, chunks, chunks_new })
    }

    /// Writes all that a package needs but its name. Says how many bytes that were, and how many chunks new. The
    /// lock is held.
    fn keep_all(
        &self,
        manifest: &Manifest,
        bytes: &[u8],
        digest: Digest,
        mut shelf: Shelf,
        packs: Packs<'_>,
    ) -> Result<(u64, usize), PackageError> {
        let (packs_written, new) = packs.finish()?;
        let chunks_new = new.iter().flat_map(|(_, index)| &index.frames).map(|f| f.chunks.len()).sum();
        for (pack, index) in new {
            shelf.add(pack, index);
        }
        Ok((packs_written + self.keep_manifest(manifest, bytes, digest, &shelf)?, chunks_new))
    }

    /// Writes what a package is and where its chunks are, which are all there. The lock is held.
    pub(super) fn keep_manifest(
        &self,
        manifest: &Manifest,
        bytes: &[u8],
        digest: Digest,
        shelf: &Shelf,
    ) -> Result<u64, PackageError> {
        let map = shelf.map(&manifest.chunks()).map_err(|id| {
            PackageError::damaged(format!("chunk {id}"), self.place(), "it is not in any pack")
        })?;
        let packed = zstd::bulk::compress(bytes, PATCH_LEVEL).at(&self.root)?;
        let map = map.encode();
        // A map that is there may lead to packs that were damaged since.
        self.write(&format!("maps/{digest}"), &map)?;
        self.write(&format!("manifests/{digest}"), &packed)?;
        Ok((packed.len() + map.len()) as u64)
    }

    /// Puts a package on the list, whose bytes are all there. Says whether it was on it, and how many bytes were
    /// written. The lock is held.
    pub(super) fn enlist(
        &self,
        mut list: Vec<Published>,
        package: &Published,
        bytes: &[u8],
    ) -> Result<(bool, u64), PackageError> {
        let is_known = list.contains(package);
        let mut bytes_written = 0;
        let older = list.iter().rev().filter(|p| p.kind == package.kind && p.name == package.name);
        for old in older.filter(|p| p.digest != package.digest).take(PATCHES) {
            bytes_written += self.write_patch(package.digest, bytes, old)?;
        }
        // What is published again is the newest again.
        list.retain(|p| p != package);
        list.push(package.clone());
        self.write(NAMES_FILE, &names::encode(&list))?;
        Ok((is_known, bytes_written))
    }

    /// Gives a pack that is written its name. It is of use from when its bytes are there.
    pub(super) fn keep_pack(&self, pack: Digest, index: &[u8], path: &Path) -> Result<(), PackageError> {
        self.write(&format!("packs/{pack}.index"), index)?;
        keep(path, &self.root.join("packs").join(pack.to_string()))
    }

    /// What a manifest has that an older one has not, for those who have that. Without it they fetch the whole.
    fn write_patch(&self, digest: Digest, bytes: &[u8], old: &Published) -> Result<u64, PackageError> {
        let Ok((_, old_bytes)) = Sources::one(self.source()).manifest(old, None) else { return Ok(0) };
        let patch = compress_patch(bytes, &old_bytes).at(&self.root)?;
        self.write(&format!("patches/{digest}-{}", old.digest), &patch)?;
        Ok(patch.len() as u64)
    }

    /// Takes packages off the list. Their bytes stay until [`Repository::collect`].
    ///
    /// # Errors
    /// [`PackageError`], also where there is none.
    pub fn remove(&self, wanted: &Reference) -> Result<Pruned, PackageError> {
        let pruned = self.retain(|list| list.iter().map(|p| !p.is(wanted)).collect())?;
        if pruned.removed.is_empty() {
            return Err(PackageError::Missing { what: format!("`{wanted}`"), place: self.place() });
        }
        Ok(pruned)
    }

    /// Takes off the list what is older than the newest `keep` of its name and platform.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn prune(&self, keep: usize) -> Result<Pruned, PackageError> {
        self.retain(|list| {
            let newer = |at: usize, p: &Published| {
                let same = |o: &&Published| (o.kind, &o.name, &o.platform) == (p.kind, &p.name, &p.platform);
                list[at + 1..].iter().filter(same).count()
            };
            list.iter().enumerate().map(|(at, p)| newer(at, p) < keep).collect()
        })
    }

    fn retain(&self, keep: impl FnOnce(&[Published]) -> Vec<bool>) -> Result<Pruned, PackageError> {
        let _lock = self.lock()?;
        let list = self.list()?;
        let kept = keep(&list);
        let (kept, gone): (Vec<_>, Vec<_>) = list.into_iter().zip(kept).partition(|(_, keep)| *keep);
        let list: Vec<_> = kept.into_iter().map(|(p, _)| p).collect();
        if !gone.is_empty() {
            self.write(NAMES_FILE, &names::encode(&list))?;
        }
        Ok(Pruned { removed: gone.into_iter().map(|(p, _)| p).collect() })
    }

    /// All that its packs have.
    pub(super) fn shelf(&self) -> Result<Shelf, PackageError> {
        let mut shelf = Shelf::default();
        let dir = self.root.join("packs");
        let mut indexes = Vec::new();
        for entry in fs::read_dir(&dir).at(&dir)? {
            let name = entry.at(&dir)?.file_name();
            let Some(pack) = name.to_str().and_then(|n| n.strip_suffix(".index")?.parse::<Digest>().ok())
            else {
                continue;
            };
            indexes.push(pack);
        }
        // The same chunks are found in the same place by all.
        indexes.sort();
        for pack in indexes {
            let path = dir.join(format!("{pack}.index"));
            let read =
                super::source::read_limited(File::open(&path).at(&path)?, TABLE_BYTES_MAX).at(&path)?;
            // What is damaged is not used; it will be written again with what needs it.
            let whole = dir.join(pack.to_string());
            let Ok(index) = PackIndex::decode(&read) else { continue };
            let end = index.frames.last().map_or(0, |f| f.at + u64::from(f.len));
            if whole.metadata().is_ok_and(|m| m.len() == end) {
                shelf.add(pack, index);
            }
        }
        Ok(shelf)
    }

    pub(super) fn lock(&self) -> Result<Lock, PackageError> {
        Lock::exclusive(&self.root.join("lock"))
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), PackageError> {
        write_file(&self.root.join(name), bytes, &self.root.join("incoming"))
    }

    pub(super) fn place(&self) -> String {
        format!("`{}`", self.root.display())
    }
}

/// One version of a name and platform is published once.
pub(super) fn must_not_clash(list: &[Published], package: &Published) -> Result<(), PackageError> {
    let clash = list.iter().find(|p| {
        let same_name = (p.kind, &p.name, &p.version, &p.platform)
            == (package.kind, &package.name, &package.version, &package.platform);
        same_name && p.digest != package.digest && !package.version.is_empty()
    });
    match clash {
        Some(clash) => {
            let (package, digest) = (package.title(), clash.digest.to_string());
            Err(PackageError::Published { package, digest })
        }
        None => Ok(()),
    }
}

/// A manifest as what differs from another.
fn compress_patch(bytes: &[u8], old: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::with_ref_prefix(Vec::new(), PATCH_LEVEL, old)?;
    // All of the old one must be in reach.
    encoder.window_log(window_log(bytes.len() + old.len()))?;
    encoder.long_distance_matching(true)?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// What is in reach for a patch of so many bytes.
pub(super) fn window_log(bytes: usize) -> u32 {
    bytes.max(1 << 10).next_power_of_two().trailing_zeros().clamp(10, 30)
}
