//! What results were made of: the effective definition of each test, the files it has, and the packages, as they were
//! when it ran. What differs now makes results stale. They stay as they are; nothing is ever taken from a record.
//!
//! A line is noted with the run each time items of it are given to be run, by a lab's server as here, so that a result
//! is held against what was there when its own last attempt began. Packages are the run's own, and in its record. Files are those of the test's own directory;
//! a test without one has none that could be told from those of others.

use super::area::Area;
use crate::commands::megatest::ticket_of;
use muster_core::definition::{Retries, TestDef};
use muster_core::digest::Digest;
use muster_core::inputs::{Inputs, Needed};
use muster_core::time::Time;
use muster_core::view::RunView;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest line that a server is sent.
// Limit: it comes with the question for a run, and is kept as long as that.
const SENT_BYTES_MAX: usize = 8 << 20;
/// Most files of a test that are looked at; of one with more nothing is noted.
// Limit: to read them takes longer than most tests.
const FILES_MAX: usize = 5_000;
/// A longer file is known by its length and when it was written.
const READ_BYTES_MAX: u64 = 16 << 20;

/// What tests were made of at some time.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Made {
    #[serde(default, skip_serializing)]
    at: Time,
    tests: BTreeMap<String, Parts>,
}

/// What a test is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parts {
    /// A digest of its effective definition.
    definition: String,
    /// Digests of its files, by their path in its directory. `None`: there is no directory, or too much in it.
    files: Option<Arc<BTreeMap<String, String>>>,
}

/// An item whose result was made of something else than there is now.
#[derive(Debug)]
pub(crate) struct Stale {
    pub(crate) test: String,
    pub(crate) item: String,
    /// What has changed, for people.
    pub(crate) why: String,
    /// Nothing else than packages: a rerun is given those that the run has, and only another run the new ones.
    pub(crate) by_packages: bool,
}

/// Notes what the tests of an area are made of now, for a run that is about to execute some.
///
/// # Errors
/// It cannot be written.
pub(crate) fn note(run_dir: &Path, area: &Area, at: Time) -> Result<(), anyhow::Error> {
    Ok(muster_store::note_made_of(run_dir, at, &serde_json::to_string(&made(area))?)?)
}

/// The same for a server that is asked for a run, which keeps it. Empty where there is too much of it.
pub(crate) fn line(area: &Area) -> String {
    let line = serde_json::to_string(&made(area)).unwrap_or_default();
    if line.len() > SENT_BYTES_MAX { String::new() } else { line }
}

/// What of a run is stale. `noted`: the lines that were noted for it; of a run without any nothing is known but its
/// packages. `packages`: those that a run would be given now, as far as they can be had.
pub(crate) fn stale(noted: &str, area: &Area, packages: Option<&[Needed]>, run: &RunView) -> Vec<Stale> {
    let noted: Vec<Made> = noted.lines().filter_map(read).collect();
    let now = if noted.is_empty() { Made::default() } else { made(area) };
    let mut stale = Vec::new();
    for (test, item) in run.all_items() {
        // What has not ended, or never ran, was made of nothing yet.
        let Some(began) = item.verdict.and_then(|_| item.last()).map(|last| last.result.started) else {
            continue;
        };
        let then = noted.iter().rev().find(|made| made.at <= began).or(noted.first());
        let changed = match then.and_then(|then| then.tests.get(&test.name)) {
            None => Some(Vec::new()),
            Some(before) => now.tests.get(&test.name).map(|after| differing(before, after)),
        };
        let Some(mut changed) = changed else {
            let why = "its test is not in the area any more".to_owned();
            stale.push(Stale { test: test.name.clone(), item: item.path.clone(), why, by_packages: false });
            continue;
        };
        let by_packages = changed.is_empty();
        changed.extend(packages.into_iter().flat_map(|now| other_packages(run, now, &test.name)));
        if !changed.is_empty() {
            let why = format!("changed since it ran: {}", changed.join(", "));
            stale.push(Stale { test: test.name.clone(), item: item.path.clone(), why, by_packages });
        }
    }
    stale
}

