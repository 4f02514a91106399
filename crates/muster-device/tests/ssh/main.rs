//! The `ssh` driver against a real `sshd` on loopback, with keys and a configuration of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod harness;
mod keys;
mod packages;
mod sessions;
mod trees;
