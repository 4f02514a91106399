//! A check has ended: the device is good, or a repair is tried, or it goes into quarantine. A person is asked
//! last.

use super::{THE_LAB, UNSURE_TIMES};
use crate::health::{Checked, DeviceHealth, Ends, Errand, Evidence, Found, Health, Quarantine, Task};
use crate::id::{DeviceId, RunId};
use crate::kind::{Repair, VERIFY};
use crate::lab::run::Run;
use crate::lab::{Lab, Mistake};
use crate::outcome::Verdict;
use crate::time::Time;
use std::fmt::Write as _;

impl Lab {
    /// A run is over; it may have been a check.
    pub(in crate::lab) fn check_ended(&mut self, now: Time, run: RunId) {
        let Some((&id, _)) = self.devices.iter().find(|(_, d)| d.health.task.run() == Some(run)) else {
            return;
        };
        let (failed, unsure) = findings(&self.runs[&run]);
        let health = &mut self.devices.get_mut(&id).expect("just found").health;
        let Task::UnderWay { errand, address, .. } = std::mem::take(&mut health.task) else {
            unreachable!("it was found by its run")
        };
        let found = match (failed.is_empty(), unsure) {
            (false, _) => Found::Bad,
            (true, true) => Found::Unsure,
            (true, false) => Found::Good,
        };
        health.checked = Some(Checked { at: now, address: address.clone(), found });
        match found {
            Found::Good => self.found_good(now, id, &errand, address),
            Found::Bad => self.found_bad(now, id, &failed, address),
            Found::Unsure => {
                health.unsure = health.unsure.saturating_add(1);
                let gives_up =
                    health.unsure >= UNSURE_TIMES && matches!(health.health, Health::Suspect { .. });
                if gives_up {
                    health.health = Health::Unknown;
                }
                let on = if gives_up { "; it goes on unchecked" } else { "" };
                health.note(now, format!("its check came to no answer{on}"), address);
            }
        }
        self.save_health(id);
    }

    fn found_good(&mut self, now: Time, id: DeviceId, errand: &Errand, address: String) {
        let by_anything = self.policy.mistake == Mistake::EndAnyQuarantine;
        let device = self.devices.get_mut(&id).expect("the caller knows it");
        device.recent.clear();
        let health = &mut device.health;
        (health.unsure, health.failed) = (0, 0);
        health.repairs.iter_mut().for_each(|r| r.times = 0);
        let was = health.health.word();
        let stays = match &health.health {
            Health::Good { .. } => true,
            Health::Quarantined(quarantine) => quarantine.ends == Ends::Person && !by_anything,
            Health::Unknown | Health::Suspect { .. } | Health::Failing { .. } => false,
        };
        if !stays {
            health.health = Health::Good { since: now };
        }
        let what = match &errand.repair {
            Some(repair) => format!("it is good after `{repair}`"),
            None if was == "quarantined" && stays => {
                "it passed its check; a person has to release it".to_owned()
            }
            None => "it passed its check".to_owned(),
        };
        // One that passes its regular check is no news.
        if !stays || errand.asked || errand.repair.is_some() {
            health.note(now, what, address);
        }
    }

    fn found_bad(&mut self, now: Time, id: DeviceId, failed: &[String], address: String) {
        let device = &self.devices[&id];
        let mut what = String::new();
        for (place, name) in failed.iter().enumerate() {
            let said = device.findings.iter().find(|(v, _)| v == name).map_or("", |(_, said)| said.as_str());
            let comma = if place > 0 { ", " } else { "" };
            write!(what, "{comma}`{name}` fails").expect("texts take all");
            if !said.is_empty() {
                write!(what, " ({said})").expect("texts take all");
            }
        }
        let next = self.next_repair(now, id, failed);
        let health = &mut self.devices.get_mut(&id).expect("looked up above").health;
        health.unsure = 0;
        let since = now;
        match (next, &health.health) {
            (Ok(repair), quarantined) => {
                let quarantined = matches!(quarantined, Health::Quarantined(_));
                if !quarantined {
                    let evidence = Evidence { what: what.clone(), address: address.clone() };
                    health.health = Health::Failing { since, evidence };
                    health.note(now, what.clone(), address);
                }
                let repair = Some(repair);
                health.task = Task::Due(Errand { why: what, repair, asked: false });
            }
            (Err(_), Health::Quarantined(_)) => health.failed = health.failed.saturating_add(1),
            (Err(no_repair), _) => {
                health.failed = 1;
                let evidence = Evidence { what: format!("{what}; {no_repair}"), address: address.clone() };
                self.put_away(now, id, evidence, Ends::Check);
            }
        }
    }