/// A line as it was noted; `None`: one that was cut off.
fn read(line: &str) -> Option<Made> {
    let (at, made) = line.split_once(' ')?;
    Some(Made { at: Time(at.parse().ok()?), ..serde_json::from_str(made).ok()? })
}

/// What of a test is not as it was, for people.
fn differing(before: &Parts, after: &Parts) -> Vec<String> {
    let mut said = Vec::new();
    if before.definition != after.definition {
        said.push("its definition".to_owned());
    }
    if let (Some(before), Some(after)) = (&before.files, &after.files) {
        let differing = |path: &&String| before.get(*path) != after.get(*path);
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).filter(differing).collect();
        let mut names = paths.iter().map(|p| format!("`{p}`"));
        said.extend(names.by_ref().take(3));
        match names.count() {
            0 => {}
            more => said.push(format!("{more} more files")),
        }
    }
    said
}

/// The packages of a test that would be others now.
fn other_packages(run: &RunView, now: &[Needed], test: &str) -> Vec<String> {
    let now = Inputs { packages: now.to_vec(), ..Inputs::default() };
    let known = |inputs: &Inputs| -> BTreeMap<String, (String, Digest)> {
        let named = |p: &Needed| (format!("{}:{}", p.kind, p.name), (p.version.clone(), p.digest));
        inputs.packages_of(test).map(named).collect()
    };
    let (before, after) = (known(&run.inputs), known(&now));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing.map(|name| format!("package `{name}`")).collect()
}

fn made(area: &Area) -> Made {
    // Many tests may share a directory.
    let mut known: HashMap<PathBuf, Option<Arc<BTreeMap<String, String>>>> = HashMap::new();
    let mut tests = BTreeMap::new();
    for test in &area.loaded.area.tests {
        let files = directory(area, test)
            .and_then(|dir| known.entry(dir.clone()).or_insert_with(|| digests(&dir).map(Arc::new)).clone());
        tests.insert(test.name.clone(), Parts { definition: definition(test), files });
    }
    Made { at: Time::default(), tests }
}

/// A digest of what a test does. Where it stands in its file does not matter, nor what is said of it, when it runs and
/// how often: `--retries` makes no other test of it.
fn definition(test: &TestDef) -> String {
    let def = TestDef {
        origin: String::new(),
        description: String::new(),
        owner: String::new(),
        tags: Vec::new(),
        priority: 0,
        retries: Retries::default(),
        ..test.clone()
    };
    let text = serde_json::to_vec(&def).unwrap_or_default();
    blake3::hash(&text).to_hex()[..32].to_owned()
}

/// The directory that is a test's own.
fn directory(area: &Area, test: &TestDef) -> Option<PathBuf> {
    if let Some(ticket) = ticket_of(&test.env) {
        return Some(PathBuf::from(ticket.source));
    }
    let own = test.dir.trim_start_matches("./").trim_end_matches('/');
    let is_own = !own.is_empty() && own != "." && !own.starts_with('/') && !own.split('/').any(|p| p == "..");
    is_own.then(|| area.dir.join(own))
}

/// The files below a directory, without what version control keeps; `None`: it is not there, or has too many.
fn digests(dir: &Path) -> Option<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(&at).ok()? {
            let Ok(entry) = entry else { continue };
            let (path, name) = (entry.path(), entry.file_name());
            if name == ".git" || name == ".muster" {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                waiting.push(path);
                continue;
            }
            let short = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            let digest = if kind.is_symlink() {
                fs::read_link(&path).map(|to| format!("-> {}", to.display()))
            } else if kind.is_file() {
                of_file(&path)
            } else {
                continue;
            };
            // One that cannot be read is one that changed when it can.
            files.insert(short, digest.unwrap_or_default());
            if files.len() > FILES_MAX {
                return None;
            }
        }
    }
    Some(files)
}

fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let mode = about.mode() & 0o111;
    if about.len() > READ_BYTES_MAX {
        return Ok(format!("{mode:o} {} {}.{}", about.len(), about.mtime(), about.mtime_nsec()));
    }
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file, &mut hasher)?;
    Ok(format!("{mode:o} {}", &hasher.finalize().to_hex()[..32]))
}
