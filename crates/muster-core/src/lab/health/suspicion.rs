//! Which devices behave worse than their siblings: those of the same kind.
//!
//! "Bad device or bad code?" A test that fails everywhere says nothing of a device; one that fails on one
//! device and passes on its siblings does. What is remembered of attempts is given back to a lab that is restored
//! ([`Lab::remember`]); that a device misbehaved (an [`Offence`]) is durable, so that one which passes its check and does the same again
//! is found out.

use crate::attempt::{AttemptResult, Cause};
use crate::health::{DeviceHealth, Ends, Errand, Evidence, Found, Health, OFFENCES_MAX, Offence, Task, Way};
use crate::id::{AttemptRef, DeviceId};
use crate::kind::DeviceKind;
use crate::lab::Lab;
use crate::outcome::Outcome;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Attempts remembered of each device.
// Limit: each is compared with those of its siblings when one fails.
const RECENT_MAX: usize = 50;
/// Attempts of a device, and of its siblings, below which their rates are not compared.
const RATE_ATTEMPTS_MIN: u32 = 20;
/// How many standard errors apart rates are that cannot be by chance.
const RATE_Z_MIN: f64 = 3.5;
/// A device that passed its check so shortly before is not checked again for the same.
const CHECK_PAUSE: Duration = Duration::from_secs(60);

/// An attempt that ended on a device.
#[derive(Clone, Debug)]
pub(in crate::lab) struct Seen {
    /// `AREA/TEST`.
    test: String,
    good: bool,
}

/// How an attempt ended that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastResult {
    /// The device's name.
    pub device: String,
    /// When it ended.
    pub at: Time,
    /// `AREA/TEST`.
    pub test: String,
    /// Whether it passed.
    pub good: bool,
}

