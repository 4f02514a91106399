//! A directory where packages are installed.
//!
//! ```text
//! trees/DIGEST        a package, whole
//! records/DIGEST      that it is whole, and how it looked when it was
//! manifests/DIGEST    what it should be
//! KIND/NAME           a link to the tree that was installed last; .NAME.last: the one before it
//! locks/, incoming/   for those who install
//! ```
//!
//! A tree without a record is what a crash left, and is nothing. A tree that is used is leased: nobody takes
//! it away.

use super::about::{Kind, Reference};
use super::collect::Collected;
use super::error::{At as _, PackageError};
use super::fingerprint::Record;
use super::lock::{Lock, unused};
use super::manifest::{self, Manifest};
use super::names::Published;
use muster_core::digest::Digest;
use serde::Serialize;
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A directory where packages are installed.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
}

/// Something installed.
#[derive(Clone, Debug, Serialize)]
pub struct PlaceEntry {
    /// What it is.
    pub package: Published,
    /// Its files.
    pub dir: PathBuf,
    /// Whether it is what its name leads to.
    pub is_current: bool,
    /// Whether it was so before.
    pub is_last: bool,
}

/// That a package is used: as long as this lives, it stays where it is.
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}

impl Place {
    /// This directory, which is made.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(root: &Path) -> Result<Self, PackageError> {
        let root = std::path::absolute(root).at(root)?;
        for dir in ["trees", "records", "manifests", "locks", "incoming"] {
            fs::create_dir_all(root.join(dir)).at(&root)?;
        }
        Ok(Self { root })
    }

    /// The place that a link leads to which shows an installed package, and which package that is.
    ///
    /// # Errors
    /// It leads somewhere else.
    pub fn behind(link: &Path) -> Result<(Self, Digest), PackageError> {
        let tree = fs::canonicalize(link).at(link)?;
        let digest = tree.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
        let (Some(root), Some(digest)) = (tree.parent().and_then(Path::parent), digest) else {
            let why = format!("`{}` leads to no installed package", link.display());
            return Err(PackageError::Asked(why));
        };
        Ok((Self::open(root)?, digest))
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Where a package is put together, by whoever has its lock.
    pub(super) fn incoming_tree(&self, digest: Digest) -> PathBuf {
        self.incoming().join(format!("tree.{digest}"))
    }

    /// Where it is as far as it was put together, when that was killed.
    pub(super) fn left_tree(&self, digest: Digest) -> PathBuf {
        self.incoming().join(format!("left.{digest}"))
    }

    /// Where a package's files are when it is installed.
    pub fn tree(&self, digest: Digest) -> PathBuf {
        self.root.join("trees").join(digest.to_string())
    }

    pub(super) fn record_file(&self, digest: Digest) -> PathBuf {
        self.root.join("records").join(digest.to_string())
    }

    pub(super) fn manifest_file(&self, digest: Digest) -> PathBuf {
        self.root.join("manifests").join(digest.to_string())
    }

    pub(super) fn lease(&self, digest: Digest) -> Result<Lease, PackageError> {
        Ok(Lease { _lock: Lock::shared(&self.lock_file(digest, "lease"))? })
    }

    pub(super) fn install_lock(&self, digest: Digest) -> Result<Lock, PackageError> {
        Lock::exclusive(&self.lock_file(digest, "install"))
    }

    fn names_lock(&self) -> Result<Lock, PackageError> {
        Lock::exclusive(&self.root.join("locks/names"))
    }

    fn lock_file(&self, digest: Digest, what: &str) -> PathBuf {
        self.root.join("locks").join(format!("{digest}.{what}"))
    }

    /// What is recorded of a package; `None` where it is not installed, or not whole.
    pub(super) fn record(&self, digest: Digest) -> Option<Record> {
        Record::read(&self.record_file(digest)).filter(|r| r.package.digest == digest)
    }

    /// The manifest of something that is or was installed, verified.
    pub(super) fn manifest(&self, digest: Digest) -> Option<(Manifest, Vec<u8>)> {
        let bytes = fs::read(self.manifest_file(digest)).ok()?;
        if manifest::digest_of(&bytes) != digest {
            return None;
        }
        Some((Manifest::decode(&bytes).ok()?, bytes))
    }

    /// The packages that an installed one needs.
    pub(super) fn deps(&self, digest: Digest) -> Vec<Reference> {
        self.manifest(digest).map(|(manifest, _)| manifest.about.deps).unwrap_or_default()
    }

    fn name(&self, kind: Kind, name: &str) -> PathBuf {
        self.root.join(kind.word()).join(name)
    }

    fn last_name(&self, kind: Kind, name: &str) -> PathBuf {
        self.root.join(kind.word()).join(format!(".{name}.last"))
    }

    /// The tree that a name leads to.
    pub(super) fn current(&self, kind: Kind, name: &str) -> Option<Digest> {
        leads_to(&self.name(kind, name))
    }

    pub(super) fn last(&self, kind: Kind, name: &str) -> Option<Digest> {
        leads_to(&self.last_name(kind, name))
    }

    /// Lets a name lead to a package; what it led to is the last good one from now on.
    pub(super) fn set_current(&self, package: &Published) -> Result<(), PackageError> {
        if self.current(package.kind, &package.name) == Some(package.digest) {
            return Ok(());
        }
        let _lock = self.names_lock()?;
        let name = self.name(package.kind, &package.name);
        let dir = self.root.join(package.kind.word());
        fs::create_dir_all(&dir).at(&dir)?;
        match self.current(package.kind, &package.name) {
            Some(old) if old == package.digest => return Ok(()),
            Some(old) => self.swap(&self.last_name(package.kind, &package.name), old)?,
            None => {}
        }
        self.swap(&name, package.digest)
    }

    /// Lets a link lead elsewhere, in one step.
    fn swap(&self, link: &Path, digest: Digest) -> Result<(), PackageError> {
        let new = unused(&self.incoming(), "link");
        std::os::unix::fs::symlink(format!("../trees/{digest}"), &new).at(&new)?;
        fs::rename(&new, link).at(link)
    }

    /// All that is installed, by kind and name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<PlaceEntry>, PackageError> {
        let dir = self.root.join("records");
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).at(&dir)? {
            let name = entry.at(&dir)?.file_name();
            let Some(record) = name.to_str().and_then(|n| n.parse().ok()).and_then(|d| self.record(d)) else {
                continue;
            };
            let package = record.package;
            all.push(PlaceEntry {
                dir: self.tree(package.digest),
                is_current: self.current(package.kind, &package.name) == Some(package.digest),
                is_last: self.last(package.kind, &package.name) == Some(package.digest),
                package,
            });
        }
        all.sort_by_cached_key(|e| (e.package.kind, e.package.name.clone(), !e.is_current, e.package.digest));
        Ok(all)
    }

    /// Says that a package was used just now.
    pub(super) fn touch(&self, digest: Digest) {
        if let Ok(file) = File::options().write(true).open(self.record_file(digest)) {
            // Without it the package is taken away sooner, and fetched again.
            let _untold = file.set_modified(SystemTime::now());
        }
    }

    /// Forgets a name and what it led to, unless that is used.
    ///
    /// # Errors
    /// Nothing of this name is installed, or the directory cannot be changed.
    pub fn remove(&self, wanted: &Reference) -> Result<Vec<PlaceEntry>, PackageError> {
        let gone: Vec<_> = self.list()?.into_iter().filter(|e| e.package.is(wanted)).collect();
        if gone.is_empty() {
            let place = format!("`{}`", self.root.display());
            return Err(PackageError::Missing { what: format!("`{wanted}`"), place });
        }
        let _lock = self.names_lock()?;
        for entry in &gone {
            for (is, link) in [
                (entry.is_current, self.name(entry.package.kind, &entry.package.name)),
                (entry.is_last, self.last_name(entry.package.kind, &entry.package.name)),
            ] {
                if is {
                    fs::remove_file(&link).at(&link)?;
                }
            }
            self.evict(entry.package.digest)?;
        }
        Ok(gone)
    }

    /// Takes away what crashes left, and of what no name leads to and nobody uses the longest unused, until
    /// all that is kept of it has no more than so many bytes.
    ///
    /// # Errors
    /// The directory cannot be changed.
    pub fn collect(&self, keep_bytes: u64) -> Result<Collected, PackageError> {
        let mut gone = Collected::default();
        let _lock = self.names_lock()?;
        let mut spare = Vec::new();
        for entry in self.list()?.into_iter().filter(|e| !e.is_current && !e.is_last) {
            let used = fs::metadata(self.record_file(entry.package.digest)).and_then(|m| m.modified());
            spare.push((used.unwrap_or(SystemTime::UNIX_EPOCH), entry));
        }
        spare.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        let mut kept = 0_u64;
        for (_, entry) in spare {
            kept = kept.saturating_add(entry.package.bytes);
            if kept > keep_bytes && self.evict(entry.package.digest)? {
                kept -= entry.package.bytes;
                gone.files += usize::try_from(entry.package.files).unwrap_or(usize::MAX);
                gone.bytes += entry.package.bytes;
            }
        }
        for dir in ["trees", "manifests"] {
            let path = self.root.join(dir);
            for entry in fs::read_dir(&path).at(&path)?.flatten() {
                let digest = entry.file_name().to_str().and_then(|n| n.parse::<Digest>().ok());
                if digest.is_some_and(|d| self.record(d).is_none()) {
                    self.evict(digest.expect("it was looked at"))?;
                }
            }
        }
        // What is being written now is not older than an hour.
        let old = SystemTime::now() - std::time::Duration::from_secs(3600);
        for entry in fs::read_dir(self.incoming()).at(&self.incoming())?.flatten() {
            let is_old = entry.metadata().and_then(|m| m.modified()).is_ok_and(|m| m < old);
            let name = entry.file_name();
            let of = name.to_str().and_then(|n| n.split_once('.')?.1.parse::<Digest>().ok());
            // Of what is put together it shows by its lock whether somebody does so.
            let lock =
                of.map(|digest| Lock::try_exclusive(&self.lock_file(digest, "install"))).transpose()?;
            if is_old && !matches!(lock, Some(None)) {
                remove(&entry.path());
            }
        }
        Ok(gone)
    }

    /// Takes one away, unless somebody uses it or installs it.
    fn evict(&self, digest: Digest) -> Result<bool, PackageError> {
        let (Some(_lease), Some(_install)) = (
            Lock::try_exclusive(&self.lock_file(digest, "lease"))?,
            Lock::try_exclusive(&self.lock_file(digest, "install"))?,
        ) else {
            return Ok(false);
        };
        // Without its record it is nothing.
        for file in [self.record_file(digest), self.manifest_file(digest)] {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).at(&file),
                _ => {}
            }
        }
        let (tree, out) = (self.tree(digest), unused(&self.incoming(), "gone"));
        if fs::rename(&tree, &out).is_ok() {
            remove(&out);
        }
        Ok(true)
    }

    /// Bytes that the file system has for us.
    pub(super) fn free(&self) -> Result<u64, PackageError> {
        let stat = rustix::fs::statvfs(&self.root).at(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The digests that installed packages are looked for under when something is installed: of the same name.
    pub(super) fn relatives(&self, package: &Published) -> Vec<Digest> {
        let (current, last) =
            (self.current(package.kind, &package.name), self.last(package.kind, &package.name));
        let mut seen = HashSet::new();
        [Some(package.digest), current, last].into_iter().flatten().filter(|d| seen.insert(*d)).collect()
    }
}

/// Removes a file or directory; what cannot be removed now will be another time.
pub(super) fn remove(path: &Path) {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    let _left = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

fn leads_to(link: &Path) -> Option<Digest> {
    fs::read_link(link).ok()?.file_name()?.to_str()?.parse().ok()
}
