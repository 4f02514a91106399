//! The agent as a value: which units it holds, which run, and which results are on their way to the
//! record. It is the agent's whole side of the [exchange](muster_core::exchange).
//!
//! Pure and synchronous: time is an argument, what is to be done comes back as [`Effect`]s or is asked
//! for ([`Ledger::take`], [`Ledger::wants_to_speak`]). The agent process and the simulator drive the
//! same value. It starts no process, opens no connection and knows nothing of frameworks.
//!
//! ```text
//!   orders list it            take                  unit ended              acknowledged
//! ──────────────► Queued ───────────► Running ───────────────► (spool) ───────────────► forgotten
//!                   │ not listed         │ not listed
//!                   ▼                    ▼
//!                forgotten            Stop, then it ends like any other
//! ```
//!
//! What makes lost, doubled and reordered messages harmless:
//!
//! * Orders are taken in only if they answer an exchange newer than the last one heard, of this session.
//! * A unit that is in hand (queued, running, or with a result in the spool) is never taken in again.
//! * A result stays in the spool, and is repeated with every exchange, until the lab acknowledges it.

mod speak;

#[cfg(test)]
mod tests;

pub use speak::{Pace, Speak};

use crate::process::Life;
use muster_core::attempt::{AttemptResult, Output};
use muster_core::exchange::{
    AttemptEnd, DeviceOffer, Exchange, Finished, Gauges, Held, HeldPhase, Orders, RunContext, TestContext,
    Unit,
};
use muster_core::id::{AgentId, AttemptRef, LeaseId, RunId, SessionId, TestIx, UnitId};
use muster_core::time::Time;
use speak::{News, UnderWay};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Results beyond this keep devices from taking more work.
// Limit: an exchange repeats them all, so this bounds its size and the agent's memory.
const SPOOL_BYTES_MAX: usize = 32 << 20;

/// Exchanges whose time is remembered until they are answered; older ones renew nothing.
const UNANSWERED_MAX: usize = 256;

/// Something the agent is to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End the processes of this unit, which runs on this device.
    Stop {
        /// The unit.
        unit: UnitId,
        /// The device it runs on, by its place in the exchange's list.
        device: u32,
        /// Without grace.
        kill: bool,
    },
    /// This device is idle and has something to run: [`Ledger::take`] it.
    Wake {
        /// The device, by its place in the exchange's list.
        device: u32,
    },
}

/// A unit that a device has just begun, with all that is needed to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// What to run.
    pub unit: Arc<Unit>,
    /// What its run's units share.
    pub run: Arc<RunContext>,
    /// What its test's units share.
    pub test: Arc<TestContext>,
}

/// Everything the agent holds and knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    agent: AgentId,
    session: SessionId,
    host: String,
    pace: Pace,
    devices: Vec<Device>,
    /// Every unit that has not ended.
    units: BTreeMap<UnitId, HeldUnit>,
    /// Ended units with the spool number of their last result, until the lab has acknowledged that and
    /// no longer lists them.
    ended: BTreeMap<UnitId, u64>,
    /// Results that have not been acknowledged, by rising spool number.
    spool: VecDeque<Finished>,
    /// Bytes the spool takes, roughly.
    spool_bytes: usize,
    /// The last spool number given.
    spooled: u64,
    /// The newest contexts; units keep their own reference.
    runs: BTreeMap<RunId, Arc<RunContext>>,
    tests: BTreeMap<(RunId, TestIx), Arc<TestContext>>,
    /// The last exchange said, the last one answered, and when that was heard.
    seq: u64,
    heard: u64,
    heard_at: Option<Time>,
    /// When the exchanges that may still be answered were said, by rising number.
    said_at: VecDeque<(u64, Time)>,
    /// When the exchange was said that the last orders answer.
    renewed_at: Option<Time>,
    /// How long the lab waits to hear from the agent, as it last said.
    lease: Option<Duration>,
    /// Units in hand after the last orders: what "half of it is done" is measured by.
    given: usize,
    under_way: Option<UnderWay>,
    news: News,
}

/// A device and what it is at.
#[derive(Clone, Debug, Default, PartialEq)]
struct Device {
    offer: DeviceOffer,
    /// Units to run, in order. Each is `Queued` in `units`.
    queue: VecDeque<UnitId>,
    running: Option<UnitId>,
}

#[derive(Clone, Debug, PartialEq)]
struct HeldUnit {
    unit: Arc<Unit>,
    lease: LeaseId,
    device: u32,
    run: Arc<RunContext>,
    test: Arc<TestContext>,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Queued,
    Running {
        since: Time,
        current: Option<AttemptRef>,
        /// Attempts without a result, in order.
        open: VecDeque<AttemptRef>,
        /// The spool number of the last result.
        last: u64,
        stop: StopSent,
    },
}

