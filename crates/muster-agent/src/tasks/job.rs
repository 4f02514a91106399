//! What every kind of task does in the same way: the process it describes, the directory it lends, the
//! end it tells.

use super::artifacts;
use super::device::{self, DEVICE_STEP, DevicePart, DevicePlan, DeviceStep, HeldOpen, Packages};
use super::environment::{ADDRESS, Contract, Env, address, stretched};
use super::logs::Place;
use super::prepared::{Prepared, StepPlan};
use super::profile::{self, Watched};
use super::scratch::{self, Left, WorkDir};
use super::{Ears, Host};
use crate::copy_tree;
use crate::exec::{Limits, ProcessSpec};
use crate::ledger::Taken;
use muster_core::artifact::is_path;
use muster_core::attempt::{AttemptResult, Cause, Usage};
use muster_core::definition::{Framework, Kind, NeededDevices};
use muster_core::exchange::{AttemptEnd, DeviceOffer, RunContext, Seat, TestContext, Unit, UnitAttempt};
use muster_core::id::AttemptRef;
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A unit on a slot.
pub(super) struct Job {
    pub(super) host: Arc<Host>,
    pub(super) slot: u32,
    pub(super) unit: Arc<Unit>,
    pub(super) run: Arc<RunContext>,
    pub(super) test: Arc<TestContext>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) place: Place,
    work_dir: Option<WorkDir>,
    ended: bool,
}

/// How a process of a job is to be run, beyond what its plan says.
pub(super) struct Manner {
    pub(super) limits: Limits,
    /// Where its log goes once that is large.
    pub(super) spill: Option<PathBuf>,
    /// It has a report pipe.
    pub(super) report: bool,
    /// When the attempt's hard limit ends.
    pub(super) deadline: Option<Time>,
}

impl Job {
    pub(super) fn new(host: Arc<Host>, slot: u32, taken: Taken, prepared: Arc<Prepared>) -> Self {
        let Taken { unit, run, test } = taken;
        let place = Place::new(&run.run_dir, unit.id.0);
        Self { host, slot, unit, run, test, prepared, place, work_dir: None, ended: false }
    }

    /// The time.
    pub(super) fn now(&self) -> Time {
        self.host.clock.now()
    }

    /// Who is told.
    pub(super) fn ears(&self) -> &dyn Ears {
        &*self.host.ears
    }

    /// The unit's only attempt, or the first of several.
    pub(super) fn first(&self) -> Option<&UnitAttempt> {
        self.unit.attempts.first()
    }

    /// The hard limit of an attempt.
    pub(super) fn hard_limit(&self, attempt: &UnitAttempt) -> Option<Duration> {
        stretched(attempt.timeout.or(self.test.def.limits.timeout), attempt.slow)
    }

    /// The test's limits with this hard one.
    pub(super) fn limits(&self, timeout: Option<Duration>, slow: bool) -> Limits {
        let limits = &self.test.def.limits;
        Limits {
            timeout,
            silence: stretched(limits.silence, slow),
            grace: limits.grace,
            output_bytes_max: limits.output_bytes_max,
        }
    }

