//! An agent that does what it is told, in virtual time. The real one's side of the exchange is
//! `muster_agent::ledger`, which `muster-sim` drives.

use crate::scenario::Behaviour;
use muster_core::attempt::{AttemptResult, Cause};
use muster_core::exchange::{
    AttemptEnd, DeviceOffer, Exchange, Finished, Gauges, Held, HeldPhase, Orders, TestContext, Unit,
};
use muster_core::id::{AgentId, AttemptRef, LeaseId, SessionId, TestIx};
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const HEARTBEAT: Duration = Duration::from_secs(5);

pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
    pub(crate) heard: u64,
    pub(crate) host: String,
    devices: Vec<Slot>,
    tests: BTreeMap<TestIx, Arc<TestContext>>,
    spool: Vec<Finished>,
    spooled: u64,
    pub(crate) gauges: Gauges,
    pub(crate) trouble: Vec<String>,
    pub(crate) silent: bool,
    /// It lets nothing start that asks it.
    pub(crate) shut: bool,
    /// It has something to say.
    pub(crate) dirty: bool,
    said: Time,
}

#[derive(Default)]
struct Slot {
    offer: DeviceOffer,
    queue: VecDeque<(Unit, LeaseId)>,
    running: Option<Running>,
}

struct Running {
    unit: Unit,
    lease: LeaseId,
    /// Which attempt of the unit.
    at: usize,
    since: Time,
    ends: Time,
}

impl Agent {
    pub(crate) fn new(id: AgentId, devices: Vec<DeviceOffer>) -> Self {
        Self {
            id,
            session: SessionId(1),
            seq: 0,
            heard: 0,
            host: "host".to_owned(),
            devices: devices.into_iter().map(|offer| Slot { offer, ..Slot::default() }).collect(),
            tests: BTreeMap::new(),
            spool: Vec::new(),
            spooled: 0,
            gauges: Gauges { load_per_core: 0.0, disk_free_bytes: 1_000 },
            trouble: Vec::new(),
            silent: false,
            shut: false,
            dirty: true,
            said: Time::default(),
        }
    }

    pub(crate) fn begin_session(&mut self) {
        let offers = self.devices.iter().map(|d| d.offer.clone()).collect();
        let (session, host) = (SessionId(self.session.0 + 1), std::mem::take(&mut self.host));
        *self = Self { session, host, ..Self::new(self.id, offers) };
    }

    /// It has one device of another name from now on.
    pub(crate) fn forget_devices(&mut self) {
        self.devices = vec![Slot { offer: DeviceOffer::named("other"), ..Slot::default() }];
    }

    pub(crate) fn hears(&self) -> bool {
        !self.silent
    }

    pub(crate) fn wants_to_speak(&self, now: Time) -> bool {
        !self.silent && (self.dirty || now >= self.said + HEARTBEAT)
    }

    /// An exchange of this session and number that says it has nothing.
    pub(crate) fn say(&self, session: u64, seq: u64) -> Exchange {
        Exchange {
            agent: self.id,
            session: SessionId(session),
            seq,
            heard: self.heard,
            host: self.host.clone(),
            devices: self.devices.iter().map(|d| d.offer.clone()).collect(),
            holding: Vec::new(),
            finished: Vec::new(),
            gauges: self.gauges,
            trouble: self.trouble.clone(),
        }
    }

    pub(crate) fn exchange(&mut self, now: Time) -> Exchange {
        self.seq += 1;
        self.dirty = false;
        self.said = now;
        let mut holding = Vec::new();
        for device in &self.devices {
            if let Some(r) = &device.running {
                let current = Some(r.unit.attempts[r.at].attempt);
                let phase = HeldPhase::Running { since: r.since, current };
                holding.push(Held { unit: r.unit.id, lease: r.lease, phase });
            }
            let queued = |(unit, lease): &(Unit, LeaseId)| Held {
                unit: unit.id,
                lease: *lease,
                phase: HeldPhase::Queued,
            };
            holding.extend(device.queue.iter().map(queued));
        }
        Exchange { holding, finished: self.spool.clone(), ..self.say(self.session.0, self.seq) }
    }

    pub(crate) fn receive(&mut self, now: Time, orders: Orders, behaviour: &Behaviour) {
        if orders.session != self.session || orders.seq <= self.heard {
            return;
        }
        self.heard = orders.seq;
        self.dirty = true;
        self.spool.retain(|f| f.spool > orders.acked);
        self.tests.extend(orders.tests.into_iter().map(|t| (t.test, t)));
        let wanted: BTreeMap<_, _> = orders.units.iter().map(|w| (w.unit, *w)).collect();
        for slot in &mut self.devices {
            slot.queue.retain(|(unit, _)| wanted.get(&unit.id).is_some_and(|w| !w.give_back));
        }
        for at in 0..self.devices.len() {
            let running = self.devices[at].running.as_ref();
            if running.is_some_and(|r| !wanted.contains_key(&r.unit.id)) {
                self.stop(now, at);
            }
        }
        for unit in orders.new {
            let wanted = wanted[&unit.id];
            let known = |s: &Slot| {
                s.running.as_ref().is_some_and(|r| r.unit.id == unit.id)
                    || s.queue.iter().any(|(u, _)| u.id == unit.id)
            };
            if !wanted.give_back && !self.devices.iter().any(known) {
                self.devices[wanted.device as usize].queue.push_back((unit, wanted.lease));
            }
        }
        self.start(now, behaviour);
    }

