//! An attempt's result in JSON, the same in the event stream and in runs.

use crate::report::{Logs, words};
use muster_core::artifact as core_artifact;
use muster_core::attempt as core;
use muster_core::outcome::Outcome as CoreOutcome;
use muster_core::output;
use muster_core::time::micros;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write as _;

/// Everything known about an attempt that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Attempt<'a> {
    /// What it came to.
    pub outcome: Outcome,
    /// Why it came to that.
    pub cause: Cause<'a>,
    /// The one line a person should read first; may be empty.
    pub message: &'a str,
    /// When its first process started, RFC 3339.
    pub started: String,
    /// From then to its end.
    pub duration_micros: u64,
    /// What it used; zero where the system does not tell.
    pub usage: Usage,
    /// Its steps in order; empty where it had one unnamed step.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub steps: Vec<Step<'a>>,
    /// Values it measured.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub measures: Vec<Measured<'a>>,
    /// What it printed.
    pub output: Output<'a>,
    /// Processes it left behind, which were killed.
    pub leaked: u32,
    /// Files it left behind, where any are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Box<Artifacts<'a>>>,
}

impl<'a> Attempt<'a> {
    /// With the output's text as `texts` says.
    pub fn new(result: &'a core::AttemptResult, texts: Texts<'_>) -> Self {
        let core::AttemptResult {
            outcome,
            cause,
            message,
            started,
            duration,
            usage,
            steps,
            measures,
            output,
            leaked,
            artifacts,
        } = result;
        Self {
            outcome: (*outcome).into(),
            cause: cause.into(),
            message,
            started: words::timestamp(*started),
            duration_micros: micros(*duration),
            usage: (*usage).into(),
            steps: steps.iter().map(Step::from).collect(),
            measures: measures.iter().map(Measured::from).collect(),
            output: Output::new(output, texts),
            leaked: *leaked,
            artifacts: artifacts.as_deref().map(|kept| Box::new(Artifacts::from(kept))),
        }
    }
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should.
    Pass,
    /// It passed, with warnings.
    Warn,
    /// It chose not to run.
    Skip,
    /// A person must look.
    Check,
    /// It ran and said no.
    Fail,
    /// It did not end within its time limit, or was silent for too long.
    Timeout,
    /// It was ended by a signal that was not Muster's.
    Crash,
    /// It asked that what depends on it stop.
    Abort,
    /// The lab's fault.
    Error,
    /// A person or a limit of the run stopped it.
    Cancelled,
}

impl From<CoreOutcome> for Outcome {
    fn from(outcome: CoreOutcome) -> Self {
        match outcome {
            CoreOutcome::Pass => Self::Pass,
            CoreOutcome::Warn => Self::Warn,
            CoreOutcome::Skip => Self::Skip,
            CoreOutcome::Check => Self::Check,
            CoreOutcome::Fail => Self::Fail,
            CoreOutcome::Timeout => Self::Timeout,
            CoreOutcome::Crash => Self::Crash,
            CoreOutcome::Abort => Self::Abort,
            CoreOutcome::Error => Self::Error,
            CoreOutcome::Cancelled => Self::Cancelled,
        }
    }
}

/// Why an attempt came to its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause<'a> {
    /// Its process ended with this code.
    Exit {
        /// The exit code.
        code: i32,
    },
    /// A signal ended its process.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// It ran into its hard limit.
    HardLimit {
        /// The limit.
        limit_micros: u64,
    },
    /// It printed nothing for too long.
    SilenceLimit {
        /// The limit.
        limit_micros: u64,
    },
    /// The exit code was good, but standard output was not as expected.
    Output,
    /// A log rule decided.
    LogRule {
        /// Its description or pattern.
        rule: &'a str,
    },
    /// A measured value decided.
    Measure {
        /// The value's name.
        name: &'a str,
    },
    /// The framework reported it.
    Framework,
    /// It could not be started or its result could not be had.
    Lab {
        /// Why.
        why: &'a str,
    },
    /// It was stopped on request.
    Stopped {
        /// Why.
        why: &'a str,
    },
    /// It was never started.
    Rule {
        /// The rule or expectation that said so.
        rule: &'a str,
    },
}

impl<'a> From<&'a core::Cause> for Cause<'a> {
    fn from(cause: &'a core::Cause) -> Self {
        match cause {
            core::Cause::Exit(code) => Self::Exit { code: *code },
            core::Cause::Signal(signal) => Self::Signal { signal: *signal },
            core::Cause::HardLimit(limit) => Self::HardLimit { limit_micros: micros(*limit) },
            core::Cause::SilenceLimit(limit) => Self::SilenceLimit { limit_micros: micros(*limit) },
            core::Cause::Output => Self::Output,
            core::Cause::LogRule(rule) => Self::LogRule { rule },
            core::Cause::Measure(name) => Self::Measure { name },
            core::Cause::Framework => Self::Framework,
            core::Cause::Lab(why) => Self::Lab { why },
            core::Cause::Stopped(why) => Self::Stopped { why },
            core::Cause::Rule(rule) => Self::Rule { rule },
        }
    }
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    /// CPU time in user mode.
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

impl From<core::Usage> for Usage {
    fn from(usage: core::Usage) -> Self {
        let core::Usage { user_micros, system_micros, memory_peak_bytes, read_bytes, write_bytes } = usage;
        Self { user_micros, system_micros, memory_peak_bytes, read_bytes, write_bytes }
    }
}

/// An ordered part of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Step<'a> {
    /// Its name in the test, or the test point's description.
    pub name: &'a str,
    /// What it came to.
    pub outcome: Outcome,
    /// Its exit code, where it was a process that exited.
    pub exit: Option<i32>,
    /// How long it took.
    pub duration_micros: u64,
    /// Where its part of the attempt's framed output begins, in bytes.
    pub output_from: u64,
    /// For people; may be empty.
    pub message: &'a str,
}

