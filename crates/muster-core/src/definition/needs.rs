//! What must hold before an attempt starts.

use super::NeededDevices;
use crate::hours::Hours;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What must hold before an attempt starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// Free bytes on the area's file system.
    pub disk_free_bytes_min: u64,
    /// Load average per core not above this.
    pub load_max: Option<f64>,
    /// Groups of the area's limits that it takes one place in.
    pub groups: Vec<String>,
    /// Tokens of the area's limits that it takes, and how many of each.
    #[serde(default)]
    pub tokens: BTreeMap<String, u32>,
    /// It is started only within each of these.
    #[serde(default)]
    pub hours: Vec<Hours>,
    /// Free bytes on the file systems of these directories; relative ones are the area's.
    #[serde(default)]
    pub disks: BTreeMap<String, u64>,
    /// Whoever is asked before it is started.
    #[serde(default)]
    pub limiter: Option<Limiter>,
    /// The devices that an attempt has, all at once. None said: one, whichever its run may have.
    #[serde(default)]
    pub devices: NeededDevices,
}

/// A command that says whether an attempt may be started now, by its exit code: 0 if it may. What it prints at the
/// end says why not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limiter {
    /// A line for the shell, run on the host that would run the attempt, in the test's directory.
    pub command: String,
    /// How long its answer is good for, on each host.
    pub every: Duration,
    /// After this it is killed, and has said no.
    pub timeout: Duration,
}

impl Limiter {
    /// One that is asked no more than once a minute, and has ten seconds.
    pub fn new(command: impl Into<String>) -> Self {
        let (every, timeout) = (Duration::from_secs(60), Duration::from_secs(10));
        Self { command: command.into(), every, timeout }
    }
}