    fn start(&mut self, now: Time, behaviour: &Behaviour) {
        if self.shut {
            self.turn_away();
        }
        for slot in &mut self.devices {
            if slot.running.is_none()
                && let Some((unit, lease)) = slot.queue.pop_front()
            {
                let ends = now + behaviour.takes(&self.tests[&unit.test].def.name);
                slot.running = Some(Running { unit, lease, at: 0, since: now, ends });
                self.dirty = true;
            }
        }
    }

    /// What asks before it starts goes back.
    fn turn_away(&mut self) {
        let pause = Duration::from_secs(5);
        let mut back = Vec::new();
        for slot in self.devices.iter_mut().filter(|slot| slot.running.is_none()) {
            let asks = |(unit, _): &(Unit, LeaseId)| self.tests[&unit.test].def.needs.limiter.is_some();
            while slot.queue.front().is_some_and(asks) {
                back.extend(slot.queue.pop_front());
            }
        }
        for (unit, lease) in back {
            for attempt in &unit.attempts {
                let end = AttemptEnd::Shut { why: "no licence is left".to_owned(), pause };
                self.finish(unit.id, lease, attempt.attempt, end);
            }
        }
    }

    /// When something of it happens by itself.
    pub(crate) fn next(&self) -> Option<Time> {
        let heartbeat = (!self.silent).then_some(self.said + HEARTBEAT);
        self.devices.iter().filter_map(|d| Some(d.running.as_ref()?.ends)).chain(heartbeat).min()
    }

    /// Ends what has ended by now.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        behaviour: &Behaviour,
        broken: &BTreeMap<String, Vec<String>>,
    ) {
        for at in 0..self.devices.len() {
            let name = self.devices[at].offer.name.clone();
            while let Some(r) = self.devices[at].running.as_mut().filter(|r| r.ends <= now) {
                self.dirty = true;
                let test = &*self.tests[&r.unit.test].def.name;
                let took = behaviour.takes(test);
                let fails = broken.get(&name).map_or(&[][..], Vec::as_slice);
                let lab_error = fails.iter().any(|f| *f == format!("{test}!"));
                let fails = fails.iter().any(|f| f == test);
                let unit_attempt = &r.unit.attempts[r.at];
                let attempt = unit_attempt.attempt;
                let end = if r.unit.discovery {
                    let (result, found) = behaviour.found(test, attempt.attempt, r.ends - took, took);
                    AttemptEnd::Found(result, found)
                } else {
                    let path = &unit_attempt.path;
                    if lab_error {
                        AttemptEnd::Ran(crate::build::lab_error(r.ends - took, took))
                    } else if fails {
                        AttemptEnd::Ran(crate::build::result(Outcome::Fail, r.ends - took, took))
                    } else {
                        AttemptEnd::Ran(behaviour.result(test, path, attempt.attempt, r.ends - took, took))
                    }
                };
                let crashed = matches!(&end, AttemptEnd::Ran(r) if r.outcome == Outcome::Crash);
                r.at += 1;
                let over = r.at == r.unit.attempts.len();
                if !over {
                    r.ends = r.ends + took;
                }
                let r = (r.unit.id, r.lease);
                self.finish(r.0, r.1, attempt, end);
                if crashed || over {
                    self.end_unit(at);
                }
            }
        }
        self.start(now, behaviour);
    }

    fn finish(
        &mut self,
        unit: muster_core::id::UnitId,
        lease: LeaseId,
        attempt: AttemptRef,
        end: AttemptEnd,
    ) {
        self.spooled += 1;
        self.spool.push(Finished { spool: self.spooled, unit, lease, attempt, end });
        self.dirty = true;
    }

    /// The unit's process has ended; attempts whose turn had not come were not reached.
    fn end_unit(&mut self, at: usize) {
        let Some(r) = self.devices[at].running.take() else { return };
        for attempt in &r.unit.attempts[r.at..] {
            self.finish(r.unit.id, r.lease, attempt.attempt, AttemptEnd::NotReached);
        }
    }

    fn stop(&mut self, now: Time, at: usize) {
        let Some(r) = self.devices[at].running.as_mut() else { return };
        let attempt = r.unit.attempts[r.at].attempt;
        let cause = Cause::Stopped("stopped".to_owned());
        let result = crate::build::result(Outcome::Cancelled, r.since, now.since(r.since));
        let end = AttemptEnd::Ran(AttemptResult { cause, ..result });
        let (unit, lease) = (r.unit.id, r.lease);
        r.at += 1;
        self.finish(unit, lease, attempt, end);
        self.end_unit(at);
    }
}
