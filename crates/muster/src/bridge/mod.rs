//! Takes in what others announce, and runs tests for it.
//!
//! ```text
//! Buildbot ── POST ──► hook.rs ─► inbox.rs: on disk ─► 200 OK
//!                                     │
//!                                     ▼ worker.rs
//!                    run.rs: `muster run --id ID` ─► inbox.rs ─► report.rs ─► Buildbot
//! ```
//!
//! What comes in, and what is done about it, know nothing of each other but [`inbox::Event`]. Every step is on
//! disk before the next begins, and may be done twice without harm: the id of the run follows from the build's
//! identity, and a report is looked for before it is made.
//!
//! Deliberately not here: which builds are worth a run (a flag names the builders), and any other program than
//! Buildbot. Rules over events of all kinds will take this place.

pub(crate) mod hook;
pub(crate) mod inbox;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod worker;
