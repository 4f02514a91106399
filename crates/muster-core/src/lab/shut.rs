//! Gates that hosts shut, and runs of which nothing can start because of a gate.

use super::explain::Gate;
use super::run::Run;
use super::{Hint, Lab};
use crate::change::RunPhase;
use crate::event::Event;
use crate::id::{ItemIx, RunId, UnitId};
use crate::time::Time;
use std::time::Duration;

/// A host that shuts a gate is asked again after no less than this,
// Limit: each time costs a unit that is sent and comes back.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// and no more.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// Beyond so many runs they are looked at only now and then.
// Limit: each may be compared with every device.
const RUNS_LOOKED_AT: usize = 16;
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Lab {
    /// The host of a unit does not let it start.
    pub(super) fn shut_gate(&mut self, now: Time, unit: UnitId, why: String, pause: Duration) {
        let unit = &self.units[&unit];
        let (run, test, agent) = (unit.run, unit.test, self.devices[&unit.device].agent);
        let run = self.run_mut(run);
        let gate = run.test(test).gate();
        run.shut(gate, agent, why, now + pause.clamp(PAUSE_MIN, PAUSE_MAX));
    }

    /// Finds out which gates will open by themselves, and tells of runs that wait before one for long.
    pub(super) fn look_at_gates(&mut self, now: Time) {
        let active = |run: &&Run| *run.phase() == RunPhase::Active;
        let ids: Vec<RunId> = self.runs.values().filter(active).map(Run::id).collect();
        for id in &ids {
            let run = self.run_mut(*id);
            run.forget_shut(now);
            run.look_at_hours(now);
        }
        let is_due = |id: &RunId| self.runs[id].waits_until().is_some_and(|at| at <= now);
        if ids.len() > RUNS_LOOKED_AT && now < self.looked.0 + LOOK_EVERY && !ids.iter().any(is_due) {
            return;
        }
        self.looked = Hint(now);
        // Asking a host whether something may start is not running it.
        for id in ids.into_iter().filter(|id| self.runs[id].out() == 0).collect::<Vec<_>>() {
            let reason = self.holds_all_of(&self.runs[&id]);
            if let Some(reason) = self.run_mut(id).waits(now, reason) {
                self.tell(now, id, Event::Waiting { reason });
            }
        }
    }

    /// What holds up all of a run that could start, where nothing of it runs.
    fn holds_all_of(&self, run: &Run) -> Option<String> {
        if run.stop().is_some() {
            return None;
        }
        let (rank, _) = run.ready().heads().next()?;
        Some(Gate::from(self.held_up_everywhere(run, rank.item)?).to_string())
    }

    /// What holds up items of a run that could start: the test's name and why, one for each gate.
    pub fn held(&self, run: RunId) -> Vec<(String, String)> {
        let Some(run) = self.runs.get(&run).filter(|run| run.stop().is_none()) else { return Vec::new() };
        let mut held = Vec::new();
        for (rank, _) in run.ready().heads() {
            let name = &run.test(run.item(rank.item).test).name;
            if let Some(why) = self.held_up_everywhere(run, rank.item) {
                held.push((name.to_string(), Gate::from(why).to_string()));
            }
        }
        held.dedup();
        held
    }

    /// The items of a run that are out, to run or about to.
    pub fn out_of(&self, run: RunId) -> impl Iterator<Item = ItemIx> {
        let of_run = self.units.values().filter(move |unit| unit.run == run);
        of_run.flat_map(|unit| unit.left.iter().map(|(item, _)| *item))
    }
}
