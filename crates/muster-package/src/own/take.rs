//! Takes packages in from whoever brings them, piece by piece: chunks in packs, then a manifest whose chunks are
//! all there, then its name. Nothing that comes is believed; what was acknowledged survives a power cut, and
//! bringing it again does nothing.

use super::chunk::{CHUNK_BYTES_MAX, ChunkId};
use super::error::{At as _, PackageError};
use super::manifest::{self, MANIFEST_BYTES_MAX, Manifest};
use super::names::Published;
use super::pack::{FRAME_BYTES_MAX, FrameUse, PackIndex, Run, TABLE_BYTES_MAX, Unpacker};
use super::packs::PACK_BYTES_MAX;
use super::repository::{Repository, Upload, must_not_clash};
use super::source::{Sources, read_limited};
use muster_core::digest::Digest;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

/// The place that errors about what was brought name.
pub const SENT: &str = "what was sent";
/// Longest pack that is taken in.
// Limit: a pack is closed behind the frame that fills it.
pub const TAKEN_PACK_BYTES_MAX: u64 = PACK_BYTES_MAX + 2 * FRAME_BYTES_MAX as u64;
/// Longest index of one that is taken in.
// Limit: it is held in memory; a pack of chunks of a hundred bytes each has one as long.
pub const TAKEN_INDEX_BYTES_MAX: u64 = 64 << 20;

impl Repository {
    /// Those of these chunks that are not here.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn lacking(&self, chunks: &[ChunkId]) -> Result<Vec<ChunkId>, PackageError> {
        let _lock = self.lock()?;
        let shelf = self.shelf()?;
        Ok(chunks.iter().filter(|id| !shelf.chunks.contains_key(id)).copied().collect())
    }

    /// Takes in a pack, a file of the same file system, which is gone afterwards. Says whether it is new.
    ///
    /// # Errors
    /// It is not what its name or its index say, it is here with another index, or it cannot be kept.
    pub fn take_pack(&self, pack: Digest, index: &[u8], file: &Path) -> Result<bool, PackageError> {
        let damaged = |why: String| PackageError::damaged(format!("pack {pack}"), SENT, why);
        let frames = PackIndex::decode(index).map_err(|why| damaged(format!("its index: {why}")))?;
        let opened = File::open(file).at(file)?;
        verify(pack, &frames, &opened).at(file)?.map_err(damaged)?;
        opened.sync_all().at(file)?;
        let _lock = self.lock()?;
        let packs = self.root().join("packs");
        // The chunks of others are found by the index that is here. One that cuts the same bytes otherwise is true as
        // well, and would take them away.
        let index_here = File::open(packs.join(format!("{pack}.index")))
            .and_then(|file| read_limited(file, TABLE_BYTES_MAX))
            .ok()
            .and_then(|bytes| PackIndex::decode(&bytes).ok());
        if index_here.is_some_and(|here| here != frames) {
            return Err(damaged("it is here, and its index is another".to_owned()));
        }
        let is_new = !packs.join(pack.to_string()).is_file();
        // The bytes that are there may be damaged; these are not.
        self.keep_pack(pack, index, file)?;
        Ok(is_new)
    }

    /// Takes in what a package is, compressed. All its chunks must be here. From now on it can be fetched by
    /// its digest, and is on no list.
    ///
    /// # Errors
    /// It is no manifest or another; [`PackageError::Lacking`]; or it cannot be kept.
    pub fn take_manifest(&self, digest: Digest, packed: &[u8]) -> Result<Published, PackageError> {
        let damaged =
            |why: &dyn std::fmt::Display| PackageError::damaged(format!("manifest {digest}"), SENT, why);
        let bytes = zstd::Decoder::new(packed)
            .and_then(|unpacked| read_limited(unpacked, MANIFEST_BYTES_MAX))
            .map_err(|e| damaged(&e))?;
        if manifest::digest_of(&bytes) != digest {
            return Err(damaged(&"its digest is another"));
        }
        let manifest = Manifest::decode(&bytes).map_err(|why| damaged(&why))?;
        let _lock = self.lock()?;
        let shelf = self.shelf()?;
        let lacking = manifest.chunks().iter().filter(|(id, _)| !shelf.chunks.contains_key(id)).count();
        let package = Published::of(&manifest, digest);
        if lacking > 0 {
            return Err(PackageError::Lacking { package: package.title(), chunks: lacking });
        }
        self.keep_manifest(&manifest, &bytes, digest, &shelf)?;
        Ok(package)
    }

    /// Whether a package is kept here, published or not.
    pub fn keeps(&self, digest: Digest) -> bool {
        ["manifests", "maps"].iter().all(|dir| self.root().join(dir).join(digest.to_string()).is_file())
    }

    /// Publishes a package that was taken in.
    ///
    /// # Errors
    /// It is not here, or another has its name and version.
    pub fn publish_kept(&self, digest: Digest) -> Result<Upload, PackageError> {
        let _lock = self.lock()?;
        let sources = Sources::one(self.source());
        let package = sources.known(digest)?;
        let list = self.list()?;
        must_not_clash(&list, &package)?;
        let (manifest, bytes) = sources.manifest(&package, None)?;
        let (is_known, bytes_written) = self.enlist(list, &package, &bytes)?;
        Ok(Upload { package, is_known, bytes_written, chunks: manifest.chunk_count(), chunks_new: 0 })
    }
}

