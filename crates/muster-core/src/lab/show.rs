//! The lab for people: its devices and what waits for them.

use super::run::Run;
use super::{Lab, Outlook, Presence};
use crate::address::Address;
use crate::change::RunPhase;
use crate::id::{DeviceId, ItemIx, RunId, UnitId};
use crate::time::Time;
use crate::view::{DeviceState, DeviceView, LabView, QueuedRun};

impl Lab {
    /// Its devices and the runs under way, as they stand now.
    pub fn view(&self, now: Time) -> LabView {
        let mut devices: Vec<DeviceView> = self.devices.keys().map(|id| self.view_device(now, *id)).collect();
        devices.sort_by(|a, b| (&a.host, &a.name).cmp(&(&b.host, &b.name)));
        let mut runs: Vec<&Run> = self.runs.values().filter(|r| *r.phase() == RunPhase::Active).collect();
        runs.sort_by_cached_key(|run| self.turn(now, run));
        let runs = runs.into_iter().map(|run| {
            let record = run.record();
            let outlook = self.outlook(now, record.id);
            let never = matches!(outlook, Outlook::Never(_));
            let (waits, eta) = match outlook {
                Outlook::Now => (None, None),
                Outlook::Later(why, eta) => (Some(why.to_string()), eta.map(|eta| eta.to_string())),
                Outlook::Never(why) => (Some(why.to_string()), None),
            };
            QueuedRun {
                id: record.id,
                address: format!("{}/{}", record.spec.area, record.number),
                user: record.spec.placement.user.clone(),
                priority: run.priority(),
                moved: run.moves().last().cloned(),
                selector: run.reach.text().to_owned(),
                open: run.open(),
                out: run.out(),
                waits,
                eta,
                never,
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
            blamed: device.blamed.times,
            blamed_for: device.blamed.last.clone(),
            id,
        }
    }

    /// The address of what a unit is at.
    pub(super) fn name_of(&self, unit: UnitId) -> String {
        let unit = &self.units[&unit];
        match unit.left.first() {
            Some((item, _)) => self.name_of_item(unit.run, *item),
            None => self.address(unit.run),
        }
    }

    /// The address of an item.
    pub(super) fn name_of_item(&self, run: RunId, item: ItemIx) -> String {
        let run = &self.runs[&run];
        let record = run.record();
        let test = &run.test(run.item(item).test).name;
        Address::of_item(&record.spec.area, record.number, test, run.path(item)).to_string()
    }
}
