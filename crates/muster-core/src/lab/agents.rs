//! What an agent says it has: its session, its devices, the units it holds, the results it brings.

use super::{Agent, Blamed, Device, Gone, Lab, Mistake, Pending, Presence, Rejected, Said, UnitState, Wish};
use crate::attempt::Cause;
use crate::change::Change;
use crate::event::{Event, LabEvent};
use crate::exchange::{AttemptEnd, DeviceOffer, Exchange, Finished, Held, HeldPhase};
use crate::health::DeviceHealth;
use crate::id::{AgentId, AttemptRef, DeviceId, ItemIx, LeaseId, SessionId, UnitId};
use crate::outcome::Outcome;
use crate::time::Time;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

impl Lab {
    /// Whose unit this is; `None` once it is over.
    pub fn agent_of(&self, unit: UnitId) -> Option<AgentId> {
        Some(self.devices[&self.units.get(&unit)?.device].agent)
    }

    pub(super) fn receive_exchange(&mut self, now: Time, exchange: Exchange) -> Result<(), Rejected> {
        let Exchange { agent: id, session, seq, heard, host, devices, holding, finished, gauges, trouble } =
            exchange;
        let mut known: Vec<DeviceId> = Vec::new();
        match self.agents.get(&id) {
            // Sessions grow with time: an older one is a voice from the grave.
            Some(agent) if session < agent.session => return Err(Rejected::Replaced { session }),
            Some(agent) if session == agent.session => {
                if agent.presence == Presence::Over {
                    return Err(Rejected::Replaced { session });
                }
                if seq <= agent.seq {
                    return Err(Rejected::Stale { session, seq });
                }
            }
            Some(_) | None => {
                known = self.agents.get(&id).map(|a| a.devices.clone()).unwrap_or_default();
                self.lose_agent(now, id, Gone::Died);
                let names = devices.iter().map(|d| d.name.clone()).collect();
                self.welcome_agent(now, id, session, host, names);
            }
        }
        self.receive_labels(id, devices);
        known.retain(|device| self.devices.contains_key(device));
        for device in known {
            self.check_after_restart(device);
        }
        let early = self.policy.mistake == Mistake::ExpireEarly;
        let lease_until = now + if early { self.policy.lease / 8 } else { self.policy.lease };
        let agent = self.agents.get_mut(&id).expect("known or just welcomed");
        agent.presence = Presence::There;
        let back = std::mem::take(&mut agent.told_lost).then(|| agent.host.clone());
        agent.seq = seq;
        agent.gauges = gauges;
        agent.trouble = trouble;
        agent.heard_at = now;
        agent.lease_until = lease_until;
        if let Some(host) = back {
            self.happened(now, || LabEvent::AgentJoined { agent: id, host });
        }
        let urgent = !finished.is_empty();
        let finished_units: BTreeSet<UnitId> = finished.iter().map(|f| f.unit).collect();
        for finished in finished {
            self.receive_finished(now, id, finished);
        }
        let held: BTreeSet<UnitId> = holding.iter().map(|h| h.unit).collect();
        for held in holding {
            self.receive_held(now, id, held);
        }
        self.take_back_what_was_given_back(now, id, heard, &held);
        let agent = self.agents.get_mut(&id).expect("still known");
        agent.pending = Some(Pending { seq, heard, urgent, holding: held, finished: finished_units });
        Ok(())
    }

