//! A lab in JSON: its devices and what waits for them.

use crate::report::words;
use muster_core::change;
use muster_core::view as core;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A device as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Device {
    /// What the lab calls it; never used for another one.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The host of its agent.
    pub host: String,
    /// What it is like.
    pub labels: BTreeMap<String, String>,
    /// What it does.
    pub state: DeviceState,
    /// What it runs, as `AREA/RUN/TEST/ITEM#ATTEMPT`; `null` where it runs nothing.
    pub running: Option<String>,
    /// Units it has been given beyond that.
    pub queued: u32,
    /// Who has taken it out of scheduling; `null` where nobody has.
    pub hold: Option<Hold>,
    /// What it is worth: `unknown`, `good`, `suspect`, `checking`, `failing`, `repairing` or `quarantined`.
    pub health: String,
    /// Why it gets no ordinary work for that; `null` where it does.
    pub unfit: Option<String>,
    /// The pool it is in.
    pub pool: String,
}

impl From<&core::DeviceView> for Device {
    fn from(view: &core::DeviceView) -> Self {
        Self {
            id: view.id.0,
            name: view.name.clone(),
            host: view.host.clone(),
            labels: view.labels.clone(),
            state: view.state.into(),
            running: view.running.clone(),
            queued: view.queued,
            hold: view.hold.as_ref().map(Hold::from),
            health: view.health.word.clone(),
            unfit: view.health.unfit.clone(),
            pool: view.pool.clone(),
        }
    }
}

/// What a device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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

impl From<core::DeviceState> for DeviceState {
    fn from(state: core::DeviceState) -> Self {
        match state {
            core::DeviceState::Idle => Self::Idle,
            core::DeviceState::Busy => Self::Busy,
            core::DeviceState::Suspect => Self::Suspect,
            core::DeviceState::Away => Self::Away,
        }
    }
}

/// A device that a person has taken out of scheduling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hold {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// When it ends by itself, RFC 3339; `null`: when it is released.
    pub until: Option<String>,
}

impl From<&change::Hold> for Hold {
    fn from(hold: &change::Hold) -> Self {
        Self {
            by: hold.by.clone(),
            reason: hold.reason.clone(),
            since: words::timestamp(hold.since),
            until: hold.until.map(words::timestamp),
        }
    }
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct QueuedRun {
    /// Its id, a UUID.
    pub id: String,
    /// `AREA/RUN`.
    pub address: String,
    /// Who asked for it; empty where nobody said.
    pub user: String,
    /// Where it may run; empty for anywhere.
    pub selector: String,
    /// Items that have no verdict.
    pub open: u32,
    /// Of those, given to devices.
    pub out: u32,
    /// Why nothing of it is running; `null` where something is.
    pub waits: Option<String>,
    /// When it may start, as far as is known; `null` where it runs or that cannot be said.
    pub eta: Option<String>,
    /// It cannot start as the lab is: no device that is known will do, or none that its user may have.
    pub never: bool,
    /// Its priority among runs.
    pub priority: i32,
    /// Who last changed its place in the queue; `null` where nobody did.
    pub moved_by: Option<String>,
    /// Why.
    pub moved_because: Option<String>,
}

impl From<&core::QueuedRun> for QueuedRun {
    fn from(run: &core::QueuedRun) -> Self {
        Self {
            id: words::run_uuid(run.id),
            address: run.address.clone(),
            user: run.user.clone(),
            selector: run.selector.clone(),
            open: run.open,
            out: run.out,
            waits: run.waits.clone(),
            eta: run.eta.clone(),
            never: run.never,
            priority: run.priority,
            moved_by: run.moved.as_ref().map(|moved| moved.by.clone()),
            moved_because: run.moved.as_ref().map(|moved| moved.reason.clone()),
        }
    }
}
