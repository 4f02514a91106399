//! The agent as a process of its own beside the shell that started it.
//!
//! Why a process: the peak memory that the system reports of a child includes its parent's, so the parent
//! of tests must be small; and if either side dies, the other notices at once by the end of the socket and
//! nothing is left running.
//!
//! ```text
//! shell process                                      agent process
//! AgentProcess ── Setup, then Orders ──► socket ──►  run: Ledger ◄─ Ears ── tasks on engine threads
//!              ◄─ Exchange ──────────────────────       └─ stop, wake ──► Engine
//! ```
//!
//! The agent decides nothing: it has no retries, no results of its own, no store.

mod child;
mod gauges;
mod inside;
mod wire;

pub use child::{AgentProcess, ChildError};
pub use inside::{AgentError, run, socket_from_stdin};
pub use wire::FrameError;

use muster_core::exchange::{DeviceOffer, Exchange, Orders};
use muster_core::id::{AgentId, SessionId};
use serde::{Deserialize, Serialize};

/// How an agent is set up; the first thing the shell says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Who it is.
    pub agent: AgentId,
    /// Which life of it.
    pub session: SessionId,
    /// The host's name.
    pub host: String,
    /// Its devices: as many tasks run at once.
    pub devices: Vec<DeviceOffer>,
    /// Threads the devices are spread over; `None`: as many as cores.
    pub threads: Option<u32>,
    /// Use control groups where the machine allows.
    pub cgroups: bool,
    /// The directory whose file system the gauges tell of.
    pub area_dir: String,
    /// The lab is elsewhere: where it is not heard for as long as a lease lasts, everything is stopped. Where
    /// the shell is the lab, its end is the end of the connection.
    pub minds_lease: bool,
}

/// Shell to agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum ToAgent {
    Setup(Setup),
    Orders(Orders),
    /// Say what you have, even if nothing is new.
    Speak,
}

/// Agent to shell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum FromAgent {
    Exchange(Exchange),
    /// It cannot do its work, and why; it ends.
    Failed(String),
}
