//! What happened, for those who watch a run: the terminal, live reporters, later the event stream.
//!
//! An event is told only after what it says has been committed; [`Event::AttemptStarted`] and
//! [`Event::Waiting`] alone are news of the moment and not part of the record.

use crate::attempt::AttemptResult;
use crate::change::Hold;
use crate::id::{AgentId, DeviceId, RunId};
use crate::outcome::{Counts, Verdict};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Something that happened in a run, with when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// When the lab decided or learned it.
    pub at: Time,
    /// The run.
    pub run: RunId,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The run's plan is recorded.
    RunStarted {
        /// `AREA/RUN`.
        address: Arc<str>,
        /// Its name.
        name: Arc<str>,
        /// Target values.
        target: Vec<(String, String)>,
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
        test: Arc<str>,
        /// How many of them are in the run.
        items: u32,
    },
    /// Nothing of it runs, and has not for a while: what could start is held up. News of the moment, like the start
    /// of an attempt.
    Waiting {
        /// By what.
        reason: Arc<str>,
    },
    /// An attempt's process started.
    AttemptStarted {
        /// The test.
        test: Arc<str>,
        /// The item's path.
        item: Arc<str>,
        /// From 1.
        attempt: u16,
        /// Where.
        device: Arc<str>,
    },
    /// An attempt ended and its result is recorded.
    AttemptEnded {
        /// The test.
        test: Arc<str>,
        /// The item's path.
        item: Arc<str>,
        /// From 1.
        attempt: u16,
        /// Where it ran.
        device: Arc<str>,
        /// It asked for items and is not a check of its own.
        discovery: bool,
        /// All about it.
        result: Arc<AttemptResult>,
        /// There will be another attempt.
        retried: bool,
    },
    /// An item has its verdict.
    ItemEnded {
        /// The test.
        test: Arc<str>,
        /// The item's path.
        item: Arc<str>,
        /// The judgement.
        verdict: Verdict,
        /// Attempts made.
        attempts: u16,
        /// Why, where it was not run or the verdict differs from the outcome.
        reason: Arc<str>,
    },
    /// Every item of a test has its verdict.
    TestEnded {
        /// The test.
        test: Arc<str>,
        /// The worst of its items.
        verdict: Verdict,
        /// Items by verdict.
        counts: Counts,
    },
    /// Everything has ended, or was stopped.
    RunEnded {
        /// The worst of its items.
        verdict: Option<Verdict>,
        /// Items by verdict.
        counts: Counts,
        /// Whether it was stopped before everything had ended.
        stopped: bool,
    },
}

/// Something that happened in a lab as a whole. Recorded with what it says, for those who watch the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabEvent {
    /// A run was accepted.
    RunCreated {
        /// The run.
        run: RunId,
        /// `AREA/RUN`.
        address: String,
        /// Who asked for it; empty where nobody said.
        user: String,
    },
    /// A run that was over goes on.
    RunReopened {
        /// The run.
        run: RunId,
        /// `AREA/RUN`.
        address: String,
    },
    /// Everything of a run has ended, or it was stopped.
    RunEnded {
        /// The run.
        run: RunId,
        /// `AREA/RUN`.
        address: String,
        /// The worst of its items.
        verdict: Option<Verdict>,
        /// Whether it was stopped before everything had ended.
        stopped: bool,
    },
    /// An agent is there: for the first time, in a new life, or after it was lost.
    AgentJoined {
        /// The agent.
        agent: AgentId,
        /// Its host.
        host: String,
    },
    /// An agent is gone.
    AgentLost {
        /// The agent.
        agent: AgentId,
        /// Its host.
        host: String,
        /// It said goodbye.
        goodbye: bool,
    },
    /// A device is known from now on.
    DeviceAppeared {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
        /// The host of its agent.
        host: String,
    },
    /// Its agent has the device no more.
    DeviceGone {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// A person took a device out of scheduling.
    DeviceHeld {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
        /// Who, and why.
        hold: Hold,
    },
    /// A device is worth more or less than before.
    DeviceHealth {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
        /// Its health, in a word.
        health: String,
        /// Why, for people; empty where nothing speaks against it.
        why: String,
        /// The run or attempt that shows it; empty where there is none.
        address: String,
    },
    /// A device is not held any more.
    DeviceReleased {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
    },
}
