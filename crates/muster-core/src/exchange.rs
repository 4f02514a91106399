//! The exchange: the one protocol between an agent and the lab.
//!
//! Level-triggered. The agent repeats all it has ([`Exchange`]); the lab answers with all it should have
//! ([`Orders`]). A lost or doubled message heals at the next exchange, because neither side relies on
//! having heard news: only on the latest whole statement of the other.
//!
//! * The agent has one exchange under way. While that one carries results it waits for the answer (or
//!   sends again after a time limit); one without results may be overtaken by a newer one at any time.
//! * The lab answers an exchange that carries results as soon as they are committed, others when there
//!   is something to say.
//! * Both sides drop what is older than what they have already taken in (`seq`).

use crate::attempt::AttemptResult;
use crate::definition::TestDef;
use crate::digest::Digest;
use crate::id::{AgentId, AttemptRef, LeaseId, RunId, SessionId, TestIx, UnitId};
use crate::inputs::Inputs;
use crate::part::Part;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Agent to lab: everything the agent knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Who speaks.
    pub agent: AgentId,
    /// Which life of it.
    pub session: SessionId,
    /// Grows with each exchange of a session, from 1.
    pub seq: u64,
    /// The `seq` of the last orders taken in; 0 before the first.
    pub heard: u64,
    /// The agent's host, for labels and records.
    pub host: String,
    /// The devices it owns, in a fixed order; orders speak of a device by its place here.
    pub devices: Vec<DeviceOffer>,
    /// Every unit it holds that has not ended.
    pub holding: Vec<Held>,
    /// Every result that has not been acknowledged, by rising spool number.
    pub finished: Vec<Finished>,
    /// What the gates are decided by.
    pub gauges: Gauges,
    /// What the host's check of itself found, for people. Nothing new is given to it until that is empty.
    #[serde(default)]
    pub trouble: Vec<String>,
}

/// A device as its agent offers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceOffer {
    /// Its name, unique on its agent.
    pub name: String,
    /// What selectors look at: `os`, `kind`, whatever the agent was told.
    pub labels: Labels,
}

impl DeviceOffer {
    /// A device without labels.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: Labels::new() }
    }
}

/// Facts about a device, by name.
pub type Labels = BTreeMap<String, String>;

/// What a host reports of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gauges {
    /// Load average of the last minute divided by the number of cores.
    pub load_per_core: f64,
    /// Free bytes on the file system of the area.
    pub disk_free_bytes: u64,
}

/// A unit the agent holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The unit.
    pub unit: UnitId,
    /// The lease it was given under.
    pub lease: LeaseId,
    /// Where it stands.
    pub phase: HeldPhase,
}

/// Where a held unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldPhase {
    /// Not started; may still be given back.
    Queued,
    /// Its process runs.
    Running {
        /// Since when.
        since: Time,
        /// The attempt it is at, where several share the process and the framework tells.
        current: Option<AttemptRef>,
    },
}

/// A result on its way to the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its number in the session's spool, from 1.
    pub spool: u64,
    /// The unit it was part of.
    pub unit: UnitId,
    /// The lease it was run under: the fence.
    pub lease: LeaseId,
    /// The attempt.
    pub attempt: AttemptRef,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt ended on the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// It was run.
    Ran(AttemptResult),
    /// It was a question for a suite's or test's items, and this is the answer.
    Found(AttemptResult, Found),
    /// Its process ended before its turn came (an earlier item of the batch crashed): give it out again.
    NotReached,
    /// Its host does not let it start now (a full disk, a user's command): give it out again after a pause.
    Shut {
        /// Why, for people.
        why: String,
        /// How long to wait before this host is asked again.
        pause: Duration,
    },
}

/// The answer to a discovery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What items are run with; items name one by its place here.
    pub groups: Vec<Group>,
    /// The items, in the framework's order.
    pub items: Vec<FoundItem>,
}

/// A program (with its place and environment) that runs some of a suite's items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// For people: a binary's or file's name.
    pub name: String,
    /// Program and leading arguments.
    pub argv: Vec<String>,
    /// Directory, relative to the area or absolute. Empty: the test's.
    pub dir: String,
    /// Environment beyond the test's.
    pub env: Vec<(String, String)>,
    /// Most items that one process of it can run; 1 where it runs one.
    pub batch_max: u32,
    /// Exit codes that mean something else than the contract.
    pub pass: Option<crate::definition::PassRule>,
}

