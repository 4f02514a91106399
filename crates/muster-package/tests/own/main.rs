//! Packages as they are used: built, published, fetched and installed, with what can go wrong on the way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod collect;
mod damage;
mod delivery;
mod devices;
mod drive;
mod elsewhere;
mod far;
mod kill;
mod lending;
mod pushing;
#[path = "../shared/sshd.rs"]
mod sshd;
mod tree;
mod web;
