//! Takes away what no published package needs, and packs anew what is left in packs that are mostly of no use
//! any more.
//!
//! New packs are there before a map leads to them, and old ones until no map does. So whatever a crash leaves
//! is whole, and the next time takes away the rest.

use super::error::{At as _, PackageError};
use super::names::Published;
use super::pack::Map;
use super::packs::{Gathered, Packs};
use super::repository::Repository;
use super::source::Sources;
use muster_core::digest::Digest;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fs;

/// A pack is packed anew where less than one part in so many of it is needed.
const NEEDED_MIN: u64 = 2;

/// What was taken away.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Collected {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Packs of these that had something in them that is needed; it is in new ones now.
    pub repacked: usize,
    /// The bytes of those new ones.
    pub bytes_repacked: u64,
}

/// A package that stays, and where it is.
struct Kept {
    package: Published,
    chunks: Vec<(super::chunk::ChunkId, u32)>,
    map: Map,
}

impl Repository {
    /// Takes away what no published package needs: by what can be reached, never by age.
    ///
    /// # Errors
    /// [`PackageError`]: where a map cannot be read, nothing is taken away.
    pub fn collect(&self) -> Result<Collected, PackageError> {
        self.collect_all(&[], &|_| {})
    }

    /// The same, but for what these packages need, whether or not they are published.
    ///
    /// # Errors
    /// See [`Repository::collect`].
    pub fn collect_but(&self, keep: &[Digest]) -> Result<Collected, PackageError> {
        self.collect_all(keep, &|_| {})
    }

    /// The same; `on_step` is told before each step, by name.
    ///
    /// # Errors
    /// See [`Repository::collect`].
    pub fn collect_in_steps(&self, on_step: &dyn Fn(&str)) -> Result<Collected, PackageError> {
        self.collect_all(&[], on_step)
    }

    fn collect_all(&self, keep: &[Digest], on_step: &dyn Fn(&str)) -> Result<Collected, PackageError> {
        let _lock = self.lock()?;
        let sources = Sources::one(self.source());
        let mut packages = self.list()?;
        for digest in keep {
            match sources.known(*digest) {
                Ok(package) => packages.push(package),
                // It is not here.
                Err(PackageError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut kept = Vec::new();
        for package in packages {
            let chunks = sources.manifest(&package, None)?.0.chunks();
            let map = sources.map_of(&package, chunks.len())?;
            kept.push(Kept { package, chunks, map });
        }
        let mut gone = Collected::default();
        let sparse = self.sparse(&kept);
        if !sparse.is_empty() {
            gone.repacked = sparse.len();
            gone.bytes_repacked = self.repack(&mut kept, &sparse, &sources, on_step)?;
        }
        on_step("collect");
        let needed = needed(&kept);
        for dir in ["incoming", "packs", "maps", "manifests", "patches"] {
            let path = self.root().join(dir);
            for entry in fs::read_dir(&path).at(&path)? {
                let entry = entry.at(&path)?;
                let name = entry.file_name();
                let is_needed = name.to_str().is_some_and(|name| needed.contains(&format!("{dir}/{name}")));
                if !is_needed {
                    gone.bytes += entry.metadata().map_or(0, |m| m.len());
                    gone.files += 1;
                    fs::remove_file(entry.path()).at(&entry.path())?;
                    on_step("removed");
                }
            }
        }
        Ok(gone)
    }

    /// Packs of which little is needed.
    fn sparse(&self, kept: &[Kept]) -> HashSet<Digest> {
        // By frame, since only whole frames can be fetched; and by chunk, since of a frame little may be needed.
        let mut needed: HashMap<Digest, HashMap<u64, (u64, HashSet<u32>)>> = HashMap::new();
        for kept in kept {
            for of_it in &kept.map.packs {
                let frames = needed.entry(Digest(of_it.pack)).or_default();
                for frame in &of_it.frames {
                    let (raw, chunks) = frames.entry(frame.at).or_default();
                    for run in &frame.runs {
                        let mut at = run.at;
                        for number in run.first..run.first + run.count {
                            let len = kept.chunks[number as usize].1;
                            if chunks.insert(at) {
                                // As many bytes of the frame as it has in what is unpacked.
                                *raw += u64::from(len) * u64::from(frame.len) / u64::from(frame.raw.max(1));
                            }
                            at = at.saturating_add(len);
                        }
                    }
                }
            }
        }
        let is_sparse = |(pack, frames): &(&Digest, &HashMap<u64, (u64, HashSet<u32>)>)| {
            let path = self.root().join("packs").join(pack.to_string());
            let bytes = fs::metadata(path).map_or(0, |m| m.len());
            frames.values().map(|(bytes, _)| bytes).sum::<u64>() < bytes / NEEDED_MIN
        };
        needed.iter().filter(is_sparse).map(|(pack, _)| *pack).collect()
    }

    /// Packs anew what is needed of these packs, and lets all maps lead there.
    fn repack(
        &self,
        kept: &mut [Kept],
        sparse: &HashSet<Digest>,
        sources: &Sources,
        on_step: &dyn Fn(&str),
    ) -> Result<u64, PackageError> {
        let mut shelf = self.shelf()?;
        let is_of = |number: u32| sparse.contains(&shelf.packs[number as usize].0);
        let mut lacking: HashSet<_> =
            shelf.chunks.iter().filter(|(_, at)| is_of(at.pack)).map(|(id, _)| *id).collect();
        shelf.without(sparse);
        lacking.retain(|id| !shelf.chunks.contains_key(id));
        let mut packs = Packs::new(self);
        on_step("repack");
        for Kept { package, chunks, .. } in &*kept {
            let wanted: Vec<bool> = chunks.iter().map(|(id, _)| lacking.remove(id)).collect();
            let gathered = std::sync::Mutex::new(Gathered::new(&mut packs));
            let lock = || gathered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            sources.fetch(package, chunks, &wanted, &|number, bytes| {
                lock().add(chunks[number as usize], bytes)
            })?;
            gathered.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).finish()?;
        }
        let (bytes, new) = packs.finish()?;
        for (pack, index) in new {
            shelf.add(pack, index);
        }
        for Kept { package, chunks, map } in kept {
            if !map.packs.iter().any(|p| sparse.contains(&Digest(p.pack))) {
                continue;
            }
            on_step("map");
            *map = shelf.map(chunks).map_err(|id| {
                PackageError::damaged(format!("chunk {id}"), self.place(), "it is not in any pack")
            })?;
            self.write(&format!("maps/{}", package.digest), &map.encode())?;
        }
        Ok(bytes)
    }
}

/// The files that published packages need.
fn needed(kept: &[Kept]) -> HashSet<String> {
    let mut needed = HashSet::new();
    for Kept { package, map, .. } in kept {
        let digest = package.digest;
        needed.insert(format!("manifests/{digest}"));
        needed.insert(format!("maps/{digest}"));
        needed.extend(kept.iter().map(|older| format!("patches/{digest}-{}", older.package.digest)));
        for of_it in &map.packs {
            let pack = Digest(of_it.pack);
            needed.extend([format!("packs/{pack}"), format!("packs/{pack}.index")]);
        }
    }
    needed
}
