//! Taking a device out of scheduling, and having it checked.

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
}

/// Who does something to a device that needs no reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who.
    pub by: String,
}
