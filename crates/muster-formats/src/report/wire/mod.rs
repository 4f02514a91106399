//! What Muster says in JSON: types of its own, so that the lab's types can change without anyone outside
//! noticing. Every conversion takes its source apart field by field: a new field of the lab does not
//! compile until it has been decided here what becomes of it.
//!
//! Changes that keep the version: new fields, new events, new words in the enumerations. Everything else
//! gets a new version. Numbers of time are microseconds, moments are RFC 3339 in UTC.

mod attempt;
mod event;
mod lab;
mod lab_event;
mod note;
mod run;

pub use attempt::{
    Artifact, Artifacts, Attempt, Cause, Frame, LeftOut, Measured, Outcome, Output, Step, Stream, Texts,
    Usage,
};
pub use event::{Event, EventLine, EventSchema};
pub use lab::{Device, DeviceState, Hold, QueuedRun};
pub use lab_event::{LabEvent, LabEventLine, LabEventSchema};
pub use note::{Lock, Note};
pub use run::{Each, Item, Run, RunSchema, RunState, Test, TestAttempt, UnexpectedPass};

use muster_core::outcome::Counts as CoreCounts;
use muster_core::outcome::Verdict as CoreVerdict;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// The judgement of an item after all its attempts; tests and runs have their worst item's. Sorted from
/// best to worst; all up to `no-items` leave the run passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
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
    /// It passed after it had failed.
    Flaky,
    /// A person must look.
    Check,
    /// The test's items were asked for and there are none.
    NoItems,
    /// Stopped before it came to anything.
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

impl From<CoreVerdict> for Verdict {
    fn from(verdict: CoreVerdict) -> Self {
        match verdict {
            CoreVerdict::Pass => Self::Pass,
            CoreVerdict::Skip => Self::Skip,
            CoreVerdict::KnownFailure => Self::KnownFailure,
            CoreVerdict::Warn => Self::Warn,
            CoreVerdict::Flaky => Self::Flaky,
            CoreVerdict::Check => Self::Check,
            CoreVerdict::NoItems => Self::NoItems,
            CoreVerdict::Cancelled => Self::Cancelled,
            CoreVerdict::PrerequisiteFailed => Self::PrerequisiteFailed,
            CoreVerdict::UnexpectedPass => Self::UnexpectedPass,
            CoreVerdict::Fail => Self::Fail,
            CoreVerdict::Timeout => Self::Timeout,
            CoreVerdict::Crash => Self::Crash,
            CoreVerdict::Error => Self::Error,
            CoreVerdict::Abort => Self::Abort,
        }
    }
}

/// Items by verdict; a verdict that no item has is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Counts(pub BTreeMap<Verdict, u32>);

impl From<&CoreCounts> for Counts {
    fn from(counts: &CoreCounts) -> Self {
        let one = |v| Some((Verdict::from(v), counts.get(v))).filter(|(_, n)| *n > 0);
        Self(CoreVerdict::ALL.into_iter().filter_map(one).collect())
    }
}

/// One key of a target with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TargetValue<'a> {
    /// The area's key: `os`.
    pub key: &'a str,
    /// What the run is for: `linux`.
    pub value: &'a str,
}

impl<'a> TargetValue<'a> {
    fn list(target: &'a [(String, String)]) -> Vec<Self> {
        target.iter().map(|(key, value)| Self { key, value }).collect()
    }
}

/// The JSON schema of a line of the event stream, as it is checked in.
pub fn event_schema() -> String {
    schema::<EventLine<'static>>()
}

/// The JSON schema of a whole run, as it is checked in.
pub fn run_schema() -> String {
    schema::<Run<'static>>()
}

fn schema<T: JsonSchema>() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(T)).expect("a schema is plain JSON");
    text.push('\n');
    text
}
