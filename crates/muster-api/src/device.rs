//! Taking a device out of scheduling.

use serde::{Deserialize, Serialize};

/// A device is taken, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldDevice {
    /// Who takes it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// It ends by itself after so many seconds; without, when it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
}
