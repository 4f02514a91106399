//! From how a process ended and what it left behind to what the attempt came to: outcome, cause, the one
//! line a person reads first, and the values it measured.
//!
//! Pure: texts and files come in as arguments. What a framework reports about its items is read in
//! `muster-formats`; here are the exit code contract, expected output, log rules and measured values.
//!
//! ```text
//! end ─► exit contract ─► steps ─► expected output ─► log rules ─► measured values ─► judgement
//!                                  (each may only make it worse; a skip rule only while it is good)
//! ```

mod expected;
mod lines;
mod log;
mod measure;
mod message;
mod steps;
mod told;
mod useful;

#[cfg(test)]
mod tests;

pub use lines::for_each_line;
pub use measure::{MeasureError, parse_measures, split_csv};
pub use message::{describe, duration_words, signal_name};
pub use steps::{Progress, goes_on};
pub use told::with_told;
pub use useful::first_useful_line;

use crate::attempt::{Cause, Measured};
use crate::definition::{ExpectedOutput, LogMeaning, PassRule};
use crate::outcome::Outcome;
use log::LogRules;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exit(i32),
    /// A signal that was not ours ended it.
    Signal(i32),
    /// The hard limit ended it.
    HardLimit(Duration),
    /// The silence limit ended it.
    SilenceLimit(Duration),
    /// It was stopped on request, and why.
    Stopped(String),
    /// It could not be started, and why.
    NotStarted(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::HardLimit(d) => write!(f, "did not end within {d:?}"),
            Self::SilenceLimit(d) => write!(f, "printed nothing for {d:?}"),
            Self::Stopped(why) => write!(f, "was stopped: {why}"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

impl Ended {
    /// What this end says about the item that a framework was running, where nothing else does, and the
    /// cause. Exit code 0 is a pass, any other a failure: frameworks do not know the contract of plain
    /// tests.
    pub fn judgement(&self) -> (Outcome, Cause) {
        self.judge_by(|code| if code == 0 { Outcome::Pass } else { Outcome::Fail })
    }

    /// What this end says, where exit codes mean this.
    fn judge_by(&self, of_code: impl FnOnce(i32) -> Outcome) -> (Outcome, Cause) {
        match self {
            Self::Exit(code) => (of_code(*code), Cause::Exit(*code)),
            Self::Signal(signal) => (Outcome::Crash, Cause::Signal(*signal)),
            Self::HardLimit(limit) => (Outcome::Timeout, Cause::HardLimit(*limit)),
            Self::SilenceLimit(limit) => (Outcome::Timeout, Cause::SilenceLimit(*limit)),
            Self::Stopped(why) => (Outcome::Cancelled, Cause::Stopped(why.clone())),
            Self::NotStarted(why) => (Outcome::Error, Cause::Lab(why.clone())),
        }
    }
}

/// A pass rule ready for use: its patterns are compiled once per test, not once per attempt.
#[derive(Clone, Debug)]
pub struct CompiledRule {
    rule: PassRule,
    log: LogRules,
}

/// A pass rule that cannot be used.
#[derive(Debug, Error)]
pub enum RuleError {
    /// A log rule's pattern is no regular expression.
    #[error("log rule `{pattern}`: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
}

/// What an attempt left behind.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What its end alone comes to ([`CompiledRule::of_end`]), or the worst of its steps.
    pub outcome: Outcome,
    /// Why.
    pub cause: &'a Cause,
    /// The framed log; may be empty where [`CompiledRule::needs_log`] says no.
    pub log: &'a [u8],
    /// The text of the expected file, or why it could not be read. `None` where the rule names no file.
    pub expected: Option<Result<&'a str, &'a str>>,
    /// The text of the file of measured values; empty where it wrote none.
    pub measures: &'a str,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What it came to.
    pub outcome: Outcome,
    /// Why.
    pub cause: Cause,
    /// One line for people; empty for a plain pass.
    pub message: String,
    /// The values it measured.
    pub measures: Vec<Measured>,
}

impl Judgement {
    /// Takes a worse outcome, with its cause and message.
    fn worsen(&mut self, outcome: Outcome, cause: Cause, message: String) {
        if outcome > self.outcome {
            (self.outcome, self.cause, self.message) = (outcome, cause, message);
        }
    }
}

impl CompiledRule {
    /// Compiles a rule.
    ///
    /// # Errors
    /// A pattern is not a regular expression, or too large a one.
    pub fn new(rule: &PassRule) -> Result<Self, RuleError> {
        Ok(Self { rule: rule.clone(), log: LogRules::new(&rule.log)? })
    }

    /// The rule as it was written.
    pub fn rule(&self) -> &PassRule {
        &self.rule
    }

    /// The same with another expected output; the compiled patterns are kept.
    pub fn with_stdout(&self, stdout: Option<ExpectedOutput>) -> Self {
        Self { rule: PassRule { stdout, ..self.rule.clone() }, log: self.log.clone() }
    }

    /// What the end of a process says by itself: the contract (0 pass, 77 skip, 99 error, else fail; a
    /// signal is a crash), unless the rule gives the exit code another meaning.
    pub fn of_end(&self, ended: &Ended) -> (Outcome, Cause) {
        ended.judge_by(|code| {
            let own = self.rule.exit.iter().find(|(c, _)| *c == code).map(|(_, outcome)| *outcome);
            own.unwrap_or(match code {
                0 => Outcome::Pass,
                77 => Outcome::Skip,
                99 => Outcome::Error,
                _ => Outcome::Fail,
            })
        })
    }

    /// Whether [`CompiledRule::judge`] looks into the log where the end came to this.
    pub fn needs_log(&self, outcome: Outcome) -> bool {
        outcome != Outcome::Pass || self.rule.stdout.is_some() || !self.rule.log.is_empty()
    }

    /// The file the rule compares standard output with, relative to the area.
    pub fn expected_file(&self) -> Option<&str> {
        match &self.rule.stdout {
            Some(ExpectedOutput::File(path) | ExpectedOutput::Pattern(path)) => Some(path),
            Some(ExpectedOutput::Text(_)) | None => None,
        }
    }

    /// The judgement of an attempt.
    pub fn judge(&self, evidence: &Evidence<'_>) -> Judgement {
        let Evidence { outcome, cause, log, expected, measures } = *evidence;
        let mut judgement = Judgement {
            outcome,
            cause: cause.clone(),
            message: describe(outcome, cause, log),
            measures: Vec::new(),
        };
        // What was stopped or never ran has shown nothing that rules could be about.
        if matches!(outcome, Outcome::Cancelled | Outcome::Error) && !matches!(cause, Cause::Exit(_)) {
            return judgement;
        }
        let tallies = self.log.tally(log);
        let skip_rule = outcome.is_good().then(|| self.log.holding(&tallies, LogMeaning::Skip)).flatten();
        if let Some(skip) = skip_rule {
            judgement =
                Judgement { outcome: Outcome::Skip, cause: skip.cause, message: skip.message, ..judgement };
        }
        // A skipped attempt owes no output, no required lines and no values.
        let skipped = judgement.outcome == Outcome::Skip;
        if let Some(stdout) = self.rule.stdout.as_ref().filter(|_| !skipped && outcome.is_good())
            && let Err(message) = expected::compare(stdout, expected, log)
        {
            judgement.worsen(Outcome::Fail, Cause::Output, message);
        }
        for found in self.log.findings(&tallies, skipped) {
            judgement.worsen(found.outcome, found.cause, found.message);
        }
        let (measured, problem) = measure::judge(measures, &self.rule.measures, skipped);
        judgement.measures = measured;
        if let Some(problem) = problem {
            judgement.worsen(Outcome::Fail, Cause::Measure(problem.name), problem.message);
        }
        judgement
    }
}
