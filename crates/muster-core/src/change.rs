//! What the lab decided, in the form that is recorded: a [`Change`] is saved before anyone acts on it,
//! and a [`Snapshot`] is what all saved changes amount to. Nothing else of the lab is durable.

use crate::attempt::AttemptResult;
use crate::digest::Digest;
use crate::event::LabEvent;
use crate::exchange::{Group, Labels};
use crate::health::DeviceHealth;
use crate::hours::Zone;
use crate::id::{AgentId, AttemptRef, DeviceId, ItemIx, LeaseId, RunId, SessionId, TestIx, UnitId};
use crate::inputs::Inputs;
use crate::note::Note;
use crate::outcome::Verdict;
use crate::part::Part;
use crate::plan::{Plan, PlannedItem};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// One decision of the lab.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A run was accepted.
    RunCreated(Arc<RunRecord>),
    /// A test's items were found, or a run that is there gets more of them; they are appended to the run's
    /// records.
    Expanded(Expansion),
    /// A test's items were asked for once more (a rerun, a resumed run): those the run has are run with
    /// this from now on. Takes the place of an earlier such answer for the same test.
    FoundAgain(FoundAgain),
    /// A run goes on with changed definitions (a rerun after `muster.toml` was mended): this record takes
    /// the place of the run's. Id, number and creation time, the tests and their items are the same and in
    /// the same places; what the tests do, their limits and the environment may differ. Tests may be added
    /// behind them, without items: those are appended by [`Change::Expanded`].
    RunReplanned(Arc<RunRecord>),
    /// An attempt ended.
    AttemptEnded {
        /// Which.
        attempt: AttemptRef,
        /// The unit it was part of.
        unit: UnitId,
        /// Where it ran; several devices joined by `+`.
        device: Arc<str>,
        /// All about it.
        result: Arc<AttemptResult>,
        /// What its item amounts to now.
        record: ItemRecord,
    },
    /// An item changed without an attempt: it was skipped, its prerequisite failed, it is to run again.
    ItemSet {
        /// The run.
        run: RunId,
        /// The item.
        item: ItemIx,
        /// What it amounts to now.
        record: ItemRecord,
    },
    /// A run ended, was stopped, or goes on.
    RunState {
        /// The run.
        run: RunId,
        /// Where it stands now.
        phase: RunPhase,
    },
    /// A person changed a run's place in the queue.
    RunMoved {
        /// The run.
        run: RunId,
        /// Who, why, when, and where to.
        moved: Moved,
    },
    /// A person said something of a run. Whoever has it may; the run itself goes on as it would.
    Noted {
        /// The run.
        run: RunId,
        /// Who, what, when and why.
        note: Note,
    },
    /// An agent's session began; its devices have these ids from now on.
    AgentSeen {
        /// The agent.
        agent: AgentId,
        /// Its session.
        session: SessionId,
        /// Its host.
        host: String,
        /// Its devices, in its own order.
        devices: Vec<(DeviceId, String)>,
    },
    /// A person took a device out of scheduling, or it is back (`None`).
    DeviceHeld {
        /// The device.
        device: DeviceId,
        /// Who has it, and why.
        hold: Option<Hold>,
    },
    /// What a device is worth has changed, or what the lab does about it. `None`: the device is gone.
    DeviceHealth {
        /// The device.
        device: DeviceId,
        /// All about its health from now on.
        health: Option<Box<DeviceHealth>>,
    },
    /// A device was added to a host's devices, or proposed, or is no longer (`None`).
    Registered {
        /// The host whose agent is to have it; empty while nobody has said.
        host: String,
        /// Its name.
        name: String,
        /// All about it.
        registration: Option<Box<Registration>>,
    },
    /// Devices were given away: one for what its runs need it for, or several at once for one unit.
    LeaseGranted {
        /// The lease.
        lease: LeaseId,
        /// The devices, at least one; units run on the first.
        devices: Vec<DeviceId>,
    },
    /// Its devices are free again. Units sent under the lease are void.
    LeaseEnded {
        /// The lease.
        lease: LeaseId,
    },
    /// Units were given to a leased device.
    Sent {
        /// The lease.
        lease: LeaseId,
        /// The units, in the order they run.
        units: Vec<SentUnit>,
    },
    /// Attempts of a sent unit came back without having been run.
    Returned {
        /// The unit.
        unit: UnitId,
        /// The items.
        items: Vec<ItemIx>,
    },
    /// Something happened that those who watch the lab are told. It changes nothing.
    Happened {
        /// When.
        at: Time,
        /// What.
        event: LabEvent,
    },
    /// A result came from a lease that had ended. It is kept and changes nothing.
    LateEvidence {
        /// Which attempt it says it is.
        attempt: AttemptRef,
        /// The lease it came under.
        lease: LeaseId,
        /// When it came.
        at: Time,
        /// What it says.
        result: Arc<AttemptResult>,
    },
}

