//! Packs: chunks by the thousand in one file, so that a package of many small files is few objects.
//!
//! ```text
//! pack      frame frame frame …            each compressed by itself, of chunks one behind the other
//! index     which chunks are in its frames, for those who publish
//! map       where the chunks of one package are, for those who fetch: by their number in the manifest,
//!           so that it is a few bytes for each frame
//! ```
//!
//! Nothing here is believed: a chunk that comes out of a frame is what its digest says, or it is not taken.

use super::chunk::{CHUNK_BYTES_MAX, ChunkId};
use super::codec;
use muster_core::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

pub(super) const INDEX_MAGIC: &[u8] = b"muster pack index 1\n";
pub(super) const MAP_MAGIC: &[u8] = b"muster package map 1\n";
/// How hard is tried to make frames small.
const LEVEL: i32 = 3;
/// Longest frame that is unpacked.
// Limit: it is held in memory by each thread.
pub(super) const FRAME_BYTES_MAX: u32 = 16 << 20;
/// Longest index or map that is read.
// Limit: it is held in memory.
pub(super) const TABLE_BYTES_MAX: u64 = 256 << 20;

/// Chunks, compressed as one.
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// Their bytes before.
    pub(super) raw: u32,
    pub(super) chunks: Vec<(ChunkId, u32)>,
}

/// Makes frames.
pub(super) struct Packer(zstd::bulk::Compressor<'static>);

impl Default for Packer {
    fn default() -> Self {
        Self(zstd::bulk::Compressor::new(LEVEL).expect("there is memory for a small context"))
    }
}

impl Packer {
    pub(super) fn pack(&mut self, raw: &[u8], chunks: Vec<(ChunkId, u32)>) -> Frame {
        let bytes = self.0.compress(raw).expect("there is memory for a frame");
        Frame { bytes, raw: u32::try_from(raw.len()).expect("frames are short"), chunks }
    }
}

/// What is in a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackIndex {
    pub(super) frames: Vec<IndexedFrame>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IndexedFrame {
    pub(super) at: u64,
    pub(super) len: u32,
    pub(super) raw: u32,
    pub(super) chunks: Vec<(ChunkId, u32)>,
}

impl PackIndex {
    pub(super) fn encode(&self) -> Vec<u8> {
        codec::seal(INDEX_MAGIC, self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::unseal(INDEX_MAGIC, bytes)
    }
}

/// Where the chunks of one package are in one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Map {
    pub(super) packs: Vec<PackUse>,
}

/// What a package uses of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackUse {
    /// The digest of its bytes, which is its name.
    pub(super) pack: [u8; 32],
    pub(super) frames: Vec<FrameUse>,
}

/// What a package uses of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrameUse {
    /// Where in the pack.
    pub(super) at: u64,
    /// Compressed.
    pub(super) len: u32,
    pub(super) raw: u32,
    pub(super) runs: Vec<Run>,
}

/// Chunks that follow one another both in the frame and in the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Where the first begins in the unpacked frame.
    pub(super) at: u32,
    /// Its number in the package.
    pub(super) first: u32,
    pub(super) count: u32,
}

/// Where a chunk is in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    /// The pack's place among those of the repository.
    pub(super) pack: u32,
    pub(super) frame: u32,
    /// In the unpacked frame.
    pub(super) at: u32,
}

/// All packs of a repository.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) packs: Vec<(Digest, PackIndex)>,
    pub(super) chunks: HashMap<ChunkId, Location>,
}

impl Shelf {
    pub(super) fn add(&mut self, pack: Digest, index: PackIndex) {
        let number = u32::try_from(self.packs.len()).expect("there are fewer packs");
        for (frame, indexed) in index.frames.iter().enumerate() {
            let mut at = 0;
            for (id, len) in &indexed.chunks {
                let frame = u32::try_from(frame).expect("a pack has fewer frames");
                self.chunks.entry(*id).or_insert(Location { pack: number, frame, at });
                at += len;
            }
        }
        self.packs.push((pack, index));
    }

    /// All of it but these packs.
    pub(super) fn without(&mut self, gone: &HashSet<Digest>) {
        let packs = std::mem::take(&mut self.packs);
        self.chunks.clear();
        for (pack, index) in packs.into_iter().filter(|(pack, _)| !gone.contains(pack)) {
            self.add(pack, index);
        }
    }

