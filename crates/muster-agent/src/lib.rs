//! Runs attempts on devices: the executor, and the exchange that pulls work.

mod clock;
mod copy;
pub mod exec;
pub mod ledger;
pub mod process;
pub mod remote;
mod remove;
pub mod tasks;
pub mod unpack;

pub use clock::Clock;
pub use copy::copy_tree;
