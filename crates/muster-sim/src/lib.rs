//! Seeded whole-lab simulator and its checkers; builders for other crates' tests.
