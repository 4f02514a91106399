//! A simulated host: the agent's real ledger, and an executor that only pretends.

use crate::area::Truth;
use crate::rng::Rng;
use muster_agent::ledger::{Effect, Ledger, Pace, Taken};
use muster_core::attempt::AttemptResult;
use muster_core::exchange::{AttemptEnd, DeviceOffer, Exchange, Gauges, Labels, Orders};
use muster_core::id::{AgentId, AttemptRef, SessionId, UnitId};
use muster_core::kind::HEALTH_AREA;
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// A host with its agent and its devices.
#[derive(Debug)]
pub struct Host {
    /// The agent.
    pub id: AgentId,
    /// Its present or last session.
    pub session: SessionId,
    /// The agent's memory; `None` while it is down.
    pub ledger: Option<Ledger>,
    /// Its name.
    pub name: String,
    /// Names of the devices that it has in this life.
    pub names: Vec<String>,
    /// What devices are like, by name.
    pub labels: BTreeMap<String, Labels>,
    /// It stands still until then, as a virtual machine that is paused.
    pub frozen_until: Option<Time>,
    /// What each device really does.
    pub devices: Vec<Option<Running>>,
    /// Grows when a device's doings change, so that events of what it did before are told apart.
    pub doings: u64,
    /// The host's clock is ahead by this much.
    pub skew: Duration,
    /// Nothing gets through until then.
    pub parted_until: Time,
    /// When it is next asked whether it wants to speak.
    pub wake: Option<Time>,
    /// What it reports.
    pub gauges: Gauges,
    /// Results up to this spool number are not said again; only by mistake.
    pub forgotten: u64,
    /// Its devices pass their checks.
    pub well: bool,
    pace: Pace,
}

/// A unit that runs.
#[derive(Debug)]
pub struct Running {
    /// It, with all it needs.
    pub taken: Taken,
    /// Which of its attempts.
    pub at: usize,
    /// When that began, by the world's clock.
    pub since: Time,
    /// Told to end.
    pub stopping: bool,
    /// The event that it waits for.
    pub doing: u64,
}

/// Something that will happen on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: Time,
    /// The device's place.
    pub device: u32,
    /// The doing it belongs to.
    pub doing: u64,
}

/// What really happened on a host.
#[derive(Debug)]
pub enum Fact {
    /// A unit's process started.
    Started {
        /// The unit, with all it needs.
        taken: Taken,
        /// The device's name.
        device: String,
    },
    /// An attempt ended with this.
    Ended {
        /// The unit.
        unit: UnitId,
        /// The attempt.
        attempt: AttemptRef,
        /// What it came to.
        result: Box<AttemptResult>,
    },
    /// A unit's process is gone.
    Gone {
        /// The unit.
        unit: UnitId,
    },
    /// A unit stands still together with its host.
    Frozen {
        /// The unit.
        unit: UnitId,
    },
    /// It goes on, and nobody has told it to end.
    Thawed {
        /// The unit.
        unit: UnitId,
    },
}

impl Host {
    /// A host that is down.
    pub fn new(n: usize, lease: Duration, skew: Duration) -> Self {
        Self {
            id: AgentId(n as u64 + 1),
            session: SessionId(0),
            ledger: None,
            name: format!("h{n}"),
            names: Vec::new(),
            labels: BTreeMap::new(),
            frozen_until: None,
            devices: Vec::new(),
            doings: 0,
            skew,
            parted_until: Time::default(),
            wake: None,
            gauges: Gauges { load_per_core: 0.0, disk_free_bytes: 1000 },
            forgotten: 0,
            well: false,
            pace: Pace { heartbeat: lease / 6, answer: lease / 5, ..Pace::default() },
        }
    }

    /// The host's clock.
    pub fn clock(&self, now: Time) -> Time {
        now + self.skew
    }

    /// The agent begins, with these devices.
    pub fn start(&mut self, same_session: bool, names: Vec<String>) {
        self.devices = names.iter().map(|_| None).collect();
        self.names = names;
        if !same_session || self.session.0 == 0 {
            self.session = SessionId(self.session.0 + 1);
        }
        self.ledger = Some(
            Ledger::new(
                self.id,
                self.session,
                self.name.clone(),
                self.names.iter().map(DeviceOffer::named).collect(),
            )
            .with_pace(self.pace),
        );
    }

    /// The agent dies, and all it runs with it.
    pub fn crash(&mut self, facts: &mut Vec<Fact>) {
        self.ledger = None;
        self.frozen_until = None;
        self.forgotten = 0;
        self.doings += 1;
        for device in &mut self.devices {
            if let Some(running) = device.take() {
                facts.push(Fact::Gone { unit: running.taken.unit.id });
            }
        }
    }

    /// Orders arrive.
    pub fn receive(
        &mut self,
        now: Time,
        orders: Orders,
        limit: Option<Duration>,
        rng: &mut Rng,
        truth: &Truth,
        facts: &mut Vec<Fact>,
    ) -> Vec<Due> {
        let clock = self.clock(now);
        let Some(ledger) = &mut self.ledger else { return Vec::new() };
        let mut effects = ledger.receive_orders(clock, orders);
        if let Some(limit) = limit {
            // Orders that were long on their way say nothing any more.
            effects.extend(ledger.sweep_silence(clock, limit));
        }
        self.carry_out(now, effects, rng, truth, facts)
    }

