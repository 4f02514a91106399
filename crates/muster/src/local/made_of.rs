//! What results were made of: the effective definition of each test, the files it has, and the packages, as they were
//! when it ran. What differs now makes results stale. They stay as they are; nothing is ever taken from a record.
//!
//! A line is added to `made-of` in the run's directory each time items of the run are given to be run, so that a
//! result is held against what was there when its own last attempt began. Files are those of the test's own directory;
//! a test without one has none that could be told from those of others.

use super::area::Area;
use crate::commands::megatest::ticket_of;
use muster_core::definition::TestDef;
use muster_core::inputs::Needed;
use muster_core::time::Time;
use muster_core::view::{ItemView, RunView, TestView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its name in the run's directory.
const FILE: &str = "made-of";
/// Most files of a test that are looked at; of one with more nothing is noted.
// Limit: to read them takes longer than most tests.
const FILES_MAX: usize = 5_000;
/// A longer file is known by its length and when it was written.
const READ_BYTES_MAX: u64 = 16 << 20;

/// What tests were made of at some time.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    at: Time,
    /// `KIND:NAME VERSION DIGEST`
    packages: BTreeSet<String>,
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
}

/// Notes what the tests of an area are made of now, for a run that is about to execute some.
///
/// # Errors
/// It cannot be written.
pub(crate) fn note(run_dir: &Path, area: &Area, packages: &[Needed], at: Time) -> Result<(), anyhow::Error> {
    let mut line = serde_json::to_vec(&made(area, packages, at))?;
    line.push(b'\n');
    fs::create_dir_all(run_dir)?;
    // In one piece. A line that is cut off is not read.
    OpenOptions::new().create(true).append(true).open(run_dir.join(FILE))?.write_all(&line)?;
    Ok(())
}

/// Whether it was noted for a run what its results were made of.
pub(crate) fn is_noted(run_dir: &Path) -> bool {
    run_dir.join(FILE).is_file()
}

/// What of a run is stale. Of one that nothing was noted of (it ran on a lab, its files were removed) nothing is known.
pub(crate) fn stale(run_dir: &Path, area: &Area, packages: Option<&[Needed]>, run: &RunView) -> Vec<Stale> {
    let noted = read(run_dir);
    if noted.is_empty() {
        return Vec::new();
    }
    let now = made(area, packages.unwrap_or_default(), Time(0));
    let mut stale = Vec::new();
    for (test, item) in run.all_items() {
        if let Some(why) = changed(&noted, &now, packages.is_some(), test, item) {
            stale.push(Stale { test: test.name.clone(), item: item.path.clone(), why });
        }
    }
    stale
}

/// What has changed since an item's last attempt began; of one that has not ended or never ran, nothing.
fn changed(
    noted: &[Made],
    now: &Made,
    with_packages: bool,
    test: &TestView,
    item: &ItemView,
) -> Option<String> {
    item.verdict?;
    let began = item.last()?.result.started;
    let then = noted.iter().rev().find(|made| made.at <= began).or(noted.first())?;
    let (before, after) = (then.tests.get(&test.name)?, now.tests.get(&test.name));
    let Some(after) = after else { return Some("its test is not in the area any more".to_owned()) };
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
    if with_packages {
        let differing = then.packages.symmetric_difference(&now.packages);
        let titles: BTreeSet<&str> = differing.filter_map(|p| p.split(' ').next()).collect();
        said.extend(titles.into_iter().map(|title| format!("package `{title}`")));
    }
    if said.is_empty() { None } else { Some(format!("changed since it ran: {}", said.join(", "))) }
}

fn read(run_dir: &Path) -> Vec<Made> {
    let text = fs::read_to_string(run_dir.join(FILE)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn made(area: &Area, packages: &[Needed], at: Time) -> Made {
    // Many tests may share a directory.
    let mut known: HashMap<PathBuf, Option<Arc<BTreeMap<String, String>>>> = HashMap::new();
    let mut tests = BTreeMap::new();
    for test in &area.loaded.area.tests {
        let files = directory(area, test)
            .and_then(|dir| known.entry(dir.clone()).or_insert_with(|| digests(&dir).map(Arc::new)).clone());
        tests.insert(test.name.clone(), Parts { definition: definition(test), files });
    }
    let packages = packages.iter().map(|p| format!("{} {} {}", p.title(), p.version, p.digest)).collect();
    Made { at, packages, tests }
}

/// A digest of what a test does. Where it stands in its file does not matter.
fn definition(test: &TestDef) -> String {
    let def = TestDef { origin: String::new(), ..test.clone() };
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
