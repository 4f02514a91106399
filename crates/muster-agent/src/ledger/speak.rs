//! When the agent speaks: soon enough that no device waits, seldom enough that thousands of short
//! attempts share one exchange.

use super::Ledger;
use muster_core::time::Time;
use std::time::Duration;

/// The waiting times of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A first result waits this long for others to go with it, while every device has work: a commit costs
    /// the same for one as for a hundred, and nobody waits for it.
    pub gather: Duration,
    /// News without results (an attempt started) waits this long: what ends sooner is never told of.
    pub news: Duration,
    /// Results that were not acknowledged are sent again after this.
    pub answer: Duration,
    /// An exchange without results is renewed after this, with fresh gauges.
    pub heartbeat: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(10),
            news: Duration::from_millis(50),
            answer: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
        }
    }
}

/// Results in hand that make the agent speak at once, however many more are to come.
// Limit: the lab commits them together, and the agent goes on meanwhile.
const RESULTS_MAX: usize = 512;

/// As above, in bytes.
const BYTES_MAX: usize = 4 << 20;

/// When the agent wants to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speak {
    /// At once.
    Now,
    /// At this moment, unless something happens before.
    At(Time),
}

/// An exchange that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) said: Time,
    /// The highest spool number it carried.
    pub(super) carries: u64,
}

/// What has happened since the last exchange was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Results, and when the first of them came.
    results: usize,
    bytes: usize,
    result_at: Option<Time>,
    /// When a unit first started, ended, or moved on.
    phase_at: Option<Time>,
    /// When a unit was given back that another device waits for.
    returned_at: Option<Time>,
}

impl News {
    pub(super) fn result(&mut self, now: Time, bytes: usize) {
        self.results += 1;
        self.bytes += bytes;
        self.result_at.get_or_insert(now);
    }

    pub(super) fn returned(&mut self, now: Time) {
        self.returned_at.get_or_insert(now);
    }

    pub(super) fn phase_changed(&mut self, now: Time) {
        self.phase_at.get_or_insert(now);
    }
}

impl Ledger {
    /// When to call [`Ledger::exchange`], if nothing else happens. An agent always wants to speak some
    /// time: an exchange stands open so that the lab can answer the moment it has something to say.
    pub fn wants_to_speak(&self, now: Time) -> Speak {
        let at = match self.under_way {
            Some(UnderWay { said, carries }) if self.spool.front().is_some_and(|f| f.spool <= carries) => {
                // Who was asked to speak does, also while an answer is waited for: silence is taken for death.
                (said + self.pace.answer).min(self.asked())
            }
            Some(UnderWay { said, .. }) => (said + self.pace.heartbeat).min(self.due()),
            None => match self.heard_at {
                None => now,
                // The line is opened again, but not before the first results of what has just been
                // ordered had a chance to go with it.
                Some(heard) => (heard + self.pace.gather).min(self.due()),
            },
        };
        if at <= now { Speak::Now } else { Speak::At(at) }
    }

    /// When what has happened since the last exchange wants to be told.
    fn due(&self) -> Time {
        let never = Time(u64::MAX);
        let dry = || self.devices.iter().any(|d| d.running.is_none() && d.queue.is_empty());
        let results = match self.news.result_at {
            None => never,
            Some(at) if self.news.results >= RESULTS_MAX.min(self.given.div_ceil(2)) => at,
            Some(at) if self.news.bytes >= BYTES_MAX || dry() => at,
            Some(at) => at + self.pace.gather,
        };
        let phases = self.news.phase_at.map_or(never, |at| at + self.pace.news);
        results.min(phases).min(self.asked())
    }

    /// When it was asked to speak, or something came back that another device waits for.
    fn asked(&self) -> Time {
        self.news.returned_at.unwrap_or(Time(u64::MAX))
    }
}
