//! A line of the event stream.

use super::{Attempt, Counts, TargetValue, Texts, Verdict};
use crate::report::words;
use muster_core::event as core;
use schemars::JsonSchema;
use serde::Serialize;

/// One line of the event stream: something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "EventLine")]
pub struct EventLine<'a> {
    /// The version of this format.
    pub schema: EventSchema,
    /// When it was decided or learned, RFC 3339.
    pub at: String,
    /// The run's id, a UUID.
    pub run: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event<'a>,
}

/// The version of the event stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum EventSchema {
    /// The first.
    #[default]
    #[serde(rename = "muster.event/1")]
    V1,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// The run's plan is recorded.
    RunStarted {
        /// `AREA/RUN`.
        address: &'a str,
        /// Its name; may be empty.
        name: &'a str,
        /// What it is for, in the order of the area's keys.
        target: Vec<TargetValue<'a>>,
        /// Tests planned.
        tests: u32,
        /// Items known so far.
        items: u32,
        /// Tests whose items are still to be discovered.
        undiscovered: u32,
    },
    /// A test's items were discovered.
    ItemsFound {
        /// The test.
        test: &'a str,
        /// How many of them are in the run.
        items: u32,
    },
    /// Nothing of it runs, and has not for a while: what could start is held up. It is not part of the record, and may be
    /// missing.
    Waiting {
        /// By what.
        reason: &'a str,
    },
    /// An attempt's process started. It is not part of the record, and may be missing.
    AttemptStarted {
        /// The test.
        test: &'a str,
        /// The item's path; empty for a test without items.
        item: &'a str,
        /// From 1.
        attempt: u16,
        /// Where it runs.
        device: &'a str,
    },
    /// An attempt ended and its result is recorded.
    AttemptEnded {
        /// The test.
        test: &'a str,
        /// The item's path; empty for a test without items.
        item: &'a str,
        /// From 1.
        attempt: u16,
        /// Where it ran.
        device: &'a str,
        /// It asked for items and is not a check of its own.
        discovery: bool,
        /// There will be another attempt.
        retried: bool,
        /// All about it.
        result: Box<Attempt<'a>>,
    },
    /// An item has its verdict.
    ItemEnded {
        /// The test.
        test: &'a str,
        /// The item's path; empty for a test without items.
        item: &'a str,
        /// The judgement.
        verdict: Verdict,
        /// Attempts made.
        attempts: u16,
        /// Why, where it was not run or the verdict differs from the outcome; may be empty.
        reason: &'a str,
    },
    /// Every item of a test has its verdict.
    TestEnded {
        /// The test.
        test: &'a str,
        /// The worst of its items.
        verdict: Verdict,
        /// Items by verdict.
        counts: Counts,
    },
    /// Everything has ended, or was stopped.
    RunEnded {
        /// The worst of its items; `null` where nothing has ended.
        verdict: Option<Verdict>,
        /// Items by verdict.
        counts: Counts,
        /// Whether it was stopped before everything had ended.
        stopped: bool,
    },
}

impl<'a> From<&'a core::Told> for EventLine<'a> {
    fn from(told: &'a core::Told) -> Self {
        let core::Told { at, run, event } = told;
        Self {
            schema: EventSchema::V1,
            at: words::timestamp(*at),
            run: words::run_uuid(*run),
            event: event.into(),
        }
    }
}

impl<'a> From<&'a core::Event> for Event<'a> {
    fn from(event: &'a core::Event) -> Self {
        match event {
            core::Event::RunStarted { address, name, target, tests, items, undiscovered } => {
                Self::RunStarted {
                    address,
                    name,
                    target: TargetValue::list(target),
                    tests: *tests,
                    items: *items,
                    undiscovered: *undiscovered,
                }
            }
            core::Event::ItemsFound { test, items } => Self::ItemsFound { test, items: *items },
            core::Event::Waiting { reason } => Self::Waiting { reason },
            core::Event::AttemptStarted { test, item, attempt, device } => {
                Self::AttemptStarted { test, item, attempt: *attempt, device }
            }
            core::Event::AttemptEnded { test, item, attempt, device, discovery, result, retried } => {
                Self::AttemptEnded {
                    test,
                    item,
                    attempt: *attempt,
                    device,
                    discovery: *discovery,
                    retried: *retried,
                    result: Box::new(Attempt::new(result, Texts::Inline)),
                }
            }
            core::Event::ItemEnded { test, item, verdict, attempts, reason } => {
                Self::ItemEnded { test, item, verdict: (*verdict).into(), attempts: *attempts, reason }
            }
            core::Event::TestEnded { test, verdict, counts } => {
                Self::TestEnded { test, verdict: (*verdict).into(), counts: counts.into() }
            }
            core::Event::RunEnded { verdict, counts, stopped } => Self::RunEnded {
                verdict: verdict.map(Verdict::from),
                counts: counts.into(),
                stopped: *stopped,
            },
        }
    }
}
