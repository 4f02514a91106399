//! What people and programs are shown: the one shape behind the terminal, the reports, JSON and pages.

use crate::attempt::AttemptResult;
use crate::change::{Hold, Moved, Registration};
use crate::definition::UnexpectedPass;
use crate::exchange::Labels;
use crate::health::DeviceHealth;
use crate::id::{DeviceId, RunId};
use crate::inputs::Inputs;
use crate::note::Said;
use crate::outcome::{Counts, Verdict};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A run with all it has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// Its area's name.
    pub area: String,
    /// Its number in the area.
    pub number: u32,
    /// Its name; empty where it was given none.
    pub name: String,
    /// What it was for.
    pub target: Vec<(String, String)>,
    /// Where it ran.
    pub host: String,
    /// What it was given from outside.
    #[serde(default)]
    pub inputs: Inputs,
    /// Where it stands.
    pub state: RunState,
    /// When it was started.
    pub started: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// Items by verdict.
    pub counts: Counts,
    /// Items known so far.
    pub items: u32,
    /// Whether an unexpected pass fails it.
    pub unexpected_pass: UnexpectedPass,
    /// What people said of it.
    #[serde(default)]
    pub said: Said,
    /// Its tests, in plan order. Empty in listings.
    pub tests: Vec<TestView>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Things are running or waiting.
    Active,
    /// Everything asked for has ended.
    Ended,
    /// It was stopped before everything had ended; `muster resume` goes on.
    Stopped,
}

/// A test of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestView {
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// What it checks.
    pub description: String,
    /// Words to select by.
    pub tags: Vec<String>,
    /// Where it was written.
    pub origin: String,
    /// The worst of its items; `None` while something of it has not ended.
    pub verdict: Option<Verdict>,
    /// Items by verdict.
    pub counts: Counts,
    /// Its items, in plan order. A test without items has one with an empty path.
    pub items: Vec<ItemView>,
}

/// An item of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemView {
    /// Its path; empty for a test without items, and for the question for a suite's items.
    pub path: String,
    /// It is the question for the test's items, not a check of its own.
    pub discovery: bool,
    /// The judgement; `None` while it waits or runs.
    pub verdict: Option<Verdict>,
    /// Why it has its verdict without having been run, or what it waits for.
    pub reason: String,
    /// Its tries, from the first.
    pub attempts: Vec<AttemptView>,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// From 1.
    pub number: u16,
    /// The device it ran on.
    pub device: String,
    /// All that is known about it.
    pub result: Arc<AttemptResult>,
}

impl ItemView {
    /// The attempt that decided: the last one.
    pub fn last(&self) -> Option<&AttemptView> {
        self.attempts.last()
    }
}

impl RunView {
    /// `AREA/RUN`.
    pub fn address(&self) -> String {
        format!("{}/{}", self.area, self.number)
    }

    /// The worst verdict so far.
    pub fn verdict(&self) -> Option<Verdict> {
        self.counts.worst()
    }

    /// Whether everything that ended is fine.
    pub fn is_ok(&self) -> bool {
        self.not_ok() == 0
    }

    /// Whether it came to its end and everything in it is fine. A run that was killed or stopped on the
    /// way has not passed, however good what had ended looks.
    pub fn has_passed(&self) -> bool {
        self.state == RunState::Ended && self.is_ok()
    }

    /// Whether the lab failed and no test did, so that nothing is known about the tests. What was not run
    /// because of that, or was cancelled, is no test's failure.
    pub fn only_lab_failed(&self) -> bool {
        let excused = [Verdict::Error, Verdict::PrerequisiteFailed, Verdict::Cancelled];
        let excused: u32 = excused.into_iter().map(|v| self.counts.get(v)).sum();
        self.counts.get(Verdict::Error) > 0 && self.not_ok() == excused
    }

    /// Whether it was stopped, and nothing that had ended speaks against the tests.
    pub fn was_just_stopped(&self) -> bool {
        self.state == RunState::Stopped && self.not_ok() == self.counts.get(Verdict::Cancelled)
    }

