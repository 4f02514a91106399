//! Archives of runs: the files that a run left, in a repository of packages, where what several runs have in
//! common is kept once.
//!
//! ```text
//! .muster/runs/N, DISK/TARGET/RUN ──save──► a package of the run: its files by number, and an index that says
//!                                           where each was, with mode and time
//! the same places, or a directory ◄─restore, get── the package, verified byte by byte
//! ```
//!
//! Chunks, packs, digests and their verification are those of packages. What is recorded of a run is not its
//! files: that stays with the store, in the database or the cold tier.

mod restore;
mod save;
mod scratch;
#[cfg(test)]
mod tests;

pub(crate) use restore::{Destination, Restored, restore};
pub(crate) use save::{Saved, Survey, save, survey};

use crate::context::RECORDS;
use crate::error::Complaint;
use crate::local::megatest;
use muster_core::change::RunSnapshot;
use muster_core::id::RunId;
use muster_core::time::Time;
use muster_core::view::RunView;
use muster_formats::megatest::ticket::{TICKET_VARIABLE, Ticket};
use muster_package::own::{Kind, PackageError, Published, Reference, Repository, Source, Sources, Wanted};
use muster_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

/// The index in a package.
const INDEX: &str = "index.json";
/// The files in it, by number.
const FILES: &str = "files";
/// The outputs of a run, in its own directory. The records say where in it each is, and a run that is gone on with adds
/// to it: so it is saved, but never taken away.
const OUTPUTS: &str = "output.seg";
/// The form of the index.
const VERSION: u32 = 1;

/// What is in an archive of a run, and where it was.
#[derive(Serialize, Deserialize)]
pub(crate) struct Index {
    version: u32,
    /// The run: its id, area, number, name and target.
    pub(crate) run: String,
    pub(crate) area: String,
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) target: Vec<(String, String)>,
    /// When it was saved.
    pub(crate) saved: Time,
    /// The directories; the first is the run's own.
    roots: Vec<PathBuf>,
    entries: Vec<Entry>,
}

/// Something that was there.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// In which of the directories.
    root: u32,
    /// Where in it.
    path: Name,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
enum What {
    File { file: u32, mode: u32, mtime: i64, len: u64 },
    Link { to: Name },
    Dir { mode: u32 },
}

/// A path, which need not be text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

impl Name {
    fn of(path: &OsStr) -> Self {
        path.to_str()
            .map_or_else(|| Self::Bytes(path.as_bytes().to_vec()), |text| Self::Text(text.to_owned()))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Text(text) => PathBuf::from(text),
            Self::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes.clone())),
        }
    }
}

/// Which files are meant, by the number of the directory they are in and their path there.
pub(crate) type Wants<'a> = dyn Fn(u32, &Path) -> bool + 'a;

/// A repository with archives.
pub(crate) struct Archive {
    pub(crate) repository: Repository,
}

impl Archive {
    /// The archive in this directory, which is made.
    ///
    /// # Errors
    /// There are other things in it.
    pub(crate) fn create(dir: &Path) -> Result<Self, anyhow::Error> {
        Ok(Self { repository: Repository::create(dir).map_err(complain)? })
    }

    /// The archive in this directory.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn open(dir: &Path) -> Result<Self, anyhow::Error> {
        let repository = Repository::open(dir).ok_or_else(|| {
            Complaint::usage(format!("there is no archive in `{}`", dir.display()))
                .hint("`muster archive save RUN` makes one; `--archive DIR` names another")
        })?;
        Ok(Self { repository })
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources::new(vec![self.repository.source()])
    }

    /// The archive of a run, the newest of several.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find(&self, run: &RunView) -> Result<Published, anyhow::Error> {
        self.newest(run.id)?.ok_or_else(|| {
            Complaint::usage(format!("run `{}` is not in the archive", run.number))
                .hint(format!("`muster archive save {}` puts it there", run.number))
                .into()
        })
    }

    fn newest(&self, run: RunId) -> Result<Option<Published>, anyhow::Error> {
        let reference = Reference { kind: Kind::Build, name: name_of(run), wanted: Wanted::Newest };
        match self.sources().find(&reference, &|_| Ok(true)) {
            Ok(found) => Ok(Some(found.package)),
            Err(PackageError::Missing { .. }) => Ok(None),
            Err(other) => Err(complain(other)),
        }
    }

    /// All archives of runs, the oldest first, by run. Of several of one run the newest.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<(RunId, Published)>, anyhow::Error> {
        let mut all: Vec<(RunId, Published)> = Vec::new();
        for package in self.repository.list().map_err(complain)? {
            let Some(run) = run_of(&package) else { continue };
            all.retain(|(known, _)| *known != run);
            all.push((run, package));
        }
        Ok(all)
    }
}

/// What archives are called in their repository.
fn name_of(run: RunId) -> String {
    format!("run-{:032x}", run.0)
}

fn run_of(package: &Published) -> Option<RunId> {
    let hex = package.name.strip_prefix("run-").filter(|hex| hex.len() == 32)?;
    u128::from_str_radix(hex, 16).ok().map(RunId)
}

/// Where an area's archive is, unless something else is named.
pub(crate) fn dir_of(area_dir: &Path) -> PathBuf {
    area_dir.join(RECORDS).join("archive")
}

/// The directories that a run has left files in: its own, and those that tests of a Megatest area ran in.
/// What it has in common with another run is not its own.
pub(crate) fn roots(
    store: &mut dyn Store,
    run: &RunView,
    snapshot: &RunSnapshot,
    run_dir: &Path,
) -> Result<Vec<PathBuf>, StoreError> {
    let name = megatest::dir_name(run);
    let mut others = BTreeSet::new();
    for test in &snapshot.record.plan.tests {
        let ticket = test.def.env.iter().find(|(name, _)| name == TICKET_VARIABLE);
        let Some(ticket) = ticket.and_then(|(_, text)| Ticket::parse(text).ok()) else { continue };
        let dirs = ticket.disks.iter().map(|(_, disk)| Path::new(disk).join(&ticket.target).join(&name));
        // Of a disk that is named by a variable of the item, nothing is known here.
        others.extend(dirs.filter(|dir| is_plain(dir) && dir.is_dir()));
    }
    if !others.is_empty() && megatest::has_others(store, run)? {
        others.clear();
    }
    Ok(std::iter::once(run_dir.to_owned()).chain(others).collect())
}

/// Absolute, with nothing in it that leads elsewhere.
fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && !path.as_os_str().as_bytes().contains(&b'$')
        && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
}

/// Relative, with nothing in it that leads elsewhere: what an index says comes from outside.
fn is_inside(path: &Path) -> bool {
    !path.as_os_str().is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)))
}

fn complain(error: PackageError) -> anyhow::Error {
    Complaint::lab("the archive cannot be used").because(error).into()
}

/// Reads every byte of an archive and compares it with its digests.
///
/// # Errors
/// What of it is lacking or damaged.
pub(crate) fn verify(archive: &Archive, package: &Published) -> Result<(), PackageError> {
    Sources::new(vec![Source::dir(archive.repository.root().to_owned())]).verify(package)
}
