//! From what was asked for to what is to run: the closure of prerequisites, the expansion of items, the
//! expectations that apply, the edges between items. Pure; `muster plan` prints exactly this.

use crate::definition::TestDef;
use crate::id::TestIx;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What a run is to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tests, prerequisites before what comes after them.
    pub tests: Vec<PlannedTest>,
}

/// A test of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTest {
    /// What it is.
    pub def: Arc<TestDef>,
    /// Why it is part of the run.
    pub why: Why,
    /// Its items.
    pub items: PlannedItems,
}

/// Why a test is part of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The selection asked for it.
    Asked,
    /// This test comes after it.
    PrerequisiteOf(TestIx),
}

/// The items of a planned test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PlannedItems {
    /// Known.
    Listed(Vec<PlannedItem>),
    /// To be asked for when the prerequisites have ended; of those found, only some may be wanted.
    Found(Wanted),
}

/// Which of the items found later are part of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// All of them.
    All,
    /// Those the selection asks for.
    Selected,
    /// Those the selection asks for, and these, which other items come after.
    SelectedAnd(Vec<String>),
}

/// An item of a plan. Its record in the run is its place in the run's flat list of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedItem {
    /// Item path; empty where the test has no items.
    pub path: Arc<str>,
    /// Variables of the item.
    pub vars: Arc<[(String, String)]>,
    /// What the framework calls it; empty outside suites.
    pub selector: Arc<str>,
    /// The suite's group that runs it.
    pub group: u32,
    /// Takes the place of the test's hard limit.
    pub timeout: Option<Duration>,
    /// It is not to be run, and why.
    pub skip: Option<Arc<str>>,
    /// What the expectations allow it to come to.
    pub expected: Expected,
    /// How long it is expected to take, from the records; `None` where there are none.
    pub micros: Option<u32>,
}

/// What the expectations for an item amount to: a set of outcomes, and whether it is slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// A bit for each allowed [`crate::outcome::Outcome`]; 0 where nothing was said.
    pub allowed: u16,
    /// Limits are doubled and it starts early.
    pub slow: bool,
}
