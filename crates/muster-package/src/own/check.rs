//! Whether a repository is what it says: every object is read and held against what names it.

use super::error::{At as _, PackageError};
use super::names::Published;
use super::pack::{Map, PackIndex};
use super::parallel;
use super::repository::Repository;
use super::source::Sources;
use muster_core::digest::Digest;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

/// Objects by their names in the repository, and what is wrong with each.
type Wrong = BTreeMap<String, String>;

impl Repository {
    /// Says what is wrong with it, a line for each object; nothing where all of it is right.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub fn verify(&self) -> Result<Vec<String>, PackageError> {
        Ok(self.wrong()?.into_iter().map(|(object, why)| format!("`{object}`: {why}")).collect())
    }

    /// Takes away what is damaged, so that it is written again by whoever publishes or copies the packages
    /// that need it. What is published stays so, and cannot be had meanwhile.
    ///
    /// # Errors
    /// It cannot be read, or not be changed.
    pub fn drop_damaged(&self) -> Result<Vec<String>, PackageError> {
        let _lock = self.lock()?;
        let wrong = self.wrong()?;
        for object in wrong.keys() {
            let path = self.root().join(object);
            // What is missing is wrong, too.
            if path.exists() {
                fs::remove_file(&path).at(&path)?;
            }
        }
        Ok(wrong.into_keys().collect())
    }

    fn wrong(&self) -> Result<Wrong, PackageError> {
        let list = self.list()?;
        let mut wrong = Wrong::new();
        let packs = self.packs(&mut wrong)?;
        let sources = Sources::one(self.source());
        let mut manifests = HashMap::new();
        for package in &list {
            let digest = package.digest;
            match sources.manifest(package, None) {
                Ok((manifest, bytes)) => {
                    self.map(package, manifest.chunks().len(), &sources, &packs, &mut wrong);
                    manifests.insert(digest, bytes);
                }
                Err(error) => drop(wrong.insert(format!("manifests/{digest}"), error.to_string())),
            }
        }
        let dir = self.root().join("patches");
        for entry in fs::read_dir(&dir).at(&dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ends =
                name.split_once('-').and_then(|(new, old)| Some((new.parse().ok()?, old.parse().ok()?)));
            let Some((new, old)) = ends else { continue };
            let (Some(new), Some(old)) = (manifests.get(&new), manifests.get(&old)) else { continue };
            let patch = fs::read(entry.path()).at(&entry.path())?;
            if !super::source::apply_patch(&patch, old).is_ok_and(|made| made == *new) {
                wrong.insert(
                    format!("patches/{name}"),
                    "it does not make of the one what the other is".to_owned(),
                );
            }
        }
        Ok(wrong)
    }

    /// Reads all packs; gives back those that are whole.
    fn packs(&self, wrong: &mut Wrong) -> Result<HashSet<Digest>, PackageError> {
        let dir = self.root().join("packs");
        let mut names = HashSet::new();
        for entry in fs::read_dir(&dir).at(&dir)? {
            let name = entry.at(&dir)?.file_name();
            let name = name.to_string_lossy();
            names.extend(name.strip_suffix(".index").unwrap_or(&name).parse::<Digest>());
        }
        let names: Vec<Digest> = names.into_iter().collect();
        let looked = parallel::each(&names, 1, |_, pack| -> Result<_, ()> {
            let path = dir.join(pack.to_string());
            let mut hash = blake3::Hasher::new();
            let read = fs::File::open(&path).and_then(|file| hash.update_reader(file).map(drop));
            let is_whole = read.is_ok() && hash.finalize().as_bytes() == &pack.0;
            let index = fs::read(dir.join(format!("{pack}.index"))).map_err(|e| e.to_string());
            let index = index.and_then(|bytes| PackIndex::decode(&bytes));
            Ok((*pack, is_whole, index))
        });
        let mut whole = HashSet::new();
        for (pack, is_whole, index) in looked.unwrap_or_default() {
            match (is_whole, index) {
                (true, Ok(_)) => drop(whole.insert(pack)),
                // Neither is of use without the other.
                (is_whole, index) => {
                    let why =
                        if is_whole { "its index is damaged" } else { "its bytes are not those of its name" };
                    let of_index = index.err().unwrap_or_else(|| "its pack is damaged".to_owned());
                    wrong.insert(format!("packs/{pack}"), why.to_owned());
                    wrong.insert(format!("packs/{pack}.index"), of_index);
                }
            }
        }
        Ok(whole)
    }

    fn map(
        &self,
        package: &Published,
        chunks: usize,
        sources: &Sources,
        packs: &HashSet<Digest>,
        wrong: &mut Wrong,
    ) {
        let object = format!("maps/{}", package.digest);
        let why = match sources.map_of(package, chunks) {
            Err(error) => error.to_string(),
            Ok(map) => match lacking(&map, chunks, packs) {
                None => return,
                Some(why) => why,
            },
        };
        wrong.insert(object, why);
    }
}

/// What a map does not lead to.
fn lacking(map: &Map, chunks: usize, packs: &HashSet<Digest>) -> Option<String> {
    let mut had = vec![false; chunks];
    for of_it in &map.packs {
        let pack = Digest(of_it.pack);
        if !packs.contains(&pack) {
            return Some(format!("it leads to `packs/{pack}`, which is damaged or not there"));
        }
        for run in of_it.frames.iter().flat_map(|f| &f.runs) {
            had[run.first as usize..][..run.count as usize].fill(true);
        }
    }
    let lost = had.iter().filter(|h| !**h).count();
    (lost > 0).then(|| format!("{lost} chunks are nowhere"))
}
