//! Autotest's packages and repositories: against the programs that everybody reads and writes them with, real
//! servers, and what is hostile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hostile;
mod tarballs;
mod world;
