//! Devices that people take out of scheduling.
//!
//! What runs on a held device goes on, and what waits there is asked back; nothing new is given to it.

use super::{Lab, Rejected};
use crate::change::{Change, Hold};
use crate::event::LabEvent;
use crate::id::DeviceId;
use crate::time::Time;

impl Lab {
    pub(super) fn hold(&mut self, now: Time, id: DeviceId, hold: Option<Hold>) -> Result<(), Rejected> {
        let Some(device) = self.devices.get_mut(&id) else { return Err(Rejected::NoSuchDevice(id)) };
        if device.hold == hold {
            return Ok(());
        }
        if let (Some(there), Some(new)) = (&device.hold, &hold)
            && there.by != new.by
        {
            let Hold { by, reason, .. } = there.clone();
            return Err(Rejected::Held { device: device.name.to_string(), by, reason });
        }
        device.hold.clone_from(&hold);
        if hold.is_some() {
            self.empty(id);
        }
        let name = self.devices[&id].name.to_string();
        self.save(Change::DeviceHeld { device: id, hold: hold.clone() });
        self.happened(now, || match hold {
            Some(hold) => LabEvent::DeviceHeld { device: id, name, hold },
            None => LabEvent::DeviceReleased { device: id, name },
        });
        Ok(())
    }

    /// Holds end by themselves.
    pub(super) fn sweep_holds(&mut self, now: Time) {
        let over = |hold: &Hold| hold.until.is_some_and(|until| until <= now);
        let over: Vec<DeviceId> = self
            .devices
            .iter()
            .filter(|(_, d)| d.hold.as_ref().is_some_and(over))
            .map(|(id, _)| *id)
            .collect();
        for device in over {
            self.hold(now, device, None).expect("it was just seen");
        }
    }
}