/// Whether a running unit was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StopSent {
    No,
    Gracefully,
    Kill,
}

impl Ledger {
    /// An agent that holds nothing and has not spoken.
    pub fn new(agent: AgentId, session: SessionId, host: String, devices: Vec<DeviceOffer>) -> Self {
        Self {
            agent,
            session,
            host,
            pace: Pace::default(),
            devices: devices.into_iter().map(|offer| Device { offer, ..Device::default() }).collect(),
            units: BTreeMap::new(),
            ended: BTreeMap::new(),
            spool: VecDeque::new(),
            spool_bytes: 0,
            spooled: 0,
            runs: BTreeMap::new(),
            tests: BTreeMap::new(),
            seq: 0,
            heard: 0,
            heard_at: None,
            said_at: VecDeque::new(),
            renewed_at: None,
            lease: None,
            given: 0,
            under_way: None,
            news: News::default(),
        }
    }

    /// The same with other waiting times.
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The lab says what the agent should have. Orders of another session, and those that answer an
    /// exchange no newer than one already heard, change nothing.
    pub fn receive_orders(&mut self, now: Time, orders: Orders) -> Vec<Effect> {
        if orders.session != self.session || orders.seq <= self.heard || orders.seq > self.seq {
            return Vec::new();
        }
        self.heard = orders.seq;
        self.heard_at = Some(now);
        self.lease = Some(orders.lease).filter(|lease| !lease.is_zero());
        while let Some((seq, said)) = self.said_at.front().copied().filter(|(seq, _)| *seq <= orders.seq) {
            self.said_at.pop_front();
            if seq == orders.seq {
                self.renewed_at = Some(said);
            }
        }
        if orders.seq == self.seq {
            self.under_way = None;
        }
        while let Some(first) = self.spool.front().filter(|f| f.spool <= orders.acked) {
            self.spool_bytes -= bytes_of(&first.end);
            self.spool.pop_front();
        }
        self.runs.extend(orders.runs.into_iter().map(|run| (run.run, run)));
        self.tests.extend(orders.tests.into_iter().map(|test| ((test.run, test.test), test)));
        let mut content: BTreeMap<UnitId, Unit> = orders.new.into_iter().map(|u| (u.id, u)).collect();

        for device in &mut self.devices {
            device.queue.clear();
        }
        let mut listed = BTreeSet::new();
        for wanted in &orders.units {
            let Some(device) = self.devices.get_mut(wanted.device as usize) else { continue };
            if !listed.insert(wanted.unit) || self.ended.contains_key(&wanted.unit) {
                continue;
            }
            match self.units.get_mut(&wanted.unit) {
                Some(held) => match held.phase {
                    Phase::Queued if wanted.give_back => {
                        listed.remove(&wanted.unit);
                        self.news.returned(now);
                    }
                    Phase::Queued => {
                        held.lease = wanted.lease;
                        held.device = wanted.device;
                        device.queue.push_back(wanted.unit);
                    }
                    // What runs under another lease than it should have is not what the lab wants.
                    Phase::Running { .. } if held.lease != wanted.lease => {
                        listed.remove(&wanted.unit);
                    }
                    Phase::Running { .. } => {}
                },
                None if wanted.give_back => {}
                None => {
                    // Without content or context it is not held; the next exchange says so, and the lab
                    // sends them.
                    let Some(unit) = content.remove(&wanted.unit) else { continue };
                    let Some(run) = self.runs.get(&unit.run) else { continue };
                    let Some(test) = self.tests.get(&(unit.run, unit.test)) else { continue };
                    device.queue.push_back(wanted.unit);
                    self.units.insert(
                        wanted.unit,
                        HeldUnit {
                            unit: Arc::new(unit),
                            lease: wanted.lease,
                            device: wanted.device,
                            run: Arc::clone(run),
                            test: Arc::clone(test),
                            phase: Phase::Queued,
                        },
                    );
                }
            }
        }
        self.ended.retain(|unit, last| *last > orders.acked || listed.contains(unit));
        let effects = self.drop_unlisted(&listed, orders.kill);
        self.forget_contexts();
        self.given = self.units.len();
        effects
    }

    /// Drops what is queued and not listed, stops what runs and is not listed, wakes idle devices.
    fn drop_unlisted(&mut self, listed: &BTreeSet<UnitId>, kill: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        let level = if kill { StopSent::Kill } else { StopSent::Gracefully };
        self.units.retain(|id, held| match &mut held.phase {
            Phase::Queued => listed.contains(id),
            // One that has all its results is at its end anyway.
            Phase::Running { stop, open, .. } => {
                if !listed.contains(id) && !open.is_empty() && *stop < level {
                    *stop = level;
                    effects.push(Effect::Stop { unit: *id, device: held.device, kill });
                }
                true
            }
        });
        for (device, index) in self.devices.iter().zip(0..) {
            if device.running.is_none() && !device.queue.is_empty() {
                effects.push(Effect::Wake { device: index });
            }
        }
        effects
    }

