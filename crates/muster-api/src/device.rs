//! Taking a device out of scheduling, and having it checked.

use muster_core::exchange::Labels;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A device is taken, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldDevice {
    /// Who takes it.
    #[schemars(length(min = 1, max = 1000))]
    pub by: String,
    /// Why.
    #[schemars(length(min = 1, max = 1000))]
    pub reason: String,
    /// It ends by itself after so many seconds; without, when it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// The reservation that this is, chosen by whoever makes it: asking again with it is the same one, and with another it is
    /// refused also for the same person. Without, it is a hold of that person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub id: Option<String>,
}

/// A reservation is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RenewHold {
    /// Which.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// It ends by itself so many seconds from now.
    pub seconds: u32,
}

/// Who does something to a device that needs no reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who.
    pub by: String,
}

/// A device is added to a host's devices, or announces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The device's name.
    pub name: String,
    /// Where its driver finds it.
    pub address: String,
    /// The host whose agent is to have it; without, it is said when the device is adopted.
    #[serde(default)]
    pub host: String,
    /// What selectors look at.
    #[serde(default)]
    pub labels: Labels,
    /// Who says so.
    #[serde(default)]
    pub by: String,
}

/// A proposed device is to be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopt {
    /// The host it was proposed for; empty where it was for none.
    #[serde(default)]
    pub host: String,
    /// Its name.
    pub name: String,
    /// The host whose agent is to have it.
    pub to: String,
    /// Who wants that.
    pub by: String,
}
