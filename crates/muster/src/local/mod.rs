//! Runs tests on this machine: lab, records and agent in one command.
//!
//! ```text
//! muster.toml ─ area.rs ─► AreaDef ─ request.rs ─► RunRecord with its plan
//!                                                     │
//!  signals ──┐                                        ▼
//!  agent  ───┼─► session.rs: poll ─► Shell::turn (apply, commit) ─► orders, news
//!  clock  ───┘                                                        │      │
//!                       agent process ◄───────────────────────────────┘      ├─► terminal
//!                       (agent.rs, muster-agent)                              └─► reports.rs
//! ```
//!
//! Nothing is decided here (the lab does that) and nothing is executed here (the agent does that).

pub(crate) mod again;
pub(crate) mod agent;
pub(crate) mod archive;
pub(crate) mod area;
pub(crate) mod areas;
mod changed;
pub(crate) mod discovery;
pub(crate) mod door;
pub(crate) mod fetch;
pub(crate) mod given;
pub(crate) mod grow;
pub(crate) mod made_of;
pub(crate) mod megatest;
pub(crate) mod packages;
mod places;
pub(crate) mod propose;
pub(crate) mod relocate;
pub(crate) mod reports;
pub(crate) mod request;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod standing;
pub(crate) mod tier;
pub(crate) mod zone;
