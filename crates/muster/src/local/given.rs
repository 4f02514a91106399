//! What a run is given from outside: fetched once, by whoever asks for the run, so that all its hosts test the
//! same bytes and no host needs to know how to get at them.
//!
//! On this machine the build and the tests lie in the directory of the run. On a lab they are sent as blobs,
//! which each agent fetches once for a run. Packages with names and versions will be resolved here.

use super::fetch::{Fetched, fetch};
use crate::commands::run::InputArgs;
use crate::context::{Context, FILE, OTHER_FILE, RECORDS};
use crate::error::Complaint;
use muster_agent::unpack;
use muster_core::inputs::{Inputs, Packing};
use muster_store::RunLock;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Newest runs whose build and tests are kept for a `resume` or `rerun`.
// Limit: disk.
const KEPT_MAX: usize = 4;
/// What was being fetched this long ago belongs to a process that was killed.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// What was fetched for a run.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) inputs: Inputs,
    build: Option<PathBuf>,
    /// The unpacked tests.
    tests: Option<PathBuf>,
    /// Where all of it is.
    dir: Option<TempDir>,
}

impl Given {
    /// Fetches what is asked for into a directory below this one.
    ///
    /// # Errors
    /// It cannot be had, or the tests are no area.
    pub(crate) fn fetch(args: &InputArgs, below: &Path, context: &Context) -> Result<Self, anyhow::Error> {
        let changeset = args.changeset.clone().unwrap_or_default();
        let inputs = Inputs { changeset, ..Inputs::default() };
        let mut given = Self { inputs, build: None, tests: None, dir: None };
        if args.build.is_none() && args.tests.is_none() {
            return Ok(given);
        }
        let ca_file = context.fetch_ca(args.fetch_ca.as_deref());
        remove_stale(below);
        let no_room = |e| Complaint::lab(format!("`{}` cannot be written to", below.display())).because(e);
        fs::create_dir_all(below).map_err(no_room)?;
        let dir = tempfile::Builder::new().prefix(INCOMING).tempdir_in(below).map_err(no_room)?;
        if let Some(url) = &args.tests {
            let Fetched { mut package, file } = fetch("tests", url, dir.path(), ca_file.as_deref())?;
            let tests = dir.path().join("unpacked");
            let packing = Packing::of(&package.name);
            if packing == Packing::Plain {
                return Err(Complaint::usage(format!("`{}` is not packed tests", package.name))
                    .hint("its name ends with `.tar`, `.tar.gz`, `.tgz`, `.tar.zst` or `.zip`")
                    .into());
            }
            unpack::unpack(&file, packing, &tests)
                .map_err(|e| Complaint::usage(format!("what `{}` has packed {e}", package.url)))?;
            let root = root_of(&tests).ok_or_else(|| {
                Complaint::usage(format!("there is no `{FILE}` in `{}`", package.url))
                    .hint("tests are packed with their `muster.toml` at the top, or in one directory")
            })?;
            package.root = root;
            given.tests = Some(tests);
            given.inputs.tests = Some(package);
        }
        if let Some(url) = &args.build {
            let Fetched { package, file } = fetch("build", url, dir.path(), ca_file.as_deref())?;
            given.build = Some(file);
            given.inputs.build = Some(package);
        }
        given.dir = Some(dir);
        Ok(given)
    }

    /// The area, where it was fetched.
    pub(crate) fn area(&self) -> Option<PathBuf> {
        let (dir, package) = (self.tests.as_ref()?, self.inputs.tests.as_ref()?);
        Some(dir.join(&package.root))
    }

    /// The file of the build.
    pub(crate) fn build(&self) -> Option<&Path> {
        self.build.as_deref()
    }

    /// Puts all of it into the directory of its run, and removes that of old runs.
    ///
    /// # Errors
    /// There is no room, or the build cannot be unpacked.
    pub(crate) fn place(self, run_dir: &Path) -> Result<(), anyhow::Error> {
        if self.dir.is_none() {
            return Ok(());
        }
        remove_old(run_dir);
        let failed = |e: io::Error| Complaint::lab("what was fetched cannot be kept").because(e);
        unpack::begin_build(run_dir).map_err(failed)?;
        if let (Some(file), Some(build)) = (&self.build, &self.inputs.build) {
            unpack::place_build(file, build, run_dir)
                .map_err(|e| Complaint::usage(format!("what `{}` has packed {e}", build.url)))?;
        }
        if let Some(tests) = &self.tests {
            fs::rename(tests, run_dir.join("tests")).map_err(failed)?;
        }
        Ok(())
    }
}

/// Begins the names of directories that are being filled.
const INCOMING: &str = "incoming-";

/// The records of a directory, as a place to fetch to: of the same file system as the runs in it.
pub(crate) fn beside_records(dir: &Path) -> PathBuf {
    dir.join(RECORDS)
}

/// Whether what a run was given is still there for another attempt.
///
/// # Errors
/// It is not.
pub(crate) fn must_be_there(inputs: &Inputs, run_dir: &Path, number: u32) -> Result<(), anyhow::Error> {
    let build = inputs.build.as_ref().is_none_or(|build| run_dir.join(build.file()).exists());
    let tests = inputs.area_dir().is_none_or(|dir| run_dir.join(dir).exists());
    if build && tests {
        return Ok(());
    }
    let said = format!("what run `{number}` was given is not there any more");
    Err(Complaint::usage(said)
        .hint(format!(
            "builds and tests of the newest {KEPT_MAX} runs are kept; start a new run with the same URLs"
        ))
        .into())
}

/// The directory of an unpacked archive that is the area: the top, or the one directory there.
fn root_of(dir: &Path) -> Option<String> {
    let is_area = |dir: &Path| [FILE, OTHER_FILE].iter().any(|f| dir.join(f).is_file());
    if is_area(dir) {
        return Some(String::new());
    }
    let mut entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let (only, more) = (entries.next()?, entries.next());
    let name = only.file_name().into_string().ok()?;
    (more.is_none() && only.file_type().ok()?.is_dir() && is_area(&only.path())).then_some(name)
}

fn remove_stale(below: &Path) {
    for entry in fs::read_dir(below).into_iter().flatten().filter_map(Result::ok) {
        let is_incoming = entry.file_name().to_string_lossy().starts_with(INCOMING);
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
        if is_incoming && age.is_some_and(|age| age > STALE) {
            // What cannot be removed now is in the way of nobody.
            let _left = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes what older runs were given, but for the newest and those that are under way.
fn remove_old(run_dir: &Path) {
    let Some(runs) = run_dir.parent() else { return };
    let mut given: Vec<(u32, PathBuf)> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .filter_map(|e| {
            let path = e.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            (path.join("build").exists() || path.join("tests").exists()).then_some((number, path))
        })
        .collect();
    given.sort();
    for (_, old) in given.iter().rev().skip(KEPT_MAX - 1).filter(|(_, old)| RunLock::holder(old).is_none()) {
        for what in ["build", "build.d", "tests"] {
            // As above.
            let _left = fs::remove_dir_all(old.join(what));
        }
    }
}