impl Lab {
    /// Takes in how attempts ended before the lab was restored, so that a device that misbehaves is found out although
    /// the server was restarted meanwhile. Of a name that devices of several hosts have, nothing is known.
    pub fn remember(&mut self, mut past: Vec<PastResult>) {
        let mut devices: BTreeMap<&str, Option<DeviceId>> = BTreeMap::new();
        for (id, device) in &self.devices {
            devices.entry(&device.name).and_modify(|known| *known = None).or_insert(Some(*id));
        }
        let devices: BTreeMap<String, DeviceId> =
            devices.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?))).collect();
        past.sort_by_key(|result| result.at);
        for PastResult { device, at, test, good } in past {
            let Some(device) = devices.get(&device).and_then(|id| self.devices.get_mut(id)) else { continue };
            // What was seen before its health was last decided upon has had its effect.
            if at > decided(&device.health) {
                see(&mut device.recent, Seen { test, good });
            }
        }
    }

    /// An attempt has ended on a device.
    pub(in crate::lab) fn note_result(
        &mut self,
        now: Time,
        id: DeviceId,
        attempt: AttemptRef,
        result: &AttemptResult,
    ) {
        let device = &self.devices[&id];
        let Some(kind) = self.kind_of(device) else { return };
        let run = &self.runs[&attempt.run];
        let test = &run.test(run.item(attempt.item).test).name;
        if device.health.task.run() == Some(attempt.run) {
            let (test, message) = (std::sync::Arc::clone(test), result.message.clone());
            if !result.outcome.is_good() {
                self.note_finding(id, &test, &message);
            }
            return;
        }
        if matches!(result.outcome, Outcome::Cancelled | Outcome::Skip) {
            return;
        }
        let lab_error = result.outcome == Outcome::Error || matches!(result.cause, Cause::Lab(_));
        let (good, test) = (result.outcome.is_good(), format!("{}/{test}", run.record().spec.area));
        let after_lab_error = kind.after_lab_error;
        let recent = &mut self.devices.get_mut(&id).expect("looked up above").recent;
        if !lab_error {
            see(recent, Seen { test: test.clone(), good });
        }
        if good {
            return;
        }
        let way = if lab_error { Way::LabErrors } else { Way::Failures };
        let what = match way {
            Way::LabErrors if after_lab_error => {
                Some(format!("an attempt could not be carried out there: {}", result.message))
            }
            Way::LabErrors => None,
            Way::Failures => self.fails_alone(id),
        };
        if let Some(what) = what {
            let address = self.address_of(attempt);
            self.offence(now, id, Offence { at: now, way, test, address }, what);
        }
    }

    fn address_of(&self, attempt: AttemptRef) -> String {
        let run = &self.runs[&attempt.run];
        let record = run.record();
        let test = &run.test(run.item(attempt.item).test).name;
        let item = crate::address::item_name(test, run.path(attempt.item));
        format!("{}/{}/{item}#{}", record.spec.area, record.number, attempt.attempt)
    }

    /// The other devices of a device's kind.
    fn siblings(&self, id: DeviceId) -> impl Iterator<Item = &crate::lab::Device> {
        let kind = self.devices[&id].kind;
        self.devices.iter().filter(move |(other, d)| **other != id && d.kind == kind).map(|(_, d)| d)
    }

    /// Whether tests fail on a device that pass on its siblings: several in a row, or far more of them.
    fn fails_alone(&self, id: DeviceId) -> Option<String> {
        let device = &self.devices[&id];
        let max = self.kind_of(device)?.failures_max?;
        // Of each test, how it did on the siblings: good, bad.
        let mut elsewhere: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for seen in self.siblings(id).flat_map(|d| &d.recent) {
            let (good, bad) = elsewhere.entry(&seen.test).or_default();
            *(if seen.good { good } else { bad }) += 1;
        }
        let passes_elsewhere = |seen: &Seen| elsewhere.get(&*seen.test).is_some_and(|(g, b)| *g > *b * 4);
        let row = device.recent.iter().rev().take_while(|s| !s.good && passes_elsewhere(s)).count();
        if row >= max as usize {
            return Some(format!("{row} attempts in a row failed there whose tests pass on its siblings"));
        }
        let shared: Vec<&Seen> = device.recent.iter().filter(|s| elsewhere.contains_key(&*s.test)).collect();
        let tests: BTreeSet<&str> = shared.iter().map(|s| &*s.test).collect();
        let here = (bad_of(shared.iter().map(|s| s.good)), shared.len() as u32);
        let (good, bad) = tests.iter().fold((0, 0), |(g, b), t| (g + elsewhere[t].0, b + elsewhere[t].1));
        is_worse(here, (bad, good + bad)).then(|| {
            let (of, others) = (here.1, good + bad);
            format!(
                "{} of {of} attempts failed there, {bad} of {others} of the same tests on its siblings",
                here.0
            )
        })
    }

    /// A device misbehaved.
    fn offence(&mut self, now: Time, id: DeviceId, offence: Offence, what: String) {
        let device = self.devices.get_mut(&id).expect("the caller knows it");
        // What is on its way to be checked or is in quarantine need not be accused again.
        let is_open = matches!(device.health.health, Health::Unknown | Health::Good { .. })
            || (device.health.task == Task::Rest && matches!(device.health.health, Health::Suspect { .. }));
        if !is_open {
            return;
        }
        device.recent.clear();
        let (way, address) = (offence.way, offence.address.clone());
        let health = &mut device.health;
        health.offences.push(offence);
        let old = health.offences.len().saturating_sub(OFFENCES_MAX);
        health.offences.drain(..old);
        let evidence = Evidence { what, address: address.clone() };
        if let Some(repeated) = self.is_repeat_offender(now, id, way) {
            let what = format!("{repeated}; at last {}", evidence.what);
            self.put_away(now, id, Evidence { what, address }, Ends::Person);
            return self.save_health(id);
        }
        let verified = self.verified_kind(&self.devices[&id]).is_some();
        let health = &mut self.devices.get_mut(&id).expect("looked up above").health;
        let good = health.checked.as_ref().filter(|c| c.found == Found::Good);
        let just_checked = good.is_some_and(|c| now.since(c.at) < CHECK_PAUSE);
        if !(verified && just_checked) {
            let why = evidence.what.clone();
            health.note(now, why.clone(), address);
            health.health = Health::Suspect { since: now, evidence };
            if let Some(last) = health.history.last_mut() {
                health.health.word().clone_into(&mut last.health);
            }
            if verified && health.task == Task::Rest {
                health.task = Task::Due(Errand { why, repair: None, asked: false });
            }
            self.empty(id);
        }
        self.save_health(id);
    }

    /// Whether a device misbehaved often in the same way, more than its siblings, although it passes its
    /// check: a person has to look. For people, what was counted.
    fn is_repeat_offender(&self, now: Time, id: DeviceId, way: Way) -> Option<String> {
        let device = &self.devices[&id];
        let kind: &DeviceKind = self.kind_of(device)?;
        let since = now - kind.offences_within;
        let of = |offences: &[Offence]| offences.iter().filter(|o| o.way == way && o.at >= since).count();
        let here = of(&device.health.offences);
        if here < kind.offences_max as usize {
            return None;
        }
        let (siblings, theirs) =
            self.siblings(id).fold((0, 0), |(n, sum), d| (n + 1, sum + of(&d.health.offences)));
        if siblings == 0 {
            // Nothing to compare with: it may be the test.
            let tests: BTreeSet<&str> =
                device.health.offences.iter().filter(|o| o.way == way).map(|o| &*o.test).collect();
            if tests.len() < 2 {
                return None;
            }
        } else if here * siblings <= 2 * theirs {
            return None;
        }
        let passed = if kind.verifiers.is_empty() { "" } else { ", and it passed its check in between" };
        let others = match siblings {
            0 => "it has no siblings".to_owned(),
            1 => format!("its sibling had that {theirs} times"),
            n => format!("its {n} siblings had that {theirs} times together"),
        };
        Some(format!("{here} times {}{passed}; {others}", way.words()))
    }
}

