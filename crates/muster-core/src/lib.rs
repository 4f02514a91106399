//! The lab as a value: types, state machines, scheduler, planning, roll-up, explanations.
//!
//! Nothing here reads a clock, a file, the environment or the network; `clippy.toml` beside this crate
//! bans them. Time comes in as an argument, decisions go out as values.

// What comes out of a hash table comes in another order each time.
#![warn(clippy::iter_over_hash_type)]

pub mod address;
pub mod artifact;
pub mod attempt;
pub mod change;
pub mod definition;
pub mod digest;
pub mod downstream;
pub mod event;
pub mod exchange;
pub mod expr;
pub mod forecast;
pub mod health;
pub mod hours;
pub mod id;
pub mod inputs;
pub mod install;
pub mod judge;
pub mod kind;
pub mod lab;
pub mod note;
pub mod outcome;
pub mod output;
pub mod part;
pub mod plan;
pub mod select;
pub mod text;
pub mod time;
pub mod view;
