//! Packages: immutable inputs of tests, installed where a test runs, and only when they changed.
//!
//! ```text
//! a folder ──build──► package ──upload──► repository ──fetch──► cache ──install plan──► an install directory
//!                        │                    │
//!                        ├── own              chunks and manifests by digest
//!                        └── autotest         `<type>-<name>.tar.bz2` and `packages.checksum`
//! ```
//!
//! What to do is decided in `muster_core::install`, a value from what is wanted and what is there; this
//! crate does it. Whatever is read from outside is taken for hostile.
//!
//! Deliberately absent: printing, configuration files, the environment, and which test wants what.

pub mod autotest;
pub mod exclude;
pub mod own;
mod ssh;
pub mod web;
