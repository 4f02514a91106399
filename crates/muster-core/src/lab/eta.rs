//! When a run may start, as far as is known: between the moment the first of its devices is expected to be
//! free and the moment all that is before it is expected to be done. Both by expected durations, so
//! neither is a promise.

use super::run::Run;
use super::{Device, Lab};
use crate::id::RunId;
use crate::time::{Time, micros};
use std::fmt;
use std::time::Duration;

/// When something may start, from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eta {
    /// If it is given the first device that is free.
    pub soonest: Duration,
    /// If all that is before it by now is done first.
    pub latest: Duration,
}

impl Lab {
    /// When a run may start that waits for devices which others have; `None` where that cannot be said:
    /// no device it may have is there and free of holds, or it waits for something else.
    pub fn eta(&self, now: Time, run: RunId) -> Option<Eta> {
        let run = self.runs.get(&run)?;
        if run.ready().len() == 0 || run.out() > 0 {
            return None;
        }
        let left: Vec<u64> =
            self.reachable(run).filter(|d| self.is_usable(d, run)).map(|d| self.busy_for(now, d)).collect();
        let soonest = *left.iter().min()?;
        // What needs several devices at once starts when the last of them is free.
        let gangs_only = run.ready().heads().all(|(_, class)| run.gang_of(class.gate).is_some());
        let gathering = self.gathering.0.iter().find(|g| g.run == run.id() && gangs_only);
        let soonest = gathering.map_or(soonest, |g| soonest.max(g.wait));
        let own = self.turn(now, run);
        let ahead: u64 = self
            .runs
            .values()
            .filter(|other| other.ready().len() > 0 && self.turn(now, other) < own)
            .filter(|other| self.reachable(run).any(|d| other.reach.has(d.id)))
            .map(Run::ready_micros)
            .fold(0, u64::saturating_add);
        let all = left.iter().fold(ahead, |sum, micros| sum.saturating_add(*micros));
        let latest = soonest.max(all / left.len() as u64);
        Some(Eta { soonest: Duration::from_micros(soonest), latest: Duration::from_micros(latest) })
    }

    /// How long what is out on a device is expected to last, in microseconds.
    pub(super) fn busy_for(&self, now: Time, device: &Device) -> u64 {
        let since = device.units.first().and_then(|unit| self.units[unit].since.0);
        device.micros.saturating_sub(since.map_or(0, |since| micros(now.since(since))))
    }
}

impl fmt::Display for Eta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (rough(self.soonest), rough(self.latest));
        if from == to { write!(f, "in about {to}") } else { write!(f, "in {from} to {to}") }
    }
}

/// A duration as exact as a guess may be.
pub(super) fn rough(d: Duration) -> String {
    let secs = d.as_secs_f64();
    let (number, unit) = match secs {
        s if s < 100.0 => (s, "s"),
        s if s < 100.0 * 60.0 => (s / 60.0, "min"),
        s if s < 48.0 * 3600.0 => (s / 3600.0, "h"),
        s => (s / 86_400.0, "days"),
    };
    format!("{:.0} {unit}", number.max(1.0).round())
}
