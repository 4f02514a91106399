//! What people want in a world.

use super::{Event, World};
use crate::build;
use muster_core::change::{RunPhase, RunRecord, RunSpec};
use muster_core::id::RunId;
use muster_core::select::Selection;
use std::sync::Arc;
use std::time::Duration;

/// What people want of the shell.
pub(super) enum Wish {
    Create(Arc<RunRecord>),
    Stop(RunId, bool),
    Reopen(RunId),
}

impl World {
    pub(super) fn person(&mut self) {
        if self.quiet {
            return;
        }
        let runs: Vec<RunId> = self.accepted.iter().copied().collect();
        let active = self.book.runs().filter(|(_, r)| r.phase == RunPhase::Active).count();
        match (self.rng.below(6), self.rng.pick(&runs).copied()) {
            (0..=2, _) | (_, None) if active < 2 && self.runs_made < 4 => self.ask_for_run(),
            (3, Some(run)) => {
                let kill = self.rng.permille(300);
                say!(self, "a person stops {run}, kill {kill}");
                self.wishes.push(Wish::Stop(run, kill));
            }
            (4 | 5, Some(run)) => {
                say!(self, "a person reopens {run}");
                self.wishes.push(Wish::Reopen(run));
            }
            _ => {}
        }
        if self.shell.is_some() {
            self.turn_soon();
        }
        let after = self.rng.duration(Duration::from_millis(100), self.policy.lease);
        self.at(after, Event::Person);
    }

    pub(super) fn ask_for_run(&mut self) {
        let patterns = if self.rng.permille(200) {
            vec![format!("t{}", self.rng.below(self.area.tests.len()))]
        } else {
            vec![]
        };
        let selection = Selection { patterns, ..Selection::default() };
        let failures_max = self.rng.permille(150).then_some(2);
        let spec = RunSpec { failures_max, ..build::spec(&self.area, selection) };
        self.runs_made += 1;
        let record = build::run_record(&self.area, self.runs_made, self.now, spec, &self.truth);
        let record = Arc::new(record.expect("random areas can be planned"));
        say!(self, "a person asks for {} of {} tests", record.id, record.plan.tests.len());
        self.wishes.push(Wish::Create(record));
    }
}
