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
//!
//! Where the lab is elsewhere, the agent process is a *keeper*: it belongs to nobody, is spoken to through a
//! socket in the agent's directory ([`keep`], [`Keeper`]), and what it runs outlives who speaks to it.

mod child;
mod door;
mod gauges;
mod inside;
mod keeper;
mod link;
mod wire;

pub use child::AgentProcess;
pub use inside::{AgentError, keep, run, socket_from_stdin};
pub use keeper::{Found, Keeper};
pub use link::{ChildError, Link};
pub use wire::FrameError;

use muster_core::exchange::{DeviceOffer, Exchange, Orders};
use muster_core::id::{AgentId, RunId, SessionId, UnitId};
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
    /// Kill what runs, and end. Said to a keeper; others end with their connection.
    End,
}

/// Agent to shell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum FromAgent {
    Exchange(Exchange),
    /// It cannot do its work, and why; it ends.
    Failed(String),
}

/// The first word of both sides of a keeper's socket. It is understood by every version there was and will
/// be: fields are added to it, and none is ever changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of the program.
    pub version: String,
    /// The newest version of what is said that it speaks.
    pub protocol: u32,
    /// The oldest.
    pub oldest: u32,
    /// What a keeper has; `None` from a visitor, and before it was set up.
    #[serde(default)]
    pub life: Option<Life>,
}

/// What a keeper was set up as, and what it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Who it is.
    pub agent: AgentId,
    /// Which life of it.
    pub session: SessionId,
    /// Its devices.
    pub devices: Vec<DeviceOffer>,
    /// Units that have not ended, with their runs.
    pub units: Vec<(UnitId, RunId)>,
    /// Results that were not acknowledged.
    pub results: usize,
}

impl Greeting {
    /// The newest version of what is said through a keeper's socket: [`ToAgent`] and [`FromAgent`], with the
    /// [exchange](muster_core::exchange). Raised by a change that one side cannot read from the other.
    const PROTOCOL: u32 = 1;
    /// The oldest that is still spoken: that of two releases ago.
    const OLDEST: u32 = 1;

    /// What this program says.
    pub fn ours(life: Option<Life>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, protocol: Self::PROTOCOL, oldest: Self::OLDEST, life }
    }

    /// Whether this program and the one that says this can speak with each other.
    pub fn is_understood(&self) -> bool {
        self.oldest <= Self::PROTOCOL && Self::OLDEST <= self.protocol
    }
}
