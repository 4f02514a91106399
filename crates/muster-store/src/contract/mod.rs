//! What every backend must do, as checks that run against any of them.
//!
//! ```ignore
//! for case in muster_store::contract::all() {
//!     let records = MyRecords::fresh();
//!     (case.check)(&records);
//! }
//! ```
//!
//! A check panics where the promise is broken. Checks know nothing of a backend but [`Records`].

mod build;
mod cases;
mod compare;
mod grown;
mod kept;
mod random;

use crate::store::Store;
use crate::types::LabKey;

pub use build::{attempt, expansion, record, result, with_artifacts};
pub use compare::{Seen, see};
pub use random::random_changes;

/// Records of their own, empty at first, that can be opened any number of times.
pub trait Records {
    /// Opens them for a lab. An earlier handle may still be open.
    fn open(&self, lab: LabKey) -> Box<dyn Store>;
}

/// One promise.
pub struct Case {
    /// As a sentence, with underscores.
    pub name: &'static str,
    /// Panics where it is broken.
    pub check: fn(&dyn Records),
}

/// Every promise but the random one ([`random_changes`], which takes a seed).
pub fn all() -> Vec<Case> {
    cases::all()
}