    /// Drops and ends everything if the lab may have given it up.
    pub fn sweep(
        &mut self,
        now: Time,
        limit: Duration,
        rng: &mut Rng,
        truth: &Truth,
        facts: &mut Vec<Fact>,
    ) -> Vec<Due> {
        let clock = self.clock(now);
        let Some(ledger) = &mut self.ledger else { return Vec::new() };
        let effects = ledger.sweep_silence(clock, limit);
        self.carry_out(now, effects, rng, truth, facts)
    }

    /// It stands still.
    pub fn freeze(&mut self, until: Time, facts: &mut Vec<Fact>) {
        self.frozen_until = Some(until);
        let running = self.devices.iter().flatten();
        facts.extend(running.map(|r| Fact::Frozen { unit: r.taken.unit.id }));
    }

    /// It goes on, and what was not told to end with it.
    pub fn thaw(&mut self, facts: &mut Vec<Fact>) {
        self.frozen_until = None;
        let running = self.devices.iter().flatten().filter(|r| !r.stopping);
        facts.extend(running.map(|r| Fact::Thawed { unit: r.taken.unit.id }));
    }

    /// What it says, with what its devices are like by now.
    pub fn exchange(&mut self, now: Time) -> Option<Exchange> {
        let clock = self.clock(now);
        let mut exchange = self.ledger.as_mut()?.exchange(clock, self.gauges);
        for device in &mut exchange.devices {
            device.labels = self.labels.get(&device.name).cloned().unwrap_or_default();
        }
        Some(exchange)
    }

    fn carry_out(
        &mut self,
        now: Time,
        effects: Vec<Effect>,
        rng: &mut Rng,
        truth: &Truth,
        facts: &mut Vec<Fact>,
    ) -> Vec<Due> {
        let mut due = Vec::new();
        for effect in effects {
            match effect {
                Effect::Wake { device } => due.extend(self.begin(now, device, truth, facts)),
                Effect::Stop { unit, device, kill } => {
                    let Some(running) = &mut self.devices[device as usize] else { continue };
                    assert_eq!(running.taken.unit.id, unit, "what is told to end runs there");
                    running.stopping = true;
                    self.doings += 1;
                    running.doing = self.doings;
                    let grace = Duration::from_secs(2);
                    let takes =
                        if kill { Duration::from_millis(1) } else { rng.duration(grace / 1000, grace) };
                    due.push(Due { at: now + takes, device, doing: self.doings });
                }
            }
        }
        due
    }

    /// A device takes its next unit, if there is one.
    fn begin(&mut self, now: Time, device: u32, truth: &Truth, facts: &mut Vec<Fact>) -> Option<Due> {
        let clock = self.clock(now);
        let taken = self.ledger.as_mut()?.take(clock, device)?;
        assert!(
            self.devices[device as usize].is_none(),
            "{} runs one unit at a time",
            self.names[device as usize]
        );
        let first = &taken.unit.attempts[0];
        let takes = truth.takes(&taken.test.def.name, &first.path, first.attempt.attempt);
        self.doings += 1;
        let name = self.names[device as usize].clone();
        facts.push(Fact::Started { taken: taken.clone(), device: name });
        self.devices[device as usize] =
            Some(Running { taken, at: 0, since: now, stopping: false, doing: self.doings });
        Some(Due { at: now + takes, device, doing: self.doings })
    }

    /// What was due on a device happens: its attempt ends.
    pub fn happen(&mut self, now: Time, due: Due, truth: &Truth, facts: &mut Vec<Fact>) -> Vec<Due> {
        let clock = self.clock(now);
        let place = due.device as usize;
        let running = self.devices.get_mut(place).and_then(Option::as_mut);
        let Some(running) = running.filter(|r| r.doing == due.doing) else {
            return Vec::new();
        };
        let ledger = self.ledger.as_mut().expect("nothing runs without an agent");
        let unit = running.taken.unit.clone();
        let def = running.taken.test.def.clone();
        let current = &unit.attempts[running.at];
        let attempt = current.attempt;
        let took = now.since(running.since);
        let started = running.since + self.skew;
        let end = if running.stopping {
            AttemptEnd::Ran(crate::build::result(Outcome::Cancelled, started, took))
        } else if unit.discovery {
            let (result, found) = truth.found(&def, attempt.attempt, started, took);
            AttemptEnd::Found(result, found)
        } else if running.taken.run.address.starts_with(HEALTH_AREA) {
            AttemptEnd::Ran(match self.well {
                true => crate::build::result(Outcome::Pass, started, took),
                false => truth.check(&def.name, &self.names[place], started, took),
            })
        } else {
            AttemptEnd::Ran(truth.result(&def.name, &current.path, attempt.attempt, started, took))
        };
        if let AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) = &end {
            facts.push(Fact::Ended { unit: unit.id, attempt, result: Box::new(result.clone()) });
        }
        let crashed = matches!(&end, AttemptEnd::Ran(r) if r.outcome == Outcome::Crash);
        assert!(ledger.receive_finished(clock, unit.id, attempt, end), "the first end counts");
        running.at += 1;
        if !crashed && !running.stopping && running.at < unit.attempts.len() {
            let next = &unit.attempts[running.at];
            ledger.receive_started(clock, unit.id, next.attempt);
            running.since = now;
            let takes = truth.takes(&def.name, &next.path, next.attempt.attempt);
            return vec![Due { at: now + takes, ..due }];
        }
        ledger.receive_unit_ended(clock, unit.id);
        self.devices[place] = None;
        facts.push(Fact::Gone { unit: unit.id });
        self.begin(now, due.device, truth, facts).into_iter().collect()
    }
}