/// One discovered item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FoundItem {
    /// Item path, unique in the test.
    pub path: String,
    /// The group that runs it.
    pub group: u32,
    /// What the framework calls it.
    pub selector: String,
    /// The framework says it is not to be run, and why.
    pub skip: Option<String>,
    /// The framework's own limit.
    pub timeout: Option<Duration>,
    /// Variables of the item, exported to its attempts.
    pub vars: Vec<(String, String)>,
}

/// Lab to agent: everything the agent should have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// The session spoken to.
    pub session: SessionId,
    /// The exchange this answers.
    pub seq: u64,
    /// Results up to this spool number are recorded; the agent forgets them.
    pub acked: u64,
    /// The complete list of units to hold, in the order to run them on each device. A held unit that is
    /// not listed is dropped if it has not started, and stopped if it has.
    pub units: Vec<Wanted>,
    /// The content of those listed that the exchange did not report as held or finished.
    pub new: Vec<Unit>,
    /// What the new units are run with, each once.
    pub runs: Vec<Arc<RunContext>>,
    /// As above.
    pub tests: Vec<Arc<TestContext>>,
    /// Running units are to be killed without grace.
    pub kill: bool,
    /// How long the lab waits to hear from the agent before it gives its devices to others. Zero: it does
    /// not say.
    #[serde(default)]
    pub lease: Duration,
}

/// A unit to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The unit.
    pub unit: UnitId,
    /// The lease that allows it.
    pub lease: LeaseId,
    /// The device, by its place in the exchange's list.
    pub device: u32,
    /// Give it back if it has not started (another device has nothing to do): it is dropped and no longer
    /// reported as held. One that has started goes on.
    pub give_back: bool,
}

/// What a device runs as one piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Its id.
    pub id: UnitId,
    /// The test it is of.
    pub test: TestIx,
    /// The run it is of.
    pub run: RunId,
    /// Items are asked for, not run.
    pub discovery: bool,
    /// The attempts, in order; more than one share a process.
    pub attempts: Vec<UnitAttempt>,
    /// The devices it has, where its test says what each is for. The first is the one it runs on.
    #[serde(default)]
    pub devices: Vec<Seat>,
}

/// A device of a unit that has several, and what it is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// What it is for: the name of the test's role.
    pub role: String,
    /// The device's name.
    pub device: String,
    /// Its host.
    pub host: String,
    /// Its label `address`: how it is spoken with. Empty where it has none.
    pub address: String,
}

/// One attempt of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitAttempt {
    /// Which.
    pub attempt: AttemptRef,
    /// Item path.
    pub path: Arc<str>,
    /// What the framework calls it; empty outside suites.
    pub selector: Arc<str>,
    /// The suite's group that runs it.
    pub group: u32,
    /// Variables of the item.
    pub vars: Arc<[(String, String)]>,
    /// Takes the place of the test's hard limit.
    pub timeout: Option<Duration>,
    /// Limits are doubled (expected to be slow).
    pub slow: bool,
    /// Only some steps of it run.
    #[serde(default)]
    pub part: Option<Arc<Part>>,
}

/// What all units of a run share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunContext {
    /// The run.
    pub run: RunId,
    /// `AREA/RUN`, the head of addresses.
    pub address: String,
    /// The run's number in its area.
    pub number: u32,
    /// The area's directory on the host.
    pub area_dir: String,
    /// Where the run's large outputs and working directories go.
    pub run_dir: String,
    /// The packed area to unpack before anything of the run starts; `None` where `area_dir` is there already.
    pub source: Option<Digest>,
    /// What the run is given from outside. Its build is to be in `run_dir` before anything starts: where
    /// `source` is given it is fetched with that, else it is there already.
    pub inputs: Inputs,
    /// Area environment and target keys.
    pub env: Vec<(String, String)>,
    /// `TRACEPARENT`'s trace id: 32 hexadecimal digits.
    pub trace_id: String,
    /// Why nothing of the run can be started on this host. The lab does not say this; the agent does, to
    /// itself, where the packed area cannot be had.
    #[serde(default)]
    pub unusable: Option<String>,
}

/// What all units of a test share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestContext {
    /// The run.
    pub run: RunId,
    /// The test.
    pub test: TestIx,
    /// What it does.
    pub def: Arc<TestDef>,
    /// What its discovered items are run with.
    pub groups: Arc<[Group]>,
}
