//! Records in memory: the reference the other backends are compared with, for tests and simulation.
//!
//! As plain as possible, and not durable beyond the process. Several handles may share one memory.

use crate::durations::{self, Samples};
use crate::error::StoreError;
use crate::layout::{Layout, Outline, is_counted, is_same_run, outline};
use crate::parts;
use crate::store::Store;
use crate::types::{
    Durations, FailedItem, Fault, HistoryEntry, ItemFilter, LabKey, LateEvidence, RunFilter, RunName,
};
use muster_core::attempt::Output;
use muster_core::change::{
    AgentRecord, Change, Expansion, FoundAgain, ItemRecord, LeaseRecord, RunPhase, RunRecord, RunSnapshot,
    Snapshot, Used,
};
use muster_core::id::{AgentId, ItemIx, LeaseId, RunId, TestIx};
use muster_core::outcome::{Counts, Verdict};
use muster_core::view::{AttemptView, RunState, RunView};
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
}

#[derive(Clone, Default)]
struct Lab {
    used: Used,
    agents: BTreeMap<AgentId, AgentRecord>,
    leases: BTreeMap<LeaseId, LeaseRecord>,
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
    items: BTreeMap<ItemIx, ItemRecord>,
    attempts: BTreeMap<(ItemIx, u16), AttemptView>,
    late: Vec<LateEvidence>,
}

/// How to take a change back. What labs hold is small and copied as a whole instead.
enum Undo {
    Created(RunId),
    Expanded(RunId),
    FoundAgain(RunId, TestIx, Option<FoundAgain>),
    Replanned(RunId, Arc<RunRecord>),
    Item(RunId, ItemIx, Option<ItemRecord>),
    Attempt(RunId, (ItemIx, u16)),
    State(RunId, RunPhase),
    Late(RunId),
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

