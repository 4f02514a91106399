//! Durable records: one trait in transaction-sized verbs, several backends, one contract suite.
//!
//! ```text
//! Lab ── Change, Change, … ──► Store::commit        one transaction for all that was drained
//!   ▲                             │
//!   └──── Snapshot ◄──────────────┴──► RunView, failures, history, durations: for people
//! ```
//!
//! Deliberately absent: decisions (the lab's), clocks (callers pass times), printing, and knowledge of
//! how a run is executed. The store believes what it is told as long as it does not contradict what it
//! already knows.

#[cfg(any(test, feature = "contract"))]
#[expect(clippy::unwrap_used, reason = "checks panic")]
pub mod contract;
mod crc;
mod durations;
mod error;
mod file_system;
mod layout;
mod lock;
mod made_of;
mod mem;
mod parts;
mod segment;
mod sqlite;
mod store;
mod types;

pub use error::StoreError;
pub use file_system::FileSystem;
pub use lock::{LockError, RunLock};
pub use made_of::note_made_of;
pub use mem::Mem;
pub use sqlite::{RunEvents, RunExtent, RunStamp, Sqlite};
pub use store::Store;
pub use types::{
    Durations, Extent, FailedItem, Fault, Happened, HistoryEntry, HotLimits, ItemFilter, LabKey,
    LateEvidence, Leftover, ListedItem, MovedRun, Removal, Removed, RunFilter, RunName, RunPlace,
};

#[cfg(test)]
mod tests;
