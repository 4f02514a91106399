//! The manifest: all that a package is. Its bytes are canonical, and their digest names the package.

use super::about::About;
use super::chunk::{CHUNK_BYTES_MAX, ChunkId, Chunking, Piece};
use super::codec;
use super::tree_path::{LinkTarget, TreePath};
use muster_core::digest::Digest;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::HashMap;

/// The first line of a manifest.
const MAGIC: &[u8] = b"muster package 1\n";
/// Longest manifest.
// Limit: it is held in memory; a million files come to about 100 MB.
pub(super) const MANIFEST_BYTES_MAX: u64 = 512 << 20;
/// Most bytes that a package can have when unpacked.
// Limit: holes cost nothing to describe.
const TREE_BYTES_MAX: u64 = 1 << 46;

/// All that a package is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The whole.
    pub about: About,
    /// How its files are cut.
    pub chunking: Chunking,
    /// What is in it, in the order of their paths.
    pub entries: Vec<Entry>,
}

/// One thing in a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// What.
    pub what: What,
}

/// What is at a path. A directory is there because something is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum What {
    /// A file.
    File {
        /// Whether it can be run. Nothing else of its mode is kept.
        executable: bool,
        /// Its bytes, in order.
        pieces: Vec<Piece>,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        to: LinkTarget,
    },
    /// A directory with nothing in it.
    Dir,
}

impl What {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::File { pieces, .. } => pieces.iter().map(Piece::len).sum(),
            Self::Link { .. } | Self::Dir => 0,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names the bytes of a file: the digest of its only chunk, or of how its pieces are written.
    pub fn digest(&self) -> Option<Digest> {
        let Self::File { pieces, .. } = self else { return None };
        Some(match &pieces[..] {
            [Piece::Data { id, .. }] => Digest(id.0),
            [] => Digest(ChunkId::of(b"").0),
            pieces => Digest(*blake3::hash(&codec::encode(b"", &pieces)).as_bytes()),
        })
    }
}

impl Manifest {
    /// Its canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(MAGIC, self)
    }

    /// Reads a manifest of which nothing is believed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = codec::decode(MAGIC, bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// What every manifest must be, ours and others'.
    pub(super) fn check(&self) -> Result<(), String> {
        self.about.check()?;
        let mut bytes = 0_u64;
        for pair in self.entries.windows(2) {
            let [first, second] = pair else { continue };
            if first.path.cmp(&second.path) != Ordering::Less {
                return Err(format!("{:?} is there twice or out of order", second.path));
            }
            // What is in a directory comes right behind it.
            if second.path.is_below(&first.path) {
                return Err(format!("{:?} is in something that is no directory", second.path));
            }
        }
        for entry in &self.entries {
            let wrong = |why: &str| Err(format!("{:?} {why}", entry.path));
            match &entry.what {
                What::File { pieces, .. } => {
                    for piece in pieces {
                        let is_too_long = matches!(piece, Piece::Data { len, .. } if *len > CHUNK_BYTES_MAX);
                        if piece.is_empty() || is_too_long {
                            return wrong("has a piece that is empty or too long");
                        }
                        bytes = bytes.saturating_add(piece.len());
                    }
                    let two = |p: &[Piece]| matches!(p, [Piece::Hole { .. }, Piece::Hole { .. }]);
                    if pieces.windows(2).any(two) {
                        return wrong("has two holes that are one");
                    }
                }
                What::Link { to } => to.check(&entry.path).or_else(wrong)?,
                What::Dir => {}
            }
        }
        if bytes > TREE_BYTES_MAX {
            return Err("it is larger than any package may be".to_owned());
        }
        self.lens_agree()
    }

    /// One chunk has one length.
    fn lens_agree(&self) -> Result<(), String> {
        let mut lens = HashMap::new();
        for (_, piece) in self.pieces() {
            if let Piece::Data { id, len } = piece
                && *lens.entry(*id).or_insert(*len) != *len
            {
                return Err(format!("chunk {id} has two lengths"));
            }
        }
        Ok(())
    }

    /// The package's digest.
    pub fn digest(&self) -> Digest {
        digest_of(&self.encode())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|e| e.what.len()).sum()
    }

    /// Number of files.
    pub fn files(&self) -> usize {
        self.entries.iter().filter(|e| matches!(e.what, What::File { .. })).count()
    }

    /// Number of its distinct chunks.
    pub fn chunk_count(&self) -> usize {
        self.chunks().len()
    }

    /// All pieces, with the place of their entry.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (usize, &Piece)> {
        self.entries.iter().enumerate().flat_map(|(at, entry)| {
            let pieces: &[Piece] = match &entry.what {
                What::File { pieces, .. } => pieces,
                What::Link { .. } | What::Dir => &[],
            };
            pieces.iter().map(move |piece| (at, piece))
        })
    }

    /// The distinct chunks with their lengths, in the order in which they first come. The number of a chunk
    /// in a package is its place in this list.
    pub(super) fn chunks(&self) -> Vec<(ChunkId, u32)> {
        let mut seen = std::collections::HashSet::new();
        self.pieces()
            .filter_map(|(_, piece)| match piece {
                Piece::Data { id, len } => seen.insert(*id).then_some((*id, *len)),
                Piece::Hole { .. } => None,
            })
            .collect()
    }
}

/// Names the bytes of a manifest.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

/// How two packages differ at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum Change {
    /// Only the new one has it.
    Added {
        /// Where.
        path: String,
        /// Its bytes.
        bytes: u64,
    },
    /// Only the old one has it.
    Removed {
        /// Where.
        path: String,
        /// Its bytes.
        bytes: u64,
    },
    /// Both have it, and not the same.
    Changed {
        /// Where.
        path: String,
        /// Its bytes in the new one.
        bytes: u64,
    },
}

/// How one package becomes another, in the order of the paths.
pub fn changes(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let (mut old, mut new) = (old.entries.iter().peekable(), new.entries.iter().peekable());
    let mut all = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return all,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let gone = if order == Ordering::Greater { None } else { old.next() };
        let come = if order == Ordering::Less { None } else { new.next() };
        match (gone, come) {
            (Some(old), Some(new)) if old.what != new.what => {
                all.push(Change::Changed { path: new.path.to_string(), bytes: new.what.len() });
            }
            (Some(old), None) => {
                all.push(Change::Removed { path: old.path.to_string(), bytes: old.what.len() });
            }
            (None, Some(new)) => {
                all.push(Change::Added { path: new.path.to_string(), bytes: new.what.len() });
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}
