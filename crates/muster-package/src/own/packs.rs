//! Writes new packs into a repository. They are nobody's until a map leads to them.

use super::build::BATCH_BYTES;
use super::chunk::ChunkId;
use super::error::{At as _, PackageError};
use super::lock::{keep, sync_dir, unused};
use super::pack::{Frame, IndexedFrame, PackIndex, Packer};
use super::repository::Repository;
use muster_core::digest::Digest;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

/// Most bytes of a pack, after which another is begun.
// Limit: what is fetched again where a server cannot give parts of a file.
const PACK_BYTES_MAX: u64 = 256 << 20;

/// New packs, as they are written.
pub(super) struct Packs<'a> {
    repository: &'a Repository,
    open: Option<OpenPack>,
    done: Vec<(Digest, PackIndex)>,
    bytes: u64,
}

struct OpenPack {
    path: PathBuf,
    file: File,
    hash: blake3::Hasher,
    at: u64,
    index: PackIndex,
}

impl<'a> Packs<'a> {
    pub(super) fn new(repository: &'a Repository) -> Self {
        Self { repository, open: None, done: Vec::new(), bytes: 0 }
    }

    pub(super) fn push(&mut self, frame: Frame) -> Result<(), PackageError> {
        if self.open.as_ref().is_some_and(|open| open.at >= PACK_BYTES_MAX) {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            empty @ None => {
                let path = unused(&self.repository.root().join("incoming"), "pack");
                let file = File::create_new(&path).at(&path)?;
                let index = PackIndex::default();
                empty.insert(OpenPack { path, file, hash: blake3::Hasher::new(), at: 0, index })
            }
        };
        open.file.write_all(&frame.bytes).at(&open.path)?;
        open.hash.update(&frame.bytes);
        let len = u32::try_from(frame.bytes.len()).expect("frames are short");
        open.index.frames.push(IndexedFrame { at: open.at, len, raw: frame.raw, chunks: frame.chunks });
        open.at += u64::from(len);
        Ok(())
    }

    fn close(&mut self) -> Result<(), PackageError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let pack = Digest(*open.hash.finalize().as_bytes());
        let index = open.index.encode();
        let packs = self.repository.root().join("packs");
        open.file.sync_all().at(&open.path)?;
        self.repository.write(&format!("packs/{pack}.index"), &index)?;
        keep(&open.path, &packs.join(pack.to_string()))?;
        self.bytes += open.at + index.len() as u64;
        self.done.push((pack, open.index.clone()));
        Ok(())
    }

    /// Their bytes, and what is in them.
    pub(super) fn finish(mut self) -> Result<(u64, Vec<(Digest, PackIndex)>), PackageError> {
        self.close()?;
        sync_dir(self.repository.root())?;
        Ok((self.bytes, std::mem::take(&mut self.done)))
    }
}

impl Drop for Packs<'_> {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            // What was not finished never was.
            let _left = fs::remove_file(&open.path);
        }
    }
}

/// Chunks as they come, put together to frames.
pub(super) struct Gathered<'a, 'b> {
    packs: &'a mut Packs<'b>,
    packer: Packer,
    raw: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
}

impl<'a, 'b> Gathered<'a, 'b> {
    pub(super) fn new(packs: &'a mut Packs<'b>) -> Self {
        Self { packs, packer: Packer::default(), raw: Vec::new(), chunks: Vec::new() }
    }

    pub(super) fn add(&mut self, chunk: (ChunkId, u32), bytes: &[u8]) -> Result<(), PackageError> {
        self.raw.extend_from_slice(bytes);
        self.chunks.push(chunk);
        if self.raw.len() as u64 >= BATCH_BYTES { self.pack() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<(), PackageError> {
        if self.chunks.is_empty() { Ok(()) } else { self.pack() }
    }

    fn pack(&mut self) -> Result<(), PackageError> {
        let frame = self.packer.pack(&self.raw, std::mem::take(&mut self.chunks));
        self.raw.clear();
        self.packs.push(frame)
    }
}