    fn apply(&mut self, key: LabKey, change: &Change, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        match change {
            Change::RunCreated(record) => {
                let taken = self
                    .runs
                    .values()
                    .any(|r| r.record.spec.area == record.spec.area && r.record.number == record.number);
                if taken {
                    let (area, number) = (record.spec.area.clone(), record.number);
                    return Err(StoreError::NumberTaken { area, number });
                }
                if self.runs.contains_key(&record.id) {
                    return Err(contradiction(record.id, "it was created before"));
                }
                self.runs.insert(record.id, Run::new(key, record));
                undo.push(Undo::Created(record.id));
            }
            Change::Expanded(expansion) => {
                let run = self.own(key, expansion.run)?;
                if expansion.first.0 != run.records {
                    return Err(contradiction(expansion.run, "found items do not follow the known ones"));
                }
                if expansion.test.0 as usize >= run.record.plan.tests.len() {
                    return Err(contradiction(expansion.run, "items were found for a test it has not"));
                }
                run.records += expansion.items.len() as u32;
                run.expansions.push(expansion.clone());
                undo.push(Undo::Expanded(expansion.run));
            }
            Change::FoundAgain(again) => {
                let run = self.own(key, again.run)?;
                if again.test.0 as usize >= run.record.plan.tests.len() {
                    return Err(contradiction(again.run, "items were found for a test it has not"));
                }
                let former = run.found_again.insert(again.test, again.clone());
                undo.push(Undo::FoundAgain(again.run, again.test, former));
            }
            Change::RunReplanned(record) => {
                let run = self.own(key, record.id)?;
                if !is_same_run(&run.record, record) {
                    return Err(contradiction(record.id, "it was planned again with other items"));
                }
                undo.push(Undo::Replanned(record.id, std::mem::replace(&mut run.record, record.clone())));
            }
            Change::AttemptEnded { attempt, unit, device, result, record } => {
                let run = self.own(key, attempt.run)?;
                let known = run.attempts.range((attempt.item, attempt.attempt)..).next();
                if known.is_some_and(|((item, _), _)| *item == attempt.item) {
                    return Err(contradiction(attempt.run, "an attempt is recorded twice"));
                }
                undo.push(run.set(attempt.item, record)?);
                let view = AttemptView {
                    number: attempt.attempt,
                    device: device.to_string(),
                    result: result.clone(),
                };
                run.attempts.insert((attempt.item, attempt.attempt), view);
                undo.push(Undo::Attempt(attempt.run, (attempt.item, attempt.attempt)));
                self.lab(key).retain_sent(|u, (item, number)| {
                    u != *unit || (item, number) != (attempt.item, attempt.attempt)
                });
            }
            Change::ItemSet { run, item, record } => {
                undo.push(self.own(key, *run)?.set(*item, record)?);
            }
            Change::RunState { run, phase } => {
                let known = self.own(key, *run)?;
                let former = std::mem::replace(&mut known.phase, phase.clone());
                undo.push(Undo::State(*run, former));
            }
            Change::AgentSeen { agent, session, host, devices } => {
                let lab = self.lab(key);
                for (device, _) in devices {
                    lab.used.device = lab.used.device.max(*device);
                }
                let record = AgentRecord {
                    agent: *agent,
                    session: *session,
                    host: host.clone(),
                    devices: devices.clone(),
                };
                lab.agents.insert(*agent, record);
            }
            Change::LeaseGranted { lease, device } => {
                let lab = self.lab(key);
                lab.used.lease = lab.used.lease.max(*lease);
                lab.leases.insert(*lease, LeaseRecord { lease: *lease, device: *device, units: Vec::new() });
            }
            Change::LeaseEnded { lease } => {
                self.lab(key).leases.remove(lease);
            }
            Change::Sent { lease, units } => {
                let lab = self.lab(key);
                for unit in units {
                    lab.used.unit = lab.used.unit.max(unit.unit);
                }
                if let Some(record) = lab.leases.get_mut(lease) {
                    record.units.extend(units.iter().filter(|u| !u.attempts.is_empty()).cloned());
                }
            }
            Change::Returned { unit, items } => {
                self.lab(key).retain_sent(|u, (item, _)| u != *unit || !items.contains(&item));
            }
            Change::LateEvidence { attempt, lease, at, result } => {
                let run =
                    self.runs.get_mut(&attempt.run).ok_or(StoreError::UnknownRun { run: attempt.run })?;
                let (attempt, lease, at, result) = (*attempt, *lease, *at, result.clone());
                run.late.push(LateEvidence { attempt, lease, at, result });
                undo.push(Undo::Late(attempt.run));
            }
        }
        Ok(())
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Created(id) => drop(self.runs.remove(&id)),
            Undo::Expanded(id) => {
                let run = self.changed(id);
                let gone = run.expansions.pop().expect("added by the same commit");
                run.records -= gone.items.len() as u32;
            }
            Undo::FoundAgain(id, test, Some(former)) => {
                drop(self.changed(id).found_again.insert(test, former));
            }
            Undo::FoundAgain(id, test, None) => drop(self.changed(id).found_again.remove(&test)),
            Undo::Replanned(id, former) => self.changed(id).record = former,
            Undo::Item(id, item, Some(record)) => drop(self.changed(id).items.insert(item, record)),
            Undo::Item(id, item, None) => drop(self.changed(id).items.remove(&item)),
            Undo::Attempt(id, key) => drop(self.changed(id).attempts.remove(&key)),
            Undo::State(id, phase) => self.changed(id).phase = phase,
            Undo::Late(id) => drop(self.changed(id).late.pop()),
        }
    }

    fn changed(&mut self, run: RunId) -> &mut Run {
        self.runs.get_mut(&run).expect("changed by the same commit")
    }

    /// A run this lab may write to.
    fn own(&mut self, key: LabKey, run: RunId) -> Result<&mut Run, StoreError> {
        let known = self.runs.get_mut(&run).ok_or(StoreError::UnknownRun { run })?;
        match known.lab == key {
            true => Ok(known),
            false => Err(contradiction(run, "it belongs to another lab")),
        }
    }

    fn lab(&mut self, key: LabKey) -> &mut Lab {
        self.labs.entry(key).or_default()
    }

    /// What a lab had sent out for a run it lost; a lab without any active run is gone.
    fn void(&mut self, former: LabKey, run: RunId) {
        let active = self.runs.values().any(|r| r.lab == former && r.phase == RunPhase::Active);
        let Some(lab) = self.labs.get_mut(&former) else { return };
        for lease in lab.leases.values_mut() {
            lease.units.retain(|u| u.run != run);
        }
        if !active {
            self.labs.remove(&former);
        }
    }
}

impl Lab {
    fn retain_sent(&mut self, keep: impl Fn(muster_core::id::UnitId, (ItemIx, u16)) -> bool) {
        for lease in self.leases.values_mut() {
            for unit in &mut lease.units {
                let id = unit.unit;
                unit.attempts.retain(|&attempt| keep(id, attempt));
            }
            lease.units.retain(|u| !u.attempts.is_empty());
        }
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
            items: BTreeMap::new(),
            attempts: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    fn set(&mut self, item: ItemIx, record: &ItemRecord) -> Result<Undo, StoreError> {
        if item.0 >= self.records {
            return Err(contradiction(self.record.id, "it has no such item"));
        }
        let former = match *record == ItemRecord::default() {
            true => self.items.remove(&item),
            false => self.items.insert(item, record.clone()),
        };
        Ok(Undo::Item(self.record.id, item, former))
    }

    fn head(&self) -> RunView {
        let mut counts = Counts::default();
        let mut items = self.records - self.questions.len() as u32;
        for (ix, record) in &self.items {
            let discovery = self.questions.binary_search(&ix.0).is_ok();
            if let Some(verdict) = record.verdict.filter(|v| is_counted(discovery, *v)) {
                counts.add(verdict);
                items += u32::from(discovery);
            }
        }
        let RunRecord { id, number, created, spec, plan: _ } = &*self.record;
        let (state, ended) = match &self.phase {
            RunPhase::Active => (RunState::Active, None),
            RunPhase::Ended { at } => (RunState::Ended, Some(*at)),
            RunPhase::Stopped { at, reason: _ } => (RunState::Stopped, Some(*at)),
        };
        RunView {
            id: *id,
            area: spec.area.clone(),
            number: *number,
            name: spec.name.clone(),
            target: spec.target.clone(),
            host: spec.host.clone(),
            state,
            started: *created,
            ended,
            counts,
            items,
            unexpected_pass: spec.unexpected_pass,
            tests: Vec::new(),
        }
    }

    fn snapshot(&self) -> RunSnapshot {
        RunSnapshot {
            record: self.record.clone(),
            phase: self.phase.clone(),
            expansions: self.expansions.clone(),
            found_again: self.found_again.values().cloned().collect(),
            items: self.items.iter().map(|(ix, r)| (*ix, r.clone())).collect(),
        }
    }

    fn outline(&self) -> Outline<'_> {
        outline(&self.record, &self.expansions)
    }

