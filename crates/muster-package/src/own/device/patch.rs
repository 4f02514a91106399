//! Long files of which a device has another version: they are put together there of what it has and what is new, by
//! `dd`, and read afterwards like everything that was brought.

use super::install::Way;
use super::lines::{Lines, path};
use super::look::FileSeen;
use super::parts::{self, Parcel};
use super::place::{DevicePlace, Probe};
use super::sums::{self, Tool};
use crate::own::chunk;
use crate::own::error::PackageError;
use crate::own::manifest::{Manifest, What};
use crate::own::write::mode;
use muster_core::digest::Digest;
use muster_core::install::files::Have;
use muster_core::install::ranges::{Part, Piece, plan};
use std::path::PathBuf;

/// Shortest file that is put together; a shorter one is brought faster than it is talked about.
const LEN_MIN: u64 = 512 << 10;
/// In which a device copies.
const BLOCK: u64 = 4096;
/// Bytes that are brought at once for several files, unless one alone needs more.
// Limit: they are on the device twice, packed and unpacked, beside what they become.
const BATCH_BYTES: u64 = parts::PART_BYTES / 2;

/// Puts files together: $1 is where the new parts are, $2 the tree.
const MAKE: &str = r#"umask 022
p=$1
cd "$2" || exit 9
o() { dd if="$1" bs=4096 skip="$2" count="$3" 2>/dev/null || exit 8; }
z() { dd if=/dev/zero bs=4096 count="$1" 2>/dev/null || exit 8; }
n() { cat "$p/$1" || exit 8; }
"#;

/// How a file is put together.
pub(super) struct Patch {
    /// Which of the package's entries.
    pub(super) entry: usize,
    /// The tree of the other version, where it is at the same path.
    tree: String,
    parts: Vec<Part>,
}

impl Patch {
    /// Bytes that must be brought for it.
    pub(super) fn brought(&self) -> u64 {
        self.parts.iter().map(Part::brought).sum()
    }
}

impl DevicePlace<'_> {
    /// Which of these files can be put together with less than half of their bytes.
    pub(super) fn patches(
        &self,
        way: &Way<'_>,
        brought: &[usize],
        have: &Have<usize, FileSeen>,
        probe: &Probe,
    ) -> Vec<Patch> {
        let entries = &way.manifest.entries;
        let mut long: Vec<usize> = brought.to_vec();
        long.retain(|at| probe.has_dd && entries[*at].what.len() >= LEN_MIN);
        let mut all = Vec::new();
        for (looked, seen) in way.trees.iter().zip(&have.trees) {
            let (Some(old), false) = (looked.of, long.is_empty()) else { continue };
            let Some((manifest, sums)) = self.known(old, probe) else { continue };
            long.retain(|at| {
                let there = manifest.entries.binary_search_by(|e| e.path.cmp(&entries[*at].path));
                let is_it = |there: &usize| {
                    let seen = seen.binary_search_by_key(at, |(entry, _)| *entry).map(|at| &seen[at].1);
                    seen.is_ok_and(|seen| seen.sum == sums[*there])
                };
                let Some(there) = there.ok().filter(is_it) else { return true };
                let parts = plan(&pieces(&manifest.entries[there].what), &pieces(&entries[*at].what), BLOCK);
                let patch = Patch { entry: *at, tree: looked.path.clone(), parts };
                let is_worth_it = patch.brought() <= entries[*at].what.len() / 2;
                if is_worth_it {
                    all.push(patch);
                }
                !is_worth_it
            });
        }
        all
    }

    /// What this host knows of another version: how its files are cut, and what they are.
    fn known(&self, digest: Digest, probe: &Probe) -> Option<(Manifest, Vec<String>)> {
        let (manifest, _) = self.host.manifest(digest)?;
        let tool = probe.tool.unwrap_or(Tool::Sha256);
        // It need not be here any more.
        let sums = sums::of_package(self.host, digest, &manifest, tool).ok()?;
        Some((manifest, sums))
    }

    /// Puts files together in a tree. False: the device cannot.
    pub(super) fn make(
        &self,
        way: &Way<'_>,
        digest: Digest,
        patches: &[Patch],
    ) -> Result<bool, PackageError> {
        let mut rest = patches;
        while !rest.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            while count < rest.len() && (count == 0 || bytes + rest[count].brought() <= BATCH_BYTES) {
                bytes += rest[count].brought();
                count += 1;
            }
            if !self.make_some(way, digest, &rest[..count])? {
                return Ok(false);
            }
            rest = &rest[count..];
        }
        Ok(true)
    }

    fn make_some(&self, way: &Way<'_>, digest: Digest, patches: &[Patch]) -> Result<bool, PackageError> {
        let (tree, dir) = (self.incoming(&digest.to_string()), self.incoming("parts"));
        let mut lines = Lines::new(MAKE);
        let mut parcels = Vec::new();
        for Patch { entry, tree, parts } in patches {
            let to = &way.manifest.entries[*entry].path;
            let old = path(tree, to);
            lines.set("d", &path("", to));
            lines.line("rm -f \"$d\" || exit 8\n{");
            for part in parts {
                match part {
                    Part::Old { block, blocks } => {
                        lines.call("o", [&*old, block.to_string().as_bytes(), blocks.to_string().as_bytes()]);
                    }
                    Part::Zeros { blocks } => lines.call("z", [blocks.to_string().as_bytes()]),
                    Part::New { from, len } => {
                        let name = parcels.len().to_string();
                        lines.call("n", [name.as_bytes()]);
                        parcels.push(Parcel {
                            name: PathBuf::from(name),
                            entry: *entry,
                            from: *from,
                            len: *len,
                        });
                    }
                }
            }
            let executable = matches!(way.manifest.entries[*entry].what, What::File { executable: true, .. });
            lines.line(&format!("}} > \"$d\" && chmod {:o} \"$d\" || exit 8", mode(executable)));
        }
        self.shell("bring parts of files", "rm -rf \"$1\" && mkdir \"$1\"", [&*dir])?;
        self.bring_parcels(digest, way.manifest, &parcels, &dir)?;
        let (script, doing) = (self.incoming("make"), "put files together");
        self.push(doing, &lines.bytes(), &script)?;
        let said = self.script(doing, &script, &[&dir, &tree])?;
        self.shell("tidy up", "rm -rf \"$1\"", [&*dir])?;
        Ok(said.code == 0)
    }
}

fn pieces(what: &What) -> Vec<Piece<chunk::ChunkId>> {
    let What::File { pieces, .. } = what else { return Vec::new() };
    let of = |piece: &chunk::Piece| match piece {
        chunk::Piece::Data { id, len } => Piece { content: Some(*id), len: u64::from(*len) },
        chunk::Piece::Hole { len } => Piece { content: None, len: *len },
    };
    pieces.iter().map(of).collect()
}
