//! Muster's own packages: a manifest of files, whose bytes are chunks named by their digest.
//!
//! ```text
//! a folder ──build──► Manifest + new chunks ──► Repository: packs, maps, manifests, names
//!                                                    │  files of a directory, or of any web server
//!                                                    ▼
//!                           Place: trees/DIGEST ◄── Source: what the place lacks, verified byte by byte
//! ```
//!
//! The digest of a package is that of its manifest, so the same folder is the same package wherever and
//! whenever it is built. The format is described in `docs/reference/package-format.md`.

mod about;
mod address;
mod build;
mod check;
mod chunk;
mod codec;
mod collect;
mod device;
mod error;
mod fetch;
mod fingerprint;
mod git;
mod http;
mod install;
mod lend;
mod lock;
mod manifest;
mod names;
#[doc(hidden)]
pub mod outside;
mod pack;
mod packs;
mod parallel;
mod pick;
mod place;
mod push;
mod repository;
mod reuse;
mod source;
mod ssh;
mod take;
mod tree_path;
mod verify;
mod write;

pub use about::{About, Kind, Reference, Wanted};
pub use address::{Address, Limits, Reach};
pub use build::{Built, Tree, build};
pub use chunk::{ChunkId, Chunking, Piece};
pub use collect::Collected;
pub use device::{Delivered, DeviceEntry, DevicePlace, Far, FarError, Said};
pub use error::PackageError;
pub use fetch::Traffic;
pub use fingerprint::Verify;
pub use git::{Checkout, GitPlace};
pub use install::{InstallOptions, Installed, Moved};
pub use lend::{Lender, Lent};
pub use manifest::{Change, Entry, Manifest, What, changes};
pub use names::Published;
pub use place::{Lease, Place, PlaceEntry};
pub use push::{Pushed, Taker};
pub use repository::{Pruned, Repository, Upload};
pub use source::{Found, NotHad, Source, Sources};
pub use take::{SENT, TAKEN_INDEX_BYTES_MAX, TAKEN_PACK_BYTES_MAX};
pub use tree_path::{LinkTarget, TreePath};
pub use verify::Damage;
