//! Runs that need not be kept any longer: which they are, and a server that removes them by itself.

use crate::desk::{Ask, Desk, Keep, LAB, down, now};
use muster_api::Problem;
use muster_core::id::RunId;
use muster_core::note::NoteKind;
use muster_core::select::wildcard;
use muster_core::time::Time;
use muster_core::view::{RunState, RunView};
use muster_store::{Extent, ItemFilter, Removal, RunFilter, Sqlite, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// How often a server looks, unless runs are kept for a shorter time than ten of these.
const EVERY: Duration = Duration::from_secs(3600);

/// How long runs are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Runs that ended longer ago than this go.
    pub older_than: Option<Duration>,
    /// The same for runs that did not pass; `None`: as the others.
    pub failed_older_than: Option<Duration>,
    /// Bytes that all runs may take together; then the oldest go.
    pub space: Option<u64>,
    /// So many of the newest runs of each area and target stay.
    pub keep: u32,
    /// Runs whose name is one of these stay; `*` for any text.
    pub keep_named: Vec<String>,
    /// Only files go; what runs came to stays.
    pub keep_records: bool,
}

impl Retention {
    /// Which runs go, the oldest first. Runs that are under way, those that a person has locked and those of names that are kept stay. `runs` are
    /// given newest first, `weights` by run where there is a limit of space.
    pub fn expired<'a>(
        &self,
        runs: &'a [RunView],
        at: Time,
        weights: &BTreeMap<RunId, u64>,
    ) -> Vec<&'a RunView> {
        let mut newer: BTreeMap<_, u32> = BTreeMap::new();
        let mut may_go = Vec::new();
        for run in runs {
            let newer = newer.entry((run.area.as_str(), run.target.as_slice())).or_default();
            *newer += 1;
            let is_kept = run.said.locked.is_some() || self.keep_named.iter().any(|n| wildcard(n, &run.name));
            if *newer > self.keep && run.state != RunState::Active && !is_kept {
                may_go.push(run);
            }
        }
        let is_old = |run: &&RunView| {
            let limit = match run.has_passed() {
                true => self.older_than,
                false => self.failed_older_than.or(self.older_than),
            };
            limit.is_some_and(|limit| at.since(run.ended.unwrap_or(run.started)) > limit)
        };
        let (mut gone, mut others): (Vec<&RunView>, Vec<&RunView>) = may_go.into_iter().partition(is_old);
        if let Some(space) = self.space {
            let weight = |run: &RunView| weights.get(&run.id).copied().unwrap_or(0);
            let going: u64 = gone.iter().map(|run| weight(run)).sum();
            let mut taken = weights.values().sum::<u64>().saturating_sub(going);
            // Those that passed before those that failed, and the oldest first.
            others.sort_by_key(|run| (!run.has_passed(), run.started));
            for run in others {
                if taken <= space {
                    break;
                }
                taken = taken.saturating_sub(weight(run));
                gone.push(run);
            }
        }
        gone.sort_by_key(|run| run.started);
        gone
    }

    fn every(&self) -> Duration {
        let shortest = self.older_than.into_iter().chain(self.failed_older_than).min();
        shortest.map_or(EVERY, |limit| (limit / 10).clamp(Duration::from_secs(1), EVERY))
    }
}

/// Whether all files of a run were taken away before.
///
/// # Errors
/// The records cannot be read.
pub fn is_without_files(store: &mut dyn Store, run: RunId) -> Result<bool, StoreError> {
    let said = store.load_run(run, ItemFilter::Item("", ""))?.said;
    Ok(said.notes.iter().any(|note| note.what == NoteKind::FilesRemoved { on: None }))
}

/// Bytes that the disk has for what is there, without following links; what cannot be looked at weighs nothing.
pub fn weight(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            let Ok(list) = fs::read_dir(&path) else { continue };
            waiting.extend(list.filter_map(|entry| Some(entry.ok()?.path())));
        } else {
            // Holes, where outputs were taken away, take no room.
            bytes += found.blocks() * 512;
        }
    }
    bytes
}