    /// Where these chunks are, in the order of their numbers.
    ///
    /// # Errors
    /// The first that is nowhere.
    pub(super) fn map(&self, chunks: &[(ChunkId, u32)]) -> Result<Map, ChunkId> {
        let mut frames: BTreeMap<(u32, u32), Vec<(Run, u32)>> = BTreeMap::new();
        for (number, (id, len)) in (0_u32..).zip(chunks) {
            let Location { pack, frame, at } = *self.chunks.get(id).ok_or(*id)?;
            let runs = frames.entry((pack, frame)).or_default();
            match runs.last_mut() {
                Some((run, end)) if *end == at && run.first + run.count == number => {
                    run.count += 1;
                    *end += len;
                }
                _ => runs.push((Run { at, first: number, count: 1 }, at + len)),
            }
        }
        let mut packs: Vec<(u32, PackUse)> = Vec::new();
        for ((pack, frame), runs) in frames {
            let (name, index) = &self.packs[pack as usize];
            let indexed = &index.frames[frame as usize];
            let used = FrameUse {
                at: indexed.at,
                len: indexed.len,
                raw: indexed.raw,
                runs: runs.into_iter().map(|(run, _)| run).collect(),
            };
            match packs.last_mut() {
                Some((last, of_it)) if *last == pack => of_it.frames.push(used),
                _ => packs.push((pack, PackUse { pack: name.0, frames: vec![used] })),
            }
        }
        Ok(Map { packs: packs.into_iter().map(|(_, of_it)| of_it).collect() })
    }
}

impl Map {
    pub(super) fn encode(&self) -> Vec<u8> {
        codec::seal(MAP_MAGIC, self)
    }

    /// Reads a map of which nothing is believed. `chunks`: how many the package has.
    pub(super) fn decode(bytes: &[u8], chunks: usize) -> Result<Self, String> {
        let map: Self = codec::unseal(MAP_MAGIC, bytes)?;
        for of_it in &map.packs {
            let mut at = 0;
            for frame in &of_it.frames {
                if frame.at < at || frame.raw > FRAME_BYTES_MAX || frame.len > 2 * FRAME_BYTES_MAX {
                    return Err("its frames overlap or are too long".to_owned());
                }
                at = frame.at.checked_add(u64::from(frame.len)).ok_or("a frame is nowhere")?;
                let is_past =
                    |run: &Run| run.first.checked_add(run.count).is_none_or(|end| end as usize > chunks);
                if frame.runs.iter().any(is_past) {
                    return Err("it has chunks that the package has not".to_owned());
                }
            }
        }
        Ok(map)
    }
}

/// Unpacks frames.
pub(super) struct Unpacker {
    zstd: zstd::bulk::Decompressor<'static>,
    raw: Vec<u8>,
}

impl Default for Unpacker {
    fn default() -> Self {
        let zstd = zstd::bulk::Decompressor::new().expect("there is memory for a small context");
        Self { zstd, raw: Vec::new() }
    }
}

impl Unpacker {
    /// Unpacks a frame of a package whose chunks these are, and hands on those of its chunks that are
    /// wanted, verified.
    ///
    /// # Errors
    /// `Err(Ok(why))`: the frame is damaged. `Err(Err(_))`: what `take` says.
    pub(super) fn unpack<E>(
        &mut self,
        frame: &FrameUse,
        packed: &[u8],
        chunks: &[(ChunkId, u32)],
        is_wanted: impl Fn(u32) -> bool,
        mut take: impl FnMut(u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), Result<String, E>> {
        let raw_len = frame.raw as usize;
        self.raw.clear();
        self.raw.reserve(raw_len);
        let n = self
            .zstd
            .decompress_to_buffer(packed, &mut self.raw)
            .map_err(|e| Ok(format!("a frame cannot be unpacked ({e})")))?;
        if n != raw_len {
            return Err(Ok("a frame has not the length it should have".to_owned()));
        }
        for run in &frame.runs {
            let mut at = run.at as usize;
            for number in run.first..run.first + run.count {
                let (id, len) = chunks[number as usize];
                debug_assert!(len <= CHUNK_BYTES_MAX, "the manifest was checked");
                let end = at + len as usize;
                let bytes = self.raw.get(at..end).ok_or_else(|| Ok(format!("chunk {id} is cut off")))?;
                if is_wanted(number) {
                    if ChunkId::of(bytes) != id {
                        return Err(Ok(format!("chunk {id} has other bytes")));
                    }
                    take(number, bytes).map_err(Err)?;
                }
                at = end;
            }
        }
        Ok(())
    }
}
