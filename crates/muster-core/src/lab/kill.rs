//! Killing single items of a run, which goes on with the others.
//!
//! What waits ends at once. What is out is ended with its unit, and ends when it is back; others of that unit run
//! again. Nothing of this is recorded until it has happened: who kills waits for the verdict.

use super::run::{Doomed, Phase};
use super::{Lab, Rejected, Wish};
use crate::id::{ItemIx, RunId};
use crate::outcome::Verdict;
use crate::time::Time;

impl Lab {
    pub(super) fn kill_items(
        &mut self,
        now: Time,
        run_id: RunId,
        items: &[ItemIx],
        reason: &str,
    ) -> Result<(), Rejected> {
        let Some(run) = self.runs.get_mut(&run_id) else { return Err(Rejected::NoSuchRun(run_id)) };
        let mut units = Vec::new();
        let known = run.items().len();
        for &ix in items.iter().filter(|ix| (ix.0 as usize) < known) {
            let item = run.item(ix);
            if item.record.verdict.is_some() {
                continue;
            }
            if let Phase::Out { unit } = item.phase {
                units.push(unit);
            }
            run.killing.insert(ix, reason.to_owned());
        }
        for unit in units {
            let unit = self.units.get_mut(&unit).expect("what is out is in a unit");
            if !matches!(unit.wish, Wish::Stop { .. }) {
                unit.wish = Wish::Stop { said: None };
            }
        }
        self.sweep_killed(now);
        Ok(())
    }

    /// Ends what is to be killed and is not out any more.
    pub(super) fn sweep_killed(&mut self, now: Time) {
        let runs: Vec<RunId> =
            self.runs.values().filter(|r| !r.killing.is_empty()).map(super::Run::id).collect();
        for id in runs {
            let run = self.run_mut(id);
            let mut doomed: Vec<Doomed> = Vec::new();
            let killing = std::mem::take(&mut run.killing);
            for (ix, reason) in killing {
                let item = run.item(ix);
                match (item.record.verdict, item.phase) {
                    // It was faster.
                    (Some(_), _) => {}
                    (None, Phase::Out { .. }) => drop(run.killing.insert(ix, reason)),
                    (None, _) => {
                        run.killed = Some(reason.clone());
                        doomed.push((ix, Verdict::Cancelled, reason));
                    }
                }
            }
            self.end_items(now, id, doomed);
        }
    }
}