    /// Puts a device in quarantine by the lab.
    pub(super) fn put_away(&mut self, now: Time, id: DeviceId, evidence: Evidence, ends: Ends) {
        let until = self.kind_of(&self.devices[&id]).and_then(|k| k.quarantine_max).map(|max| now + max);
        let health = &mut self.devices.get_mut(&id).expect("looked up above").health;
        let (what, address) = (evidence.what.clone(), evidence.address.clone());
        let by = THE_LAB.to_owned();
        health.health = Health::Quarantined(Quarantine { by, evidence, since: now, until, ends });
        health.note(now, what, address);
        self.empty(id);
    }

    /// The cheapest repair that can fix what failed, has tries left and has cooled down; or why there is none.
    fn next_repair(&self, now: Time, id: DeviceId, failed: &[String]) -> Result<String, String> {
        let device = &self.devices[&id];
        let DeviceHealth { repairs: tried, .. } = &device.health;
        let Some(kind) = self.kind_of(device) else { return Err("it has no kind any more".to_owned()) };
        let can_fix = |r: &&Repair| r.fixes.is_empty() || r.fixes.iter().any(|f| failed.contains(f));
        let mut can: Vec<&Repair> = kind.repairs.iter().filter(can_fix).collect();
        can.sort_by_key(|r| r.cost);
        if can.is_empty() {
            return Err("no repair is known for that".to_owned());
        }
        let mut why = Vec::new();
        for repair in can {
            let Some(tried) = tried.iter().find(|t| t.repair == repair.name) else {
                return Ok(repair.name.clone());
            };
            let times = tried.times;
            if times >= repair.tries {
                let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
                why.push(format!("`{}` was tried {times}", repair.name));
            } else if tried.at + repair.cool_down > now && self.policy.mistake != Mistake::IgnoreCoolDown {
                why.push(format!("`{}` cools down", repair.name));
            } else {
                return Ok(repair.name.clone());
            }
        }
        Err(format!("no repair is left: {}", why.join(", ")))
    }

    /// What a check's verifier said, for people.
    pub(in crate::lab) fn note_finding(&mut self, id: DeviceId, test: &str, message: &str) {
        let Some(verifier) = test.strip_prefix(VERIFY) else { return };
        let findings = &mut self.devices.get_mut(&id).expect("the caller knows it").findings;
        findings.retain(|(name, _)| name != verifier);
        // Limit: a line for people, kept in a row of the database.
        let message: String = message.lines().next().unwrap_or_default().chars().take(200).collect();
        findings.push((verifier.to_owned(), message));
    }
}

/// The verifiers that failed, and whether some came to no answer.
fn findings(run: &Run) -> (Vec<String>, bool) {
    let (mut failed, mut unsure) = (Vec::new(), false);
    for test in run.tests() {
        let Some(name) = test.name.strip_prefix(VERIFY) else { continue };
        match test.counts.worst().filter(|_| test.open == 0) {
            None | Some(Verdict::Error | Verdict::Cancelled | Verdict::NoItems) => unsure = true,
            Some(
                Verdict::Fail
                | Verdict::Timeout
                | Verdict::Crash
                | Verdict::Abort
                | Verdict::Check
                | Verdict::UnexpectedPass,
            ) => failed.push(name.to_owned()),
            Some(
                Verdict::PrerequisiteFailed
                | Verdict::Pass
                | Verdict::Skip
                | Verdict::Warn
                | Verdict::Flaky
                | Verdict::KnownFailure,
            ) => {}
        }
    }
    (failed, unsure)
}
