//! What people want in a world.

use super::{Event, World};
use crate::build;
use muster_core::change::{Placement, RunPhase, RunRecord, RunSpec};
use muster_core::id::RunId;
use muster_core::lab::Pools;
use muster_core::select::Selection;
use std::sync::Arc;
use std::time::Duration;

/// What people want of the shell.
pub(super) enum Wish {
    Create(Arc<RunRecord>),
    Stop(RunId, bool),
    Reopen(RunId),
    /// Hold some device, for a while or until it is released; or release it.
    Hold {
        place: usize,
        held: bool,
        lasts: Option<Duration>,
    },
    /// Put some device in quarantine, or let it out.
    Quarantine {
        place: usize,
        put: bool,
    },
    /// Have some device checked.
    Check {
        place: usize,
    },
}

impl World {
    pub(super) fn person(&mut self) {
        if self.quiet {
            return;
        }
        let runs: Vec<RunId> = self.accepted.iter().copied().collect();
        let active = self.book.runs().filter(|(_, r)| r.phase == RunPhase::Active).count();
        let place = self.rng.below(64);
        match (self.rng.below(9), self.rng.pick(&runs).copied()) {
            (0..=2, _) | (_, None) if active < 2 && self.runs_made < 4 => self.ask_for_run(),
            (3, Some(run)) => {
                let kill = self.rng.permille(300);
                say!(self, "a person stops {run}, kill {kill}");
                self.wishes.push(Wish::Stop(run, kill));
            }
            (6 | 7, _) => {
                let held = self.rng.permille(600);
                let lasts = self
                    .rng
                    .permille(500)
                    .then(|| self.rng.duration(Duration::from_millis(100), self.policy.lease));
                self.wishes.push(Wish::Hold { place, held, lasts });
            }
            (8, _) => self.wishes.push(Wish::Quarantine { place, put: self.rng.permille(500) }),
            (4 | 5, Some(run)) => {
                say!(self, "a person reopens {run}");
                self.wishes.push(Wish::Reopen(run));
            }
            _ => {}
        }
        if !self.kinds.is_empty() && self.rng.permille(200) {
            self.wishes.push(Wish::Check { place });
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
        let placement = self.random_placement();
        let spec = RunSpec { failures_max, placement, ..build::spec(&self.area, selection) };
        self.runs_made += 1;
        let record = build::run_record(&self.area, self.runs_made, self.now, spec, &self.truth);
        let record = Arc::new(record.expect("random areas can be planned"));
        say!(self, "a person asks for {} of {} tests", record.id, record.plan.tests.len());
        self.wishes.push(Wish::Create(record));
    }

    /// Where a run may run, and for whom. What it wants is there when all devices are at home.
    fn random_placement(&mut self) -> Placement {
        let gangs = self.area.tests.iter().any(|test| !test.needs.devices.roles.is_empty());
        let kind = self.homes[self.rng.below(self.homes.len())].kind;
        let selector = match self.rng.below(10) {
            0..=2 if !gangs => format!("labels.kind == '{kind}'"),
            3 | 4 => "has(labels.kind)".to_owned(),
            _ => String::new(),
        };
        let all = [kind, "a", Pools::REST].map(str::to_owned).to_vec();
        Placement {
            user: (*self.rng.pick(&["ana", "ben"]).unwrap_or(&"ana")).to_owned(),
            selector,
            // Where there is no pool of its own, devices are in that of the rest.
            pools: match self.rng.below(10) {
                0 | 1 if !gangs => Some(if kind == "a" { all[1..].to_vec() } else { all[2..].to_vec() }),
                2 => Some(all),
                _ => None,
            },
            priority: i32::try_from(self.rng.below(3)).unwrap_or(0),
            retry_elsewhere: self.rng.permille(200),
            ..Placement::default()
        }
    }
}
