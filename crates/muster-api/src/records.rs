//! Looking at the records of a server: one question, one answer.

use muster_core::attempt::{AttemptResult, Output};
use muster_core::id::{AttemptRef, ItemIx, LeaseId, RunId};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What can be asked. Each is a verb of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// Runs without their tests, newest first. The answer is a list of `RunView`.
    Runs {
        /// Only of this area.
        area: Option<String>,
        /// Only runs accepted before this one.
        before: Option<RunId>,
        /// At most this many.
        limit: u32,
    },
    /// A run without its tests, by what a person calls it. An optional `RunView`.
    FindRun {
        /// Its area.
        area: String,
        /// What it is called.
        name: Name,
    },
    /// Who removed the run that had this number. An optional [`Gone`].
    FindRemoved {
        /// Its area.
        area: String,
        /// Its number.
        number: u32,
    },
    /// A run with tests, items and attempts. A `RunView`.
    Run {
        /// The run.
        run: RunId,
        /// Which of its items.
        items: Items,
    },
    /// A run as the lab knows it. A `RunSnapshot`.
    Snapshot(RunId),
    /// The attempts of an item. A list of `AttemptView`.
    Attempts(RunId, ItemIx),
    /// The attempts of a test in the newest runs. A list of [`PastAttempt`].
    History {
        /// The area.
        area: String,
        /// The test.
        test: String,
        /// Only of this item.
        item: Option<String>,
        /// Only in runs accepted before this one.
        #[serde(default)]
        before: Option<RunId>,
        /// At most this many runs.
        limit: u32,
    },
    /// Results that came too late to count. A list of [`Late`].
    LateEvidence(RunId),
    /// What the results of a run were made of, as whoever asked for it said: text, a line each time.
    MadeOf(RunId),
    /// Frames of an output, as it was given in an answer. Bytes.
    Output {
        /// The run.
        run: RunId,
        /// The output.
        output: Output,
        /// From this byte, at most so many; `None`: all, with its checksums verified.
        range: Option<(u64, u64)>,
    },
}

/// A run that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Its name; empty for none.
    pub name: String,
    /// Who removed it.
    pub by: String,
    /// When.
    pub at: Time,
    /// Why; may be empty.
    pub reason: String,
}

/// What a run is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Name {
    /// The newest.
    Latest,
    /// By its number.
    Number(u32),
    /// By its given name.
    Name(String),
}

/// Which items of a run are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Items {
    /// All.
    All,
    /// Those that are not fine, and those that have not ended.
    NotOk,
    /// Those that are not fine.
    Failed,
    /// Those of this test.
    Test(String),
    /// This one of this test.
    Item(String, String),
}

/// One attempt in the history of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastAttempt {
    /// The run.
    pub run: RunId,
    /// The run's number in the area.
    pub number: u32,
    /// What the run was for.
    pub target: Vec<(String, String)>,
    /// Item path.
    pub path: Arc<str>,
    /// From 1.
    pub attempt: u16,
    /// What it came to.
    pub outcome: Outcome,
    /// What its item came to in that run.
    pub verdict: Option<Verdict>,
    /// When it began.
    pub started: Time,
    /// How long it took.
    pub duration: Duration,
}

/// A result that came from a lease that had ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Late {
    /// Which attempt it says it is.
    pub attempt: AttemptRef,
    /// The lease it came under.
    pub lease: LeaseId,
    /// When it came.
    pub at: Time,
    /// What it says.
    pub result: Arc<AttemptResult>,
}
