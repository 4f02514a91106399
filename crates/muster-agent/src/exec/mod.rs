//! The executor: the only code that starts a test's processes.
//!
//! A [`Task`] says which processes to run, one after the other; the [`Engine`] runs many tasks at once
//! on slots, captures what they print, holds them to their limits and leaves nothing of them behind.
//!
//! ```text
//! Source ──take──► worker (thread, epoll) ──► slot ──► Task ──next──► running process ──► ProcessEnd
//!                    ▲ stop, wake, kill                                 ├─ spawn, image, program: its start
//!                    └─ Engine                                          ├─ log, tail: what it printed
//!                                                                       └─ orphans, cgroup: what it left
//! ```
//!
//! An engine thread owns its slots outright: it takes a slot's next task itself, so that between two tests
//! no thread wakes another. It deliberately knows nothing of tests, outcomes or the lab.
//!
//! **Order of output.** A log has its frames in the order they were read. Within a stream that is the order
//! of writing; across streams, what was written before the engine came to read is in no order.
//!
//! **What the host of an engine must keep to.** Signal handlers are installed before [`Engine::new`]; no
//! process that is to be kept is started from the process's main thread (see [`kill_descendants`]); and
//! when the process is to end, [`Engine::kill_everything`] comes first.

mod cgroup;
mod engine;
mod image;
mod log;
mod orphans;
mod program;
mod running;
mod spawn;
mod sys;
mod tail;
mod task;
mod worker;

pub use engine::{Cgroups, Engine, EngineConfig, Source, Stop};
pub use orphans::{MARK, become_subreaper, helper_mark, kill_abandoned, kill_descendants};
pub use task::{Limits, Next, ProcessEnd, ProcessSpec, Status, Task};

use rustix::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

/// Limit: bytes read from a pipe at once; what a pipe holds unless it was made larger.
const READ_BYTES: usize = 64 << 10;
/// Limit: how long is waited for killed processes to be gone, which only uninterruptible sleep prolongs.
const DYING_MAX: Duration = Duration::from_secs(10);

/// The same descriptor with a number above 3, so that giving a child its first four overwrites none that
/// is still needed. Ours are that low only where this process was started without its first three.
fn above_std(fd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    if fd.as_raw_fd() > 3 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(fd, 4) }
}
