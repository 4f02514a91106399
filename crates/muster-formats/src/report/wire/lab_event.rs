//! A line of the events of a lab.

use super::{Hold, Verdict};
use crate::report::words;
use muster_core::event as core;
use muster_core::time::Time;
use schemars::JsonSchema;
use serde::Serialize;

/// Something that happened in a lab as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LabEventLine {
    /// The version of this format.
    pub schema: LabEventSchema,
    /// Its number, which grows; the events behind it can be asked for.
    pub id: u64,
    /// When, RFC 3339.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub event: LabEvent,
}

impl LabEventLine {
    /// Of the event with this number, which was then.
    pub fn new(id: u64, at: Time, event: &core::LabEvent) -> Self {
        Self { schema: LabEventSchema::V1, id, at: words::timestamp(at), event: event.into() }
    }
}

/// The version of the events of a lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum LabEventSchema {
    /// The first.
    #[default]
    #[serde(rename = "muster.lab-event/1")]
    V1,
}

/// What happened in a lab.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LabEvent {
    /// A run was accepted.
    RunCreated {
        /// The run's id, a UUID.
        run: String,
        /// `AREA/RUN`.
        address: String,
        /// Who asked for it; empty where nobody said.
        user: String,
    },
    /// A run that was over goes on.
    RunReopened {
        /// The run's id, a UUID.
        run: String,
        /// `AREA/RUN`.
        address: String,
    },
    /// Everything of a run has ended, or it was stopped.
    RunEnded {
        /// The run's id, a UUID.
        run: String,
        /// `AREA/RUN`.
        address: String,
        /// The worst of its items; `null` where nothing has ended.
        verdict: Option<Verdict>,
        /// Whether it was stopped before everything had ended.
        stopped: bool,
    },
    /// An agent is there: for the first time, in a new life, or after it was lost.
    AgentJoined {
        /// The agent's number, in hexadecimal digits.
        agent: String,
        /// Its host.
        host: String,
    },
    /// An agent is gone.
    AgentLost {
        /// The agent's number, in hexadecimal digits.
        agent: String,
        /// Its host.
        host: String,
        /// It said goodbye.
        goodbye: bool,
    },
    /// A device is known from now on.
    DeviceAppeared {
        /// What the lab calls it.
        device: u32,
        /// Its name.
        name: String,
        /// The host of its agent.
        host: String,
    },
    /// Its agent has the device no more.
    DeviceGone {
        /// What the lab called it.
        device: u32,
        /// Its name.
        name: String,
    },
    /// A person took a device out of scheduling.
    DeviceHeld {
        /// What the lab calls it.
        device: u32,
        /// Its name.
        name: String,
        /// Who, and why.
        hold: Hold,
    },
    /// A device is worth more or less than before.
    DeviceHealth {
        /// What the lab calls it.
        device: u32,
        /// Its name.
        name: String,
        /// Its health: `unknown`, `good`, `suspect`, `failing` or `quarantined`.
        health: String,
        /// What speaks against it; empty where nothing does.
        why: String,
        /// The run or attempt that shows it; empty where there is none.
        address: String,
    },
    /// A device is not held any more.
    DeviceReleased {
        /// What the lab calls it.
        device: u32,
        /// Its name.
        name: String,
    },
}

impl From<&core::LabEvent> for LabEvent {
    fn from(event: &core::LabEvent) -> Self {
        match event.clone() {
            core::LabEvent::RunCreated { run, address, user } => {
                Self::RunCreated { run: words::run_uuid(run), address, user }
            }
            core::LabEvent::RunReopened { run, address } => {
                Self::RunReopened { run: words::run_uuid(run), address }
            }
            core::LabEvent::RunEnded { run, address, verdict, stopped } => {
                let verdict = verdict.map(Verdict::from);
                Self::RunEnded { run: words::run_uuid(run), address, verdict, stopped }
            }
            core::LabEvent::AgentJoined { agent, host } => {
                Self::AgentJoined { agent: format!("{:016x}", agent.0), host }
            }
            core::LabEvent::AgentLost { agent, host, goodbye } => {
                Self::AgentLost { agent: format!("{:016x}", agent.0), host, goodbye }
            }
            core::LabEvent::DeviceAppeared { device, name, host } => {
                Self::DeviceAppeared { device: device.0, name, host }
            }
            core::LabEvent::DeviceGone { device, name } => Self::DeviceGone { device: device.0, name },
            core::LabEvent::DeviceHeld { device, name, hold } => {
                Self::DeviceHeld { device: device.0, name, hold: Hold::from(&hold) }
            }
            core::LabEvent::DeviceHealth { device, name, health, why, address } => {
                Self::DeviceHealth { device: device.0, name, health, why, address }
            }
            core::LabEvent::DeviceReleased { device, name } => {
                Self::DeviceReleased { device: device.0, name }
            }
        }
    }
}
