//! The interface as people and programs use it: a real server on loopback, with recorded runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod asking_again;
mod described;
mod events;
mod lists;
mod packages;
mod problems;
mod ranges;
mod site;
