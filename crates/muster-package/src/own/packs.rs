//! Packs as they are written: frames one behind the other, in a new file when one is full. They are nobody's
//! until a map leads to them.

use super::build::BATCH_BYTES;
use super::chunk::ChunkId;
use super::error::{At as _, PackageError};
use super::lock::{sync_dir, unused};
use super::pack::{Frame, IndexedFrame, PackIndex, Packer};
use super::repository::Repository;
use muster_core::digest::Digest;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

/// Most bytes of a pack, after which another is begun.
// Limit: what is fetched again where a server cannot give parts of a file.
pub(super) const PACK_BYTES_MAX: u64 = 256 << 20;

/// Writes packs into a directory.
pub(super) struct PackWriter {
    dir: PathBuf,
    bytes_max: u64,
    open: Option<OpenPack>,
}

struct OpenPack {
    file: File,
    hash: blake3::Hasher,
    at: u64,
    index: PackIndex,
    path: Passing,
}

/// A pack that is whole and on disk. Dropped before its file has another name, it never was.
pub(super) struct WrittenPack {
    pub(super) pack: Digest,
    pub(super) index: PackIndex,
    pub(super) bytes: u64,
    pub(super) path: PathBuf,
    _file: Passing,
}

impl PackWriter {
    pub(super) fn new(dir: PathBuf, bytes_max: u64) -> Self {
        Self { dir, bytes_max, open: None }
    }

    /// Adds a frame. `Some`: what was there before is a pack.
    pub(super) fn push(&mut self, frame: Frame) -> Result<Option<WrittenPack>, PackageError> {
        let is_full = self.open.as_ref().is_some_and(|open| open.at >= self.bytes_max);
        let full = if is_full { self.finish()? } else { None };
        let open = match &mut self.open {
            Some(open) => open,
            empty @ None => {
                let path = Passing(unused(&self.dir, "pack"));
                let file = File::create_new(&path.0).at(&path.0)?;
                let index = PackIndex::default();
                empty.insert(OpenPack { file, hash: blake3::Hasher::new(), at: 0, index, path })
            }
        };
        open.file.write_all(&frame.bytes).at(&open.path.0)?;
        open.hash.update(&frame.bytes);
        let len = u32::try_from(frame.bytes.len()).expect("frames are short");
        open.index.frames.push(IndexedFrame { at: open.at, len, raw: frame.raw, chunks: frame.chunks });
        open.at += u64::from(len);
        Ok(full)
    }

    /// What is open is a pack.
    pub(super) fn finish(&mut self) -> Result<Option<WrittenPack>, PackageError> {
        let Some(OpenPack { file, hash, at, index, path }) = self.open.take() else { return Ok(None) };
        file.sync_all().at(&path.0)?;
        let pack = Digest(*hash.finalize().as_bytes());
        Ok(Some(WrittenPack { pack, index, bytes: at, path: path.0.clone(), _file: path }))
    }
}

/// A file that is gone when this is, unless it has another name by then.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        let _kept = fs::remove_file(&self.0);
    }
}

/// Who takes frames.
pub(super) trait Frames {
    /// The next.
    fn push(&mut self, frame: Frame) -> Result<(), PackageError>;
}

/// New packs of a repository.
pub(super) struct Packs<'a> {
    repository: &'a Repository,
    writer: PackWriter,
    done: Vec<(Digest, PackIndex)>,
    bytes: u64,
}

impl Frames for Packs<'_> {
    fn push(&mut self, frame: Frame) -> Result<(), PackageError> {
        match self.writer.push(frame)? {
            Some(written) => self.keep(written),
            None => Ok(()),
        }
    }
}

impl<'a> Packs<'a> {
    pub(super) fn new(repository: &'a Repository) -> Self {
        let writer = PackWriter::new(repository.root().join("incoming"), PACK_BYTES_MAX);
        Self { repository, writer, done: Vec::new(), bytes: 0 }
    }

    fn keep(&mut self, written: WrittenPack) -> Result<(), PackageError> {
        let index = written.index.encode();
        self.repository.keep_pack(written.pack, &index, &written.path)?;
        self.bytes += written.bytes + index.len() as u64;
        self.done.push((written.pack, written.index.clone()));
        Ok(())
    }

    /// Their bytes, and what is in them.
    pub(super) fn finish(mut self) -> Result<(u64, Vec<(Digest, PackIndex)>), PackageError> {
        if let Some(written) = self.writer.finish()? {
            self.keep(written)?;
        }
        sync_dir(self.repository.root())?;
        Ok((self.bytes, self.done))
    }
}

/// Chunks as they come, put together to frames.
pub(super) struct Gathered<'a, T> {
    frames: &'a mut T,
    packer: Packer,
    raw: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
}

impl<'a, T: Frames> Gathered<'a, T> {
    pub(super) fn new(frames: &'a mut T) -> Self {
        Self { frames, packer: Packer::default(), raw: Vec::new(), chunks: Vec::new() }
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
        self.frames.push(frame)
    }
}
