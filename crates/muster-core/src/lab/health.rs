//! What devices are worth, and what is done about it.
//!
//! ```text
//!             misbehaves (suspicion.rs)        check: bad, a repair can help
//!   Good ─────────────────────────► Suspect ────────────────► Failing ──┐ repair, check again
//!    ▲ ▲                               │ check: good                ▲    │
//!    │ └───────────────────────────────┘                            └────┘
//!    │            check: good, or a person                   bad, no repair is left │
//!    └────────────────────────────────── Quarantined ◄──────────────────────────────┘
//! ```
//!
//! What is done is a [`Task`], apart from the health: a good device is checked now and then, and one in
//! quarantine ever more seldom. A check is an ordinary run on the one device. The lab says which checks it
//! wants ([`Lab::checks_wanted`]); the shell, which knows ids and numbers, makes the runs
//! ([`super::Input::Check`]). A shell that was lost in between is asked again.

mod ended;
mod show;
mod suspicion;

pub use suspicion::PastResult;
pub(super) use suspicion::Seen;

use super::{Device, Lab, Mistake, Rejected, Wish};
use crate::change::{Change, RunRecord};
use crate::definition::AreaDef;
use crate::event::LabEvent;
use crate::health::{DeviceHealth, Ends, Entry, Errand, Evidence, Found, Health, Quarantine, Task};
use crate::id::{DeviceId, RunId};
use crate::kind::{DeviceKind, HEALTH_AREA};
use crate::plan::History;
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// Who quarantines and asks for checks where no person does.
pub const THE_LAB: &str = "the lab";
/// Pause before the second check of a device in quarantine; doubled each time.
const RECHECK_MIN: Duration = Duration::from_secs(5 * 60);
/// Longest such pause.
const RECHECK_MAX: Duration = Duration::from_secs(6 * 3600);
/// Pause after a check that came to no answer; doubled each time.
const UNSURE_MIN: Duration = Duration::from_secs(30);
/// Longest such pause.
const UNSURE_MAX: Duration = Duration::from_secs(3600);

/// A suspect of which no check comes to an answer is used again after so many: it is the check that is broken.
const UNSURE_TIMES: u16 = 3;

/// A check that the lab wants to be made.
#[derive(Clone, Debug)]
pub struct WantedCheck {
    /// The device.
    pub device: DeviceId,
    /// For people: `check of board-1`.
    pub name: String,
    /// Its tests.
    pub area: AreaDef,
    /// Names the device, for people.
    pub selector: String,
}

impl Lab {
    /// The kinds of devices from now on.
    pub(super) fn set_kinds(&mut self, kinds: Arc<[DeviceKind]>) {
        self.kinds = kinds;
        let devices: Vec<DeviceId> = self.devices.keys().copied().collect();
        for device in devices {
            self.find_kind(device);
        }
    }

    /// The first kind whose selector matches.
    pub(super) fn find_kind(&mut self, id: DeviceId) {
        let device = &self.devices[&id];
        let host = &self.agents[&device.agent].host;
        let kind = self.kinds.iter().position(|k| k.matches.matches(&device.name, host, &device.labels));
        self.devices.get_mut(&id).expect("looked up above").kind = kind;
    }

    fn kind_of(&self, device: &Device) -> Option<&DeviceKind> {
        self.kinds.get(device.kind?)
    }

    /// The kind of a device that can be checked.
    fn verified_kind(&self, device: &Device) -> Option<&DeviceKind> {
        self.kind_of(device).filter(|k| !k.verifiers.is_empty())
    }

    /// Whether a device may be given something of a run, as far as its health goes: its own check, or, if it
    /// is fit, what is no check.
    pub(super) fn is_fit_for(&self, device: &Device, run: RunId) -> bool {
        match device.health.task.run() {
            Some(check) => check == run || self.policy.mistake == Mistake::WorkBesideChecks,
            None => self.is_fit(device),
        }
    }