impl<'a> From<&'a core::StepResult> for Step<'a> {
    fn from(step: &'a core::StepResult) -> Self {
        let core::StepResult { name, outcome, exit, duration, output_from, message } = step;
        Self {
            name,
            outcome: (*outcome).into(),
            exit: *exit,
            duration_micros: micros(*duration),
            output_from: *output_from,
            message,
        }
    }
}

/// A value a test measured.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Measured<'a> {
    /// Its name.
    pub name: &'a str,
    /// The value; `null` where it is not a finite number.
    pub value: Option<f64>,
    /// What was expected.
    pub expected: Option<f64>,
    /// How it was compared, as written (`0.5`, `<=`).
    pub tolerance: &'a str,
    /// For people; may be empty.
    pub units: &'a str,
    /// Whether it is within tolerance; `null` where nothing was expected.
    pub good: Option<bool>,
}

impl<'a> From<&'a core::Measured> for Measured<'a> {
    fn from(measured: &'a core::Measured) -> Self {
        let core::Measured { name, value, expected, tolerance, units, good } = measured;
        let finite = |n: &f64| n.is_finite();
        Self {
            name,
            value: Some(*value).filter(finite),
            expected: expected.filter(finite),
            tolerance,
            units,
            good: *good,
        }
    }
}

/// Files that an attempt left and that are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Artifacts<'a> {
    /// The directory they were in, relative to the run's directory on the host that ran the attempt.
    pub dir: &'a str,
    /// The files, by path.
    pub files: Vec<Artifact<'a>>,
    /// What is not kept; of many the first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<LeftOut<'a>>,
    /// How many are not kept.
    pub left_out_count: u64,
}

impl<'a> From<&'a core_artifact::Artifacts> for Artifacts<'a> {
    fn from(kept: &'a core_artifact::Artifacts) -> Self {
        let core_artifact::Artifacts { dir, files, left_out, unnamed: _ } = kept;
        let file = |core_artifact::Artifact { path, bytes, digest }: &'a core_artifact::Artifact| Artifact {
            path,
            bytes: *bytes,
            digest: digest.map(|digest| digest.to_string()),
        };
        let left = |core_artifact::LeftOut { path, why }: &'a core_artifact::LeftOut| LeftOut { path, why };
        Self {
            dir,
            files: files.iter().map(file).collect(),
            left_out: left_out.iter().map(left).collect(),
            left_out_count: kept.left_out_count(),
        }
    }
}

/// A file that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Artifact<'a> {
    /// Its path in the attempt's working directory.
    pub path: &'a str,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 digest, under which the server keeps it; left out where it is in the run's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Something that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftOut<'a> {
    /// Its path in the attempt's working directory.
    pub path: &'a str,
    /// Why.
    pub why: &'a str,
}

/// What an attempt printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Output<'a> {
    /// Bytes of the framed log; 0 where it printed nothing.
    pub bytes: u64,
    /// The file it is in, relative to the run's directory; left out where it is kept with the results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// The text, where it is part of this document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<Frame>>,
}

impl<'a> Output<'a> {
    fn new(output: &'a core::Output, texts: Texts<'_>) -> Self {
        let (bytes, path, inline) = match output {
            core::Output::None => (0, None, None),
            core::Output::Inline(log) => (log.len() as u64, None, Some(log)),
            core::Output::File { path, len } => (*len, Some(path.as_str()), None),
            core::Output::Segment { offset: _, len } => (*len, None, None),
        };
        let frames = match texts {
            Texts::None => None,
            Texts::Fetched { logs, bytes_max } if bytes > 0 => {
                Some(output::frames(&logs.log(output, bytes_max)).map(Frame::from).collect())
            }
            Texts::Inline | Texts::Fetched { .. } => {
                inline.map(|log| output::frames(log).map(Frame::from).collect())
            }
        };
        Self { bytes, path, frames }
    }
}

/// Which output's text becomes part of a document.
#[derive(Clone, Copy)]
pub enum Texts<'l> {
    /// None: it is had by `muster log`.
    None,
    /// What is in the results themselves, whole.
    Inline,
    /// All, from wherever it is kept.
    Fetched {
        /// Who fetches it.
        logs: &'l dyn Logs,
        /// Most bytes of one attempt.
        bytes_max: usize,
    },
}

/// One piece of output, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Frame {
    /// Where it came from.
    pub stream: Stream,
    /// Milliseconds since the attempt began.
    pub at_millis: u64,
    /// The text; what is not UTF-8 is U+FFFD.
    pub text: String,
    /// The exact bytes in hexadecimal digits, only where `text` is not exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
}

impl From<output::Frame<'_>> for Frame {
    fn from(frame: output::Frame<'_>) -> Self {
        let output::Frame { stream, at_millis, text } = frame;
        let (text, hex) = match std::str::from_utf8(text) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => {
                let mut hex = String::with_capacity(text.len() * 2);
                for byte in text {
                    write!(hex, "{byte:02x}").expect("a string takes all");
                }
                (String::from_utf8_lossy(text).into_owned(), Some(hex))
            }
        };
        Self { stream: stream.into(), at_millis, text, hex }
    }
}

/// Which stream a frame came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Muster's own remark.
    Muster,
}

impl From<output::Stream> for Stream {
    fn from(stream: output::Stream) -> Self {
        match stream {
            output::Stream::Stdout => Self::Stdout,
            output::Stream::Stderr => Self::Stderr,
            output::Stream::Muster => Self::Muster,
        }
    }
}
