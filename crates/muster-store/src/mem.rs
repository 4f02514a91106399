//! Records in memory: the reference the other backends are compared with, for tests and simulation.
//!
//! As plain as possible, and not durable beyond the process. Several handles may share one memory.

mod apply;
mod read;

use crate::durations::{self, Samples};
use crate::error::StoreError;
use crate::layout::{Layout, outline};
use crate::parts;
use crate::store::Store;
use crate::types::{
    Durations, Extent, FailedItem, Fault, Happened, HistoryEntry, HotLimits, ItemFilter, LabKey,
    LateEvidence, ListedItem, MovedRun, Removal, Removed, RunFilter, RunName,
};
use muster_core::attempt::Output;
use muster_core::change::{
    AgentRecord, Change, Expansion, FoundAgain, Hold, ItemRecord, LeaseRecord, Moved, Registration, RunPhase,
    RunRecord, RunSnapshot, Snapshot, Used,
};
use muster_core::health::DeviceHealth;
use muster_core::id::{AgentId, DeviceId, ItemIx, LeaseId, RunId, TestIx};
use muster_core::note::{Note, NoteKind};
use muster_core::outcome::Verdict;
use muster_core::time::Time;
use muster_core::view::{AttemptView, RunView};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lab's handle on records in memory.
pub struct Mem {
    lab: LabKey,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    labs: BTreeMap<LabKey, Lab>,
    runs: BTreeMap<RunId, Run>,
    reserved: BTreeMap<String, u32>,
    removed: BTreeMap<(String, u32), Removed>,
}

#[derive(Clone, Default)]
struct Lab {
    used: Used,
    agents: BTreeMap<AgentId, AgentRecord>,
    leases: BTreeMap<LeaseId, LeaseRecord>,
    holds: BTreeMap<DeviceId, Hold>,
    health: BTreeMap<DeviceId, DeviceHealth>,
    registered: BTreeMap<(String, String), Registration>,
    happened: Vec<Happened>,
}

struct Run {
    lab: LabKey,
    record: Arc<RunRecord>,
    /// Which of the planned records are questions.
    questions: Vec<u32>,
    /// How many records it has.
    records: u32,
    phase: RunPhase,
    expansions: Vec<Expansion>,
    found_again: BTreeMap<TestIx, FoundAgain>,
    moves: Vec<Moved>,
    notes: Vec<Note>,
    items: BTreeMap<ItemIx, ItemRecord>,
    attempts: BTreeMap<(ItemIx, u16), AttemptView>,
    late: Vec<LateEvidence>,
    /// Said to be in the cold tier, of which there is nothing to see in memory.
    cold: bool,
}

impl Mem {
    /// Empty records.
    pub fn new(lab: LabKey) -> Self {
        Self { lab, state: Arc::default() }
    }

