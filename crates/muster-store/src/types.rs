//! What the store is asked and answers beside the core's own types.

use muster_core::attempt::AttemptResult;
use muster_core::event::LabEvent;
use muster_core::forecast::KnownItems;
use muster_core::id::{AttemptRef, ItemIx, LeaseId, RunId, TestIx};
use muster_core::note::Spot;
use muster_core::outcome::{Outcome, Verdict};
use muster_core::plan::History;
use muster_core::time::Time;
use muster_core::view::{AttemptView, ItemView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Whose leases, sent units, agents and id counters these are.
///
/// Several processes may each have a lab over one store (`muster run` twice in one area). Each opens the
/// store under a key of its own, random for an embedded lab and fixed for a standing server, so that
/// neither sees nor voids what the other has given out. A run belongs to the lab that created it or
/// last adopted it. One handle at a time writes under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabKey(pub u64);

/// Which runs to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this area.
    pub area: Option<String>,
    /// Only those that are called so: by their name or, where they have none, `run-` and their number.
    pub called: Option<String>,
    /// Only runs accepted before this one.
    pub before: Option<RunId>,
    /// At most this many.
    pub limit: u32,
}

impl RunFilter {
    /// Whether a run of this name and number is called as is wanted.
    pub fn is_called(&self, name: &str, number: u32) -> bool {
        self.called.as_deref().is_none_or(|called| match name {
            "" => Self::number(called) == Some(number),
            name => name == called,
        })
    }

    /// The number that a run without a name has if it is called so.
    pub(crate) fn number(called: &str) -> Option<u32> {
        let digits = called.strip_prefix("run-")?;
        digits.parse().ok().filter(|number: &u32| number.to_string() == digits)
    }
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { area: None, called: None, before: None, limit: 50 }
    }
}

/// What is kept out of the cold tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HotLimits {
    /// This many of the newest runs that are over; `None`: any number.
    pub runs: Option<u32>,
    /// Those that ended at this time or later; `None`: of any age.
    pub ended_before: Option<Time>,
    /// No more of the others than have so many items together, the oldest first, and no larger one; `None`: all.
    pub items: Option<u32>,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlace {
    /// The directory of its area.
    pub dir: PathBuf,
    /// That area's name.
    pub area: String,
    /// Its number there.
    pub number: u32,
}

/// A run that was moved to another area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedRun {
    /// The run.
    pub run: RunId,
    /// The number it had.
    pub number: u32,
    /// Its name; empty for none.
    pub name: String,
    /// When it was moved.
    pub at: Time,
    /// Where it is now.
    pub place: RunPlace,
}

/// How a person names a run of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunName<'a> {
    /// The newest.
    Latest,
    /// By its number.
    Number(u32),
    /// By its given name; the newest of that name.
    Name(&'a str),
}

/// Which items of a run to load. Tests none of whose items are wanted are left out; counts and verdicts
/// of tests and run are always over all items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemFilter<'a> {
    /// All.
    #[default]
    All,
    /// Those whose verdict is not [`ok`](Verdict::is_ok), and those that have none yet.
    NotOk,
    /// Those whose verdict is not [`ok`](Verdict::is_ok).
    Failed,
    /// Those of this test, by name.
    Test(&'a str),
    /// This one of this test, by name and item path.
    Item(&'a str, &'a str),
}

/// An item that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedItem {
    /// Its record in the run.
    pub item: ItemIx,
    /// Its test's place in the plan.
    pub test_ix: TestIx,
    /// Its test.
    pub test: Arc<str>,
    /// Its path; empty where the test has no items.
    pub path: Arc<str>,
    /// The judgement.
    pub verdict: Verdict,
    /// Why, where it is not plain from the last attempt.
    pub reason: String,
    /// Its last attempt, if it was ever run.
    pub last: Option<AttemptView>,
}

/// An item of a run in a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedItem {
    /// Its record.
    pub item: ItemIx,
    /// Its test.
    pub test: Arc<str>,
    /// All about it.
    pub view: ItemView,
}

/// Something that happened in a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Its number.
    pub number: u64,
    /// When.
    pub at: Time,
    /// What.
    pub event: LabEvent,
}

/// One attempt in the history of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
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
    /// What its item came to in that run; `None` while it is open.
    pub verdict: Option<Verdict>,
    /// When it began.
    pub started: Time,
    /// How long it took.
    pub duration: Duration,
}

/// How long items are expected to take: what planning asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations(HashMap<Arc<str>, HashMap<Arc<str>, u32>>);

impl Durations {
    /// How many items something is known about.
    pub fn len(&self) -> usize {
        self.0.values().map(HashMap::len).sum()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn set(&mut self, test: Arc<str>, items: HashMap<Arc<str>, u32>) {
        self.0.insert(test, items);
    }
}

impl History for Durations {
    /// Microseconds; saturates at 71 minutes.
    fn micros(&self, test: &str, item: &str) -> Option<u32> {
        self.0.get(test)?.get(item).copied()
    }
}

impl KnownItems for Durations {
    fn items(&self, test: &str) -> Vec<String> {
        self.0.get(test).into_iter().flatten().map(|(item, _)| item.to_string()).collect()
    }
}

/// A result that came from a lease that had ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LateEvidence {
    /// Which attempt it says it is.
    pub attempt: AttemptRef,
    /// The lease it came under.
    pub lease: LeaseId,
    /// When it came.
    pub at: Time,
    /// What it says.
    pub result: Arc<AttemptResult>,
}

/// What is taken away, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
    /// Why; may be empty.
    pub reason: String,
    /// How much of the run.
    pub extent: Extent,
    /// What goes beside what the store itself keeps of the run.
    pub files: Vec<Leftover>,
}

/// How much of a run is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, with its record.
    Run,
    /// Its files. What it came to stays, and is said to be without them.
    Files,
    /// Files of these items; the store itself keeps none apart.
    FilesOf(Vec<Spot>),
}

/// A file that is to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftover {
    /// Whatever is there, with all that is in it. Links in it are not followed.
    Tree(PathBuf),
    /// A symbolic link, and only if it is one.
    Link(PathBuf),
    /// A directory, if nothing is in it.
    Empty(PathBuf),
    /// What is in a file; it keeps its length, so that nothing else comes to lie where others look for it.
    Hollow(PathBuf, u64),
}

/// A run that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Its name; empty for none.
    pub name: String,
    /// Who removed it.
    pub by: String,
    /// When.
    pub at: Time,
    /// Why; may be empty.
    pub reason: String,
}

/// Something [`Store::check`](crate::Store::check) found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file or run it is in.
    pub place: String,
    /// What is wrong, for people.
    pub what: String,
}
