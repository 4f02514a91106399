//! The words that keys of `muster.toml` may have as values, and what they mean.

use super::decode::words;
use muster_core::definition::{FlakyPolicy, Ignored, LogMeaning, Proceed, UnexpectedPass};
use muster_core::outcome::Outcome;

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expected {
    Outcome(Outcome),
    Skip,
    Slow,
}

/// Mode of an `after`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    Passed,
    Ended,
    MatchingItem,
    Exclusive,
}

/// How a measured value is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compare {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The frameworks' names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FrameworkName {
    Cargo,
    Pytest,
    Gtest,
    Ctest,
    Tap,
    Autotest,
    Files,
    List,
}

words! { UnexpectedPassWord: UnexpectedPass {
    "fail" => UnexpectedPass::Fail,
    "report" => UnexpectedPass::Report,
} }

words! { FlakyWord: FlakyPolicy {
    "pass" => FlakyPolicy::Pass,
    "fail" => FlakyPolicy::Fail,
} }

words! { ProceedWord: Proceed {
    "passed" => Proceed::Passed,
    "always" => Proceed::Always,
    "ignored" => Proceed::Ignored,
} }

words! { IgnoredWord: Ignored {
    "skip" => Ignored::Skip,
    "include" => Ignored::Include,
    "only" => Ignored::Only,
} }

words! { ModeWord: Mode {
    "passed" => Mode::Passed,
    "ended" => Mode::Ended,
    "matching-item" => Mode::MatchingItem,
    "exclusive" => Mode::Exclusive,
} }

words! { CompareWord: Compare {
    "<" => Compare::Less,
    "<=" => Compare::LessOrEqual,
    ">" => Compare::Greater,
    ">=" => Compare::GreaterOrEqual,
} }

words! { ExitOutcome: Outcome {
    "pass" => Outcome::Pass,
    "warn" => Outcome::Warn,
    "skip" => Outcome::Skip,
    "check" => Outcome::Check,
    "fail" => Outcome::Fail,
    "timeout" => Outcome::Timeout,
    "crash" => Outcome::Crash,
    "abort" => Outcome::Abort,
    "error" => Outcome::Error,
} }

words! { RetryOutcome: Outcome {
    "check" => Outcome::Check,
    "fail" => Outcome::Fail,
    "timeout" => Outcome::Timeout,
    "crash" => Outcome::Crash,
    "abort" => Outcome::Abort,
} }

words! { ExpectWord: Expected {
    "pass" => Expected::Outcome(Outcome::Pass),
    "fail" => Expected::Outcome(Outcome::Fail),
    "timeout" => Expected::Outcome(Outcome::Timeout),
    "crash" => Expected::Outcome(Outcome::Crash),
    "skip" => Expected::Skip,
    "slow" => Expected::Slow,
} }

words! { LogWord: LogMeaning {
    "pass" => LogMeaning::Pass,
    "ignore" => LogMeaning::Ignore,
    "warn" => LogMeaning::Warn,
    "check" => LogMeaning::Check,
    "fail" => LogMeaning::Fail,
    "skip" => LogMeaning::Skip,
    "abort" => LogMeaning::Abort,
} }

words! { FrameworkWord: FrameworkName {
    "cargo" => FrameworkName::Cargo,
    "pytest" => FrameworkName::Pytest,
    "gtest" => FrameworkName::Gtest,
    "ctest" => FrameworkName::Ctest,
    "tap" => FrameworkName::Tap,
    "autotest" => FrameworkName::Autotest,
    "files" => FrameworkName::Files,
    "list" => FrameworkName::List,
} }

impl FrameworkName {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        let known = FrameworkWord::ALL.iter().find(|(_, name)| *name == self);
        known.expect("each framework has a word").0
    }
}