    fn welcome_agent(
        &mut self,
        now: Time,
        id: AgentId,
        session: SessionId,
        host: String,
        names: Vec<String>,
    ) {
        // A device keeps its id over the sessions of its agent.
        let before: Vec<(Arc<str>, DeviceId)> = self
            .agents
            .get(&id)
            .map(|a| a.devices.iter().map(|d| (Arc::clone(&self.devices[d].name), *d)).collect())
            .unwrap_or_default();
        let mut devices = Vec::with_capacity(names.len());
        for name in names {
            let known = before.iter().find(|(n, _)| **n == *name).map(|(_, d)| *d);
            let device = known.unwrap_or_else(|| {
                self.used.device.0 += 1;
                self.used.device
            });
            devices.push((device, name));
        }
        for (name, gone) in before.iter().filter(|(_, d)| !devices.iter().any(|(id, _)| id == d)) {
            let Some(device) = self.devices.remove(gone) else { continue };
            if device.hold.is_some() {
                self.save(Change::DeviceHeld { device: *gone, hold: None });
            }
            if device.health != DeviceHealth::default() {
                self.save(Change::DeviceHealth { device: *gone, health: None });
            }
            if let Some(check) = device.health.task.run() {
                self.stop_run(now, check, "its device is gone", false);
            }
            if let Some(user) = device.works_for {
                self.shares.end(user);
            }
            self.reach_to(*gone);
            self.happened(now, || LabEvent::DeviceGone { device: *gone, name: name.to_string() });
        }
        self.save(Change::AgentSeen { agent: id, session, host: host.clone(), devices: devices.clone() });
        self.happened(now, || LabEvent::AgentJoined { agent: id, host: host.clone() });
        for (device, name) in devices.iter().filter(|(d, _)| !before.iter().any(|(_, known)| known == d)) {
            let event =
                || LabEvent::DeviceAppeared { device: *device, name: name.clone(), host: host.clone() };
            self.happened(now, event);
        }
        self.enter_agent(id, session, host, devices, now);
    }

    pub(super) fn enter_agent(
        &mut self,
        id: AgentId,
        session: SessionId,
        host: String,
        devices: Vec<(DeviceId, String)>,
        now: Time,
    ) {
        let same_host = self.agents.get(&id).is_some_and(|before| before.host == host);
        let mut new = Vec::new();
        for (place, (device, name)) in (0u32..).zip(&devices) {
            let before = self.devices.remove(device);
            // It says what it is like in a moment; until then it is taken for what it was, so that nothing is
            // looked up anew for an agent that is only started again.
            let labels = before.as_ref().map(|d| d.labels.clone()).unwrap_or_default();
            if before.is_none() || !same_host {
                new.push(*device);
            }
            // What it had for itself is over; what it is one of several for is not before the leader says so.
            let (lease, units) = before.as_ref().map(|d| (d.lease, d.units.clone())).unwrap_or_default();
            let (micros, works_for) = before.as_ref().map(|d| (d.micros, d.works_for)).unwrap_or_default();
            let (hold, health) = before.map(|d| (d.hold, d.health)).unwrap_or_default();
            let told_health = health.health.word();
            self.devices.insert(
                *device,
                Device {
                    id: *device,
                    name: name.as_str().into(),
                    labels,
                    agent: id,
                    place,
                    lease,
                    hold,
                    health,
                    told_health,
                    kind: None,
                    recent: VecDeque::new(),
                    findings: Vec::new(),
                    units,
                    micros,
                    works_for,
                    blamed: Blamed::default(),
                },
            );
        }
        self.agents.insert(
            id,
            Agent {
                session,
                host,
                devices: devices.into_iter().map(|(d, _)| d).collect(),
                presence: Presence::Missing,
                told_lost: false,
                lease_until: now + self.policy.lease,
                heard_at: now,
                seq: 0,
                acked: 0,
                gauges: crate::exchange::Gauges::default(),
                trouble: Vec::new(),
                pending: None,
                said: Said::default(),
            },
        );
        for device in self.agents[&id].devices.clone() {
            self.find_kind(device);
        }
        for device in new {
            self.reach_to(device);
        }
    }

    /// What the agent says its devices are like. The number of devices is the session's: more are not known.
    fn receive_labels(&mut self, agent: AgentId, offers: Vec<DeviceOffer>) {
        for (id, offer) in self.agents[&agent].devices.clone().into_iter().zip(offers) {
            let device = self.devices.get_mut(&id).expect("agents' devices are known");
            let DeviceOffer { name: _, labels } = offer;
            let stale = self.policy.mistake == Mistake::StaleLabels && !device.labels.is_empty();
            if device.labels != labels && !stale {
                device.labels = labels;
                self.find_kind(id);
                self.reach_to(id);
            }
        }
    }

