//! The agent as a whole: a real agent process with the real executor, and a small lab that gives it work.

#![expect(clippy::unwrap_used, reason = "a helper that panics is a test that fails")]

mod corpus;
mod lab;
mod life;
mod speed;
mod steps;
mod suites;
