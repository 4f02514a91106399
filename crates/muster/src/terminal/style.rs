//! Colours and the short words for verdicts. Nothing is told by colour alone.

use anstyle::{AnsiColor, Style};
use muster_core::outcome::{Outcome, Verdict};
use std::fmt;

/// As it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// As it should not be.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Worth a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// The lab's, not the test's.
pub(crate) const LAB: Style = AnsiColor::Magenta.on_default().bold();
/// Of no weight.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What can be typed, and where to look.
pub(crate) const INFO: Style = AnsiColor::Cyan.on_default();
/// Headings.
pub(crate) const HEAD: Style = Style::new().bold();

/// Text in a style, as one string.
pub(crate) fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

/// Columns of the longest [`label`].
pub(crate) const LABEL_WIDTH: usize = 7;

/// A verdict in at most seven capitals.
pub(crate) fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Skip => "SKIP",
        Verdict::KnownFailure => "KNOWN",
        Verdict::Warn => "WARN",
        Verdict::Flaky => "FLAKY",
        Verdict::Check => "CHECK",
        Verdict::NoItems => "EMPTY",
        Verdict::Cancelled => "STOPPED",
        Verdict::PrerequisiteFailed => "BLOCKED",
        Verdict::UnexpectedPass => "XPASS",
        Verdict::Fail => "FAIL",
        Verdict::Timeout => "TIMEOUT",
        Verdict::Crash => "CRASH",
        Verdict::Error => "ERROR",
        Verdict::Abort => "ABORT",
    }
}

/// How many of a verdict, in words for a sentence: `3 failed`.
pub(crate) fn counted(verdict: Verdict, n: u32) -> String {
    let word = match verdict {
        Verdict::Pass => "passed",
        Verdict::Skip => "skipped",
        Verdict::KnownFailure => {
            if n == 1 {
                "known failure"
            } else {
                "known failures"
            }
        }
        Verdict::Warn => "with warnings",
        Verdict::Flaky => "flaky",
        Verdict::Check => "to be checked",
        Verdict::NoItems => "without items",
        Verdict::Cancelled => "stopped",
        Verdict::PrerequisiteFailed => "blocked",
        Verdict::UnexpectedPass => {
            if n == 1 {
                "unexpected pass"
            } else {
                "unexpected passes"
            }
        }
        Verdict::Fail => "failed",
        Verdict::Timeout => "timed out",
        Verdict::Crash => "crashed",
        Verdict::Error => {
            if n == 1 {
                "lab error"
            } else {
                "lab errors"
            }
        }
        Verdict::Abort => "aborted",
    };
    format!("{} {word}", super::text::count(n.into()))
}

/// The colour of a verdict.
pub(crate) fn of(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => GOOD,
        Verdict::Skip | Verdict::KnownFailure | Verdict::NoItems => DIM,
        Verdict::Warn
        | Verdict::Flaky
        | Verdict::Check
        | Verdict::Cancelled
        | Verdict::PrerequisiteFailed => WARN,
        Verdict::UnexpectedPass | Verdict::Fail | Verdict::Timeout | Verdict::Crash | Verdict::Abort => BAD,
        Verdict::Error => LAB,
    }
}

/// The colour of an outcome.
pub(crate) fn of_outcome(outcome: Outcome) -> Style {
    of(Verdict::from(outcome))
}

/// A verdict as one sign, for dots and strips.
pub(crate) fn sign(verdict: Verdict) -> char {
    match verdict {
        Verdict::Pass => '.',
        Verdict::Skip | Verdict::NoItems => 's',
        Verdict::KnownFailure => 'k',
        Verdict::Warn => 'w',
        Verdict::Flaky => 'f',
        Verdict::Check => '?',
        Verdict::Cancelled => '-',
        Verdict::PrerequisiteFailed => 'b',
        Verdict::UnexpectedPass => 'X',
        Verdict::Fail => 'F',
        Verdict::Timeout => 'T',
        Verdict::Crash => 'C',
        Verdict::Error => 'E',
        Verdict::Abort => 'A',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_label_that_fits_and_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Verdict::ALL.map(|v| counted(v, 2)).into_iter().collect();
        assert_eq!(words.len(), Verdict::COUNT);
        assert!(Verdict::ALL.iter().all(|v| label(*v).len() <= LABEL_WIDTH));
    }
}