/// Reads a pack from end to end. `Ok(Err(why))`: it is not what it should be.
fn verify(pack: Digest, index: &PackIndex, file: &File) -> io::Result<Result<(), String>> {
    let mut from = BufReader::new(file);
    let (mut hash, mut at) = (blake3::Hasher::new(), 0_u64);
    let (mut packed, mut unpacker) = (Vec::new(), Unpacker::default());
    for frame in &index.frames {
        let is_wrong = |len: &u32| *len == 0 || *len > CHUNK_BYTES_MAX;
        if frame.at != at
            || frame.raw > FRAME_BYTES_MAX
            || frame.len > 2 * FRAME_BYTES_MAX
            || frame.chunks.iter().any(|(_, len)| is_wrong(len))
            || frame.chunks.iter().map(|(_, len)| u64::from(*len)).sum::<u64>() != u64::from(frame.raw)
        {
            return Ok(Err("its index contradicts itself".to_owned()));
        }
        packed.resize(frame.len as usize, 0);
        match from.read_exact(&mut packed) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err("it is cut short".to_owned()));
            }
            read => read?,
        }
        hash.update(&packed);
        at += u64::from(frame.len);
        let count = u32::try_from(frame.chunks.len()).expect("a frame is short");
        let runs = vec![Run { at: 0, first: 0, count }];
        let used = FrameUse { at: frame.at, len: frame.len, raw: frame.raw, runs };
        let unpacked = unpacker.unpack(&used, &packed, &frame.chunks, |_| true, |_, _| Ok::<(), String>(()));
        if let Err(Ok(why) | Err(why)) = unpacked {
            return Ok(Err(why));
        }
    }
    if from.read(&mut [0])? != 0 {
        return Ok(Err("it is longer than its index says".to_owned()));
    }
    let is_it = Digest(*hash.finalize().as_bytes()) == pack;
    Ok(if is_it { Ok(()) } else { Err("its digest is another".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::super::pack::{IndexedFrame, Packer};
    use super::*;

    /// A pack of these bytes as one frame, whose index cuts it here.
    fn pack(raw: &[u8], cut: usize) -> (Digest, Vec<u8>, Vec<u8>) {
        let chunks: Vec<(ChunkId, u32)> = [&raw[..cut], &raw[cut..]]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| (ChunkId::of(part), u32::try_from(part.len()).unwrap()))
            .collect();
        let frame = Packer::default().pack(raw, chunks);
        let len = u32::try_from(frame.bytes.len()).unwrap();
        let frames = vec![IndexedFrame { at: 0, len, raw: frame.raw, chunks: frame.chunks }];
        let digest = Digest(*blake3::hash(&frame.bytes).as_bytes());
        (digest, PackIndex { frames }.encode(), frame.bytes)
    }

    #[test]
    fn who_sends_a_pack_that_is_there_cannot_give_it_another_index() {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::create(&dir.path().join("repo")).unwrap();
        let sent = dir.path().join("sent");
        let take = |pack: Digest, index: &[u8], bytes: &[u8]| {
            std::fs::write(&sent, bytes).unwrap();
            repository.take_pack(pack, index, &sent)
        };
        let raw: Vec<u8> = (0..=255).cycle().take(4_000).collect();
        let (digest, index, bytes) = pack(&raw, 1_000);
        let (same, otherwise, _) = pack(&raw, 0);
        assert_eq!(digest, same);
        assert!(take(digest, &index, &bytes).unwrap());
        let refused = take(digest, &otherwise, &bytes).unwrap_err().to_string();
        assert!(refused.contains("its index is another"), "{refused}");
        let first = [ChunkId::of(&raw[..1_000])];
        assert_eq!(repository.lacking(&first).unwrap(), [], "the chunks of others are where they were");

        // What is damaged there is mended by sending it again.
        std::fs::write(repository.root().join("packs").join(digest.to_string()), b"short").unwrap();
        assert_eq!(repository.lacking(&first).unwrap(), first);
        assert!(!take(digest, &index, &bytes).unwrap());
        std::fs::write(repository.root().join("packs").join(format!("{digest}.index")), b"torn").unwrap();
        assert!(!take(digest, &index, &bytes).unwrap());
        assert_eq!(repository.lacking(&first).unwrap(), []);
    }
}
