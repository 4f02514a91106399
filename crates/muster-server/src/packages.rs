//! The server's own store of packages: a repository in its data directory, as everywhere, and what is on its
//! way into it.

use muster_package::own::{PackageError, Repository};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{RwLock, Semaphore};

/// Packs and manifests that are verified at once; others wait.
// Limit: each takes a core, and memory for a frame or a manifest.
const VERIFIED_AT_ONCE: usize = 2;

/// The store.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    pub(crate) repository: Repository,
    incoming: PathBuf,
    /// Held by those who rely on what is there until it is recorded that they do; alone by who takes away.
    pub(crate) gate: Arc<RwLock<()>>,
    pub(crate) verifying: Arc<Semaphore>,
}

impl Packages {
    /// The store in this data directory, which is made if it is not there.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, PackageError> {
        let repository = Repository::create(&data_dir.join("packages"))?;
        // Beside the repository, which sweeps its own: what comes slowly is not swept.
        let incoming = data_dir.join("packages.incoming");
        // What was being sent when the server ended was never there.
        let _absent = fs::remove_dir_all(&incoming);
        let made = fs::create_dir_all(&incoming);
        made.map_err(|source| PackageError::Io { path: incoming.clone(), source })?;
        let (gate, verifying) = (Arc::default(), Arc::new(Semaphore::new(VERIFIED_AT_ONCE)));
        Ok(Self { repository, incoming, gate, verifying })
    }

    /// A file for what is on its way.
    pub(crate) fn begin(&self) -> io::Result<Incoming> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = self.incoming.join(format!("pack-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        Ok(Incoming { file: File::create_new(&path)?, path })
    }
}

/// Something on its way. Dropped before it has another name, it never was.
#[derive(Debug)]
pub(crate) struct Incoming {
    file: File,
    pub(crate) path: PathBuf,
}

impl Incoming {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _kept = fs::remove_file(&self.path);
    }
}
