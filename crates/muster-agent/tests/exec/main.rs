//! The executor against real processes.

mod harness;
mod leftovers;
mod limits;
mod output;
mod slots;
mod start;