/// Removes what is not to be kept, now and then, until the server ends.
pub(crate) async fn carry_out(
    desk: Desk,
    records: PathBuf,
    retention: Retention,
    mut ending: watch::Receiver<bool>,
) {
    let mut known = Known::default();
    loop {
        let (root, policy, mut seen) = (records.clone(), retention.clone(), std::mem::take(&mut known));
        let looked = tokio::task::spawn_blocking(move || {
            let due = due(&root, &policy, &mut seen);
            (due, seen)
        });
        // Records that cannot be read now are looked at the next time.
        let due = match looked.await {
            Ok((due, seen)) => {
                known = seen;
                due.unwrap_or_default()
            }
            Err(_) => Vec::new(),
        };
        let any = !due.is_empty();
        for run in due {
            let extent = if retention.keep_records { Extent::Files } else { Extent::Run };
            let (by, reason) = ("the server".to_owned(), "as its settings for retention say".to_owned());
            let removal = Removal { by, at: now(), reason, extent, files: Vec::new() };
            // One that has just been locked, or goes on, stays.
            let _kept = desk.ask(|answer| Ask::Keep(run, Box::new(Keep::Remove(removal)), answer)).await;
        }
        if any {
            // What is left is taken away with the next removal.
            let _left = finish_removals(records.clone()).await;
        }
        if tokio::time::timeout(retention.every(), ending.changed()).await.is_ok() {
            return;
        }
    }
}

/// What was found out of runs that are over, so that a sweep costs what has changed since the one before.
#[derive(Debug, Default)]
struct Known {
    /// What they take on disks, and when they had ended then.
    weights: BTreeMap<RunId, (Option<Time>, u64)>,
    /// All their files were taken away.
    without_files: BTreeSet<RunId>,
}

impl Known {
    /// What a run takes. What is under way grows, and one that went on has another end.
    fn weight(&mut self, run: &RunView, dir: &Path) -> u64 {
        match self.weights.get(&run.id) {
            Some((ended, weight)) if run.state != RunState::Active && *ended == run.ended => *weight,
            _ => {
                let weight = weight(dir);
                self.weights.insert(run.id, (run.ended, weight));
                weight
            }
        }
    }

    /// Whether all files of a run were taken away before. They do not come back.
    fn is_without_files(&mut self, store: &mut dyn Store, run: RunId) -> Result<bool, StoreError> {
        if self.without_files.contains(&run) {
            return Ok(true);
        }
        let is_without = is_without_files(store, run)?;
        if is_without {
            self.without_files.insert(run);
        }
        Ok(is_without)
    }
}

/// Takes away the files of runs that were removed. That may take a while, so it is for threads that nobody waits for,
/// and never for the lab's.
///
/// # Errors
/// Some are left; they are tried again with the next removal.
pub(crate) async fn finish_removals(records: PathBuf) -> Result<(), Problem> {
    let files = move || Sqlite::open(&records, LAB)?.finish_removals();
    match tokio::task::spawn_blocking(files).await {
        Ok(done) => done.map_err(|e| down(&e)),
        Err(_) => Err(Problem::new(500, "bug", "the files of removed runs could not be taken away")),
    }
}

fn due(records: &Path, retention: &Retention, known: &mut Known) -> Result<Vec<RunId>, StoreError> {
    let mut store = Sqlite::open_to_read(records)?;
    let runs = store.list_runs(&RunFilter { limit: u32::MAX, ..RunFilter::default() })?;
    let mut weights = BTreeMap::new();
    if retention.space.is_some() {
        for run in &runs {
            if let Some(dir) = store.run_dir(run.number) {
                weights.insert(run.id, known.weight(run, &dir));
            }
        }
    }
    let mut due = Vec::new();
    for run in retention.expired(&runs, now(), &weights) {
        if !(retention.keep_records && known.is_without_files(&mut store, run.id)?) {
            due.push(run.id);
            // It is looked at anew once its files have gone.
            known.weights.remove(&run.id);
        }
    }
    let there: BTreeSet<RunId> = runs.iter().map(|run| run.id).collect();
    known.weights.retain(|run, _| there.contains(run));
    known.without_files.retain(|run| there.contains(run));
    Ok(due)
}