    /// Contexts of runs and tests that no held unit is of: the lab sends them again with new units.
    fn forget_contexts(&mut self) {
        // Orders bring few contexts at a time; sweeping only now and then keeps this cheap.
        if self.tests.len() <= 2 * self.units.len() + 16 {
            return;
        }
        let used: BTreeSet<(RunId, TestIx)> =
            self.units.values().map(|h| (h.unit.run, h.unit.test)).collect();
        self.tests.retain(|key, _| used.contains(key));
        self.runs.retain(|run, _| used.iter().any(|(r, _)| r == run));
    }

    /// The next unit of a device, which runs from now on. `None` where there is none, the device is still
    /// at one, or so many results wait for the record that no more are made until some are acknowledged;
    /// the orders that do so wake the device.
    pub fn take(&mut self, now: Time, device: u32) -> Option<Taken> {
        let place = self.devices.get_mut(device as usize)?;
        if place.running.is_some() || self.spool_bytes > SPOOL_BYTES_MAX {
            return None;
        }
        let id = place.queue.pop_front()?;
        let held = self.units.get_mut(&id)?;
        place.running = Some(id);
        held.phase = Phase::Running {
            since: now,
            current: None,
            open: held.unit.attempts.iter().map(|a| a.attempt).collect(),
            last: 0,
            stop: StopSent::No,
        };
        self.news.phase_changed(now);
        Some(Taken { unit: Arc::clone(&held.unit), run: Arc::clone(&held.run), test: Arc::clone(&held.test) })
    }

    /// A running unit is now at this attempt.
    pub fn receive_started(&mut self, now: Time, unit: UnitId, attempt: AttemptRef) {
        if let Some(HeldUnit { phase: Phase::Running { current, .. }, .. }) = self.units.get_mut(&unit) {
            *current = Some(attempt);
            self.news.phase_changed(now);
        }
    }

    /// An attempt of a running unit has ended. The first end of an attempt counts; whether this was it.
    pub fn receive_finished(
        &mut self,
        now: Time,
        unit: UnitId,
        attempt: AttemptRef,
        end: AttemptEnd,
    ) -> bool {
        let Some(HeldUnit { phase: Phase::Running { open, last, current, .. }, lease, .. }) =
            self.units.get_mut(&unit)
        else {
            return false;
        };
        let Some(place) = open.iter().position(|a| *a == attempt) else { return false };
        open.remove(place);
        if *current == Some(attempt) {
            *current = None;
        }
        self.spooled += 1;
        *last = self.spooled;
        let bytes = bytes_of(&end);
        self.spool_bytes += bytes;
        self.spool.push_back(Finished { spool: self.spooled, unit, lease: *lease, attempt, end });
        self.news.result(now, bytes);
        true
    }

    /// A running unit has ended and its device is free. Attempts that have no result were not reached.
    pub fn receive_unit_ended(&mut self, now: Time, unit: UnitId) {
        loop {
            let Some(HeldUnit { phase: Phase::Running { open, .. }, .. }) = self.units.get(&unit) else {
                return;
            };
            let Some(attempt) = open.front().copied() else { break };
            self.receive_finished(now, unit, attempt, AttemptEnd::NotReached);
        }
        let Some(held) = self.units.remove(&unit) else { return };
        if let Phase::Running { last, .. } = held.phase {
            self.ended.insert(unit, last);
        }
        self.devices[held.device as usize].running = None;
        self.news.phase_changed(now);
    }

    /// Everything the agent knows, as the next exchange. From now on that one is under way.
    pub fn exchange(&mut self, now: Time, gauges: Gauges) -> Exchange {
        self.seq += 1;
        self.under_way = Some(UnderWay { said: now, carries: self.spooled });
        self.said_at.push_back((self.seq, now));
        if self.said_at.len() > UNANSWERED_MAX {
            self.said_at.pop_front();
        }
        self.news = News::default();
        Exchange {
            agent: self.agent,
            session: self.session,
            seq: self.seq,
            heard: self.heard,
            host: self.host.clone(),
            devices: self.devices.iter().map(|d| d.offer.clone()).collect(),
            holding: self
                .units
                .iter()
                .map(|(id, held)| Held { unit: *id, lease: held.lease, phase: held.phase.told() })
                .collect(),
            finished: self.spool.iter().cloned().collect(),
            gauges,
            // The agent's host looks at itself where the server is spoken with.
            trouble: Vec::new(),
        }
    }

