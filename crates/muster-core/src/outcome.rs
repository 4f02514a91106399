//! What one attempt came to (outcome), and the judgement of an item, test or run (verdict).
//!
//! An outcome is a fact about a process. A verdict is drawn from all attempts of an item, the
//! expectations for it and the policies of its test. Roll-up takes the worst verdict.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What one attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should.
    Pass,
    /// It passed, with warnings.
    Warn,
    /// It chose not to run (exit 77, a skip rule, a framework's own skip).
    Skip,
    /// A person must look.
    Check,
    /// It ran and said no.
    Fail,
    /// It did not end within its time limit, or was silent for too long.
    Timeout,
    /// It was ended by a signal that was not ours.
    Crash,
    /// It asked that what depends on it stop.
    Abort,
    /// The lab's fault: it could not be run or its result could not be had (exit 99 says so too).
    Error,
    /// A person or a limit of the run stopped it.
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order of the type.
    pub const ALL: [Self; 10] = [
        Self::Pass,
        Self::Warn,
        Self::Skip,
        Self::Check,
        Self::Fail,
        Self::Timeout,
        Self::Crash,
        Self::Abort,
        Self::Error,
        Self::Cancelled,
    ];

    /// Good enough for a dependent to go on and for no retry to be made.
    pub fn is_good(self) -> bool {
        match self {
            Self::Pass | Self::Warn | Self::Skip | Self::Check => true,
            Self::Fail | Self::Timeout | Self::Crash | Self::Abort | Self::Error | Self::Cancelled => false,
        }
    }

    /// The word printed, stored and read back.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Skip => "skip",
            Self::Check => "check",
            Self::Fail => "fail",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Abort => "abort",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// The outcome with this [`word`](Self::word).
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.word() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The judgement of an item after all its attempts; tests and runs take their worst item's.
///
/// The order of the variants is the rank: later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It passed at once.
    Pass,
    /// It chose not to run, or an expectation said not to run it.
    Skip,
    /// It did what the expectations say it does (fail, time out, crash).
    KnownFailure,
    /// It passed with warnings.
    Warn,
    /// It passed after it had failed. Never hidden; whether it fails the run is the test's policy.
    Flaky,
    /// A person must look.
    Check,
    /// The test's items were asked for and there are none.
    NoItems,
    /// Stopped by a person or a limit of the run before it came to anything.
    Cancelled,
    /// Never run, because something it comes after did not do what it must.
    PrerequisiteFailed,
    /// It passed although the expectations say it does not.
    UnexpectedPass,
    /// It ran and said no.
    Fail,
    /// It did not end in time.
    Timeout,
    /// It was ended by a signal.
    Crash,
    /// The lab's fault: no verdict about the test itself.
    Error,
    /// It asked that everything after it stop.
    Abort,
}

impl Verdict {
    /// How many verdicts there are: the length of [`Counts`].
    pub const COUNT: usize = Self::ALL.len();

    /// Every verdict, best first.
    pub const ALL: [Self; 15] = [
        Self::Pass,
        Self::Skip,
        Self::KnownFailure,
        Self::Warn,
        Self::Flaky,
        Self::Check,
        Self::NoItems,
        Self::Cancelled,
        Self::PrerequisiteFailed,
        Self::UnexpectedPass,
        Self::Fail,
        Self::Timeout,
        Self::Crash,
        Self::Error,
        Self::Abort,
    ];

    /// The run may still be called passed.
    pub fn is_ok(self) -> bool {
        self <= Self::NoItems
    }

    /// What comes after it may go on. An unexpected pass is a pass: that the expectations are wrong is
    /// no reason to keep others waiting.
    pub fn lets_others_go_on(self) -> bool {
        self.is_ok() || self == Self::UnexpectedPass
    }

    /// The word printed, stored and read back.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::KnownFailure => "known-failure",
            Self::Warn => "warn",
            Self::Flaky => "flaky",
            Self::Check => "check",
            Self::NoItems => "no-items",
            Self::Cancelled => "cancelled",
            Self::PrerequisiteFailed => "prerequisite-failed",
            Self::UnexpectedPass => "unexpected-pass",
            Self::Fail => "fail",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Error => "error",
            Self::Abort => "abort",
        }
    }

    /// The verdict with this [`word`](Self::word).
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.word() == word)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Pass,
            Outcome::Warn => Self::Warn,
            Outcome::Skip => Self::Skip,
            Outcome::Check => Self::Check,
            Outcome::Fail => Self::Fail,
            Outcome::Timeout => Self::Timeout,
            Outcome::Crash => Self::Crash,
            Outcome::Abort => Self::Abort,
            Outcome::Error => Self::Error,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

/// How many items came to each verdict. Kept, not recounted, so it is right at every instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts([u32; Verdict::COUNT]);

impl Counts {
    /// One more item of this verdict.
    pub fn add(&mut self, verdict: Verdict) {
        self.0[verdict as usize] += 1;
    }

    /// So many more items of this verdict.
    pub fn add_many(&mut self, verdict: Verdict, items: u32) {
        self.0[verdict as usize] += items;
    }

    /// One item fewer: it is being run again.
    pub fn remove(&mut self, verdict: Verdict) {
        self.0[verdict as usize] -= 1;
    }

    /// Items of this verdict.
    pub fn get(&self, verdict: Verdict) -> u32 {
        self.0[verdict as usize]
    }

    /// Items that have a verdict.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Items whose verdict is not [`ok`](Verdict::is_ok).
    pub fn failed(&self) -> u32 {
        Verdict::ALL.into_iter().filter(|v| !v.is_ok()).map(|v| self.get(v)).sum()
    }

    /// The worst verdict that does not let others go on, if there is one.
    pub fn worst_that_blocks(&self) -> Option<Verdict> {
        Verdict::ALL.into_iter().rev().find(|v| !v.lets_others_go_on() && self.get(*v) > 0)
    }

    /// The worst verdict there is, `None` where nothing has ended.
    pub fn worst(&self) -> Option<Verdict> {
        Verdict::ALL.into_iter().rev().find(|v| self.get(*v) > 0)
    }
}

/// How `muster run` and its kin end; part of the stable interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All required tests passed.
    Passed = 0,
    /// At least one test failed.
    Failed = 1,
    /// Usage or configuration error.
    Usage = 2,
    /// The lab failed; the verdict is unknown.
    Lab = 3,
    /// Nothing ran: no test matched.
    NothingRan = 4,
    /// What was run passed, but earlier failures of the run are still outstanding.
    Outstanding = 5,
    /// Nothing of it was started within the time it was given to wait for a lab.
    NotStarted = 7,
    /// The lab as it is cannot run it: no device of it may be used.
    Never = 8,
    /// A bug in Muster.
    Bug = 70,
    /// The run's time limit was reached.
    RunTimeLimit = 124,
    /// Interrupted (Ctrl-C).
    Interrupted = 130,
    /// Terminated (SIGTERM).
    Terminated = 143,
}
