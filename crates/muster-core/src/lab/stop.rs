//! Stopping a run: nothing more is started, what waits on devices comes back, what runs is ended.

use super::Lab;
use super::run::{Phase, Stop};
use crate::change::RunPhase;
use crate::id::{ItemIx, RunId};
use crate::time::Time;

/// What the lab wants done with a unit that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Run it.
    Run,
    /// Give it back unless it runs. `said`: the first orders that said so.
    GiveBack { said: Option<u64> },
    /// Do not start it, and end it if it runs.
    Stop { said: Option<u64> },
}

impl Lab {
    pub(super) fn stop_run(&mut self, _now: Time, run_id: RunId, reason: &str, kill: bool) {
        let run = self.run_mut(run_id);
        if *run.phase() != RunPhase::Active {
            return;
        }
        // The first reason stays; a second request may only be harder.
        let reason = run.stop().map_or_else(|| reason.to_owned(), |s| s.reason.clone());
        let kill = kill || run.stop().is_some_and(|s| s.kill);
        let waiting: Vec<ItemIx> = (0u32..)
            .map(ItemIx)
            .zip(run.items())
            .filter(|(_, item)| matches!(item.phase, Phase::Ready | Phase::Backoff { .. }))
            .map(|(ix, _)| ix)
            .collect();
        for ix in waiting {
            run.unqueue(ix);
        }
        run.set_stop(Stop { reason, kill });
        for unit in self.units.values_mut().filter(|u| u.run == run_id) {
            unit.wish = match unit.wish {
                Wish::Stop { said } => Wish::Stop { said },
                Wish::Run | Wish::GiveBack { .. } => Wish::Stop { said: None },
            };
        }
    }

    /// Stops runs whose time limit has passed, and lets items try again whose pause is over.
    pub(super) fn sweep_deadlines(&mut self, now: Time) {
        let late: Vec<RunId> = self
            .runs
            .values()
            .filter(|r| r.stop().is_none() && r.deadline().is_some_and(|d| d <= now))
            .map(super::run::Run::id)
            .collect();
        for run in late {
            self.stop_run(now, run, RUN_TIME_LIMIT, false);
        }
        for run in self.runs.values_mut() {
            run.release_backoff(now);
        }
    }

    /// Stops a run that has failed often enough.
    pub(super) fn stop_after_failures(&mut self, now: Time, run_id: RunId) {
        let run = self.run_mut(run_id);
        let failed = run.failed_now();
        if run.stop().is_none() && run.record().spec.failures_max.is_some_and(|max| failed >= max) {
            let reason = format!("{failed} failed, and no more are wanted (fail-fast)");
            self.stop_run(now, run_id, &reason, false);
        }
    }
}

/// The reason given when a run's time limit stops it.
pub const RUN_TIME_LIMIT: &str = "the run's time limit was reached";
