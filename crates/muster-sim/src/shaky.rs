//! A store that refuses when it is told to, and keeps a journal of what it has really recorded.

use muster_core::attempt::Output;
use muster_core::change::{Change, RunSnapshot, Snapshot};
use muster_core::id::{ItemIx, RunId};
use muster_core::view::{AttemptView, RunView};
use muster_store::{
    Durations, FailedItem, Fault, Happened, HistoryEntry, HotLimits, ItemFilter, LabKey, LateEvidence,
    ListedItem, MovedRun, Removal, Removed, RunFilter, RunName, Store, StoreError,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the next commit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// It records, and says so.
    #[default]
    Works,
    /// It records nothing, and says so.
    Refuses,
    /// It records, and the answer is lost.
    RecordsAndFails,
}

/// What the world and a shaky store share.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: Next,
    recorded: Vec<Change>,
    /// Changes that were said to be recorded and are not yet; only by mistake.
    unrecorded: Vec<Change>,
    late: bool,
}

impl Journal {
    /// A journal of a store that by mistake records later than it says.
    pub fn late() -> Self {
        let journal = Self::default();
        journal.with(|s| s.late = true);
        journal
    }

    /// Decides about the next commit.
    pub fn next(&self, next: Next) {
        self.with(|s| s.next = next);
    }

    /// What was recorded since the last time this was asked.
    pub fn take(&self) -> Vec<Change> {
        self.with(|s| std::mem::take(&mut s.recorded))
    }

    /// The process is gone, and what it had not recorded with it.
    pub fn crash(&self) {
        self.with(|s| s.unrecorded.clear());
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A store that fails on request.
#[derive(Debug)]
pub struct Shaky<S> {
    inner: S,
    journal: Journal,
}

impl<S> Shaky<S> {
    /// Puts a store under a journal.
    pub fn new(inner: S, journal: Journal) -> Self {
        Self { inner, journal }
    }
}

fn failure() -> StoreError {
    StoreError::Busy { path: PathBuf::from("simulated"), waited: Duration::ZERO }
}

impl<S: Store> Store for Shaky<S> {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let (next, late) = self.journal.with(|s| (std::mem::take(&mut s.next), s.late));
        if next == Next::Refuses {
            return Err(failure());
        }
        let now: Vec<Change> = if late {
            self.journal.with(|s| std::mem::replace(&mut s.unrecorded, changes.to_vec()))
        } else {
            changes.to_vec()
        };
        self.inner.commit(&now)?;
        self.journal.with(|s| s.recorded.extend(now));
        if next == Next::RecordsAndFails { Err(failure()) } else { Ok(()) }
    }

    fn load_snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.inner.load_snapshot()
    }
    fn load_run_snapshot(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        self.inner.load_run_snapshot(run)
    }
    fn adopt_run(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        self.inner.adopt_run(run)
    }
    fn reserve_number(&mut self, area: &str) -> Result<u32, StoreError> {
        self.inner.reserve_number(area)
    }
    fn find_last_number(&mut self, area: &str) -> Result<Option<u32>, StoreError> {
        self.inner.find_last_number(area)
    }
    fn delete_lab(&mut self) -> Result<(), StoreError> {
        self.inner.delete_lab()
    }
    fn list_runs(&mut self, filter: &RunFilter) -> Result<Vec<RunView>, StoreError> {
        self.inner.list_runs(filter)
    }
    fn find_run(&mut self, area: &str, name: RunName<'_>) -> Result<Option<RunView>, StoreError> {
        self.inner.find_run(area, name)
    }
    fn load_run(&mut self, run: RunId, filter: ItemFilter<'_>) -> Result<RunView, StoreError> {
        self.inner.load_run(run, filter)
    }
    fn list_failures(&mut self, run: RunId) -> Result<Vec<FailedItem>, StoreError> {
        self.inner.list_failures(run)
    }
    fn list_items(
        &mut self,
        run: RunId,
        filter: ItemFilter<'_>,
        from: ItemIx,
        limit: u32,
    ) -> Result<Vec<ListedItem>, StoreError> {
        self.inner.list_items(run, filter, from, limit)
    }
    fn list_attempts(&mut self, run: RunId, item: ItemIx) -> Result<Vec<AttemptView>, StoreError> {
        self.inner.list_attempts(run, item)
    }
    fn list_history(
        &mut self,
        area: &str,
        test: &str,
        item: Option<&str>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        self.inner.list_history(area, test, item, before, limit)
    }
    fn list_durations(&mut self, area: &str, target: &[(String, String)]) -> Result<Durations, StoreError> {
        self.inner.list_durations(area, target)
    }
    fn list_happened(&mut self, lab: LabKey, after: u64, limit: u32) -> Result<Vec<Happened>, StoreError> {
        self.inner.list_happened(lab, after, limit)
    }
    fn find_last_happened(&mut self, lab: LabKey) -> Result<u64, StoreError> {
        self.inner.find_last_happened(lab)
    }
    fn list_late_evidence(&mut self, run: RunId) -> Result<Vec<LateEvidence>, StoreError> {
        self.inner.list_late_evidence(run)
    }
    fn read_output(&mut self, run: RunId, output: &Output) -> Result<Vec<u8>, StoreError> {
        self.inner.read_output(run, output)
    }
    fn read_output_range(
        &mut self,
        run: RunId,
        output: &Output,
        from: u64,
        len: u64,
    ) -> Result<Vec<u8>, StoreError> {
        self.inner.read_output_range(run, output, from, len)
    }
    fn run_dir(&self, number: u32) -> Option<PathBuf> {
        self.inner.run_dir(number)
    }
    fn remove_run(&mut self, run: RunId, removal: &Removal) -> Result<(), StoreError> {
        self.inner.remove_run(run, removal)
    }
    fn finish_removals(&mut self) -> Result<(), StoreError> {
        self.inner.finish_removals()
    }
    fn find_removed(&mut self, area: &str, number: u32) -> Result<Option<Removed>, StoreError> {
        self.inner.find_removed(area, number)
    }
    fn reduce_run(&mut self, run: RunId) -> Result<u64, StoreError> {
        self.inner.reduce_run(run)
    }
    fn restore_run(&mut self, run: RunId) -> Result<(), StoreError> {
        self.inner.restore_run(run)
    }
    fn list_due(&mut self, area: &str, limits: &HotLimits, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.inner.list_due(area, limits, limit)
    }
    fn list_cold(&mut self) -> Result<Vec<(RunId, u64)>, StoreError> {
        self.inner.list_cold()
    }
    fn find_moved(&mut self, area: &str, name: RunName<'_>) -> Result<Option<MovedRun>, StoreError> {
        self.inner.find_moved(area, name)
    }
    fn compact(&mut self) -> Result<(), StoreError> {
        self.inner.compact()
    }
    fn check(&mut self) -> Result<Vec<Fault>, StoreError> {
        self.inner.check()
    }
}
