//! What devices are worth, as it is recorded: health, what the lab does about it, and what has happened.
//!
//! Health is apart from state: a device that is idle may be broken, and one that is busy may be under
//! suspicion. Who decides is [`crate::lab`]; what kinds of devices are checked and mended with is
//! [`crate::kind`].

use crate::id::RunId;
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// Entries that a device's history keeps, the newest.
// Limit: a row of the database is rewritten with each of them; a device that changes every hour has two days.
pub const HISTORY_MAX: usize = 50;
/// Offences that are remembered, the newest.
// Limit: more are not needed to find a device bad.
pub const OFFENCES_MAX: usize = 16;

/// Everything durable about a device's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceHealth {
    /// What it is worth.
    pub health: Health,
    /// What the lab does about it.
    pub task: Task,
    /// The last check that ended.
    pub checked: Option<Checked>,
    /// Checks in a row that came to no answer: the lab's fault, not the device's.
    pub unsure: u16,
    /// Checks in a row that found it bad.
    pub failed: u16,
    /// Repairs that were tried.
    pub repairs: Vec<Tried>,
    /// When it behaved worse than its siblings, and how: the newest [`OFFENCES_MAX`].
    pub offences: Vec<Offence>,
    /// What has happened, the newest last: the last [`HISTORY_MAX`].
    pub history: Vec<Entry>,
}

/// What a device is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing is known for or against it.
    #[default]
    Unknown,
    /// It passed its check, and nothing has been seen against it since.
    Good {
        /// Since when.
        since: Time,
    },
    /// It behaved in a way that asks for a check.
    Suspect {
        /// Since when.
        since: Time,
        /// What was seen.
        evidence: Evidence,
    },
    /// Its check failed; it is being repaired.
    Failing {
        /// Since when.
        since: Time,
        /// What was found.
        evidence: Evidence,
    },
    /// It gets no work but checks.
    Quarantined(Quarantine),
}

/// What speaks against a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// For people.
    pub what: String,
    /// The run or attempt that shows it; empty where there is none.
    pub address: String,
}

/// A device that gets no work but checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Who or what put it there: a person, or `the lab`.
    pub by: String,
    /// Why, and what shows it.
    pub evidence: Evidence,
    /// Since when.
    pub since: Time,
    /// When it ends by itself, with a check; `None`: not by time.
    pub until: Option<Time>,
    /// What else ends it.
    pub ends: Ends,
}

/// What ends a quarantine, beside time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// A check that it passes. It is checked again and again, ever more seldom.
    Check,
    /// A person: a check that it passes proves nothing.
    Person,
}

/// What the lab does about a device's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Nothing.
    #[default]
    Rest,
    /// It is to be checked as soon as it is free.
    Due(Errand),
    /// The check runs, or waits for the device to become free.
    UnderWay {
        /// What for.
        errand: Errand,
        /// The check is this run.
        run: RunId,
        /// `lab-health/NUMBER`.
        address: String,
    },
}

/// A check that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// Why, for people.
    pub why: String,
    /// What is repaired before.
    pub repair: Option<String>,
    /// A person asked for it, so its end is told in the history even where nothing changes.
    pub asked: bool,
}

/// A check that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When.
    pub at: Time,
    /// The run: `lab-health/NUMBER`.
    pub address: String,
    /// What it came to.
    pub found: Found,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// Everything is as it should be.
    Good,
    /// Something is not.
    Bad,
    /// It could not be made to its end.
    Unsure,
}

/// A repair that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its name in the kind.
    pub repair: String,
    /// When it was begun last.
    pub at: Time,
    /// How often since the device was last good.
    pub times: u16,
}

/// A device behaved worse than its siblings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offence {
    /// When.
    pub at: Time,
    /// How.
    pub way: Way,
    /// `AREA/TEST` of the attempt that showed it.
    pub test: String,
    /// That attempt.
    pub address: String,
}

/// How a device misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Attempts end by the lab's fault there.
    LabErrors,
    /// Tests fail there that pass on its siblings.
    Failures,
}

impl Way {
    /// What such a device does, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::LabErrors => "attempts could not be carried out there",
            Self::Failures => "tests failed there that pass on its siblings",
        }
    }
}

/// Something that happened to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// The health after it, in a word.
    pub health: String,
    /// What happened, for people.
    pub what: String,
    /// The run or attempt it is seen in; empty for none.
    pub address: String,
}

impl Health {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good { .. } => "good",
            Self::Suspect { .. } => "suspect",
            Self::Failing { .. } => "failing",
            Self::Quarantined(_) => "quarantined",
        }
    }

    /// What speaks against the device.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Unknown | Self::Good { .. } => None,
            Self::Suspect { evidence, .. } | Self::Failing { evidence, .. } => Some(evidence),
            Self::Quarantined(quarantine) => Some(&quarantine.evidence),
        }
    }
}

impl Task {
    /// What it is for; `None` while nothing is done.
    pub fn errand(&self) -> Option<&Errand> {
        match self {
            Self::Rest => None,
            Self::Due(errand) | Self::UnderWay { errand, .. } => Some(errand),
        }
    }

    /// The run it is.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::UnderWay { run, .. } => Some(*run),
            Self::Rest | Self::Due(_) => None,
        }
    }
}

impl DeviceHealth {
    /// Notes what happened.
    pub(crate) fn note(&mut self, at: Time, what: String, address: String) {
        let health = self.health.word().to_owned();
        self.history.push(Entry { at, health, what, address });
        let old = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..old);
    }
}
