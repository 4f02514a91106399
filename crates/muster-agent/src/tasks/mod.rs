//! What a unit is to the executor: the processes it comes to, and what is made of how they end.
//!
//! ```text
//! Taken ─► Host::task ─► StepsTask     a command or steps; also a suite's item that is judged by its process
//!                        BatchTask     items of a suite that a framework reports on
//!                        Unusable      a unit whose run cannot be started on this host
//!                        DiscoverTask  the question for a suite's or test's items
//!                        GateTask      before each of these, where the host is asked whether it may start
//! ```
//!
//! A task tells what comes of it through [`Ears`]; it knows neither the ledger nor the lab. Starting,
//! capturing, limiting and killing is the executor's.

mod artifacts;
mod batch;
mod device;
mod discover;
mod environment;
mod gate;
mod glob;
mod item_lines;
mod job;
mod logpro;
mod logs;
mod prepared;
mod profile;
mod scratch;
mod shell;
mod steps;
mod unusable;
mod workers;

pub use device::{
    BEFORE_END, DEVICE_COMMAND, DEVICE_STEP, DeviceEnd, DevicePart, DeviceStep, HeldOpen, Packages,
};
pub use environment::{Env, inherited};
pub use profile::{
    PROFILE_COMMAND, PROFILE_DIR, PROFILE_STEP, PROFILE_TOLD, ProfileStep, Profiler, ProfilerPlace, Watched,
};
pub use scratch::MEASURES;
pub use workers::WORKER_COMMAND;

use crate::clock::Clock;
use crate::exec::{Status, Task};
use crate::ledger::Taken;
use job::Job;
use muster_core::definition::{Kind, TestDef};
use muster_core::exchange::{AttemptEnd, DeviceOffer, RunContext};
use muster_core::id::{AttemptRef, RunId, TestIx, UnitId};
use muster_core::judge::Ended;
use muster_core::time::Time;
use prepared::Prepared;
use scratch::Scratch;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use workers::Workers;

/// Who is told what comes of the tasks. Called on engine threads.
pub trait Ears: Send + Sync {
    /// An attempt of a unit of several has begun.
    fn started(&self, unit: UnitId, attempt: AttemptRef);

    /// An attempt has ended.
    fn finished(&self, unit: UnitId, attempt: AttemptRef, end: AttemptEnd);

    /// A unit has ended. `last`: its last attempt's end, where that was not told before.
    fn unit_ended(&self, unit: UnitId, last: Option<(AttemptRef, AttemptEnd)>);

    /// The process on this slot is to be stopped at this moment, if it still runs: an item that shares it
    /// with others has reached its limit then. `None`: no longer.
    fn set_deadline(&self, slot: u32, unit: UnitId, deadline: Option<Time>);
}

/// What all tasks of an agent share.
pub struct Host {
    ears: Arc<dyn Ears>,
    clock: Clock,
    /// The devices.
    slots: Vec<DeviceOffer>,
    inherited: Env,
    scratch: Scratch,
    /// What holds devices open; nothing where no device is but the host.
    workers: Option<Workers>,
    prepared: Mutex<HashMap<(RunId, TestIx), Known>>,
    /// What those said who are asked before something starts.
    answers: gate::Answers,
}

impl Host {
    /// What tasks need of the host they run on. `slots`: the devices, in the exchange's order. `own_dir`: a
    /// directory of this agent alone, where it has one.
    pub fn new(
        ears: Arc<dyn Ears>,
        clock: Clock,
        slots: Vec<DeviceOffer>,
        inherited: Env,
        own_dir: Option<&Path>,
    ) -> Self {
        let scratch = Scratch::new(slots.len());
        let workers = own_dir.filter(|_| slots.iter().any(device::is_elsewhere)).map(Workers::new);
        Self {
            ears,
            clock,
            slots,
            inherited,
            scratch,
            workers,
            prepared: Mutex::new(HashMap::new()),
            answers: gate::Answers::default(),
        }
    }

    /// What to run for a unit on a slot.
    pub fn task(self: &Arc<Self>, slot: u32, taken: Taken) -> Box<dyn Task> {
        let prepared = self.prepared(&taken);
        let job = Job::new(Arc::clone(self), slot, taken, Arc::clone(&prepared));
        if job.run.unusable.is_some() {
            return unusable::task(job);
        }
        let (unit, test) = (Arc::clone(&job.unit), Arc::clone(&job.test));
        let task = match &job.test.def.kind {
            _ if job.unit.discovery => discover::task(job),
            Kind::Steps { .. } => steps::of_test(job),
            Kind::Suite(_) => batch::task(job),
        };
        if gate::asks(&test.def.needs) { gate::before(task, self, unit, test, prepared) } else { task }
    }

    /// Puts the working directories away and lets the devices go, when no task runs any more. Takes at most
    /// this long for each.
    pub fn finish(&self, wait: Duration) {
        self.scratch.finish(wait);
        if let Some(workers) = &self.workers {
            workers.finish(wait);
        }
    }

    /// What is the same for all attempts of a test, made once.
    fn prepared(&self, taken: &Taken) -> Arc<Prepared> {
        // Limit: each holds an environment of some kilobytes; a host rarely has more tests in hand.
        const PREPARED_MAX: usize = 256;
        let key = (taken.test.run, taken.test.test);
        let def = &taken.test.def;
        let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get_mut(&key) {
            let same_def = Arc::ptr_eq(&known.def, def) || known.def == *def;
            if same_def && (Arc::ptr_eq(&known.run, &taken.run) || known.run == taken.run) {
                known.def = Arc::clone(def);
                known.run = Arc::clone(&taken.run);
                return Arc::clone(&known.prepared);
            }
        } else if all.len() >= PREPARED_MAX {
            all.clear();
        }
        let prepared = Arc::new(Prepared::new(&self.inherited, &taken.run, def, self.clock.now()));
        let (def, run) = (Arc::clone(def), Arc::clone(&taken.run));
        all.insert(key, Known { def, run, prepared: Arc::clone(&prepared) });
        prepared
    }
}

/// A test that has been prepared.
struct Known {
    /// What it was prepared from. The same definition comes anew with other orders, and a run may go on
    /// with a changed one,
    def: Arc<TestDef>,
    /// and with other files and another environment.
    run: Arc<RunContext>,
    prepared: Arc<Prepared>,
}

/// What a stop that the lab asked for is called.
const STOPPED: &str = "stopped on request";

fn ended(status: Status) -> Ended {
    match status {
        Status::Exit(code) => Ended::Exit(code),
        Status::Signal(signal) => Ended::Signal(signal),
        Status::HardLimit(limit) => Ended::HardLimit(limit),
        Status::SilenceLimit(limit) => Ended::SilenceLimit(limit),
        Status::Stopped => Ended::Stopped(STOPPED.to_owned()),
        Status::NotStarted(why) => Ended::NotStarted(why),
    }
}
