//! Why a device gets no work, and all that is known of one.

use crate::health::{Ends, Health, Task};
use crate::id::DeviceId;
use crate::lab::{Device, Lab, Presence, Rejected};
use crate::time::Time;
use crate::view::{DeviceDetail, HealthView};

impl Lab {
    /// Why a device gets no ordinary work by its health, if it gets none.
    pub(in crate::lab) fn unfit(&self, device: &Device) -> Option<String> {
        if self.is_fit(device) {
            return None;
        }
        let health = &device.health;
        if let Health::Quarantined(quarantine) = &health.health {
            return Some(format!("it is in quarantine by {}: {}", quarantine.by, quarantine.evidence.what));
        }
        Some(match &health.task {
            Task::UnderWay { errand, address, .. } => match &errand.repair {
                Some(repair) => format!("`{repair}` is tried on it in {address}: {}", errand.why),
                None => format!("it is being checked in {address}: {}", errand.why),
            },
            Task::Due(errand) => format!("it is to be checked: {}", errand.why),
            Task::Rest => match health.health.evidence() {
                Some(evidence) => format!("it is to be checked: {}", evidence.what),
                None => "it is to be checked before its first work".to_owned(),
            },
        })
    }

    pub(in crate::lab) fn view_health(&self, device: &Device) -> HealthView {
        let health = &device.health;
        let word = match health.task.errand().filter(|_| health.task.run().is_some()) {
            Some(errand) if errand.repair.is_some() => "repairing",
            Some(_) if !matches!(health.health, Health::Quarantined(_)) => "checking",
            Some(_) | None => health.health.word(),
        };
        HealthView {
            word: word.to_owned(),
            kind: self.kind_of(device).map(|k| k.name.clone()),
            unfit: self.unfit(device),
        }
    }

    /// All that is known of a device.
    ///
    /// # Errors
    /// [`Rejected::NoSuchDevice`].
    pub fn device(&self, now: Time, id: DeviceId) -> Result<DeviceDetail, Rejected> {
        let device = self.devices.get(&id).ok_or(Rejected::NoSuchDevice(id))?;
        Ok(DeviceDetail {
            device: self.view_device(now, id),
            health: device.health.clone(),
            next_check: self.check_due(device, now),
            why: self.why_no_work(now, id),
        })
    }

    /// Everything that keeps a device from getting work, with what ends it; empty where nothing does.
    fn why_no_work(&self, now: Time, id: DeviceId) -> Vec<String> {
        let device = &self.devices[&id];
        let agent = &self.agents[&device.agent];
        let mut why = Vec::new();
        match agent.presence {
            Presence::Missing => why.push("its agent is not heard of".to_owned()),
            Presence::Over => why.push("its agent has ended".to_owned()),
            Presence::There if now.since(agent.heard_at) > self.policy.suspect => {
                why.push("its agent has not been heard of for some seconds".to_owned());
            }
            Presence::There => {}
        }
        why.extend(agent.trouble.iter().map(|what| format!("self-check of its host: {what}")));
        if let Some(hold) = &device.hold {
            why.push(format!("it is held by {}: {}", hold.by, hold.reason));
        }
        if let Some(unfit) = self.unfit(device) {
            why.push(match &device.health.health {
                Health::Quarantined(q) if q.ends == Ends::Check => {
                    format!("{unfit}; a check that it passes ends that")
                }
                Health::Quarantined(_) => format!("{unfit}; a person has to release it"),
                Health::Unknown | Health::Good { .. } | Health::Suspect { .. } | Health::Failing { .. } => {
                    unfit
                }
            });
        }
        why
    }
}