    /// A process of this job.
    ///
    /// # Errors
    /// The attempt's directory cannot be made.
    pub(super) fn process(&mut self, plan: &StepPlan, manner: Manner) -> Result<ProcessSpec, String> {
        if self.work_dir.is_none() {
            let dir = self.host.scratch.take(&self.run.run_dir, self.slot);
            let failed = |e| format!("no working directory can be made in `{}`: {e}", self.run.run_dir);
            self.work_dir = Some(dir.map_err(failed)?);
            self.bring_files()?;
        }
        let work_dir = self.work_dir.as_ref().map_or("", WorkDir::path);
        let other = self.other_device(plan.seat)?;
        let contract = Contract {
            run: &self.run,
            test: &self.test,
            unit: &self.unit,
            device: other.as_ref().or_else(|| self.host.slots.get(self.slot as usize)),
            step: &plan.name,
            work_dir,
            deadline: manner.deadline,
        };
        let mut env = self.prepared.env.clone();
        env.set_all(&plan.env);
        let mut argv = plan.argv.clone();
        match &plan.device {
            None => {
                if let Some(workers) = &self.host.workers {
                    self.slots_here().for_each(|slot| workers.let_go(slot));
                }
                contract.apply(&mut env);
                plan.overrule(&mut env);
                if let Some(step) = profile::on_host(self, plan, &plan.dir, &env, work_dir, manner.deadline) {
                    let (words, (name, value)) = step.words(&argv);
                    argv = words;
                    env.set(&name, value);
                }
            }
            // The contract is with the program on the device; this one is told by the step.
            Some(on_device) => {
                let step = self.device_step(on_device, plan, &contract, &env)?;
                env.set(DEVICE_STEP, serde_json::to_string(&step).map_err(|e| e.to_string())?);
                argv = device::argv();
            }
        }
        Ok(ProcessSpec {
            argv,
            env: env.into_vec(),
            dir: plan.dir.clone(),
            make_dir: false,
            report: manner.report,
            limits: manner.limits,
            spill: manner.spill,
        })
    }

    /// Copies what the attempt that this one goes on from has left, if it does.
    fn bring_files(&self) -> Result<(), String> {
        let part = self.first().and_then(|attempt| attempt.part.as_ref()).filter(|p| !p.files.is_empty());
        let (Some(part), Some(dir)) = (part, &self.work_dir) else { return Ok(()) };
        let from = Path::new(&self.run.run_dir).join(&part.files);
        let copied = match is_path(&part.files) {
            true => copy_tree(&from, Path::new(dir.path())).map_err(|e| e.to_string()),
            false => Err("that is no path in the run's directory".to_owned()),
        };
        let left = format!("what attempt {} left in `{}`", part.attempt, from.display());
        copied.map_err(|why| format!("{left} cannot be brought: {why}"))
    }

    /// The devices of this unit that are this agent's: the one it runs on, and others it has by their addresses.
    fn slots_here(&self) -> impl Iterator<Item = u32> {
        let seats = &self.unit.devices;
        (0..)
            .zip(&self.host.slots)
            .filter(move |(slot, offer)| *slot == self.slot || seats.iter().any(|seat| is_seat(offer, seat)))
            .map(|(slot, _)| slot)
    }

    /// Another device of the unit than the one it runs on, as this agent can use it; `None` for that.
    fn other_device(&self, seat: usize) -> Result<Option<DeviceOffer>, String> {
        if seat == 0 {
            return Ok(None);
        }
        let seats = &self.unit.devices;
        let Some((seat, first)) = seats.get(seat).zip(seats.first()) else {
            return Err("the lab has given it fewer devices than it needs".to_owned());
        };
        let mut device = DeviceOffer::named(seat.device.clone());
        match seat.address.as_str() {
            "" if seat.host != first.host => {
                let Seat { role, device, host, .. } = seat;
                return Err(format!(
                    "its `{role}`, `{device}`, is a slot of {host}: no step can run there from {}",
                    first.host
                ));
            }
            "" => {}
            address => drop(device.labels.insert(ADDRESS.to_owned(), address.to_owned())),
        }
        Ok(Some(device))
    }

    /// The number by which a device of the unit is held open: that of its slot, or, where it is another agent's, one
    /// that is this job's alone.
    fn held_as(&self, seat: usize) -> u32 {
        if seat == 0 {
            return self.slot;
        }
        let seat_of = self.unit.devices.get(seat);
        let own = (0..).zip(&self.host.slots).find(|(_, offer)| seat_of.is_some_and(|s| is_seat(offer, s)));
        let beyond = self.host.slots.len() + self.slot as usize * NeededDevices::MAX + seat;
        own.map_or_else(|| u32::try_from(beyond).unwrap_or(u32::MAX), |(slot, _)| slot)
    }