    /// Another handle on the same records, for this or another lab.
    pub fn handle(&self, lab: LabKey) -> Self {
        Self { lab, state: self.state.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No verb panics with a commit half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn run(&self, run: RunId) -> Result<&Run, StoreError> {
        self.runs.get(&run).ok_or(StoreError::UnknownRun { run })
    }

    /// Runs of an area, newest first.
    fn area<'a>(&'a self, area: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.values().rev().filter(move |r| r.record.spec.area == area)
    }
}

impl Run {
    fn new(lab: LabKey, record: &Arc<RunRecord>) -> Self {
        let outline = outline(record, &[]);
        let layout = Layout::new(&outline);
        Self {
            lab,
            record: record.clone(),
            questions: layout.questions(),
            records: layout.len(),
            phase: RunPhase::Active,
            expansions: Vec::new(),
            found_again: BTreeMap::new(),
            moves: Vec::new(),
            notes: Vec::new(),
            items: BTreeMap::new(),
            attempts: BTreeMap::new(),
            late: Vec::new(),
            cold: false,
        }
    }
}

impl Store for Mem {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut state = self.state();
        let labs = state.labs.clone();
        let cold: Vec<RunId> = state.runs.iter().filter(|(_, r)| r.cold).map(|(id, _)| *id).collect();
        let mut undo = Vec::with_capacity(2 * changes.len());
        for change in changes {
            if let Err(error) = state.apply(self.lab, change, &mut undo) {
                undo.into_iter().rev().for_each(|u| state.undo(u));
                state.labs = labs;
                for run in cold {
                    state.runs.entry(run).and_modify(|run| run.cold = true);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn load_snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let state = self.state();
        let Lab { used, agents, leases, holds, health, registered, happened: _ } =
            state.labs.get(&self.lab).cloned().unwrap_or_default();
        Ok(Snapshot {
            used,
            agents: agents.into_values().collect(),
            leases: leases.into_values().collect(),
            holds: holds.into_iter().collect(),
            health: health.into_iter().collect(),
            registered: registered.into_values().collect(),
            runs: state
                .runs
                .values()
                .filter(|r| r.lab == self.lab && r.phase == RunPhase::Active)
                .map(Run::snapshot)
                .collect(),
        })
    }

    fn load_run_snapshot(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        Ok(self.state().run(run)?.snapshot())
    }

    fn adopt_run(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        let mut state = self.state();
        let known = state.runs.get_mut(&run).ok_or(StoreError::UnknownRun { run })?;
        known.must_be_open()?;
        known.cold = false;
        let former = std::mem::replace(&mut known.lab, self.lab);
        let snapshot = known.snapshot();
        if former != self.lab {
            state.void(former, run);
        }
        Ok(snapshot)
    }

    fn reserve_number(&mut self, area: &str) -> Result<u32, StoreError> {
        let mut state = self.state();
        let recorded = state.area(area).map(|r| r.record.number).max().unwrap_or(0);
        let removed = state.removed.keys().filter(|(a, _)| a == area).map(|(_, n)| *n).max().unwrap_or(0);
        let recorded = recorded.max(removed);
        let reserved = state.reserved.entry(area.to_owned()).or_default();
        *reserved = recorded.max(*reserved) + 1;
        Ok(*reserved)
    }

    fn find_last_number(&mut self, area: &str) -> Result<Option<u32>, StoreError> {
        Ok(self.state().area(area).map(|r| r.record.number).max())
    }

    fn delete_lab(&mut self) -> Result<(), StoreError> {
        self.state().labs.remove(&self.lab);
        Ok(())
    }

    fn list_runs(&mut self, filter: &RunFilter) -> Result<Vec<RunView>, StoreError> {
        let RunFilter { area, called: _, before, limit } = filter;
        let state = self.state();
        let runs = state.runs.values().rev();
        Ok(runs
            .filter(|r| filter.is_called(&r.record.spec.name, r.record.number))
            .filter(|r| area.as_ref().is_none_or(|a| r.record.spec.area == *a))
            .filter(|r| before.is_none_or(|b| r.record.id < b))
            .take(*limit as usize)
            .map(Run::head)
            .collect())
    }

    fn find_run(&mut self, area: &str, name: RunName<'_>) -> Result<Option<RunView>, StoreError> {
        let state = self.state();
        let found = state.area(area).find(|r| match name {
            RunName::Latest => true,
            RunName::Number(number) => r.record.number == number,
            RunName::Name(name) => r.record.spec.name == name,
        });
        Ok(found.map(Run::head))
    }

    fn load_run(&mut self, run: RunId, filter: ItemFilter<'_>) -> Result<RunView, StoreError> {
        let state = self.state();
        let run = state.run(run)?;
        let item = |ix| run.items.get(&ix).cloned().unwrap_or_default();
        let items = (0..run.records).map(|ix| item(ItemIx(ix)).into()).collect();
        let attempts = (0..run.records).map(|ix| run.attempts_of(ItemIx(ix))).collect();
        let mut view = parts::view(run.head(), &run.outline(), items, attempts, filter);
        view.said.notes.clone_from(&run.notes);
        Ok(view)
    }

    fn list_failures(&mut self, run: RunId) -> Result<Vec<FailedItem>, StoreError> {
        let state = self.state();
        let run = state.run(run)?;
        let outline = run.outline();
        let layout = Layout::new(&outline);
        let failed = |verdict: Option<Verdict>| verdict.filter(|v| !v.is_ok());
        let mut list = Vec::new();
        for (ix, record) in &run.items {
            let (Some(verdict), Some(place)) = (failed(record.verdict), layout.place(*ix)) else { continue };
            list.push(FailedItem {
                item: *ix,
                test_ix: TestIx(place.test_ix.0),
                test: outline.tests[place.test_ix.0 as usize].name.into(),
                path: place.path.into(),
                verdict,
                reason: record.reason.clone(),
                last: run.attempts_of(*ix).pop(),
            });
        }
        Ok(list)
    }

    fn list_items(
        &mut self,
        run: RunId,
        filter: ItemFilter<'_>,
        from: ItemIx,
        limit: u32,
    ) -> Result<Vec<ListedItem>, StoreError> {
        Ok(self.state().run(run)?.listed(filter, from).take(limit as usize).collect())
    }

    fn list_attempts(&mut self, run: RunId, item: ItemIx) -> Result<Vec<AttemptView>, StoreError> {
        Ok(self.state().run(run)?.attempts_of(item))
    }

    fn list_history(
        &mut self,
        area: &str,
        test: &str,
        item: Option<&str>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let state = self.state();
        let runs = state.area(area).filter(|r| before.is_none_or(|b| r.record.id < b));
        let of_runs = runs.map(|r| r.history(test, item)).filter(|h| !h.is_empty());
        Ok(of_runs.take(limit as usize).flatten().collect())
    }

    fn list_durations(&mut self, area: &str, target: &[(String, String)]) -> Result<Durations, StoreError> {
        let state = self.state();
        let recent = |any: bool| -> Vec<&Run> {
            let of = state.area(area).filter(|r| any || r.record.spec.target == target);
            of.take(durations::CANDIDATES_MAX as usize).collect()
        };
        let mut runs = recent(false);
        if runs.is_empty() {
            runs = recent(true);
        }
        let ended: Vec<u32> = runs.iter().map(|r| r.head().counts.total()).collect();
        let mut samples = Samples::default();
        for i in durations::choose(&ended) {
            runs[i].sample(&mut samples);
        }
        Ok(samples.into_durations())
    }

    fn list_happened(&mut self, lab: LabKey, after: u64, limit: u32) -> Result<Vec<Happened>, StoreError> {
        let state = self.state();
        let all = state.labs.get(&lab).map(|lab| lab.happened.as_slice()).unwrap_or_default();
        Ok(all.iter().filter(|h| h.number > after).take(limit as usize).cloned().collect())
    }

    fn find_last_happened(&mut self, lab: LabKey) -> Result<u64, StoreError> {
        let state = self.state();
        Ok(state.labs.get(&lab).and_then(|lab| lab.happened.last()).map_or(0, |last| last.number))
    }

    fn list_late_evidence(&mut self, run: RunId) -> Result<Vec<LateEvidence>, StoreError> {
        Ok(self.state().run(run)?.late.clone())
    }

    fn read_output(&mut self, run: RunId, output: &Output) -> Result<Vec<u8>, StoreError> {
        self.state().run(run)?;
        match output {
            Output::None => Ok(Vec::new()),
            Output::Inline(bytes) => Ok(bytes.clone()),
            Output::File { path, len: _ } => Err(gone(path)),
            Output::Segment { offset, len: _ } => Err(gone(&format!("offset {offset}"))),
        }
    }

    fn read_output_range(
        &mut self,
        run: RunId,
        output: &Output,
        from: u64,
        len: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let all = self.read_output(run, output)?;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(all.len() - from);
        Ok(all[from..from + len].to_vec())
    }

    fn run_dir(&self, _: u32) -> Option<PathBuf> {
        None
    }

    fn remove_run(&mut self, run: RunId, removal: &Removal) -> Result<(), StoreError> {
        let mut state = self.state();
        let Removal { by, at, reason, extent, files: _ } = removal;
        let known = state.runs.get_mut(&run).ok_or(StoreError::UnknownRun { run })?;
        known.must_be_open()?;
        let spots = match extent {
            Extent::Run => None,
            Extent::Files => Some(vec![None]),
            Extent::FilesOf(spots) => Some(spots.iter().cloned().map(Some).collect()),
        };
        if let Some(spots) = spots {
            known.cold = false;
            known.notes.extend(spots.into_iter().map(|on| Note {
                by: by.clone(),
                at: *at,
                text: reason.clone(),
                what: NoteKind::FilesRemoved { on },
            }));
            return Ok(());
        }
        let gone = state.runs.remove(&run).expect("found above");
        let name = gone.record.spec.name.clone();
        let removed = Removed { name, by: by.clone(), at: *at, reason: reason.clone() };
        state.removed.insert((gone.record.spec.area.clone(), gone.record.number), removed);
        for lab in state.labs.values_mut() {
            for lease in lab.leases.values_mut() {
                lease.units.retain(|u| u.run != run);
            }
        }
        Ok(())
    }

    fn finish_removals(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn find_removed(&mut self, area: &str, number: u32) -> Result<Option<Removed>, StoreError> {
        Ok(self.state().removed.get(&(area.to_owned(), number)).cloned())
    }

    fn reduce_run(&mut self, run: RunId) -> Result<u64, StoreError> {
        let mut state = self.state();
        let known = state.runs.get_mut(&run).ok_or(StoreError::UnknownRun { run })?;
        if known.phase == RunPhase::Active {
            return Err(StoreError::NotOver { run });
        }
        known.cold = true;
        Ok(0)
    }

    fn restore_run(&mut self, run: RunId) -> Result<(), StoreError> {
        let mut state = self.state();
        state.runs.get_mut(&run).ok_or(StoreError::UnknownRun { run })?.cold = false;
        Ok(())
    }

    fn list_due(&mut self, area: &str, limits: &HotLimits, limit: u32) -> Result<Vec<RunId>, StoreError> {
        let HotLimits { runs, ended_before, items } = limits;
        let state = self.state();
        let hot = state.area(area).filter(|r| !r.cold && r.phase != RunPhase::Active).map(Run::head);
        let is_old = |ended: Option<Time>| ended.zip(*ended_before).is_some_and(|(e, b)| e < b);
        let due = |(nth, run): (usize, RunView)| {
            (runs.is_some_and(|most| nth >= most as usize) || is_old(run.ended))
                .then_some((run.id, run.items))
        };
        let mut due: Vec<(RunId, u32)> = hot.enumerate().filter_map(due).collect();
        due.reverse();
        let most = items.unwrap_or(u32::MAX);
        let mut all = 0;
        due.retain(|(_, items)| {
            let is_small = *items <= most;
            all += if is_small { u64::from(*items) } else { 0 };
            is_small && all <= u64::from(most)
        });
        let mut due: Vec<RunId> = due.into_iter().map(|(run, _)| run).collect();
        due.truncate(limit as usize);
        Ok(due)
    }

    fn list_cold(&mut self) -> Result<Vec<(RunId, u64)>, StoreError> {
        Ok(self.state().runs.iter().filter(|(_, r)| r.cold).map(|(id, _)| (*id, 0)).collect())
    }

    fn find_moved(&mut self, _: &str, _: RunName<'_>) -> Result<Option<MovedRun>, StoreError> {
        // There is no other area in memory.
        Ok(None)
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn check(&mut self) -> Result<Vec<Fault>, StoreError> {
        Ok(Vec::new())
    }
}

fn gone(what: &str) -> StoreError {
    StoreError::OutputGone { path: PathBuf::from(what), what: "there are no files in memory".to_owned() }
}
