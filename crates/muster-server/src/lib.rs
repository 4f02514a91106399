//! The shell round the lab: take in what has happened, commit once, act.
//!
//! The lab decides, the store remembers; this crate joins them. It starts no process and prints nothing.

mod shell;

pub use shell::{Shell, ShellError, Turn};