    fn attempts_of(&self, item: ItemIx) -> Vec<AttemptView> {
        self.attempts.range((item, 0)..=(item, u16::MAX)).map(|(_, a)| a.clone()).collect()
    }

    fn history(&self, test: &str, item: Option<&str>) -> Vec<HistoryEntry> {
        let outline = self.outline();
        let layout = Layout::new(&outline);
        let wanted = |place: &crate::layout::Place<'_>| {
            !place.discovery
                && outline.tests[place.test_ix.0 as usize].name == test
                && item.is_none_or(|path| path == place.path)
        };
        let mut entries = Vec::new();
        for ((ix, _), attempt) in &self.attempts {
            let Some(place) = layout.place(*ix).filter(wanted) else { continue };
            entries.push(HistoryEntry {
                run: self.record.id,
                number: self.record.number,
                target: self.record.spec.target.clone(),
                path: place.path.into(),
                attempt: attempt.number,
                outcome: attempt.result.outcome,
                verdict: self.items.get(ix).and_then(|r| r.verdict),
                started: attempt.result.started,
                duration: attempt.result.duration,
            });
        }
        entries
    }

    fn sample(&self, samples: &mut Samples) {
        let outline = self.outline();
        let layout = Layout::new(&outline);
        for ((ix, _), attempt) in self.attempts.iter().rev() {
            let Some(place) = layout.place(*ix).filter(|p| !p.discovery) else { continue };
            if attempt.result.outcome.is_good() {
                let nanos = u64::try_from(attempt.result.duration.as_nanos()).unwrap_or(u64::MAX);
                samples.test(outline.tests[place.test_ix.0 as usize].name).add(place.path, nanos);
            }
        }
    }
}

impl Store for Mem {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut state = self.state();
        let labs = state.labs.clone();
        let mut undo = Vec::with_capacity(2 * changes.len());
        for change in changes {
            if let Err(error) = state.apply(self.lab, change, &mut undo) {
                undo.into_iter().rev().for_each(|u| state.undo(u));
                state.labs = labs;
                return Err(error);
            }
        }
        Ok(())
    }

    fn load_snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let state = self.state();
        let Lab { used, agents, leases } = state.labs.get(&self.lab).cloned().unwrap_or_default();
        Ok(Snapshot {
            used,
            agents: agents.into_values().collect(),
            leases: leases.into_values().collect(),
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
        let RunFilter { area, before, limit } = filter;
        let state = self.state();
        let runs = state.runs.values().rev();
        Ok(runs
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
        let items = (0..run.records).map(|ix| item(ItemIx(ix))).collect();
        let attempts = (0..run.records).map(|ix| run.attempts_of(ItemIx(ix))).collect();
        Ok(parts::view(run.head(), &run.outline(), items, attempts, filter))
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

    fn list_attempts(&mut self, run: RunId, item: ItemIx) -> Result<Vec<AttemptView>, StoreError> {
        Ok(self.state().run(run)?.attempts_of(item))
    }

    fn list_history(
        &mut self,
        area: &str,
        test: &str,
        item: Option<&str>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let state = self.state();
        let of_runs = state.area(area).map(|r| r.history(test, item)).filter(|h| !h.is_empty());
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

    fn delete_run(&mut self, run: RunId) -> Result<(), StoreError> {
        let mut state = self.state();
        state.run(run)?;
        state.runs.remove(&run);
        for lab in state.labs.values_mut() {
            for lease in lab.leases.values_mut() {
                lease.units.retain(|u| u.run != run);
            }
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn check(&mut self) -> Result<Vec<Fault>, StoreError> {
        Ok(Vec::new())
    }
}

fn contradiction(run: RunId, what: &str) -> StoreError {
    StoreError::Contradiction { run, what: what.to_owned() }
}

fn gone(what: &str) -> StoreError {
    StoreError::OutputGone { path: PathBuf::from(what), what: "there are no files in memory".to_owned() }
}
