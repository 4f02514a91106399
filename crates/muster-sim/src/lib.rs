//! Seeded whole-lab simulator and its checkers; builders for other crates' tests.

pub mod build;
pub mod scenario;