/// A run as it was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Its number in its area, from 1.
    pub number: u32,
    /// When it was accepted.
    pub created: Time,
    /// What was asked for.
    pub spec: Arc<RunSpec>,
    /// What that comes to.
    pub plan: Arc<Plan>,
}

/// What was asked for, beside the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Given name; empty for none.
    pub name: String,
    /// The area's name.
    pub area: String,
    /// Target values.
    pub target: Vec<(String, String)>,
    /// The area's directory.
    pub area_dir: String,
    /// The host that asked.
    pub host: String,
    /// Area environment.
    pub env: Vec<(String, String)>,
    /// Limits of the area.
    pub limits: crate::definition::AreaLimits,
    /// Whether an unexpected pass fails the run.
    pub unexpected_pass: crate::definition::UnexpectedPass,
    /// What was typed to select tests, for people and for items that are found later.
    pub selection: crate::select::Selection,
    /// Stop after this many failed items.
    pub failures_max: Option<u32>,
    /// 32 hexadecimal digits, for `TRACEPARENT`.
    pub trace_id: String,
    /// Where it may run.
    #[serde(default)]
    pub placement: Placement,
    /// What it is given from outside.
    #[serde(default)]
    pub inputs: Inputs,
    /// The clocks that hours are told by.
    #[serde(default)]
    pub zone: Zone,
    /// Items of which only some steps are run, by rising place.
    #[serde(default)]
    pub parts: Vec<Arc<Part>>,
}

/// Where a run may run, where its area is found there, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Who asked for it; empty where nobody said. Users share a lab.
    #[serde(default)]
    pub user: String,
    /// CEL over a device's labels (`labels.os == "linux"`, `name`, `host`). Empty: any device.
    pub selector: String,
    /// The packed area, which agents unpack. `None`: every device's host has the area's directory.
    pub source: Option<Digest>,
    /// The pools whose devices it may have, as they were when it was asked for. `None`: all.
    #[serde(default)]
    pub pools: Option<Vec<String>>,
    /// Runs of higher priority get devices first; tests' own priorities count within their run.
    #[serde(default)]
    pub priority: i32,
    /// It is stopped if nothing of it has been started so long after it was accepted.
    #[serde(default)]
    pub start_within: Option<Duration>,
    /// Which older runs of the same area, name, target and user it takes the place of.
    #[serde(default)]
    pub supersede: Supersede,
    /// What failed is tried again on another device, where one that may be had is there.
    #[serde(default)]
    pub retry_elsewhere: bool,
}

/// Which older runs a new one takes the place of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supersede {
    /// None.
    #[default]
    No,
    /// Those of which nothing has been started.
    Waiting,
    /// All that are under way.
    All,
}

/// A person's word on a run's place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// When.
    pub at: Time,
    /// Where to.
    pub to: MoveTo,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveTo {
    /// Before all others, whatever their priority; before those that were put first earlier.
    First,
    /// Never behind this run, as long as that is under way.
    Before(RunId),
    /// Where this priority puts it.
    Priority(i32),
    /// Where its priority and its user's share put it.
    Back,
}

/// Where a run stands, durably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunPhase {
    /// It is under way.
    Active,
    /// Everything has a verdict.
    Ended {
        /// Since when.
        at: Time,
    },
    /// It was stopped with things undone.
    Stopped {
        /// Since when.
        at: Time,
        /// Why.
        reason: String,
    },
}

/// Items found for a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expansion {
    /// The run.
    pub run: RunId,
    /// The test.
    pub test: TestIx,
    /// The record the first of them gets; the others follow.
    pub first: ItemIx,
    /// What they are run with.
    pub groups: Arc<[Group]>,
    /// The items.
    pub items: Arc<[PlannedItem]>,
}

/// Items that a run gets beyond those it was begun with.
#[derive(Clone, Debug, PartialEq)]
pub struct MoreItems {
    /// Their test; it is no test whose items are asked for.
    pub test: TestIx,
    /// The items, none of which the run has.
    pub items: Arc<[PlannedItem]>,
}