    /// What a step does on the device, whole.
    fn device_step(
        &self,
        on_device: &DevicePlan,
        plan: &StepPlan,
        contract: &Contract<'_>,
        host_env: &Env,
    ) -> Result<DeviceStep, String> {
        let address =
            contract.device.and_then(|d| d.labels.get(ADDRESS)).map_or(device::LOCAL, String::as_str);
        let name = contract.device.map_or("", |d| d.name.as_str());
        let there = device::dir(address, name, contract.work_dir, plan.seat);
        // A slot of this host finds them where the host has them.
        let packages = match address {
            device::LOCAL => Packages::default(),
            _ => {
                let needed = self.run.inputs.packages_of(&self.test.def.name).cloned().collect();
                Packages { run_dir: self.run.run_dir.clone(), needed }
            }
        };
        let part = match on_device {
            DevicePlan::Open { push } => DevicePart::Open { push: push.clone(), packages },
            DevicePlan::Run { dir, env, report } => {
                let mut all: Env = self.prepared.device_env.clone();
                all.set_all(env);
                contract.apply(&mut all);
                // Directories of this host mean nothing there.
                for here in ["MUSTER_AREA_DIR", "MUSTER_WORK_DIR", "MUSTER_MEASURES", "MUSTER_STEPS"] {
                    all.unset(here);
                }
                for needed in &packages.needed {
                    all.unset(&needed.variable());
                    all.unset("MUSTER_PACKAGES");
                }
                plan.overrule(&mut all);
                let (argv, env) = (plan.argv.clone(), all.into_vec());
                let watched = match address {
                    device::LOCAL => {
                        let dir = Path::new(&there).join(dir);
                        let (work_dir, deadline) = (contract.work_dir, contract.deadline);
                        profile::on_host(self, plan, &dir, host_env, work_dir, deadline).map(Watched::OnHost)
                    }
                    _ => profile::on_device(self, plan, contract.work_dir),
                };
                DevicePart::Run { argv, env, dir: dir.clone(), packages, report: *report, watched }
            }
            DevicePlan::List { patterns, dir, executable } => {
                let (patterns, dir) = (patterns.clone(), dir.clone());
                DevicePart::List { patterns, dir, executable: *executable }
            }
            DevicePlan::Close { pull } => {
                let here = contract.work_dir;
                // What comes from several devices may have the same name.
                let into = match self.unit.devices.get(plan.seat).filter(|_| plan.seat > 0) {
                    Some(seat) => format!("{here}/{}", seat.role),
                    None => here.to_owned(),
                };
                let measures = format!("{here}/{}", scratch::MEASURES);
                let is_watched = !self.profilers().is_empty() && !self.unit.discovery;
                let profile = (is_watched && address != device::LOCAL)
                    .then(|| format!("{here}/{}", profile::PROFILE_DIR));
                DevicePart::Close { pull: pull.clone(), into, measures, packages, profile }
            }
        };
        let held = match &self.host.workers {
            Some(workers) if address != device::LOCAL => {
                let socket = workers.reach(self.held_as(plan.seat), address, self.unit.id)?;
                Some(HeldOpen { socket, job: self.unit.id.0.to_string() })
            }
            _ => None,
        };
        Ok(DeviceStep { address: address.to_owned(), held, dir: there, part })
    }

    /// A file of this name in the directory; `None` where it has none.
    pub(super) fn in_work_dir(&self, name: &str) -> Option<PathBuf> {
        self.work_dir.as_ref().map(|dir| Path::new(dir.path()).join(name))
    }

