//! How the bytes of a file are cut into chunks. The same bytes are cut in the same way everywhere: by what
//! they are, never by how a file system keeps them.
//!
//! A small file is one chunk. A long one is cut into sections of a fixed length, so that they can be looked
//! at in parallel; in each section runs of zeros become holes, and what lies between is cut where its content
//! says (FastCDC), so that what is put in or taken out moves the cuts beside it and no others.

use fastcdc::v2020::FastCDC;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a chunk: the BLAKE3 digest of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&muster_core::digest::Digest(self.0), f)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Piece {
    /// Bytes.
    Data {
        /// What they are.
        id: ChunkId,
        /// How many.
        len: u32,
    },
    /// Zeros, which take no room.
    Hole {
        /// How many.
        len: u64,
    },
}

impl Piece {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Data { len, .. } => u64::from(*len),
            Self::Hole { len } => *len,
        }
    }

    /// Never so in a package.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How files were cut; a part of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunking {
    /// The way, with its version.
    pub algorithm: String,
    /// Files up to this length are one chunk.
    pub whole_max: u32,
    /// Length of the sections of longer ones.
    pub section: u32,
    /// Length and alignment of what is taken for a hole where it is all zeros.
    pub hole: u32,
    /// Shortest chunk that is cut, but at the end of a section or before a hole.
    pub min: u32,
    /// What they come to on average.
    pub avg: u32,
    /// The longest.
    pub max: u32,
}

/// The cuts of `fastcdc` 5.0, its 2020 way with normalization 1 and no seed. They are part of the format.
const ALGORITHM: &str = "fastcdc-2020-n1";

impl Default for Chunking {
    fn default() -> Self {
        Self {
            algorithm: ALGORITHM.to_owned(),
            whole_max: 128 << 10,
            section: 16 << 20,
            hole: 64 << 10,
            min: 32 << 10,
            avg: 128 << 10,
            max: 512 << 10,
        }
    }
}

/// Longest chunk that is taken from anybody.
// Limit: a chunk is held in memory, one for each core.
pub(super) const CHUNK_BYTES_MAX: u32 = 4 << 20;

impl Chunking {
    /// Cuts one section of a long file; `emit` gets each piece with its bytes, holes with none.
    pub(super) fn cut(&self, section: &[u8], mut emit: impl FnMut(Piece, &[u8])) {
        let hole = self.hole as usize;
        let mut from = 0;
        while from < section.len() {
            let is_hole = |at: usize| {
                let block = &section[at..section.len().min(at + hole)];
                block.len() == hole && is_zero(block)
            };
            let begins_hole = is_hole(from);
            let mut to = section.len().min(from + hole);
            while to < section.len() && is_hole(to) == begins_hole {
                to = section.len().min(to + hole);
            }
            let run = &section[from..to];
            if begins_hole {
                emit(Piece::Hole { len: run.len() as u64 }, &[]);
            } else {
                for cut in FastCDC::new(run, self.min as usize, self.avg as usize, self.max as usize) {
                    let bytes = &run[cut.offset..cut.offset + cut.length];
                    let len = u32::try_from(bytes.len()).expect("chunks are short");
                    emit(Piece::Data { id: ChunkId::of(bytes), len }, bytes);
                }
            }
            from = to;
        }
    }
}

fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<64>();
    words.iter().all(|w| *w == [0; 64]) && rest.iter().all(|b| *b == 0)
}

/// Puts a piece behind others; holes that touch are one.
pub(super) fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    if let (Some(Piece::Hole { len }), Piece::Hole { len: more }) = (pieces.last_mut(), piece) {
        *len += more;
    } else {
        pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn pieces(bytes: &[u8]) -> Vec<Piece> {
        let mut all = Vec::new();
        Chunking::default().cut(bytes, |piece, _| push(&mut all, piece));
        all
    }

    #[test]
    fn the_cuts_are_part_of_the_format_and_stay_as_they_are() {
        let lens: Vec<_> = pieces(&noise(1 << 20, 1)).iter().map(Piece::len).collect();
        assert_eq!(lens, [135_136, 136_878, 165_269, 120_902, 198_588, 276_315, 15_488]);
    }

    #[test]
    fn what_is_put_in_moves_only_the_cuts_beside_it() {
        let before = noise(4 << 20, 2);
        let mut after = before.clone();
        after.splice(1_000_000..1_000_000, *b"something new");
        let (before, after) = (pieces(&before), pieces(&after));
        let new = after.iter().filter(|p| !before.contains(p)).count();
        assert!(new <= 2, "{new} of {} are new", after.len());
    }

    #[test]
    fn aligned_zeros_are_holes() {
        let mut bytes = noise(1 << 20, 3);
        bytes[200_000..600_000].fill(0);
        let holes: u64 =
            pieces(&bytes).iter().filter(|p| matches!(p, Piece::Hole { .. })).map(Piece::len).sum();
        assert_eq!(holes, 5 * (64 << 10));
        assert_eq!(pieces(&vec![0; 1 << 20]), [Piece::Hole { len: 1 << 20 }]);
    }
}