/// A later answer to the question for a test's items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundAgain {
    /// The run.
    pub run: RunId,
    /// The test.
    pub test: TestIx,
    /// What its items are run with.
    pub groups: Arc<[Group]>,
    /// The items of the run that were found again, by rising place, each with what is known of it now. Its
    /// path is the same as before.
    pub items: Arc<[(ItemIx, PlannedItem)]>,
}

/// What an item amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// Attempts recorded, ever.
    pub attempts: u16,
    /// Attempts that came to a verdict about the test, since it was last opened.
    pub tries: u16,
    /// Attempts that failed by the lab's fault, since it was last opened.
    pub lab_errors: u16,
    /// One of the tries was not good.
    pub failed: bool,
    /// The judgement; `None` while it is open.
    pub verdict: Option<Verdict>,
    /// Why, where it is not plain from the last attempt.
    pub reason: String,
    /// Devices it failed on since it was last opened and is not tried on again while another is there; the
    /// last one at the end. Failures of the lab's, and all where the run asks for it.
    pub failed_on: Vec<DeviceId>,
}

/// A unit as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentUnit {
    /// Its id.
    pub unit: UnitId,
    /// Its run.
    pub run: RunId,
    /// Items and attempt numbers, in order.
    pub attempts: Vec<(ItemIx, u16)>,
}

/// Everything durable, as the lab needs it to go on. Lists are sorted by id, so that two snapshots of
/// the same state are equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The highest ids ever used, so that none is used again.
    pub used: Used,
    /// Agents that have been seen.
    pub agents: Vec<AgentRecord>,
    /// Leases that have not ended.
    pub leases: Vec<LeaseRecord>,
    /// Devices that people hold.
    pub holds: Vec<(DeviceId, Hold)>,
    /// Devices of whose health something is known.
    pub health: Vec<(DeviceId, DeviceHealth)>,
    /// Devices that were added or proposed, by host and name.
    pub registered: Vec<Registration>,
    /// Runs that are active. Others are read from the store when they are asked for.
    pub runs: Vec<RunSnapshot>,
}

/// A device that a person has taken out of scheduling. What ran on it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who.
    pub by: String,
    /// Why; never empty.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// When it ends by itself; `None`: when it is released.
    pub until: Option<Time>,
    /// Which reservation this is, chosen by whoever made it. Where there is one, the device is that one's alone:
    /// another of the same person is refused like somebody else's.
    #[serde(default)]
    pub id: Option<String>,
}

/// A device that a person has added to a host's devices, or that has announced itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The host whose agent is to have it; empty while nobody has said.
    pub host: String,
    /// Its name.
    pub name: String,
    /// Where its driver finds it.
    pub address: String,
    /// What selectors look at, beside the address.
    pub labels: Labels,
    /// Who added it, or how it was found.
    pub by: String,
    /// Since when.
    pub since: Time,
    /// Who wants it to be used; `None`: it is a proposal.
    pub adopted: Option<String>,
}

/// The highest ids used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Devices.
    pub device: DeviceId,
    /// Leases.
    pub lease: LeaseId,
    /// Units.
    pub unit: UnitId,
}

/// An agent that has been seen.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    /// The agent.
    pub agent: AgentId,
    /// Its last session.
    pub session: SessionId,
    /// Its host.
    pub host: String,
    /// Its devices, in its own order.
    pub devices: Vec<(DeviceId, String)>,
}

/// A lease that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRecord {
    /// The lease.
    pub lease: LeaseId,
    /// The devices, at least one; units run on the first.
    pub devices: Vec<DeviceId>,
    /// What was sent under it and has neither a result nor come back, in order. Units of which nothing
    /// is left are not listed.
    pub units: Vec<SentUnit>,
}

/// A run with what its items amount to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSnapshot {
    /// The run.
    pub record: Arc<RunRecord>,
    /// Where it stands.
    pub phase: RunPhase,
    /// Expansions, by first item.
    pub expansions: Vec<Expansion>,
    /// Later answers to the question for items, by test.
    pub found_again: Vec<FoundAgain>,
    /// Items whose record is not the default one.
    pub items: Vec<(ItemIx, ItemRecord)>,
    /// What people said of its place in the queue, in order.
    pub moves: Vec<Moved>,
}
