//! Moves runs to another area: records and files there, then a word here that says where they went.

use super::area::{self, Purpose};
use super::session;
use crate::cli::Global;
use crate::context::{Context, RECORDS};
use crate::error::Complaint;
use muster_core::view::RunView;
use muster_store::{RunPlace, Sqlite, Store as _, StoreError};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The area that runs go to.
pub(crate) struct There {
    context: Context,
    dir: PathBuf,
    store: Sqlite,
    /// Targets that it cannot have, and why: of many runs for one it is asked once.
    refused: HashMap<Vec<(String, String)>, String>,
}

impl There {
    /// Opens the area in this directory. Whether it may have a run is asked for each.
    ///
    /// # Errors
    /// There is none, or it is the one at hand.
    pub(crate) fn open(dir: &Path, here: &Sqlite) -> Result<Self, anyhow::Error> {
        let context = Context::new(&Global::plain(Some(dir.to_owned())))?;
        let dir = context
            .area_dir()
            .map_err(|e| Complaint::usage(format!("`{}` is no area", dir.display())).because(e))?;
        // One directory can be reached by several names.
        let identity = |db: &Path| fs::metadata(db).ok().map(|meta| (meta.dev(), meta.ino()));
        let db = dir.join(RECORDS).join(here.file().file_name().unwrap_or_default());
        if identity(&db).is_some_and(|there| Some(there) == identity(here.file())) {
            return Err(Complaint::usage("the runs are in this area already").into());
        }
        let store = crate::wiring::open_to_write(&dir)?;
        Ok(Self { context, dir, store, refused: HashMap::new() })
    }

    /// The name of that area for a run, which says that it has the same keys and may have the same values.
    ///
    /// # Errors
    /// It has others.
    pub(crate) fn takes(&mut self, run: &RunView) -> Result<String, anyhow::Error> {
        if let Some(why) = self.refused.get(&run.target) {
            return Err(Complaint::usage(why).into());
        }
        let asked = self.ask(run);
        if let Err(error) = &asked {
            self.refused.insert(run.target.clone(), format!("{error:#}"));
        }
        asked
    }

    fn ask(&self, run: &RunView) -> Result<String, anyhow::Error> {
        let values: Vec<&str> = run.target.iter().map(|(_, value)| value.as_str()).collect();
        let target = values.join("/");
        let target = (!values.is_empty()).then_some(target.as_str());
        let loaded = area::load(&self.context, None, target, &[], Purpose::Look)?.loaded.area;
        if loaded.target != run.target {
            let keys = |of: &[(String, String)]| {
                of.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ")
            };
            let said = format!(
                "area `{}` has other keys than the run: {}",
                loaded.name,
                if loaded.target.is_empty() { "none".to_owned() } else { keys(&loaded.target) }
            );
            return Err(Complaint::usage(said).hint(format!("the run has {}", keys(&run.target))).into());
        }
        Ok(loaded.name)
    }
}

/// Moves a run that is over. Called again after it was cut off, it goes on.
///
/// # Errors
/// The area cannot have it, somebody works on it, a file cannot be copied. The run is then still here.
pub(crate) fn relocate(
    store: &mut Sqlite,
    run: &RunView,
    there: &mut There,
) -> Result<RunPlace, anyhow::Error> {
    let area = there.takes(run)?;
    let _lock = store.hold_run(run.id)?;
    let seen = store.stamp_run(run.id)?;
    let own = store.run_dir(run.number).expect("the records of an area are in a directory");
    let place = match there.store.load_run_snapshot(run.id) {
        // An earlier call has come so far.
        Ok(known) => {
            if there.store.measure_run(run.id)? != store.measure_run(run.id)? {
                let said = format!(
                    "run `{}` is run `{}` of area `{}` already, and was changed here or there since",
                    run.number, known.record.number, known.record.spec.area
                );
                return Err(Complaint::usage(said)
                    .hint("nothing was changed: compare them, and remove one with `muster runs remove`")
                    .into());
            }
            RunPlace { dir: there.dir.clone(), area, number: known.record.number }
        }
        Err(StoreError::UnknownRun { .. }) => {
            let number = there.store.reserve_number(&area)?;
            let place = RunPlace { dir: there.dir.clone(), area, number };
            let dir = there.store.run_dir(number).expect("the records of an area are in a directory");
            copy(&own, &dir, Path::new("lock")).map_err(|e| {
                Complaint::lab(format!(
                    "the files of run `{}` cannot be copied to `{}`",
                    run.number,
                    dir.display()
                ))
                .because(e)
            })?;
            let file = dir.join("records.moving");
            store.export_run(run.id, &file)?;
            there.store.import_run(&file, &place)?;
            fs::remove_file(&file)?;
            place
        }
        Err(error) => return Err(error.into()),
    };
    store.leave_for(run.id, &place, session::now(), &seen)?;
    // From here on nobody looks for them here.
    match fs::remove_dir_all(&own) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Complaint::lab(format!("`{}` cannot be removed", own.display())).because(e).into())
        }
        _ => Ok(place),
    }
}

/// Copies a directory durably, by links to the same files where that can be: they go from here afterwards.
fn copy(from: &Path, to: &Path, but: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let list = match fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in list {
        let entry = entry?;
        let name = entry.file_name();
        if Path::new(&name) == but {
            continue;
        }
        let (path, new, kind) = (entry.path(), to.join(&name), entry.file_type()?);
        if kind.is_dir() {
            copy(&path, &new, Path::new(""))?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path)?, &new)?;
        } else if kind.is_file() && fs::hard_link(&path, &new).is_err() {
            fs::copy(&path, &new)?;
            fs::File::open(&new)?.sync_all()?;
        }
    }
    fs::File::open(to)?.sync_all()
}
