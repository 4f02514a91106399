//! Whose turn it is: the order of the runs that want devices.
//!
//! A device goes to the run that a person has put first; then to the one of the highest priority, which
//! rises while it waits; then to that of the user who has had least; then to the one with the least under
//! way. A run may be put before another: then it is never behind that one.

use super::run::Run;
use super::{Lab, Rejected};
use crate::change::{Change, MoveTo, Moved, RunPhase, Supersede};
use crate::id::RunId;
use crate::time::{Time, micros};
use std::cmp::Reverse;

/// Runs put before others that are put before others: followed this far.
// Limit: a longer chain stands where its first ones stand.
const CHAIN_MAX: u8 = 16;

/// Whose turn it is: the smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// When a person put it first, if one did; the last one wins.
    first: Reverse<Option<Time>>,
    priority: Reverse<i64>,
    /// What its user has had.
    used: u64,
    /// Its items that are out.
    out: u32,
    run: RunId,
    /// How many runs it was put before, one before the other.
    before: Reverse<u8>,
}

impl Lab {
    /// Looks which runs want devices since when, before work is given out. Returns those that do.
    pub(super) fn line_up(&mut self, now: Time) -> Vec<RunId> {
        let mut wanting = Vec::new();
        for run in self.runs.values_mut() {
            if *run.phase() == RunPhase::Active && run.ready().len() > 0 {
                run.waits_since.get_or_insert(now);
                wanting.push(run.id());
            } else {
                run.waits_since = None;
            }
        }
        wanting
    }

    /// The turn of a run.
    pub(super) fn turn(&self, now: Time, run: &Run) -> Turn {
        self.turn_in_chain(now, run, 0)
    }

    fn turn_in_chain(&self, now: Time, run: &Run, depth: u8) -> Turn {
        let own = self.own_turn(now, run);
        let MoveTo::Before(other) = run.place_in_queue().0 else { return own };
        let other = self.runs.get(&other).filter(|o| *o.phase() == RunPhase::Active);
        let Some(other) = other.filter(|_| depth < CHAIN_MAX) else { return own };
        let behind = self.turn_in_chain(now, other, depth + 1);
        own.min(Turn { before: Reverse(behind.before.0.saturating_add(1)), ..behind })
    }

    fn own_turn(&self, now: Time, run: &Run) -> Turn {
        let first = match run.place_in_queue() {
            (MoveTo::First, at) => Some(at),
            (MoveTo::Before(_) | MoveTo::Priority(_) | MoveTo::Back, _) => None,
        };
        Turn {
            first: Reverse(first),
            priority: Reverse(i64::from(run.priority()) + self.age(now, run)),
            used: self.shares.used(run.user),
            out: run.out(),
            run: run.id(),
            before: Reverse(0),
        }
    }

    /// What a run's wait adds to its priority.
    fn age(&self, now: Time, run: &Run) -> i64 {
        let waited = run.waits_since.map_or(0, |since| micros(now.since(since)));
        let step = micros(self.policy.ageing);
        waited.checked_div(step).map_or(0, |steps| i64::try_from(steps).unwrap_or(i64::MAX >> 1))
    }

    /// A person changes a run's place.
    pub(super) fn move_run(&mut self, run: RunId, moved: Moved) -> Result<(), Rejected> {
        let active = |id: RunId| match self.runs.get(&id) {
            Some(r) if *r.phase() == RunPhase::Active => Ok(()),
            Some(_) | None => Err(Rejected::NoSuchRun(id)),
        };
        active(run)?;
        if let MoveTo::Before(other) = moved.to {
            active(other)?;
            if other == run {
                return Err(Rejected::BeforeItself(run));
            }
            // Whatever stood behind the moved one by a person's word, and is now to be behind it: the last
            // word counts.
            let mut at = other;
            for _ in 0..CHAIN_MAX {
                let Some((MoveTo::Before(next), _)) = self.runs.get(&at).map(Run::place_in_queue) else {
                    break;
                };
                if next == run {
                    let reason = format!("{} was put before {}", self.address(run), self.address(other));
                    let back = Moved { to: MoveTo::Back, reason, ..moved.clone() };
                    self.enter_move(at, back);
                    break;
                }
                at = next;
            }
        }
        self.enter_move(run, moved);
        Ok(())
    }

    fn enter_move(&mut self, run: RunId, moved: Moved) {
        self.run_mut(run).enter_move(moved.clone());
        self.save(Change::RunMoved { run, moved });
    }

    /// `AREA/RUN`, for people.
    pub(super) fn address(&self, run: RunId) -> String {
        let record = self.runs[&run].record();
        format!("{}/{}", record.spec.area, record.number)
    }

    /// Stops what a run takes the place of: older runs of the same area, name, target and user.
    pub(super) fn supersede(&mut self, now: Time, by: RunId) {
        let run = &self.runs[&by];
        let (spec, number) = (&run.record().spec, run.record().number);
        let which = spec.placement.supersede;
        let older = self.runs.values().filter(|other| {
            let o = &other.record().spec;
            let same = (&o.area, &o.name, &o.target, &o.placement.user)
                == (&spec.area, &spec.name, &spec.target, &spec.placement.user);
            let wanted = match which {
                Supersede::No => false,
                Supersede::Waiting => !other.has_started(),
                Supersede::All => true,
            };
            wanted && same && other.record().number < number && *other.phase() == RunPhase::Active
        });
        let older: Vec<RunId> = older.map(Run::id).collect();
        let reason = format!("{SUPERSEDED}{}", self.address(by));
        for run in older {
            self.stop_run(now, run, &reason, false);
        }
    }

    /// Stops runs that were to start within a time, and have not.
    pub(super) fn sweep_unstarted(&mut self, now: Time) {
        let late = self.runs.values().filter(|r| r.start_by().is_some_and(|by| by <= now));
        let late: Vec<RunId> = late.map(Run::id).collect();
        for run in late {
            self.stop_run(now, run, NOT_STARTED, false);
        }
    }
}

/// The reason given when a run was not started within the time it was given for that.
pub const NOT_STARTED: &str = "nothing of it was started within the time it was given to wait";

/// What the reason begins with when a newer run took the place of one.
pub const SUPERSEDED: &str = "superseded by ";

impl Run {
    /// What a person last said of its place in the queue, and when; [`MoveTo::Back`] where nobody did.
    pub(super) fn place_in_queue(&self) -> (MoveTo, Time) {
        self.moves().last().map_or((MoveTo::Back, Time::default()), |m| (m.to, m.at))
    }

    /// Its priority among runs.
    pub(super) fn priority(&self) -> i32 {
        let asked = self.record().spec.placement.priority;
        let of = |m: &Moved| match m.to {
            MoveTo::Priority(priority) => Some(priority),
            MoveTo::First | MoveTo::Before(_) | MoveTo::Back => None,
        };
        self.moves().iter().rev().find_map(of).unwrap_or(asked)
    }

    /// Whether anything of it was ever given to a device.
    pub(super) fn has_started(&self) -> bool {
        self.out() > 0 || self.items().iter().any(|i| i.record.attempts > 0 || i.record.lab_errors > 0)
    }

    /// When it ends if nothing of it has been started.
    pub(super) fn start_by(&self) -> Option<Time> {
        let within = self.record().spec.placement.start_within?;
        let waits = *self.phase() == RunPhase::Active && self.stop().is_none() && !self.was_started;
        waits.then(|| self.record().created + within)
    }
}
