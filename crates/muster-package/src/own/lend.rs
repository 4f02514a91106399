//! What is installed, given out as a repository would: manifest, map and one pack for each package. So whoever
//! fetches needs no other reader, and believes as little of it.
//!
//! ```text
//! manifests/DIGEST   compressed
//! maps/DIGEST        one pack, of the package's own digest
//! packs/DIGEST       the chunks in their order, in frames that are stored and not compressed
//! ```
//!
//! The pack is nowhere: a stored frame is as long as can be told beforehand, so any part of it is made of the
//! installed files when it is asked for. A file that was changed is found out by whoever fetches.

use super::chunk::{ChunkId, Piece};
use super::error::{At as _, PackageError};
use super::manifest::{Manifest, What};
use super::pack::{FrameUse, Map, PackUse, Run};
use super::place::{Lease, Place};
use muster_core::digest::Digest;
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Unpacked bytes of a frame, after which another is begun.
const FRAME_BYTES: u32 = 1 << 20;
/// Longest block of a frame of Zstandard.
const BLOCK_BYTES: usize = 128 << 10;
/// How hard manifests are compressed: they are on their way at once.
const LEVEL: i32 = 1;

/// Gives out what is installed in a place.
#[derive(Debug)]
pub struct Lender {
    place: Place,
    /// The package that was asked for last: its parts are asked for one after the other.
    last: Mutex<Option<(Digest, Arc<Layout>)>>,
}

/// A file that is given out, or a part of it.
pub struct Lent {
    /// Bytes of all of the file.
    pub whole: u64,
    /// Those that are given.
    pub part: Range<u64>,
    /// Exactly these.
    pub bytes: Box<dyn Read>,
    /// The package stays where it is meanwhile.
    _lease: Lease,
}

/// Where everything is in the pack of a package.
#[derive(Debug)]
struct Layout {
    tree: PathBuf,
    manifest: Manifest,
    /// The manifest, compressed.
    packed: Vec<u8>,
    /// Of each chunk its file, where in that it begins, and its length.
    chunks: Vec<(usize, u64, u32)>,
    frames: Vec<FrameUse>,
    whole: u64,
}

impl Lender {
    /// Of this place.
    pub fn new(place: Place) -> Self {
        Self { place, last: Mutex::default() }
    }

    /// What is installed there, by what was used last, and no more than so many.
    pub fn packages(&self, most: usize) -> Vec<Digest> {
        // What cannot be read is given to nobody.
        let all = self.place.list().unwrap_or_default();
        all.iter().map(|entry| entry.package.digest).take(most).collect()
    }

    /// A file of the repository, or a part of it; `None` where there is none.
    ///
    /// # Errors
    /// What is installed cannot be read.
    pub fn open(&self, name: &str, part: Option<Range<u64>>) -> Result<Option<Lent>, PackageError> {
        let Some((dir, digest)) = name.split_once('/') else { return Ok(None) };
        let Ok(digest) = digest.parse::<Digest>() else { return Ok(None) };
        if !["manifests", "maps", "packs"].contains(&dir) || self.place.record(digest).is_none() {
            return Ok(None);
        }
        let lease = self.place.lease(digest)?;
        let Some(layout) = self.layout(digest)? else { return Ok(None) };
        let file = match dir {
            "manifests" => Some(layout.packed.clone()),
            "maps" => {
                let of_it = PackUse { pack: digest.0, frames: layout.frames.clone() };
                Some(Map { packs: vec![of_it] }.encode())
            }
            _ => None,
        };
        let whole = file.as_ref().map_or(layout.whole, |file| file.len() as u64);
        let part = part.map_or(0..whole, |part| part.start.min(whole)..part.end.min(whole));
        let part = part.start..part.end.max(part.start);
        let bytes: Box<dyn Read> = match file {
            Some(file) => {
                let at = |n: u64| usize::try_from(n).expect("it is in memory");
                Box::new(io::Cursor::new(file[at(part.start)..at(part.end)].to_vec()))
            }
            None => Box::new(Pack { layout, at: part.start, end: part.end, frame: Vec::new(), from: 0 }),
        };
        Ok(Some(Lent { whole, part, bytes, _lease: lease }))
    }

    fn layout(&self, digest: Digest) -> Result<Option<Arc<Layout>>, PackageError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, layout)) = &*last
            && *of == digest
        {
            return Ok(Some(Arc::clone(layout)));
        }
        let Some((manifest, bytes)) = self.place.manifest(digest) else { return Ok(None) };
        let packed = zstd::bulk::compress(&bytes, LEVEL).at(self.place.root())?;
        let layout = Arc::new(Layout::of(self.place.tree(digest), manifest, packed));
        *last = Some((digest, Arc::clone(&layout)));
        Ok(Some(layout))
    }
}

