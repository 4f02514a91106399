//! The registry of typed ids. Every id that leaves a function has its own type here.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($repr:ty) $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// A run, for ever and everywhere: the number of a UUIDv7, so ids sort by time of creation.
    /// People see the run's number in its area instead.
    RunId(u128) "run-";
    /// A test's place in the plan of its run, from 0.
    TestIx(u32) "test-";
    /// A record's place in the flat list of records of its run, from 0. It never changes; records
    /// found later (lazy items, discovered suites) are appended.
    ItemIx(u32) "item-";
    /// The process on a host that owns devices there; chosen by the agent, kept over its restarts.
    AgentId(u64) "agent-";
    /// One life of an agent process. A new session of the same agent is proof that the old one died.
    SessionId(u64) "session-";
    /// Something tests run on, numbered by the lab.
    DeviceId(u32) "device-";
    /// An exclusive, expiring right to a device. Grows with every grant, so it is the fence token too:
    /// a write under a lease that is no longer the device's changes nothing.
    LeaseId(u64) "lease-";
    /// What is handed to a device as one piece: one attempt, or several that share a process.
    UnitId(u64) "unit-";
}

/// One try of one item of one run. Attempts count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptRef {
    /// The run.
    pub run: RunId,
    /// The record in that run.
    pub item: ItemIx,
    /// Which try, from 1.
    pub attempt: u16,
}
