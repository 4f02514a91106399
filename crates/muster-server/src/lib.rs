//! The shell round the lab, and the server that opens it to agents and people.
//!
//! The lab decides, the store remembers; this crate joins them. It starts no process and prints nothing.
//!
//! ```text
//! agents, people ─► listen ─► guard ─► http/ ─► Desk ─► lab thread: drain, Shell::turn (one commit), act
//!                    ▲  ▲                 │ orders: to the exchange that waits for them
//!                    │  └─────────────────┤
//!                    └─ Hub ◄─────────────┘ news: to those who watch
//! ```

mod access;
mod blobs;
mod checks;
mod clock;
mod desk;
mod http;
mod hub;
mod linger;
mod listen;
mod live;
mod packages;
mod past;
mod peers;
mod reopening;
mod retention;
mod serve;
mod shell;
mod tiers;

pub use access::{AccessError, Book, BookError, init, open_book};
pub use blobs::{BlobError, Blobs};
pub use checks::ChecksError;
pub use retention::{Retention, is_without_files, weight};
pub use serve::{AccessConfig, PoolUsers, Server, ServerConfig, ServerError};
pub use shell::{Shell, ShellError, Turn};
pub use tiers::Hot;
