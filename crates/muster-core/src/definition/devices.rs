//! Where steps run, and the devices that an attempt has at once.

use serde::{Deserialize, Serialize};

/// Muster's own step that makes the attempt's directory on the device and brings there what is pushed. For another
/// than the first of several, `-` and what it is for are behind it.
pub const TO_DEVICE: &str = "to-device";
/// Muster's own step that brings back what is pulled and removes the attempt's directory on the device; named in the
/// same way.
pub const FROM_DEVICE: &str = "from-device";

/// Where a step runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the agent's host, which reaches the device by its address.
    #[default]
    Host,
    /// On the device itself, through its driver; where an attempt has several, on the first.
    Device,
    /// On another of several, by its place among them, which is not 0.
    Other(u8),
}

impl Place {
    /// The device, by its place among those that an attempt has.
    pub fn device(self) -> Option<usize> {
        match self {
            Self::Host => None,
            Self::Device => Some(0),
            Self::Other(place) => Some(place.into()),
        }
    }
}

/// The devices that an attempt has at once: all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NeededDevices {
    /// What each is for. The commands run beside the first. Names are unique.
    pub roles: Vec<Role>,
    /// All of them must be devices of one host.
    pub same_host: bool,
}

impl NeededDevices {
    /// Most devices of one attempt.
    // Limit: finding out who may be what is work for each of them.
    pub const MAX: usize = 32;
}

/// The environment variable that has the address of the device for a role: `MUSTER_DEVICE_PHONE`. With `_NAME` and
/// `_HOST` behind it, those of its name and its host.
pub fn role_variable(role: &str) -> String {
    format!("MUSTER_DEVICE_{}", role.to_ascii_uppercase().replace('-', "_"))
}

/// What a device is for in an attempt that has several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Role {
    /// Its name: small letters, digits and `-`.
    pub name: String,
    /// CEL over `labels`, `name` and `host`: which devices may be it. Empty: any that the run may have.
    pub selector: String,
}