    /// Whether a device gets ordinary work, as far as its health goes.
    pub(super) fn is_fit(&self, device: &Device) -> bool {
        let DeviceHealth { health, task, .. } = &device.health;
        let verified = || self.verified_kind(device);
        match health {
            // A check that is due is made at once, so it goes before other work.
            _ if task.run().is_some() || (*task != Task::Rest && verified().is_some()) => false,
            Health::Good { .. } => true,
            // It was never looked at: that comes first, where it is looked at now and then at all.
            Health::Unknown => {
                device.health.unsure >= UNSURE_TIMES || verified().is_none_or(|k| k.check_every.is_none())
            }
            Health::Suspect { .. } | Health::Failing { .. } => verified().is_none(),
            Health::Quarantined(_) => self.policy.mistake == Mistake::IgnoreQuarantine,
        }
    }

    /// What a device may be given at all just now: by no hold, and by its health.
    pub(super) fn takes_something(&self, device: &Device) -> bool {
        !self.is_held(device) && (device.health.task.run().is_some() || self.is_fit(device))
    }

    /// Whether a person has taken a device out of scheduling.
    pub(super) fn is_held(&self, device: &Device) -> bool {
        device.hold.is_some() && self.policy.mistake != Mistake::IgnoreHolds
    }

    /// Checks that are due on devices that are there and not held. To be made with [`super::Input::Check`].
    pub fn checks_wanted(&self) -> Vec<WantedCheck> {
        let there = self.agents.values().filter(|a| a.is_there() && a.trouble.is_empty());
        let devices = there.flat_map(|a| a.devices.iter().map(|d| (*d, &self.devices[d], &a.host)));
        devices
            .filter(|(_, d, _)| d.hold.is_none())
            .filter_map(|(id, d, host)| {
                let Task::Due(errand) = &d.health.task else { return None };
                let kind = self.verified_kind(d)?;
                let name = match &errand.repair {
                    Some(repair) => format!("{repair} on {}", d.name),
                    None => format!("check of {}", d.name),
                };
                let selector = format!("name == {:?} && host == {host:?}", &*d.name);
                Some(WantedCheck { device: id, name, area: kind.check(errand.repair.as_deref()), selector })
            })
            .collect()
    }

    /// A check that was wanted is this run.
    pub(super) fn begin_check(
        &mut self,
        now: Time,
        id: DeviceId,
        record: Arc<RunRecord>,
        history: Arc<dyn History + Send + Sync>,
    ) -> Result<(), Rejected> {
        let device = self.devices.get(&id).ok_or(Rejected::NoSuchDevice(id))?;
        let Task::Due(errand) = device.health.task.clone() else {
            return Err(Rejected::NoCheckDue(device.name.to_string()));
        };
        let (run, address) = (record.id, format!("{HEALTH_AREA}/{}", record.number));
        self.create_run(now, record, history)?;
        self.run_mut(run).reach.pin(id);
        let device = self.devices.get_mut(&id).expect("looked up above");
        device.findings.clear();
        let health = &mut device.health;
        if let Some(repair) = &errand.repair {
            let what = format!("repair `{repair}`: {}", errand.why);
            match health.repairs.iter_mut().find(|t| t.repair == *repair) {
                Some(tried) => (tried.at, tried.times) = (now, tried.times.saturating_add(1)),
                None => {
                    health.repairs.push(crate::health::Tried { repair: repair.clone(), at: now, times: 1 });
                }
            }
            health.note(now, what, address.clone());
        }
        health.task = Task::UnderWay { errand, run, address };
        self.empty(id);
        self.save_health(id);
        Ok(())
    }

