//! Devices that people take out of scheduling.
//!
//! What runs on a held device goes on, and what waits there is asked back; nothing new is given to it.
//!
//! A hold with an id is a *reservation*: it is renewed and given back by that id, so that who comes late, or twice,
//! touches nobody else's.

use super::{Lab, Rejected};
use crate::change::{Change, Hold};
use crate::event::LabEvent;
use crate::id::DeviceId;
use crate::time::Time;

/// What is said of a reservation by whoever has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is used, and holds until then.
    Used(Time),
    /// It is needed no longer. Where the device is not that one's any more, nothing happens.
    GivenBack,
}

impl Lab {
    pub(super) fn hold(&mut self, now: Time, id: DeviceId, hold: Option<Hold>) -> Result<(), Rejected> {
        let Some(device) = self.devices.get_mut(&id) else { return Err(Rejected::NoSuchDevice(id)) };
        let mut hold = hold;
        if let (Some(there), Some(new)) = (&device.hold, &mut hold) {
            if there.by != new.by || (new.id.is_some() && new.id != there.id) {
                let Hold { by, reason, .. } = there.clone();
                return Err(Rejected::Held { device: device.name.to_string(), by, reason });
            }
            // It is the same one, changed.
            new.since = there.since;
            new.id.clone_from(&there.id);
        }
        if device.hold == hold {
            return Ok(());
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

    pub(super) fn reserved(
        &mut self,
        now: Time,
        device: DeviceId,
        id: &str,
        what: Reserved,
    ) -> Result<(), Rejected> {
        match what {
            Reserved::Used(until) => self.renew(device, id, until),
            Reserved::GivenBack => self.give_back(now, device, id),
        }
    }

    /// That it is used is no news.
    fn renew(&mut self, id: DeviceId, reservation: &str, until: Time) -> Result<(), Rejected> {
        let Some(device) = self.devices.get_mut(&id) else { return Err(Rejected::NoSuchDevice(id)) };
        match &mut device.hold {
            Some(hold) if hold.id.as_deref() == Some(reservation) => {
                // A person may have made it a hold without an end.
                if hold.until.is_some_and(|there| there < until) {
                    hold.until = Some(until);
                    let hold = Some(hold.clone());
                    self.save(Change::DeviceHeld { device: id, hold });
                }
                Ok(())
            }
            other => {
                let by = other.as_ref().map(|hold| hold.by.clone());
                Err(Rejected::ReservationOver { device: device.name.to_string(), by })
            }
        }
    }

    fn give_back(&mut self, now: Time, id: DeviceId, reservation: &str) -> Result<(), Rejected> {
        let Some(device) = self.devices.get(&id) else { return Err(Rejected::NoSuchDevice(id)) };
        if device.hold.as_ref().is_some_and(|hold| hold.id.as_deref() == Some(reservation)) {
            return self.hold(now, id, None);
        }
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