impl Layout {
    fn of(tree: PathBuf, manifest: Manifest, packed: Vec<u8>) -> Self {
        let mut places: HashMap<ChunkId, (usize, u64)> = HashMap::new();
        for (entry, of_it) in manifest.entries.iter().enumerate() {
            let What::File { pieces, .. } = &of_it.what else { continue };
            let mut at = 0;
            for piece in pieces {
                if let Piece::Data { id, .. } = piece {
                    places.entry(*id).or_insert((entry, at));
                }
                at += piece.len();
            }
        }
        let chunks: Vec<(usize, u64, u32)> = manifest
            .chunks()
            .into_iter()
            .map(|(id, len)| {
                let (entry, at) = places[&id];
                (entry, at, len)
            })
            .collect();
        let mut frames: Vec<FrameUse> = Vec::new();
        for (number, (_, _, len)) in (0_u32..).zip(&chunks) {
            match frames.last_mut() {
                Some(frame) if frame.raw + len <= FRAME_BYTES => {
                    frame.raw += len;
                    frame.runs[0].count += 1;
                }
                _ => {
                    let runs = vec![Run { at: 0, first: number, count: 1 }];
                    frames.push(FrameUse { at: 0, len: 0, raw: *len, runs });
                }
            }
        }
        let mut whole = 0;
        for frame in &mut frames {
            frame.at = whole;
            frame.len = stored_len(frame.raw);
            whole += u64::from(frame.len);
        }
        Self { tree, manifest, packed, chunks, frames, whole }
    }

    /// Makes a frame of the installed files.
    fn frame(&self, frame: &FrameUse) -> io::Result<Vec<u8>> {
        let mut raw = vec![0; frame.raw as usize];
        let mut at = 0;
        for run in &frame.runs {
            for (entry, offset, len) in &self.chunks[run.first as usize..][..run.count as usize] {
                let path = &self.manifest.entries[*entry].path;
                let bytes = &mut raw[at..at + *len as usize];
                open_beneath(&self.tree, path.as_path())?.read_exact_at(bytes, *offset)?;
                at += bytes.len();
            }
        }
        Ok(stored(&raw))
    }
}

/// Opens a file of an installed tree. Somebody may have put a link in its place, or in that of a directory on the way
/// to it: what that leads to is nobody's to read.
fn open_beneath(tree: &Path, path: &Path) -> io::Result<File> {
    // A pipe does not keep anybody waiting.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(tree, flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut parts = path.iter().peekable();
    while let Some(part) = parts.next() {
        let more = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::empty() };
        at = rustix::fs::openat(&at, part, flags | more, Mode::empty())?;
    }
    Ok(at.into())
}

/// Part of a pack, made as it is read.
struct Pack {
    layout: Arc<Layout>,
    at: u64,
    end: u64,
    /// The frame that is being read, and where it begins in the pack.
    frame: Vec<u8>,
    from: u64,
}

impl Read for Pack {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.end {
            return Ok(0);
        }
        if self.at >= self.from + self.frame.len() as u64 || self.at < self.from {
            let frames = &self.layout.frames;
            let next = frames.partition_point(|frame| frame.at + u64::from(frame.len) <= self.at);
            let Some(frame) = frames.get(next) else { return Ok(0) };
            self.frame = self.layout.frame(frame)?;
            self.from = frame.at;
        }
        let begin = usize::try_from(self.at - self.from).expect("frames are short");
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let bytes = &self.frame[begin..];
        let n = bytes.len().min(buffer.len()).min(left);
        buffer[..n].copy_from_slice(&bytes[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

/// What a frame of Zstandard begins with: its magic number, and that its length follows in four bytes and it has
/// no window of its own.
const FRAME_HEAD: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0xa0];
/// Bytes before the content of a block.
const BLOCK_HEAD: usize = 3;

/// Bytes of a stored frame.
fn stored_len(raw: u32) -> u32 {
    let blocks = (raw as usize).div_ceil(BLOCK_BYTES).max(1);
    let head = FRAME_HEAD.len() + size_of::<u32>() + blocks * BLOCK_HEAD;
    raw + u32::try_from(head).expect("frames are short")
}

/// A frame of Zstandard (RFC 8878) whose blocks are stored.
fn stored(raw: &[u8]) -> Vec<u8> {
    let len = u32::try_from(raw.len()).expect("frames are short");
    let mut frame = Vec::with_capacity(stored_len(len) as usize);
    frame.extend_from_slice(&FRAME_HEAD);
    frame.extend_from_slice(&len.to_le_bytes());
    let blocks = raw.len().div_ceil(BLOCK_BYTES).max(1);
    for number in 0..blocks {
        let block = &raw[number * BLOCK_BYTES..raw.len().min((number + 1) * BLOCK_BYTES)];
        let is_last = u32::from(number + 1 == blocks);
        let head = is_last | u32::try_from(block.len()).expect("blocks are short") << 3;
        frame.extend_from_slice(&head.to_le_bytes()[..BLOCK_HEAD]);
        frame.extend_from_slice(block);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_frame_is_one_of_zstandard_and_as_long_as_was_told() {
        for len in [0, 1, 5_000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 1_000_000] {
            let raw: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let frame = stored(&raw);
            assert_eq!(frame.len(), stored_len(len as u32) as usize, "{len}");
            assert_eq!(zstd::bulk::decompress(&frame, len).unwrap(), raw, "{len}");
        }
    }
}