fn see(recent: &mut VecDeque<Seen>, seen: Seen) {
    recent.push_back(seen);
    let old = recent.len().saturating_sub(RECENT_MAX);
    recent.drain(..old);
}

/// When a device's health was last decided upon.
fn decided(health: &DeviceHealth) -> Time {
    let offence = health.offences.last().map(|o| o.at);
    let noted = health.history.last().map(|entry| entry.at);
    let checked = health.checked.as_ref().map(|checked| checked.at);
    offence.into_iter().chain(noted).chain(checked).max().unwrap_or_default()
}

fn bad_of(seen: impl Iterator<Item = bool>) -> u32 {
    u32::try_from(seen.filter(|good| !good).count()).unwrap_or(u32::MAX)
}

/// Whether the first rate of failures (so many of so many) is above the second by more than chance.
fn is_worse((bad, all): (u32, u32), (bad_there, all_there): (u32, u32)) -> bool {
    if all < RATE_ATTEMPTS_MIN || all_there < RATE_ATTEMPTS_MIN {
        return false;
    }
    let [bad, all, bad_there, all_there] = [bad, all, bad_there, all_there].map(f64::from);
    let (here, there) = (bad / all, bad_there / all_there);
    let both = (bad + bad_there) / (all + all_there);
    let error = (both * (1.0 - both) * (1.0 / all + 1.0 / all_there)).sqrt();
    here > 2.0 * there && here - there > RATE_Z_MIN * error
}

#[cfg(test)]
mod tests {
    use super::is_worse;

    #[test]
    fn a_rate_is_worse_only_beyond_chance_and_with_enough_attempts() {
        assert!(is_worse((8, 20), (1, 100)));
        assert!(is_worse((20, 40), (4, 60)));
        assert!(!is_worse((2, 20), (2, 100)), "two may be bad luck");
        assert!(!is_worse((19, 19), (0, 1000)), "too few");
        assert!(!is_worse((19, 20), (0, 10)), "too few to compare with");
        assert!(!is_worse((12, 20), (60, 100)), "it fails everywhere");
    }
}
