//! Blobs: bytes named by their digest, each a file. A blob is there whole or not at all, and what is there
//! is what its name says.

use muster_core::digest::Digest;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// A directory of blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
}

/// Why a blob cannot be had or kept.
#[derive(Debug, Error)]
pub enum BlobError {
    /// What came is not what its name says.
    #[error("what was sent as blob {wanted} has the digest {got}")]
    Other {
        /// The name it was sent under.
        wanted: Digest,
        /// What it is.
        got: Digest,
    },
    /// It is longer than may be.
    #[error("the blob is longer than the {max} bytes that are taken")]
    TooLong {
        /// The limit.
        max: u64,
    },
    /// The disk.
    #[error("the blobs in `{}` cannot be used: {source}", dir.display())]
    Io {
        /// Their directory.
        dir: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

impl Blobs {
    /// Blobs in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(root: PathBuf) -> Result<Self, BlobError> {
        let blobs = Self { root };
        let incoming = blobs.root.join(INCOMING);
        // What was being sent when the server ended was never there.
        let _absent = fs::remove_dir_all(&incoming);
        fs::create_dir_all(&incoming).map_err(|e| blobs.io(e))?;
        Ok(blobs)
    }

    /// Blobs in this directory, which somebody else has opened and uses.
    pub(crate) fn open_beside(root: PathBuf) -> Self {
        Self { root }
    }

    /// The blob's file and its length; `None` where it is not there.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn find(&self, blob: Digest) -> Result<Option<(File, u64)>, BlobError> {
        match File::open(self.path(blob)) {
            Ok(file) => {
                let len = file.metadata().map_err(|e| self.io(e))?.len();
                Ok(Some((file, len)))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.io(e)),
        }
    }

    /// Begins to take a blob in.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn begin(&self, blob: Digest, max: u64) -> Result<Incoming, BlobError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{blob}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let path = self.root.join(INCOMING).join(name);
        let file = File::create_new(&path).map_err(|e| self.io(e))?;
        Ok(Incoming { blobs: self.clone(), blob, path, file, hash: blake3::Hasher::new(), len: 0, max })
    }

    fn path(&self, blob: Digest) -> PathBuf {
        let name = blob.to_string();
        self.root.join(&name[..2]).join(&name[2..])
    }

    fn io(&self, source: io::Error) -> BlobError {
        BlobError::Io { dir: self.root.clone(), source }
    }
}

const INCOMING: &str = "incoming";

/// A blob on its way in. Dropped before its end, it never was.
#[derive(Debug)]
pub struct Incoming {
    blobs: Blobs,
    blob: Digest,
    path: PathBuf,
    file: File,
    hash: blake3::Hasher,
    len: u64,
    max: u64,
}

impl Incoming {
    /// The next bytes.
    ///
    /// # Errors
    /// There are too many, or the disk does not take them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.len += bytes.len() as u64;
        if self.len > self.max {
            return Err(BlobError::TooLong { max: self.max });
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|e| self.blobs.io(e))
    }

    /// These were all. When this returns, the blob survives a power cut.
    ///
    /// # Errors
    /// They are not what the name says, or the disk does not keep them.
    pub fn finish(self) -> Result<(), BlobError> {
        let got = Digest(*self.hash.finalize().as_bytes());
        if got != self.blob {
            return Err(BlobError::Other { wanted: self.blob, got });
        }
        let path = self.blobs.path(self.blob);
        let dir = path.parent().unwrap_or(Path::new("."));
        let keep = || -> io::Result<()> {
            self.file.sync_all()?;
            fs::create_dir_all(dir)?;
            fs::rename(&self.path, &path)?;
            sync_dir(dir)?;
            sync_dir(&self.blobs.root)
        };
        keep().map_err(|e| self.blobs.io(e))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After its end it has another name.
        let _gone = fs::remove_file(&self.path);
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let fd = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fsync(fd)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn digest(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    #[test]
    fn a_blob_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
        let name = digest(b"hello");
        assert!(blobs.find(name).unwrap().is_none());
        let mut incoming = blobs.begin(name, 100).unwrap();
        incoming.push(b"he").unwrap();
        drop(incoming);
        assert!(blobs.find(name).unwrap().is_none(), "half of it is nothing");
        let mut incoming = blobs.begin(name, 100).unwrap();
        incoming.push(b"hel").unwrap();
        incoming.push(b"lo").unwrap();
        incoming.finish().unwrap();
        let (mut file, len) = blobs.find(name).unwrap().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), len), ("hello", 5));
        assert_eq!(
            fs::read_dir(dir.path().join("blobs/incoming")).unwrap().count(),
            0,
            "nothing is left over"
        );
    }

    #[test]
    fn what_is_not_what_its_name_says_is_refused_and_so_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
        let mut incoming = blobs.begin(digest(b"hello"), 100).unwrap();
        incoming.push(b"other").unwrap();
        assert!(matches!(incoming.finish(), Err(BlobError::Other { .. })));
        let mut incoming = blobs.begin(digest(b"hello"), 4).unwrap();
        assert!(matches!(incoming.push(b"hello"), Err(BlobError::TooLong { max: 4 })));
        drop(incoming);
        assert!(blobs.find(digest(b"hello")).unwrap().is_none());
    }
}