    /// Items that keep the run from being called passed.
    fn not_ok(&self) -> u32 {
        let forgiven = match self.unexpected_pass {
            UnexpectedPass::Fail => 0,
            UnexpectedPass::Report => self.counts.get(Verdict::UnexpectedPass),
        };
        self.counts.failed() - forgiven
    }

    /// Every item with its test.
    pub fn all_items(&self) -> impl Iterator<Item = (&TestView, &ItemView)> {
        self.tests.iter().flat_map(|t| t.items.iter().map(move |i| (t, i)))
    }
}

/// A lab: its hosts and what waits for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabView {
    /// Its devices, by host and name.
    pub devices: Vec<DeviceView>,
    /// Runs that are under way, in the order in which they are given devices.
    pub runs: Vec<QueuedRun>,
    /// Devices that were added or proposed, by host and name.
    #[serde(default)]
    pub registered: Vec<Registration>,
}

/// A device as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Its name.
    pub name: String,
    /// The host of its agent.
    pub host: String,
    /// What its agent says it is like.
    pub labels: Labels,
    /// What it does.
    pub state: DeviceState,
    /// What it runs, as `AREA/RUN/TEST/ITEM#ATTEMPT`.
    pub running: Option<String>,
    /// Units it has been given beyond that.
    pub queued: u32,
    /// Who has taken it out of scheduling.
    pub hold: Option<Hold>,
    /// What it is worth.
    pub health: HealthView,
    /// What the self-check of its host found; nothing new is given to its devices meanwhile.
    pub trouble: Vec<String>,
    /// The pool it is in.
    #[serde(default)]
    pub pool: String,
    /// How often something failed there and was good on another device, since the server began.
    #[serde(default)]
    pub blamed: u32,
    /// What did so last, as `AREA/RUN/TEST`.
    #[serde(default)]
    pub blamed_for: String,
    /// What the lab calls it.
    pub id: DeviceId,
}

/// What a device is worth, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// In a word: `unknown`, `good`, `suspect`, `checking`, `failing`, `repairing`, `quarantined`.
    pub word: String,
    /// Its kind, which says how it is checked and mended.
    pub kind: Option<String>,
    /// Why it gets no ordinary work, if it gets none for that.
    pub unfit: Option<String>,
}

/// All that is known of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceDetail {
    /// As it stands.
    pub device: DeviceView,
    /// Its health, and its history.
    pub health: DeviceHealth,
    /// When it is checked next, if nothing happens.
    pub next_check: Option<Time>,
    /// Everything that keeps it from getting ordinary work; empty where nothing does.
    pub why: Vec<String>,
}

/// What a device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// Nothing: it can be given work.
    Idle,
    /// It runs something.
    Busy,
    /// Its agent has not been heard for some seconds: nothing new is given to it.
    Suspect,
    /// Its agent is not there.
    Away,
}

impl DeviceState {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Suspect => "suspect",
            Self::Away => "away",
        }
    }
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueuedRun {
    /// Its id.
    pub id: RunId,
    /// `AREA/RUN`.
    pub address: String,
    /// Who asked for it; empty where nobody said.
    #[serde(default)]
    pub user: String,
    /// Its priority among runs.
    #[serde(default)]
    pub priority: i32,
    /// What a person last said of its place in the queue.
    #[serde(default)]
    pub moved: Option<Moved>,
    /// Where it may run; empty for anywhere.
    pub selector: String,
    /// Items that have no verdict.
    pub open: u32,
    /// Of those, given to devices.
    pub out: u32,
    /// Why nothing of it is running, if nothing is.
    pub waits: Option<String>,
    /// When it may start, as far as is known: `in 2 min to 10 min`.
    #[serde(default)]
    pub eta: Option<String>,
    /// It cannot start as the lab is: no device that is known will do.
    #[serde(default)]
    pub never: bool,
}