    /// What the attempt left in its directory. Where that cannot be read it counts as filled.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn look(&self) -> (Left, Result<(), String>) {
        match self.work_dir.as_ref().map_or_else(|| Ok(Left::default()), WorkDir::look) {
            Ok(left) => (left, Ok(())),
            Err(e) => {
                let why = format!("what it left in its working directory cannot be read: {e}");
                (Left { files: true, ..Left::default() }, Err(why))
            }
        }
    }

    /// What watches it, by name.
    pub(super) fn profilers(&self) -> Vec<&str> {
        self.run.inputs.profilers_of(&self.test.def.profilers)
    }

    /// What those who watched it have to tell.
    pub(super) fn told_by_profilers(&self) -> Vec<String> {
        match &self.work_dir {
            Some(dir) if !self.profilers().is_empty() => profile::told(dir.path()),
            _ => Vec::new(),
        }
    }

    /// Ends the use of the directory. What this attempt of the unit, which came to this, is to keep of it, is told
    /// with the result and at the end of its log.
    pub(super) fn leave(&mut self, left: &Left, index: usize, result: &mut AttemptResult) {
        let has_page = result.outcome != Outcome::Pass && self.prepared.has_logpro();
        let has_more = !self.test.def.device_files.pull.is_empty() || !self.profilers().is_empty();
        // A client's results, with what it noted of its system, are looked at whatever they are.
        let is_autotest = match &self.test.def.kind {
            Kind::Suite(suite) => matches!(suite.framework, Framework::Autotest { .. }),
            Kind::Steps { .. } => false,
        };
        let wanted = !result.outcome.is_good() || has_page || has_more || is_autotest;
        let Some(attempt) = self.unit.attempts.get(index).filter(|_| wanted) else {
            return self.clear(left);
        };
        let UnitAttempt { attempt: AttemptRef { item, attempt: number, .. }, path, .. } = attempt;
        let name = scratch::kept_name(&self.test.def.name, path, *number, item.0);
        let address = address(&self.run, &self.test, Some(attempt));
        let Some(dir) = self.work_dir.take() else { return };
        match self.host.scratch.leave(self.slot, dir, left, Some(&name)) {
            Ok(None) => {}
            Ok(Some(kept)) => {
                let kept = artifacts::list(&self.run.run_dir, kept);
                if !kept.is_empty() {
                    let text = artifacts::remark(&kept, &address);
                    self.place.remark(&mut result.output, result.duration, &text);
                    result.artifacts = Some(Box::new(kept));
                }
            }
            Err(e) => {
                let text = format!("what it left in its working directory cannot be kept: {e}");
                self.place.remark(&mut result.output, result.duration, &text);
            }
        }
    }

    /// Ends the use of the directory, of which nothing is kept.
    pub(super) fn clear(&mut self, left: &Left) {
        if let Some(dir) = self.work_dir.take() {
            // A directory that cannot be moved is noticed at its next use.
            let _stays = self.host.scratch.leave(self.slot, dir, left, None);
        }
    }

    /// Tells that the unit has ended, and its last attempt with it.
    pub(super) fn end(&mut self, last: Option<(AttemptRef, AttemptEnd)>) {
        self.ended = true;
        if let Some(workers) = &self.host.workers {
            for seat in 0..self.unit.devices.len().max(1) {
                workers.job_ended(self.held_as(seat), self.unit.id);
            }
        }
        self.ears().unit_ended(self.unit.id, last);
    }

    /// A result that is the lab's fault.
    pub(super) fn error(&self, why: String) -> AttemptResult {
        let message = why.clone();
        let bare = AttemptResult::bare(Outcome::Error, Cause::Lab(why), self.now(), Duration::ZERO);
        AttemptResult { message, ..bare }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The engine gave the task up: what has no result was not reached.
        if !self.ended {
            self.end(None);
        }
    }
}

/// Whether an agent's device is one that a unit has.
fn is_seat(offer: &DeviceOffer, seat: &Seat) -> bool {
    seat.device == offer.name && Some(&seat.address) == offer.labels.get(ADDRESS)
}

/// Adds what a further process used: sums, and of memory the most.
pub(super) fn add_usage(total: &mut Usage, more: Usage) {
    let Usage { user_micros, system_micros, memory_peak_bytes, read_bytes, write_bytes } = more;
    total.user_micros += user_micros;
    total.system_micros += system_micros;
    total.memory_peak_bytes = total.memory_peak_bytes.max(memory_peak_bytes);
    total.read_bytes += read_bytes;
    total.write_bytes += write_bytes;
}
