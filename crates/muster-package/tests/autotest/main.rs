//! Autotest's packages and repositories: against the programs that everybody reads and writes them with, real
//! servers, and what is hostile.
//!
//! A name that begins with `row_` names a row of the list of what goes wrong with Autotest's packages in real
//! labs; each is tried where it belongs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fetching;
mod hostile;
mod installing;
mod over_http;
mod over_ssh;
mod publishing;
mod real;
mod site;
#[path = "../shared/sshd.rs"]
mod sshd;
mod staging;
mod tarballs;
mod world;
