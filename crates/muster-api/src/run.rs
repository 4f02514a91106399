//! Asking for a run, and watching it.

use muster_core::change::RunSpec;
use muster_core::event::Told;
use muster_core::id::ItemIx;
use muster_core::part::SomeSteps;
use muster_core::plan::Plan;
use muster_core::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked for; its id is in the path, chosen by whoever asks, so that asking again does no harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submit {
    /// What was asked for.
    pub spec: RunSpec,
    /// What that comes to.
    pub plan: Plan,
    /// What its tests are made of now, as whoever asks finds it: one line, which is kept with the run and given back.
    /// Empty: nothing new is known.
    #[serde(default)]
    pub made_of: String,
}

/// The run is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The number it got in its area.
    pub number: u32,
    /// When it was accepted, by the server's clock.
    pub created: Time,
    /// When it may start.
    pub outlook: Outlook,
}

/// Asks that a run that is over go on: what was stopped runs, and so do the items that are named, in new attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reopen {
    /// Chosen by whoever asks, so that asking again does no harm.
    pub request: u128,
    /// Items with a verdict that are run once more.
    pub items: Vec<ItemIx>,
    /// The run as it is to be carried out from now on: its packed area, environment, limits, and what its tests do. Which
    /// tests and items it has, what it is for and where it may run stays as it is recorded.
    pub submit: Submit,
    /// Of some of the items only these steps run.
    #[serde(default)]
    pub part: Option<PartOf>,
}

/// Items of which only some steps run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOf {
    /// The items; they are among those that are run once more.
    pub items: Vec<ItemIx>,
    /// The steps.
    pub steps: SomeSteps,
}

/// The run goes on, and that is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reopened {
    /// The run, and when it may start.
    pub accepted: Accepted,
    /// Watched from behind this number, it shows what happens from now on.
    pub after: u64,
}

/// When something that was asked for may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// A device that may run it is there and free.
    Now,
    /// Later, and why.
    Later(String),
    /// Not as the lab is: no device that it knows could run it.
    Never(String),
}

/// Asks that nothing more of a run be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// Why, for people.
    pub reason: String,
    /// Without grace.
    #[serde(default)]
    pub kill: bool,
}

/// A person's word on a run's place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoveRun {
    /// Who.
    #[schemars(length(min = 1, max = 1000))]
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: String,
    /// Where to.
    pub to: QueuePlace,
}

/// A place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueuePlace {
    /// Before all others, whatever their priority.
    First,
    /// Never behind the run with this id, a UUID, as long as that is under way.
    Before(String),
    /// Where this priority puts it.
    Priority(i32),
    /// Where its priority and its user's share put it.
    Back,
}

/// Why an item is not running, or that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// For people.
    pub why: String,
    /// Why devices are not given to it, a line for each reason. Empty unless it waits for one.
    #[serde(default)]
    pub devices: Vec<String>,
}

/// One thing of a watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its number in the watch's run. Given as `after`, the watch goes on behind it. 0: begin anew.
    pub id: u64,
    /// What.
    pub what: SeenWhat,
}

/// What a watch shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SeenWhat {
    /// Something happened.
    Told(Box<Told>),
    /// Nothing did for a while; the connection lives.
    Quiet,
    /// The server does not remember what happened after the number that was asked for (it was restarted):
    /// what comes now is all that is recorded, from the beginning.
    Again,
    /// The run is over; nothing more comes. Holds why it was stopped, if it was.
    Over(Option<String>),
}
