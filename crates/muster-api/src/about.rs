//! Who answers at an address.

use serde::{Deserialize, Serialize};

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// `muster`.
    pub service: String,
    /// The program's version.
    pub version: String,
}