    /// A person wants a device to be checked now.
    pub(super) fn ask_for_check(&mut self, id: DeviceId, by: &str) -> Result<(), Rejected> {
        let device = self.devices.get(&id).ok_or(Rejected::NoSuchDevice(id))?;
        if self.verified_kind(device).is_none() {
            return Err(Rejected::NoVerifier(device.name.to_string()));
        }
        let why = format!("{by} asked for it");
        match &mut self.devices.get_mut(&id).expect("looked up above").health.task {
            // One is coming already.
            Task::UnderWay { errand, .. } | Task::Due(errand) => errand.asked = true,
            task @ Task::Rest => *task = Task::Due(Errand { why, repair: None, asked: true }),
        }
        self.save_health(id);
        Ok(())
    }

    /// A person puts a device in quarantine, or lets it out (`None`): then it has to pass a check, where there
    /// is one.
    pub(super) fn quarantine(
        &mut self,
        now: Time,
        id: DeviceId,
        by: &str,
        put: Option<(String, Option<Time>)>,
    ) -> Result<(), Rejected> {
        let device = self.devices.get(&id).ok_or(Rejected::NoSuchDevice(id))?;
        let verified = self.verified_kind(device).is_some();
        let health = &mut self.devices.get_mut(&id).expect("looked up above").health;
        match put {
            Some((reason, until)) => {
                health.note(now, format!("{by} put it in quarantine: {reason}"), String::new());
                let evidence = Evidence { what: reason, address: String::new() };
                let (by, ends) = (by.to_owned(), Ends::Person);
                health.health = Health::Quarantined(Quarantine { by, evidence, since: now, until, ends });
                if let Some(last) = health.history.last_mut() {
                    health.health.word().clone_into(&mut last.health);
                }
                self.empty(id);
            }
            None if !matches!(health.health, Health::Quarantined(_)) => return Ok(()),
            None => self.let_out(now, id, format!("{by} released it from quarantine"), verified),
        }
        self.save_health(id);
        Ok(())
    }

    /// Ends a quarantine. What was held against the device is forgotten.
    fn let_out(&mut self, now: Time, id: DeviceId, why: String, verified: bool) {
        let device = self.devices.get_mut(&id).expect("the caller knows it");
        device.recent.clear();
        let health = &mut device.health;
        health.offences.clear();
        health.repairs.iter_mut().for_each(|r| r.times = 0);
        (health.failed, health.unsure) = (0, 0);
        health.health = if verified {
            Health::Suspect {
                since: now,
                evidence: Evidence { what: "it comes from quarantine".to_owned(), address: String::new() },
            }
        } else {
            Health::Unknown
        };
        if verified && health.task == Task::Rest {
            health.task = Task::Due(Errand { why: why.clone(), repair: None, asked: true });
        }
        health.note(now, why, String::new());
    }

    /// Quarantines that are over, and checks that are due.
    pub(super) fn sweep_health(&mut self, now: Time) {
        if self.kinds.is_empty() && self.devices.values().all(|d| d.health.health == Health::Unknown) {
            return;
        }
        let ids: Vec<DeviceId> = self.devices.keys().copied().collect();
        for id in ids {
            let device = &self.devices[&id];
            if let Health::Quarantined(Quarantine { until: Some(until), .. }) = &device.health.health
                && *until <= now
            {
                let verified = self.verified_kind(device).is_some();
                self.let_out(now, id, "its time in quarantine is over".to_owned(), verified);
                self.save_health(id);
            }
            let device = &self.devices[&id];
            if self.check_due(device, now).is_some_and(|due| due <= now) {
                let why = match &device.health.health {
                    Health::Unknown => "it was never checked",
                    Health::Good { .. } => "it is checked now and then",
                    Health::Suspect { .. } | Health::Failing { .. } => "something speaks against it",
                    Health::Quarantined(_) => "it may be well again",
                };
                let errand = Errand { why: why.to_owned(), repair: None, asked: false };
                self.devices.get_mut(&id).expect("listed above").health.task = Task::Due(errand);
                self.save_health(id);
            }
        }
    }

