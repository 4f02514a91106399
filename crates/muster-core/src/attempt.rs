//! The record of one attempt, as the agent tells it and the store keeps it.

use crate::artifact::Artifacts;
use crate::outcome::Outcome;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Everything known about an attempt that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptResult {
    /// What it came to.
    pub outcome: Outcome,
    /// Why it came to that.
    pub cause: Cause,
    /// The one line a person should read first: a framework's message, the rule that failed.
    pub message: String,
    /// When its first process started.
    pub started: Time,
    /// From then to its end.
    pub duration: Duration,
    /// What it used.
    pub usage: Usage,
    /// Its steps in order; empty where it had one unnamed step.
    pub steps: Vec<StepResult>,
    /// Values it measured.
    pub measures: Vec<Measured>,
    /// What it printed.
    pub output: Output,
    /// Processes it left behind, which were killed.
    pub leaked: u32,
    /// Files it left behind, where they are kept.
    #[serde(default)]
    pub artifacts: Option<Box<Artifacts>>,
}

impl AttemptResult {
    /// One of which nothing else is known: it printed nothing, measured nothing and used nothing.
    pub fn bare(outcome: Outcome, cause: Cause, started: Time, duration: Duration) -> Self {
        Self {
            outcome,
            cause,
            message: String::new(),
            started,
            duration,
            usage: Usage::default(),
            steps: Vec::new(),
            measures: Vec::new(),
            output: Output::None,
            leaked: 0,
            artifacts: None,
        }
    }
}

/// Why an attempt came to its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its process ended with this code.
    Exit(i32),
    /// A signal ended its process.
    Signal(i32),
    /// The hard limit.
    HardLimit(Duration),
    /// No output for this long.
    SilenceLimit(Duration),
    /// The exit code was good, but standard output was not as expected.
    Output,
    /// A log rule: its description or pattern.
    LogRule(String),
    /// A measured value: its name.
    Measure(String),
    /// The framework reported it.
    Framework,
    /// It could not be started or its result could not be had: why.
    Lab(String),
    /// It was stopped on request: why.
    Stopped(String),
    /// It was never started: a rule or expectation said so, and which.
    Rule(String),
}

/// What an attempt used. Zero where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, of the process and all it waited for.
    pub user_micros: u64,
    /// CPU time in the kernel.
    pub system_micros: u64,
    /// Peak resident memory of the largest process.
    pub memory_peak_bytes: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub write_bytes: u64,
}

/// An ordered part of an attempt that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// Its name in the test, or the test point's description.
    pub name: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Its exit code, where it was a process that exited.
    pub exit: Option<i32>,
    /// How long it took.
    pub duration: Duration,
    /// Where its part of the attempt's output begins, counted in bytes of the framed log.
    pub output_from: u64,
    /// For people.
    pub message: String,
}

/// A value a test measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: f64,
    /// What was expected.
    pub expected: Option<f64>,
    /// How it was compared, as written (`0.5`, `<=`).
    pub tolerance: String,
    /// For people.
    pub units: String,
    /// Whether it is within tolerance; `None` where nothing was expected.
    pub good: Option<bool>,
}

/// What an attempt printed, framed as [`crate::output`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Nothing.
    #[default]
    None,
    /// These frames.
    Inline(#[serde(with = "bytes")] Vec<u8>),
    /// A file of frames, its path relative to the run's directory.
    File {
        /// Relative path.
        path: String,
        /// Its length in bytes.
        len: u64,
    },
    /// Frames the store keeps in the run's segment file. Only the store makes and reads these.
    Segment {
        /// Where its entry begins, in bytes from the start of the segment file.
        offset: u64,
        /// Length of the frames in bytes, without the entry's head.
        len: u64,
    },
}

/// Byte strings as bytes, not as a list of numbers.
mod bytes {
    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};
    use std::fmt;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, v: &[u8]) -> Result<Vec<u8>, E> {
                Ok(v.to_vec())
            }
            fn visit_byte_buf<E>(self, v: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(v)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut v = Vec::new();
                while let Some(b) = seq.next_element()? {
                    v.push(b);
                }
                Ok(v)
            }
        }
        d.deserialize_byte_buf(Bytes)
    }
}
