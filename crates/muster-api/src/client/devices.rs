//! What is asked about devices, and what becomes of them.

use super::{ANSWER_MAX, Client, ClientError};
use crate::{Adopt, Announce, By, HoldDevice, RenewHold};
use muster_core::exchange::DeviceOffer;
use muster_core::id::DeviceId;
use muster_core::view::DeviceDetail;

impl Client {
    /// Takes a device out of scheduling, or gives it back (`None`).
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn hold(&self, device: DeviceId, hold: Option<&HoldDevice>) -> Result<(), ClientError> {
        let url = self.url(&format!("/devices/{}/hold", device.0));
        match hold {
            Some(hold) => self.heard(self.send_json(|http| http.put(&url), hold)).map(drop),
            None => self.delete(&format!("/devices/{}/hold", device.0)),
        }
    }

    /// Uses a reservation, and keeps it for so many seconds from now.
    ///
    /// # Errors
    /// [`ClientError`]; with the code `reservation-over` where it has ended.
    pub fn renew_hold(&self, device: DeviceId, renew: &RenewHold) -> Result<(), ClientError> {
        self.post(&format!("/devices/{}/hold/renew", device.0), renew)
    }

    /// Gives a reserved device back. One that is not under this reservation any more stays as it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn give_back(&self, device: DeviceId, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/devices/{}/hold?id={id}", device.0))
    }

    /// All that is known of a device.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn device(&self, device: DeviceId) -> Result<DeviceDetail, ClientError> {
        self.get_json(&format!("/lab/devices/{}", device.0))
    }

    /// Wants a device to be checked now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn check_device(&self, device: DeviceId, by: &By) -> Result<(), ClientError> {
        self.post(&format!("/lab/devices/{}/check", device.0), by)
    }

    /// Puts a device in quarantine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn quarantine(&self, device: DeviceId, why: &HoldDevice) -> Result<(), ClientError> {
        let url = self.url(&format!("/lab/devices/{}/quarantine", device.0));
        self.heard(self.send_json(|http| http.put(&url), why)).map(drop)
    }

    /// Lets a device out of quarantine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn end_quarantine(&self, device: DeviceId, by: &By) -> Result<(), ClientError> {
        self.post(&format!("/lab/devices/{}/quarantine/release", device.0), by)
    }

    /// Says that a device is there: a proposal until somebody adopts it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn announce(&self, device: &Announce) -> Result<(), ClientError> {
        self.post("/devices/announce", device)
    }

    /// Adds a device to a host's devices.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn add_device(&self, device: &Announce) -> Result<(), ClientError> {
        self.post("/lab/added", device)
    }

    /// Has a proposed device used.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn adopt(&self, device: &Adopt) -> Result<(), ClientError> {
        self.post("/lab/adopted", device)
    }

    /// Forgets a device that was added or proposed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn remove_device(&self, device: &Adopt) -> Result<(), ClientError> {
        self.post("/lab/removed", device)
    }

    /// The devices that the agent of a host is to have beside its own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn added_to(&self, host: &str) -> Result<Vec<DeviceOffer>, ClientError> {
        let url = self.url("/lab/added");
        let sent = self.call(|http| {
            let request = http.get(&url).query("host", host);
            request.config().timeout_global(Some(ANSWER_MAX)).build().call()
        });
        self.read_json(self.heard(sent)?)
    }
}
