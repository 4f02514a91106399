//! Fetches the frames that hold wanted chunks, several parts of packs at once. Each thread reads its part,
//! unpacks, verifies and hands on; nothing waits for anything else.

use super::chunk::ChunkId;
use super::error::PackageError;
use super::pack::{FrameUse, Map, Unpacker};
use super::source::{Failure, Source};
use muster_core::digest::Digest;
use serde::Serialize;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Frames that are not wanted and lie between two that are, are fetched along if they are no longer than this.
const GAP_BYTES: u64 = 64 << 10;
/// Most bytes that are asked for at once.
// Limit: what is lost where a connection breaks and the server cannot give parts; and more is done at once.
const PART_BYTES: u64 = 4 << 20;
/// A try that brings as much is no failure, however it ends.
const PROGRESS_BYTES: u64 = 16 << 10;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Bytes of files that came, without what HTTP puts in front of them.
    pub bytes: u64,
    /// Files and parts of files that were asked for.
    pub requests: u64,
}

/// What becomes of a chunk that came, by its number in the package.
pub(super) type Take<'a> = dyn Fn(u32, &[u8]) -> Result<(), PackageError> + Sync + 'a;

/// Neighbours in a pack.
struct Part<'a> {
    pack: Digest,
    frames: Vec<&'a FrameUse>,
}

/// Fetches what is lacking of what this repository has. Chunks that came are not lacking any more.
///
/// # Errors
/// What `take` says. `Ok(Some(_))` is what is wrong with the repository.
pub(super) fn fetch(
    source: &Source,
    map: &Map,
    chunks: &[(ChunkId, u32)],
    lacking: &[AtomicBool],
    take: &Take<'_>,
) -> Result<Option<PackageError>, PackageError> {
    let parts = parts(map, lacking);
    let until = Instant::now() + source.limits().total;
    let next = AtomicUsize::new(0);
    let (trouble, failed) = (Mutex::new(None), Mutex::new(None));
    let is_over = AtomicBool::new(false);
    let keep = |slot: &Mutex<Option<PackageError>>, error| {
        slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let work = || {
        let mut unpacker = Unpacker::default();
        while !is_over.load(Ordering::Relaxed) {
            let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            match fetch_part(source, part, chunks, lacking, (&mut unpacker, until), take) {
                Ok(None) => {}
                Ok(Some(error)) => keep(&trouble, error),
                Err(error) => {
                    keep(&failed, error);
                    is_over.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    let lanes = source.lanes().min(parts.len());
    if lanes <= 1 {
        work();
    } else {
        std::thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(work))));
    }
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(trouble.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn parts<'a>(map: &'a Map, lacking: &[AtomicBool]) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    let is_wanted = |frame: &FrameUse| {
        let mut runs = frame.runs.iter();
        runs.any(|r| (r.first..r.first + r.count).any(|n| lacking[n as usize].load(Ordering::Relaxed)))
    };
    for of_it in &map.packs {
        let pack = Digest(of_it.pack);
        let mut open = false;
        for frame in of_it.frames.iter().filter(|f| is_wanted(f)) {
            let end = frame.at + u64::from(frame.len);
            let joined = parts.last_mut().filter(|_| open).filter(|part| {
                let (first, last) = (part.frames[0], part.frames[part.frames.len() - 1]);
                frame.at - (last.at + u64::from(last.len)) <= GAP_BYTES && end - first.at <= PART_BYTES
            });
            match joined {
                Some(part) => part.frames.push(frame),
                None => parts.push(Part { pack, frames: vec![frame] }),
            }
            open = true;
        }
    }
    parts
}

/// Fetches one part. A connection that breaks is taken up again where it broke; only tries that bring next to
/// nothing are counted.
fn fetch_part(
    source: &Source,
    part: &Part<'_>,
    chunks: &[(ChunkId, u32)],
    lacking: &[AtomicBool],
    (unpacker, until): (&mut Unpacker, Instant),
    take: &Take<'_>,
) -> Result<Option<PackageError>, PackageError> {
    let name = format!("packs/{}", part.pack);
    let end = part.frames.last().map_or(0, |f| f.at + u64::from(f.len));
    let (mut packed, mut trouble) = (Vec::new(), None);
    // Frames that are done, and how much there is of the next.
    let (mut done, mut filled) = (0, 0);
    let mut one = || -> Result<bool, Failure> {
        let Some(first) = part.frames.get(done) else { return Ok(true) };
        let mut at = first.at + filled as u64;
        let Some(mut from) = source.open(&name, Some(at..end))? else { return Ok(false) };
        while let Some(frame) = part.frames.get(done) {
            // What lies between is thrown away.
            let between = frame.at.saturating_sub(at);
            let skipped = io::copy(&mut from.by_ref().take(between), &mut io::sink());
            source.bytes.fetch_add(skipped.map_err(|e| Failure::of(&e))?, Ordering::Relaxed);
            packed.resize(frame.len as usize, 0);
            while filled < packed.len() {
                let n = match from.read(&mut packed[filled..]) {
                    Ok(0) => return Err(Failure::Passing("it ends before its end".to_owned())),
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(Failure::of(&e)),
                };
                filled += n;
                source.bytes.fetch_add(n as u64, Ordering::Relaxed);
            }
            at = frame.at + u64::from(frame.len);
            (done, filled) = (done + 1, 0);
            let is_wanted = |number: u32| lacking[number as usize].load(Ordering::Relaxed);
            let unpacked = unpacker.unpack(frame, &packed, chunks, is_wanted, |number, bytes| {
                // Two frames may hold the same chunk.
                let is_first = lacking[number as usize].swap(false, Ordering::Relaxed);
                if is_first { take(number, bytes) } else { Ok(()) }
            });
            match unpacked {
                Ok(()) => {}
                Err(Ok(why)) => {
                    trouble.get_or_insert(PackageError::damaged(format!("`{name}`"), source.shown(), why));
                }
                Err(Err(ours)) => return Err(Failure::Ours(ours)),
            }
        }
        Ok(true)
    };
    let resumed = || loop {
        let before = source.bytes.load(Ordering::Relaxed);
        match one() {
            Err(Failure::Passing(why)) if Instant::now() > until => {
                return Err(Failure::Lasting(format!("{why}; and it takes too long")));
            }
            Err(Failure::Passing(_)) if source.bytes.load(Ordering::Relaxed) >= before + PROGRESS_BYTES => {}
            ended => return ended,
        }
    };
    match source.again(&name, resumed) {
        Ok(true) => Ok(trouble),
        Ok(false) => Ok(Some(PackageError::Missing { what: format!("`{name}`"), place: source.shown() })),
        Err(error @ PackageError::Unreachable { .. }) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}