    /// When a device that nobody is looking at is to be checked next.
    fn check_due(&self, device: &Device, now: Time) -> Option<Time> {
        let DeviceHealth { health, task, checked, unsure, failed, .. } = &device.health;
        let kind = self.verified_kind(device)?;
        if *task != Task::Rest || !self.agents[&device.agent].is_there() {
            return None;
        }
        let last = checked.as_ref().map_or(Time::default(), |c| c.at);
        if *unsure > 0 && checked.as_ref().is_some_and(|c| c.found == Found::Unsure) {
            let is_wanted = match health {
                Health::Unknown => kind.check_every.is_some(),
                Health::Quarantined(quarantine) => quarantine.ends == Ends::Check,
                Health::Good { .. } | Health::Suspect { .. } | Health::Failing { .. } => true,
            };
            return is_wanted.then(|| last + doubled(UNSURE_MIN, *unsure, UNSURE_MAX));
        }
        match health {
            Health::Unknown => kind.check_every.map(|_| now),
            Health::Good { .. } => Some(last + kind.check_every?),
            Health::Suspect { .. } | Health::Failing { .. } => Some(now),
            Health::Quarantined(Quarantine { ends: Ends::Check, .. }) => {
                Some(last + doubled(RECHECK_MIN, *failed, RECHECK_MAX))
            }
            Health::Quarantined(Quarantine { ends: Ends::Person, .. }) => None,
        }
    }

    /// When [`sweep_health`](Self::sweep_health) has something to do.
    pub(super) fn health_wakes_at(&self) -> impl Iterator<Item = Time> {
        self.devices.values().flat_map(|d| {
            let over = match &d.health.health {
                Health::Quarantined(quarantine) => quarantine.until,
                Health::Unknown | Health::Good { .. } | Health::Suspect { .. } | Health::Failing { .. } => {
                    None
                }
            };
            over.into_iter().chain(self.check_due(d, Time::default()))
        })
    }

    /// An agent has begun another life: its devices may be other than they were.
    pub(super) fn check_after_restart(&mut self, id: DeviceId) {
        let device = &self.devices[&id];
        let asks = self.verified_kind(device).is_some_and(|k| k.after_restart);
        let DeviceHealth { health, task, .. } = &device.health;
        let person = matches!(health, Health::Quarantined(Quarantine { ends: Ends::Person, .. }));
        if !asks || person || *task != Task::Rest {
            return;
        }
        let errand = Errand { why: "its agent was started again".to_owned(), repair: None, asked: false };
        self.devices.get_mut(&id).expect("looked up above").health.task = Task::Due(errand);
        self.save_health(id);
    }

    /// What waits on a device is asked back; the first is running or about to.
    pub(super) fn empty(&mut self, id: DeviceId) {
        for unit in self.devices[&id].units.iter().skip(1) {
            let unit = self.units.get_mut(unit).expect("units on devices are known");
            if unit.wish == Wish::Run && !unit.running {
                unit.wish = Wish::GiveBack { said: None };
            }
        }
    }

    fn save_health(&mut self, id: DeviceId) {
        let device = self.devices.get_mut(&id).expect("the caller knows it");
        let health = device.health.clone();
        let word = health.health.word();
        let news =
            (std::mem::replace(&mut device.told_health, word) != word).then(|| device.name.to_string());
        if let (Some(name), Some(Entry { at, .. })) = (news, health.history.last()) {
            let Evidence { what: why, address } = health.health.evidence().cloned().unwrap_or_default();
            let health = word.to_owned();
            self.happened(*at, || LabEvent::DeviceHealth { device: id, name, health, why, address });
        }
        self.save(Change::DeviceHealth { device: id, health: Some(Box::new(health)) });
    }
}

/// `first`, doubled for each time after the first.
fn doubled(first: Duration, times: u16, max: Duration) -> Duration {
    let factor = 1u32 << u32::from(times.saturating_sub(1)).min(16);
    first.saturating_mul(factor).min(max)
}
