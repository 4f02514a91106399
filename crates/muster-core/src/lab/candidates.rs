//! Why no device is given to an item that could start: device by device, and summed up by reason.

use super::eta::rough;
use super::run::{Phase, Run};
use super::{Device, Gate, Lab, Presence};
use crate::id::{DeviceId, ItemIx, RunId};
use crate::time::Time;
use std::fmt::Write as _;
use std::sync::Arc;

/// A device that an item might have, and why it has not.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub device: Arc<str>,
    /// Its host.
    pub host: String,
    /// Why.
    pub why: NotGiven,
}

/// Why a device is not given to an item.
#[derive(Clone, Debug, PartialEq)]
pub enum NotGiven {
    /// The run's selector is not true for it.
    NoMatch(String),
    /// It is in this pool, which whoever asked may not use.
    OtherPool(String),
    /// Its agent is not there.
    Away,
    /// Its agent was not heard for some seconds.
    Suspect,
    /// Somebody has taken it out of scheduling.
    Held {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Until when, where that is known.
        until: Option<Time>,
    },
    /// The lab gives it nothing, and why: its health, or that of its host.
    Unfit(String),
    /// The item needs several devices at once, and this can be none of them.
    NoRole,
    /// It is kept for the item, as this.
    Kept {
        /// What it is to be.
        role: String,
    },
    /// It is kept for something that needs several devices at once and stands before the item.
    KeptFor {
        /// What.
        what: String,
    },
    /// The item failed there, and another device that it may have is there.
    FailedThere,
    /// Something holds the item up there.
    Gate(Gate),
    /// It runs something, expected to last until then.
    Busy {
        /// What.
        with: String,
        /// When it is expected to be free.
        until: Time,
    },
    /// Nothing: it is next.
    Free,
}

// Limit: of devices that are not given for the same reason, so many are named.
const NAMED_MAX: usize = 4;

impl Lab {
    /// Why each device is not given to an item; nothing unless it waits for one.
    pub fn candidates(&self, now: Time, run: RunId, item: ItemIx) -> Vec<Candidate> {
        let Some(run) = self.runs.get(&run) else { return Vec::new() };
        let waits = run.items().get(item.0 as usize).is_some_and(|i| i.phase == Phase::Ready);
        if !waits {
            return Vec::new();
        }
        let all = self.devices.iter().map(|(id, device)| Candidate {
            device: Arc::clone(&device.name),
            host: self.agents[&device.agent].host.clone(),
            why: self.not_given(now, run, item, *id, device),
        });
        let mut all: Vec<Candidate> = all.collect();
        all.sort_by(|a, b| (&a.host, &a.device).cmp(&(&b.host, &b.device)));
        all
    }

    fn not_given(&self, now: Time, run: &Run, item: ItemIx, id: DeviceId, device: &Device) -> NotGiven {
        let agent = &self.agents[&device.agent];
        if run.reach.is_elsewhere(id) {
            return NotGiven::OtherPool(self.pools.of(&device.name, &agent.host, &device.labels).to_owned());
        }
        if !run.reach.has(id) {
            return NotGiven::NoMatch(run.reach.text().to_owned());
        }
        if run.gang_of(run.test(run.item(item).test).gate()).is_some_and(|gang| !gang.wants(id)) {
            return NotGiven::NoRole;
        }
        match agent.presence {
            Presence::Missing | Presence::Over => return NotGiven::Away,
            Presence::There if self.is_suspect(agent, now) => return NotGiven::Suspect,
            Presence::There => {}
        }
        if let Some(hold) = &device.hold {
            let (by, reason, until) = (hold.by.clone(), hold.reason.clone(), hold.until);
            return NotGiven::Held { by, reason, until };
        }
        if !self.is_usable(device, run) {
            return NotGiven::Unfit(self.unusable(device));
        }
        if self.waits_for_another(run, &run.item(item).record.failed_on, id) {
            return NotGiven::FailedThere;
        }
        let gate = run.test(run.item(item).test).gate();
        if let Some(held) = self.held_up(run, gate, id, agent.gauges) {
            return NotGiven::Gate(held.into());
        }
        match self.kept_for(id) {
            Some(gang) if (gang.run, gang.rank.item) == (run.id(), item) && device.units.is_empty() => {
                let member = self.members(gang).into_iter().find(|m| m.device == device.name);
                return NotGiven::Kept { role: member.map_or_else(String::new, |m| m.role) };
            }
            Some(gang) if (gang.run, gang.rank.item) != (run.id(), item) => {
                return NotGiven::KeptFor { what: self.name_of_item(gang.run, gang.rank.item) };
            }
            Some(_) | None => {}
        }
        match device.units.first() {
            Some(unit) => NotGiven::Busy {
                with: self.name_of(*unit),
                until: now + std::time::Duration::from_micros(self.busy_for(now, device)),
            },
            None => NotGiven::Free,
        }
    }
}

/// The candidates in a line for each reason, the most hopeful first.
pub fn sum_up(now: Time, candidates: &[Candidate]) -> Vec<String> {
    let mut groups: Vec<(u8, String, Vec<String>)> = Vec::new();
    for Candidate { device, host: _, why } in candidates {
        let (rank, reason, detail) = why.words(now);
        let named = if detail.is_empty() { format!("`{device}`") } else { format!("`{device}` ({detail})") };
        match groups.iter_mut().find(|(_, known, _)| *known == reason) {
            Some((_, _, members)) => members.push(named),
            None => groups.push((rank, reason, vec![named])),
        }
    }
    groups.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let line = |(_, reason, members): (u8, String, Vec<String>)| {
        let more = members.len().saturating_sub(NAMED_MAX);
        let mut line = format!("{} {reason}: ", members.len());
        line.push_str(&members[..members.len() - more].join(", "));
        if more > 0 {
            write!(line, " and {more} more").expect("strings can be written to");
        }
        line
    };
    groups.into_iter().map(line).collect()
}

impl NotGiven {
    /// How hopeful it is, the reason that many may share, and what is this one's own.
    fn words(&self, now: Time) -> (u8, String, String) {
        match self {
            Self::Free => (0, "free, and about to be given".to_owned(), String::new()),
            Self::Kept { role } => (0, "kept for it".to_owned(), format!("as `{role}`")),
            Self::KeptFor { what } => {
                (1, format!("kept for {what}, which needs several at once"), String::new())
            }
            Self::NoRole => (8, "matching none of what its test needs".to_owned(), String::new()),
            Self::Busy { with, until } => {
                (1, "busy".to_owned(), format!("{with}, for about {}", rough(until.since(now))))
            }
            Self::Gate(gate) => (2, format!("it may not start on now, as {gate}"), String::new()),
            Self::FailedThere => (3, "it failed on, while others are left".to_owned(), String::new()),
            Self::Suspect => (4, "not heard of for some seconds".to_owned(), String::new()),
            Self::Held { by, reason, until } => {
                let left = until.map_or(String::new(), |t| format!(", for {}", rough(t.since(now))));
                (5, "held".to_owned(), format!("by {by}: {reason}{left}"))
            }
            Self::Unfit(why) => (5, "not fit".to_owned(), why.clone()),
            Self::Away => (6, "away".to_owned(), String::new()),
            Self::OtherPool(pool) => {
                (7, format!("in the pool `{pool}`, which who asked may not use"), String::new())
            }
            Self::NoMatch(selector) => (8, format!("not matching `{selector}`"), String::new()),
        }
    }
}
