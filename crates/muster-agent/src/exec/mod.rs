//! The executor: the only code that starts a test's processes.
//!
//! A [`Task`] says which processes to run, one after the other; the [`Engine`] runs many tasks at once
//! on slots, captures what they print, holds them to their limits and leaves nothing of them behind.

mod task;

pub use task::{Limits, Next, ProcessEnd, ProcessSpec, Status, Task};
