//! Brings a package to a repository that is reached otherwise than through its directory: what it lacks is
//! asked for first, so only that goes over the wire.
//!
//! ```text
//! chunks ──► lacking? ──► packs with those ──► manifest: it is kept, and can be published
//!    ▲                                            │ some have been taken away meanwhile
//!    └────────────────────────────────────────────┘
//! ```
//!
//! Each pack is acknowledged when it is safe, so a push that broke off goes on behind the last of them.

use super::chunk::ChunkId;
use super::error::{At as _, PackageError};
use super::names::Published;
use super::pack::Frame;
use super::packs::{Frames, Gathered, PackWriter, WrittenPack};
use super::source::Sources;
use muster_core::digest::Digest;
use serde::Serialize;
use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// Most bytes of a pack that is pushed, after which another is begun.
// Limit: what is sent again where a connection breaks.
const PUSHED_BYTES_MAX: u64 = 32 << 20;
/// How often it is begun anew where what was there is taken away meanwhile.
const TRIES: u32 = 3;
/// How hard manifests are compressed.
const LEVEL: i32 = 9;

/// A repository elsewhere that packages can be pushed to.
pub trait Taker: Sync {
    /// Those of these chunks that it lacks.
    ///
    /// # Errors
    /// It does not answer, or says no.
    fn lacking(&self, chunks: &[ChunkId]) -> Result<Vec<ChunkId>, PackageError>;

    /// Gives it a pack of this many bytes with its index. When this returns it has it safe.
    ///
    /// # Errors
    /// As above.
    fn put_pack(&self, pack: Digest, index: &[u8], file: &File, bytes: u64) -> Result<(), PackageError>;

    /// Gives it a manifest, compressed. When this returns it keeps the package, and nobody is told.
    ///
    /// # Errors
    /// As above; [`PackageError::Lacking`]: it has not all chunks (any more).
    fn put_manifest(&self, manifest: Digest, packed: &[u8]) -> Result<(), PackageError>;
}

/// What was sent.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// The package.
    pub package: Published,
    /// Its chunks.
    pub chunks: usize,
    /// Those of them that were lacking there.
    pub chunks_sent: usize,
    /// Bytes of packs, indexes and manifest that went over the wire.
    pub bytes_sent: u64,
}

impl Sources {
    /// Brings a package to another repository, which keeps it from then on. It is not on its list.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn push(&self, package: &Published, to: &dyn Taker) -> Result<Pushed, PackageError> {
        let (manifest, bytes) = self.manifest(package, None)?;
        let packed = zstd::bulk::compress(&bytes, LEVEL).map_err(|e| {
            PackageError::Asked(format!("the manifest of `{}` cannot be compressed: {e}", package.title()))
        })?;
        let chunks = manifest.chunks();
        let ids: Vec<ChunkId> = chunks.iter().map(|(id, _)| *id).collect();
        let mut pushed =
            Pushed { package: package.clone(), chunks: chunks.len(), chunks_sent: 0, bytes_sent: 0 };
        let mut tries = TRIES;
        loop {
            let asked: std::collections::HashSet<ChunkId> = to.lacking(&ids)?.into_iter().collect();
            let lacking: Vec<bool> = ids.iter().map(|id| asked.contains(id)).collect();
            if !asked.is_empty() {
                let dir = tempfile::tempdir().at(&std::env::temp_dir())?;
                let writer = PackWriter::new(dir.path().to_owned(), PUSHED_BYTES_MAX);
                let mut sending = Sending { writer, to, pushed: &mut pushed };
                let gathered = Mutex::new(Gathered::new(&mut sending));
                self.fetch(package, &chunks, &lacking, &|number, bytes| {
                    let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                    gathered.add(chunks[number as usize], bytes)
                })?;
                gathered.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?;
                let last = sending.writer.finish()?;
                sending.send(last)?;
            }
            tries -= 1;
            match to.put_manifest(package.digest, &packed) {
                Err(PackageError::Lacking { .. }) if tries > 0 => {}
                done => {
                    done?;
                    pushed.bytes_sent += packed.len() as u64;
                    return Ok(pushed);
                }
            }
        }
    }
}

/// Packs that are sent when they are full.
struct Sending<'a> {
    writer: PackWriter,
    to: &'a dyn Taker,
    pushed: &'a mut Pushed,
}

impl Sending<'_> {
    fn send(&mut self, written: Option<WrittenPack>) -> Result<(), PackageError> {
        let Some(written) = written else { return Ok(()) };
        let index = written.index.encode();
        let file = File::open(&written.path).at(&written.path)?;
        self.to.put_pack(written.pack, &index, &file, written.bytes)?;
        self.pushed.bytes_sent += written.bytes + index.len() as u64;
        self.pushed.chunks_sent += written.index.frames.iter().map(|f| f.chunks.len()).sum::<usize>();
        Ok(())
    }
}

impl Frames for Sending<'_> {
    fn push(&mut self, frame: Frame) -> Result<(), PackageError> {
        let full = self.writer.push(frame)?;
        self.send(full)
    }
}