    fn receive_finished(&mut self, now: Time, agent_id: AgentId, finished: Finished) {
        let Finished { spool, unit: unit_id, lease, attempt, mut end } = finished;
        if let AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) = &mut end {
            result.artifacts = result.artifacts.take().map(|kept| Box::new(kept.tamed()));
        }
        let agent = self.agents.get_mut(&agent_id).expect("the caller knows it");
        if spool <= agent.acked && self.policy.mistake != Mistake::CountTwice {
            return;
        }
        agent.acked = agent.acked.max(spool);
        if self.policy.mistake == Mistake::AckUnseen && spool.is_multiple_of(7) {
            return;
        }
        let this = (attempt.item, attempt.attempt);
        let mut unit_id = unit_id;
        let mut fence = lease;
        if self.policy.mistake == Mistake::IgnoreFence
            && let Some((id, unit)) =
                self.units.iter().find(|(_, u)| u.run == attempt.run && u.left.contains(&this))
        {
            (unit_id, fence) = (*id, unit.lease);
        }
        match self.units.get_mut(&unit_id) {
            Some(unit)
                if unit.lease == fence
                    && unit.run == attempt.run
                    && unit.left.contains(&this)
                    // Whoever else brings it has not run it.
                    && (self.devices[&unit.device].agent == agent_id
                        || self.policy.mistake == Mistake::IgnoreFence) =>
            {
                unit.left.retain(|a| *a != this);
            }
            Some(_) | None => {
                self.receive_unwanted(now, attempt, lease, end);
                return;
            }
        }
        // Nothing is said of what remains: the estimate shrinks when the unit ends.
        let (mut result, found) = match end {
            AttemptEnd::NotReached => {
                self.return_items(unit_id, vec![attempt.item]);
                self.end_unit_if_empty(now, unit_id);
                return;
            }
            AttemptEnd::Shut { why, pause } => {
                self.shut_gate(now, unit_id, why, pause);
                self.return_items(unit_id, vec![attempt.item]);
                self.end_unit_if_empty(now, unit_id);
                return;
            }
            AttemptEnd::Ran(result) => (result, None),
            AttemptEnd::Found(result, found) => (result, Some(found)),
        };
        let unit = &self.units[&unit_id];
        if let Some(why) = unit.broken.as_ref().filter(|_| !result.outcome.is_good()) {
            (result.outcome, result.cause) = (Outcome::Error, Cause::Lab(why.clone()));
            result.message.clone_from(why);
        } else {
            for device in unit.devices().collect::<Vec<_>>() {
                self.note_result(now, device, attempt, &result);
            }
        }
        self.receive_result(now, attempt, unit_id, result, found);
        self.end_unit_if_empty(now, unit_id);
    }

    /// A result nobody waits for: a repetition of one that is recorded, or late evidence.
    fn receive_unwanted(&mut self, now: Time, attempt: AttemptRef, lease: LeaseId, end: AttemptEnd) {
        let live = self.devices.values().any(|d| d.lease == Some(lease));
        // Of what the lab does not have, the store need not have anything either.
        let item = self.runs.get(&attempt.run).and_then(|r| r.items().get(attempt.item.0 as usize));
        let Some(item) = item else { return };
        let recorded = item.record.attempts >= attempt.attempt;
        if self.policy.mistake == Mistake::CountTwice && recorded {
            if let AttemptEnd::Ran(result) = end
                && let Some(run) = self.runs.get_mut(&attempt.run)
            {
                let mut record = run.item(attempt.item).record.clone();
                record.attempts += 1;
                run.set_record(attempt.item, record.clone());
                let again = AttemptRef { attempt: record.attempts, ..attempt };
                let (unit, device) = (UnitId(0), Arc::from("?"));
                self.save(Change::AttemptEnded {
                    attempt: again,
                    unit,
                    device,
                    result: Arc::new(result),
                    record,
                });
            }
            return;
        }
        match end {
            AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) if !(live && recorded) => {
                self.save(Change::LateEvidence { attempt, lease, at: now, result: Arc::new(result) });
            }
            AttemptEnd::Ran(_) | AttemptEnd::Found(..) | AttemptEnd::NotReached | AttemptEnd::Shut { .. } => {
            }
        }
    }

    fn receive_held(&mut self, now: Time, agent: AgentId, held: Held) {
        let Held { unit: id, lease, phase } = held;
        let Some(unit) = self.units.get_mut(&id).filter(|u| u.lease == lease) else { return };
        if self.devices[&unit.device].agent != agent {
            return;
        }
        let HeldPhase::Running { since, current } = phase else { return };
        unit.running = true;
        unit.since.0.get_or_insert(since.min(now));
        if let Wish::GiveBack { .. } = unit.wish {
            // Too late: it runs, and goes on.
            unit.wish = Wish::Run;
        }
        let Some(&(first, number)) = unit.left.first() else { return };
        let current = current.unwrap_or(AttemptRef { run: unit.run, item: first, attempt: number });
        if unit.told == Some(current) || !unit.left.iter().any(|(ix, _)| *ix == current.item) {
            return;
        }
        // Later attempts of the same process began some time since then.
        let at = if unit.told.is_none() { since.min(now) } else { now };
        unit.told = Some(current);
        let run_id = unit.run;
        let (run, device) = (&self.runs[&run_id], self.place_of(&self.units[&id]));
        let event = Event::AttemptStarted {
            test: Arc::clone(&run.test(run.item(current.item).test).name),
            item: Arc::clone(run.path(current.item)),
            attempt: current.attempt,
            device,
        };
        self.tell(at, run_id, event);
    }

    /// Units the agent was asked to give back or stop, has heard so, and holds no more, are nobody's.
    fn take_back_what_was_given_back(
        &mut self,
        now: Time,
        agent: AgentId,
        heard: u64,
        held: &BTreeSet<UnitId>,
    ) {
        let back: Vec<UnitId> = self.agents[&agent]
            .devices
            .iter()
            .flat_map(|d| self.devices[d].units.iter().filter(|unit| self.units[unit].device == *d))
            .copied()
            .filter(|id| match self.units[id].wish {
                Wish::Run => false,
                Wish::GiveBack { said } | Wish::Stop { said } => {
                    let known = self.policy.mistake == Mistake::TakeBackUnheard;
                    said.is_some_and(|s| heard >= s || known) && !held.contains(id)
                }
            })
            .collect();
        for unit in back {
            let items =
                self.units.get_mut(&unit).expect("listed above").left.drain(..).map(|(ix, _)| ix).collect();
            self.return_items(unit, items);
            self.end_unit_if_empty(now, unit);
        }
    }

    /// Items whose attempt was not made may be given out again.
    pub(super) fn return_items(&mut self, unit: UnitId, items: Vec<ItemIx>) {
        if items.is_empty() {
            return;
        }
        let run_id = self.units[&unit].run;
        let run = self.run_mut(run_id);
        for &ix in &items {
            run.set_back(ix);
            run.release_item(ix);
        }
        self.save(Change::Returned { unit, items });
    }

    pub(super) fn end_unit_if_empty(&mut self, now: Time, id: UnitId) {
        if !self.units[&id].left.is_empty() {
            return;
        }
        let unit = self.units.remove(&id).expect("looked up above");
        self.in_use.remove(&self.runs[&unit.run], unit.test, unit.device);
        self.shares.take(self.runs[&unit.run].user, unit.device_micros());
        self.free(now, &unit);
        if !unit.others.is_empty() {
            self.save(Change::LeaseEnded { lease: unit.lease });
        }
    }

    /// A unit is out no more: takes it from its devices.
    pub(super) fn free(&mut self, now: Time, unit: &UnitState) {
        for id in unit.devices() {
            // One of the others may be gone.
            let Some(device) = self.devices.get_mut(&id) else { continue };
            device.units.retain(|u| *u != unit.id);
            device.micros = device.micros.saturating_sub(unit.micros);
            if !unit.others.is_empty() {
                device.lease = None;
            }
            self.account(now, id);
        }
    }
}
