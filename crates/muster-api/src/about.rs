//! Who answers at an address.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// `muster`.
    pub service: String,
    /// The program's version.
    pub version: String,
}
