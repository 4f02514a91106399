//! Several steps, one attempt: when the next step runs, and what all of them come to.

use crate::attempt::Cause;
use crate::definition::Proceed;
use crate::outcome::Outcome;

/// Whether the step after one that came to this runs. A stop on request ends everything.
pub fn goes_on(outcome: Outcome, proceed: Proceed) -> bool {
    match (outcome, proceed) {
        (Outcome::Cancelled, _) => false,
        (_, Proceed::Always | Proceed::Ignored) | (Outcome::Pass | Outcome::Warn, Proceed::Passed) => true,
        (
            Outcome::Skip
            | Outcome::Check
            | Outcome::Fail
            | Outcome::Timeout
            | Outcome::Crash
            | Outcome::Abort
            | Outcome::Error,
            Proceed::Passed,
        ) => false,
    }
}

/// What the steps so far come to: the worst of those that count; of equals, the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The worst outcome.
    pub outcome: Outcome,
    /// Its cause.
    pub cause: Cause,
    /// The place of the step it came from.
    pub step: usize,
    steps: usize,
    counted: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { outcome: Outcome::Pass, cause: Cause::Exit(0), step: 0, steps: 0, counted: false }
    }
}

impl Progress {
    /// A step has ended. Whether the next one runs.
    pub fn receive_step(&mut self, outcome: Outcome, cause: Cause, proceed: Proceed) -> bool {
        let step = self.steps;
        self.steps += 1;
        // A stop is not the step's doing, so it counts whatever the step's own rule is.
        let counts = proceed != Proceed::Ignored || outcome == Outcome::Cancelled;
        if counts && (!self.counted || outcome > self.outcome) {
            (self.outcome, self.cause, self.step, self.counted) = (outcome, cause, step, true);
        }
        goes_on(outcome, proceed)
    }
}
