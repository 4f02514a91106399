//! Packages on devices, which need no more than a shell and `tar`: installed from what this host has.
//!
//! ```text
//! Place of this host ──► DevicePlace ── plan of core::install::files ──► Far: run, push, pull ──► the device
//!   tree, manifest          look, carry out, look again
//! ```
//!
//! On the device, below its directory for tests:
//!
//! ```text
//! muster-packages/trees/DIGEST      a package, whole
//!                 records/DIGEST    that it is, and how it is read: the lines by which the device looks at it
//!                 names/KIND-NAME   what was installed last, and what before that
//!                 uses/HOLDER       what somebody uses just now
//!                 incoming/HOST     what a host puts together; what is left of one that was cut off is used again
//! ```
//!
//! Nothing that the device says is believed but what it read just now: each install has it read what is there, by
//! `sha256sum`, `md5sum` or `cksum`, whichever it has; where it has none, the files are brought back and read here.
//! A record only spares that the lines are sent again.
//!
//! Of a long file of which the device has another version only the chunks that are new are sent, where it has `dd`.
//!
//! Deliberately absent: drivers. A device is what is behind [`Far`].

mod far;
mod install;
mod lines;
mod look;
mod parts;
mod patch;
mod place;
mod sums;

pub use far::{Far, FarError, Said};
pub use install::Delivered;
pub use place::{DeviceEntry, DevicePlace};
