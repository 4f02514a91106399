//! The lab for people: its devices and what waits for them.

use super::{Lab, Outlook, Presence};
use crate::address::Address;
use crate::change::RunPhase;
use crate::id::{DeviceId, UnitId};
use crate::time::Time;
use crate::view::{DeviceState, DeviceView, LabView, QueuedRun};

impl Lab {
    /// Its devices and the runs under way, as they stand now.
    pub fn view(&self, now: Time) -> LabView {
        let mut devices: Vec<DeviceView> = self.devices.keys().map(|id| self.view_device(now, *id)).collect();
        devices.sort_by(|a, b| (&a.host, &a.name).cmp(&(&b.host, &b.name)));
        let runs = self.runs.values().filter(|r| *r.phase() == RunPhase::Active).map(|run| {
            let record = run.record();
            let waits = match self.outlook(record.id) {
                Outlook::Now => None,
                Outlook::Later(why) | Outlook::Never(why) => Some(why.to_string()),
            };
            QueuedRun {
                id: record.id,
                address: format!("{}/{}", record.spec.area, record.number),
                user: record.spec.placement.user.clone(),
                selector: run.reach.text().to_owned(),
                open: run.items().iter().filter(|i| i.record.verdict.is_none()).count() as u32,
                out: run.out(),
                waits,
            }
        });
        LabView { devices, runs: runs.collect(), registered: self.registered.values().cloned().collect() }
    }

    pub(super) fn view_device(&self, now: Time, id: DeviceId) -> DeviceView {
        let device = &self.devices[&id];
        let agent = &self.agents[&device.agent];
        let state = match agent.presence {
            Presence::Missing | Presence::Over => DeviceState::Away,
            Presence::There if now.since(agent.heard_at) > self.policy.suspect => DeviceState::Suspect,
            Presence::There if device.units.is_empty() => DeviceState::Idle,
            Presence::There => DeviceState::Busy,
        };
        let first = device.units.first();
        DeviceView {
            name: device.name.to_string(),
            host: agent.host.clone(),
            labels: device.labels.clone(),
            state,
            running: first.map(|unit| self.name_of(*unit)),
            queued: device.units.len().saturating_sub(1) as u32,
            hold: device.hold.clone(),
            health: self.view_health(device),
            trouble: agent.trouble.clone(),
            pool: self.pools.of(&device.name, &agent.host, &device.labels).to_owned(),
            id,
        }
    }

    /// The address of what a unit is at.
    fn name_of(&self, unit: UnitId) -> String {
        let unit = &self.units[&unit];
        let run = &self.runs[&unit.run];
        let record = run.record();
        let test = &run.test(unit.test).name;
        let path = unit.left.first().map_or("", |(item, _)| run.path(*item));
        Address::of_item(&record.spec.area, record.number, test, path).to_string()
    }
}
