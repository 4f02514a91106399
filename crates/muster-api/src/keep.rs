//! What people do with runs that are over: lock, comment, set results, remove.

use muster_core::note::Spot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person locks a run, or unlocks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockRun {
    /// Who.
    #[schemars(length(min = 1, max = 1000))]
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: String,
}

/// A person's comment on a run, or on items of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommentRun {
    /// Who.
    #[schemars(length(min = 1, max = 1000))]
    pub by: String,
    /// The comment.
    #[schemars(length(min = 1, max = 1000))]
    pub text: String,
    /// The items; empty: the run.
    #[serde(default)]
    pub items: Vec<ItemName>,
}

/// A person sets what items came to. What they had come to stays in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetResults {
    /// Who.
    #[schemars(length(min = 1, max = 1000))]
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: String,
    /// The items.
    pub items: Vec<ItemName>,
    /// The verdict, in the word that results have for it; `null`: they are to run again.
    pub to: Option<String>,
    /// What that is called elsewhere; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub word: String,
}

/// A person ends items of a run that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillItems {
    /// Who.
    #[schemars(length(min = 1, max = 1000))]
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: String,
    /// The items.
    pub items: Vec<ItemName>,
}

/// A person removes a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveRun {
    /// Who.
    #[schemars(length(min = 1, max = 1000))]
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: String,
    /// Only its files go; what it came to stays.
    #[serde(default)]
    pub keep_records: bool,
}

/// An item of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ItemName {
    /// Its test.
    pub test: String,
    /// Its path; empty where the test has no items.
    #[serde(default)]
    pub item: String,
}

impl From<Spot> for ItemName {
    fn from(Spot { test, item }: Spot) -> Self {
        Self { test, item }
    }
}

impl From<ItemName> for Spot {
    fn from(ItemName { test, item }: ItemName) -> Self {
        Self { test, item }
    }
}