    /// When the agent said the exchange that the last orders taken in answer; `None` before the first. The
    /// lab counts a lease from when it hears an exchange, so no sooner than this. When its answer arrived
    /// says nothing: it may have been long on its way.
    pub fn silent_since(&self) -> Option<Time> {
        self.renewed_at
    }

    /// Speaks at the next chance, whatever there is to say.
    pub fn speak_soon(&mut self, now: Time) {
        self.news.returned(now);
    }

    /// When everything must be stopped unless the lab is heard before, some time before the lease ends:
    /// clocks differ, and what runs needs a while to end. `None` while nothing is held or no lease known.
    pub fn must_hear_by(&self) -> Option<Time> {
        let (said, lease) = (self.renewed_at?, self.lease?);
        (!self.units.is_empty()).then(|| said + (lease - lease / 10))
    }

    /// Where the lab has been silent for `limit`, what is queued is dropped and what runs is stopped: the
    /// lab will take the agent for dead and give its units to others. The embedded agent needs no such
    /// limit, since its connection ends together with the lab.
    pub fn sweep_silence(&mut self, now: Time, limit: Duration) -> Vec<Effect> {
        if self.renewed_at.is_none_or(|said| now.since(said) < limit) {
            return Vec::new();
        }
        self.stop_all(false)
    }

    /// Drops what is queued and stops what runs; what was told to stop already is not told again, except
    /// to die after it was asked to end.
    pub fn stop_all(&mut self, kill: bool) -> Vec<Effect> {
        for device in &mut self.devices {
            device.queue.clear();
        }
        self.drop_unlisted(&BTreeSet::new(), kill)
    }

    /// What is told to whoever comes to a keeper.
    pub fn life(&self) -> Life {
        Life {
            agent: self.agent,
            session: self.session,
            devices: self.devices.iter().map(|d| d.offer.clone()).collect(),
            units: self.units.iter().map(|(id, held)| (*id, held.unit.run)).collect(),
            results: self.spool.len(),
        }
    }

    /// How many units are held, of them running, and results in the spool.
    pub fn load(&self) -> (usize, usize, usize) {
        let running = self.devices.iter().filter(|d| d.running.is_some()).count();
        (self.units.len(), running, self.spool.len())
    }

    /// Every cross-reference, for tests and the simulator. Panics where one is broken.
    pub fn check(&self) {
        let mut queued = 0;
        for (device, index) in self.devices.iter().zip(0u32..) {
            queued += device.queue.len();
            for id in &device.queue {
                let held = self.units.get(id).expect("a queued unit is held");
                assert_eq!(held.phase, Phase::Queued, "{id} is in a queue");
                assert_eq!(held.device, index, "{id} is in the queue of its device");
            }
            if let Some(id) = device.running {
                let held = self.units.get(&id).expect("a running unit is held");
                assert!(matches!(held.phase, Phase::Running { .. }), "{id} runs");
                assert_eq!(held.device, index, "{id} runs on its device");
            }
        }
        let running = self.devices.iter().filter(|d| d.running.is_some()).count();
        assert_eq!(queued + running, self.units.len(), "each unit is in one queue or runs on one device");
        assert!(self.units.keys().all(|id| !self.ended.contains_key(id)), "what is held has not ended");
        let numbers: Vec<u64> = self.spool.iter().map(|f| f.spool).collect();
        assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]), "spool numbers rise by one: {numbers:?}");
        assert!(numbers.last().is_none_or(|last| *last == self.spooled));
        assert_eq!(self.spool.iter().map(|f| bytes_of(&f.end)).sum::<usize>(), self.spool_bytes);
        assert!(self.heard <= self.seq, "only what was said is answered");
    }
}

/// Bytes a result takes, roughly: its output, and something for the rest.
fn bytes_of(end: &AttemptEnd) -> usize {
    const REST: usize = 512;
    let output = |result: &AttemptResult| match &result.output {
        Output::Inline(frames) => frames.len(),
        Output::None | Output::File { .. } | Output::Segment { .. } => 0,
    };
    match end {
        AttemptEnd::Ran(result) => REST + output(result),
        AttemptEnd::Found(result, found) => REST + output(result) + found.items.len() * 128,
        AttemptEnd::NotReached | AttemptEnd::Shut { .. } => REST,
    }
}

impl Phase {
    fn told(&self) -> HeldPhase {
        match self {
            Self::Queued => HeldPhase::Queued,
            Self::Running { since, current, .. } => HeldPhase::Running { since: *since, current: *current },
        }
    }
}
