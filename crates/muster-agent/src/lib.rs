//! Runs attempts on devices: the executor, and the exchange that pulls work.

pub mod exec;
pub mod ledger;
