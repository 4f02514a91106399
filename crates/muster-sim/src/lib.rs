//! Seeded whole-lab simulator and its checkers; builders for other crates' tests.
//!
//! A world is the real shell over the real in-memory store, and the real ledger of each agent. Simulated
//! are the clock, the network, what tests do, the people, and what goes wrong:
//!
//! ```text
//!  people ──► inbox ─► Shell::turn ─► Shaky<Mem> ─► journal ─► Book   (what was promised, checked)
//!               ▲          │ orders                              ▲
//!            network ◄─────┘                                     │
//!   loses, doubles, delays, reorders, parts                      │
//!               ▲ ▼                                              │
//!             Host: Ledger + executor ── what really ran ────────┘
//! ```
//!
//! Hosts die, are cut off, and stand still and go on; devices are missing for a while, appear on another host, and
//! change what they are like; people ask for runs, stop them, go on with them, hold devices and put them in
//! quarantine; the lab checks and repairs them; tests need several devices at once.
//!
//! Everything follows from the seed: the same seed is the same story. What the checkers promise is listed
//! in [`book`] and [`world`]; that they would notice is proved by the [`mistake::Mistake`]s.
//!
//! Deliberately absent: real processes, files and time. Those are tried by the agent's and the program's
//! own tests.

pub mod area;
pub mod book;
pub mod build;
pub mod host;
pub mod mistake;
pub mod rng;
pub mod scenario;
pub mod shaky;
pub mod sweep;
pub mod world;
