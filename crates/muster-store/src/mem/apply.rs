//! What each change does to records in memory, and how it is taken back where a later one of the same
//! commit is refused.

use super::{Lab, Run, State};
use crate::error::StoreError;
use crate::layout::is_same_run;
use crate::types::{Happened, LabKey, LateEvidence};
use muster_core::change::{AgentRecord, Change, FoundAgain, ItemRecord, LeaseRecord, RunPhase, RunRecord};
use muster_core::id::{ItemIx, RunId, TestIx, UnitId};
use muster_core::view::AttemptView;
use std::sync::Arc;

/// How to take a change back. What labs hold is small and copied as a whole instead.
pub(super) enum Undo {
    Created(RunId),
    Expanded(RunId),
    FoundAgain(RunId, TestIx, Option<FoundAgain>),
    Replanned(RunId, Arc<RunRecord>),
    Item(RunId, ItemIx, Option<ItemRecord>),
    Attempt(RunId, (ItemIx, u16)),
    State(RunId, RunPhase),
    Moved(RunId),
    Noted(RunId),
    Late(RunId),
}

impl State {
    pub(super) fn apply(
        &mut self,
        key: LabKey,
        change: &Change,
        undo: &mut Vec<Undo>,
    ) -> Result<(), StoreError> {
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
            Change::RunMoved { run, moved } => {
                self.own(key, *run)?.moves.push(moved.clone());
                undo.push(Undo::Moved(*run));
            }
            Change::Noted { run, note } => {
                let known = self.runs.get_mut(run).ok_or(StoreError::UnknownRun { run: *run })?;
                known.cold = false;
                known.notes.push(note.clone());
                undo.push(Undo::Noted(*run));
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
            Change::DeviceHeld { device, hold: Some(hold) } => {
                self.lab(key).holds.insert(*device, hold.clone());
            }
            Change::DeviceHeld { device, hold: None } => {
                self.lab(key).holds.remove(device);
            }
            Change::Registered { host, name, registration: Some(new) } => {
                self.lab(key).registered.insert((host.clone(), name.clone()), (**new).clone());
            }
            Change::Registered { host, name, registration: None } => {
                self.lab(key).registered.remove(&(host.clone(), name.clone()));
            }
            Change::DeviceHealth { device, health: Some(health) } => {
                self.lab(key).health.insert(*device, (**health).clone());
            }
            Change::DeviceHealth { device, health: None } => {
                self.lab(key).health.remove(device);
            }
            Change::Happened { at, event } => {
                let happened = &mut self.lab(key).happened;
                let number = happened.len() as u64 + 1;
                happened.push(Happened { number, at: *at, event: event.clone() });
            }
            Change::LeaseGranted { lease, devices } => {
                let lab = self.lab(key);
                lab.used.lease = lab.used.lease.max(*lease);
                lab.leases.insert(
                    *lease,
                    LeaseRecord { lease: *lease, devices: devices.clone(), units: Vec::new() },
                );
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
                run.cold = false;
                let (attempt, lease, at, result) = (*attempt, *lease, *at, result.clone());
                run.late.push(LateEvidence { attempt, lease, at, result });
                undo.push(Undo::Late(attempt.run));
            }
        }
        Ok(())
    }

    pub(super) fn undo(&mut self, undo: Undo) {
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
            Undo::Moved(id) => drop(self.changed(id).moves.pop()),
            Undo::Noted(id) => drop(self.changed(id).notes.pop()),
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
            true => {
                known.cold = false;
                Ok(known)
            }
            false => Err(contradiction(run, "it belongs to another lab")),
        }
    }

    fn lab(&mut self, key: LabKey) -> &mut Lab {
        self.labs.entry(key).or_default()
    }

    /// What a lab had sent out for a run it lost; a lab without any active run is gone.
    pub(super) fn void(&mut self, former: LabKey, run: RunId) {
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
    fn retain_sent(&mut self, keep: impl Fn(UnitId, (ItemIx, u16)) -> bool) {
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
}

fn contradiction(run: RunId, what: &str) -> StoreError {
    StoreError::Contradiction { run, what: what.to_owned() }
}
