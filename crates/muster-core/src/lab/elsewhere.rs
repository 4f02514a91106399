//! Trying again on another device: what failed by the lab's fault goes to a device it has not failed on,
//! where one that it may have is there; so does, if its run asks for that, what failed by itself. What comes
//! of it tells a bad device from bad code.
//!
//! That an agent was lost says nothing of its devices, and is not counted here.

use super::Lab;
use super::run::Run;
use crate::attempt::{AttemptResult, Cause};
use crate::change::ItemRecord;
use crate::id::{DeviceId, ItemIx, RunId};
use crate::outcome::Verdict;

// Limit: of the devices an item failed on, the last so many are kept.
const FAILED_ON_MAX: usize = 16;

impl Lab {
    /// Whether what failed on these devices waits for another one than this.
    pub(super) fn waits_for_another(&self, run: &Run, failed_on: &[DeviceId], device: DeviceId) -> bool {
        failed_on.contains(&device)
            && self.devices.iter().any(|(id, other)| {
                !failed_on.contains(id)
                    && run.reach.has(*id)
                    && self.agents[&other.agent].is_there()
                    && self.is_usable(other, run)
            })
    }

    /// Enters that an attempt on a device, or on several together, failed, where that decides where the next one
    /// is made, and says what the devices have to do with a verdict.
    pub(super) fn judge_devices(
        &mut self,
        run: RunId,
        item: ItemIx,
        record: &mut ItemRecord,
        result: &AttemptResult,
        devices: &[DeviceId],
    ) {
        let of = &self.runs[&run];
        let labs_fault = matches!(result.cause, Cause::Lab(_));
        let good = result.outcome.is_good();
        let others: Vec<DeviceId> =
            record.failed_on.iter().copied().filter(|d| !devices.contains(d)).collect();
        if !good && (labs_fault || of.record().spec.placement.retry_elsewhere) {
            devices.iter().for_each(|device| failed(record, *device));
        }
        if others.is_empty() {
            return;
        }
        let names = self.names(&others);
        let here = self.names(devices);
        let finding = match record.verdict {
            None | Some(Verdict::Cancelled) => return,
            Some(_) if good && devices.iter().any(|d| !record.failed_on.contains(d)) => {
                let which = if others.len() == 1 { "that device" } else { "those devices" };
                format!("good on {here} after it failed on {names}: look at {which}")
            }
            Some(verdict) if good || verdict.is_ok() => return,
            Some(_) => format!("it failed on {names} and on {here} alike: hardly the device"),
        };
        if good {
            let address = self.address(run);
            let what = format!("{address}/{}", self.runs[&run].test(self.runs[&run].item(item).test).name);
            for other in others {
                if let Some(device) = self.devices.get_mut(&other) {
                    device.blamed.push(&what);
                }
            }
        }
        let between = if record.reason.is_empty() { "" } else { "; " };
        record.reason = format!("{}{between}{finding}", record.reason);
    }

    /// Names of devices, for people.
    pub(super) fn names(&self, devices: &[DeviceId]) -> String {
        let name = |id: &DeviceId| match self.devices.get(id) {
            Some(device) => format!("`{}`", device.name),
            None => format!("{id}, which is gone"),
        };
        devices.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// An attempt failed on a device.
fn failed(record: &mut ItemRecord, device: DeviceId) {
    record.failed_on.retain(|d| *d != device);
    if record.failed_on.len() == FAILED_ON_MAX {
        record.failed_on.remove(0);
    }
    record.failed_on.push(device);
}

/// What a device failed that others did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blamed {
    /// How often, as long as the lab lives.
    pub(super) times: u32,
    /// The last: `AREA/RUN/TEST`.
    pub(super) last: String,
}

impl Blamed {
    fn push(&mut self, what: &str) {
        self.times += 1;
        what.clone_into(&mut self.last);
    }
}
