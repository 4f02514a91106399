//! Who runs what next: gates, units, leases.
//!
//! A device is kept supplied: while the work it has is expected to be over soon, it gets more, so that it
//! never waits for a commit. Work it has not started can be asked back for a device that has none.

use super::ready::{Class, Rank};
use super::run::Run;
use super::{Lab, UnitState, Wish};
use crate::change::{Change, RunPhase, SentUnit};
use crate::exchange::Gauges;
use crate::id::{AgentId, DeviceId, ItemIx, LeaseId, RunId, UnitId};
use crate::time::micros;
use std::collections::{BTreeMap, BTreeSet};

/// Shortest work worth a process of its own when items share one, in microseconds.
const BATCH_MICROS_MIN: u64 = 5_000;
/// Longest work put into one process when items share one: failures are seen by then.
const BATCH_MICROS_MAX: u64 = 2_000_000;
/// Each device should get this many processes out of a group of items, so that none ends up alone at the end.
const BATCHES_PER_DEVICE: u64 = 3;

/// What is out, counted the ways the limits are.
#[derive(Default)]
struct InUse {
    /// Units by area and group of the area's limits.
    groups: BTreeMap<(String, String), u32>,
    /// Units by area and test.
    tests: BTreeMap<(String, String), u32>,
    /// Devices by area.
    devices: BTreeMap<String, BTreeSet<DeviceId>>,
}

/// Why a ready item is not started.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    Group { group: String, max: u32 },
    ApartFrom(String),
    Load { now: f64, max: f64 },
    Disk { free: u64, min: u64 },
    Jobs { max: u32 },
}

impl Lab {
    pub(super) fn dispatch(&mut self) {
        let ready = self.runs.values().any(|r| r.ready().len() > 0 && *r.phase() == RunPhase::Active);
        let mut sent: BTreeMap<LeaseId, Vec<SentUnit>> = BTreeMap::new();
        if ready {
            let mut in_use = self.count_in_use();
            let agents: Vec<AgentId> = self
                .agents
                .iter()
                .filter(|(_, a)| a.present && a.pending.is_some())
                .map(|(id, _)| *id)
                .collect();
            for agent in agents {
                self.supply(agent, &mut in_use, &mut sent);
            }
        }
        for (lease, units) in sent {
            self.save(Change::Sent { lease, units });
        }
        self.ask_back();
        self.end_idle_leases();
    }

    /// Gives the devices of an agent work until none wants more or nothing may start.
    fn supply(&mut self, agent: AgentId, in_use: &mut InUse, sent: &mut BTreeMap<LeaseId, Vec<SentUnit>>) {
        let gauges = self.agents[&agent].gauges;
        let devices = self.agents[&agent].devices.clone();
        let mut hungry: BTreeSet<(u64, usize, DeviceId)> = devices
            .iter()
            .filter(|d| self.wants_more(**d))
            .map(|d| (self.devices[d].micros, self.devices[d].units.len(), *d))
            .collect();
        // The device that will be idle first is served first.
        while let Some((_, _, device)) = hungry.pop_first() {
            let idle = self.devices[&device].units.is_empty();
            let Some((run, class, rank)) = self.best(device, idle, gauges, in_use) else { continue };
            let (lease, unit) = self.send(device, run, class, rank, devices.len() as u64, in_use);
            sent.entry(lease).or_default().push(unit);
            if self.wants_more(device) {
                hungry.insert((self.devices[&device].micros, self.devices[&device].units.len(), device));
            }
        }
    }

    fn wants_more(&self, device: DeviceId) -> bool {
        let d = &self.devices[&device];
        match d.units.len() {
            0 => true,
            1 => d.micros < micros(self.policy.look_ahead),
            n => n < self.policy.units_max && d.micros < micros(self.policy.low_water),
        }
    }

    /// The best item that may start on this device now.
    fn best(
        &self,
        device: DeviceId,
        idle: bool,
        gauges: Gauges,
        in_use: &InUse,
    ) -> Option<(RunId, Class, Rank)> {
        let mut best: Option<(Rank, RunId, Class)> = None;
        for run in self.runs.values().filter(|r| *r.phase() == RunPhase::Active) {
            for (class, rank) in run.ready().heads() {
                if best.is_some_and(|(b, ..)| (b.priority, b.micros) <= (rank.priority, rank.micros)) {
                    continue;
                }
                // Where something may hold an item up, it is only given to a device that starts it at once.
                let free = run.gate_def(class.gate).is_open_always();
                if (free || idle) && self.held_up(run, class.gate, device, gauges, in_use).is_none() {
                    best = Some((rank, run.id(), class));
                }
            }
        }
        best.map(|(rank, run, class)| (run, class, rank))
    }

    /// What keeps the items of a gate from starting on a device, if anything does.
    fn held_up(
        &self,
        run: &Run,
        gate: u32,
        device: DeviceId,
        gauges: Gauges,
        in_use: &InUse,
    ) -> Option<Held> {
        let spec = &run.record().spec;
        let (area, limits) = (&spec.area, &spec.limits);
        if let Some(max) = limits.jobs {
            let busy = in_use.devices.get(area);
            let others = busy.map_or(0, |b| b.len() - usize::from(b.contains(&device)));
            if others >= max as usize {
                return Some(Held::Jobs { max });
            }
        }
        let gate = run.gate_def(gate);
        // A load limit never stops the only thing there is to do.
        let anything_out = !in_use.devices.values().all(BTreeSet::is_empty);
        let load_max =
            [limits.load_max, gate.needs.load_max].into_iter().flatten().fold(f64::INFINITY, f64::min);
        if gauges.load_per_core > load_max && anything_out {
            return Some(Held::Load { now: gauges.load_per_core, max: load_max });
        }
        let disk_min = limits.disk_free_bytes_min.max(gate.needs.disk_free_bytes_min);
        if gauges.disk_free_bytes < disk_min {
            return Some(Held::Disk { free: gauges.disk_free_bytes, min: disk_min });
        }
        for group in &gate.needs.groups {
            let max = limits.groups.get(group).copied().unwrap_or(u32::MAX);
            if in_use.groups.get(&(area.clone(), group.clone())).copied().unwrap_or(0) >= max {
                return Some(Held::Group { group: group.clone(), max });
            }
        }
        gate.apart_from
            .iter()
            .find(|test| in_use.tests.get(&(area.clone(), (*test).clone())).copied().unwrap_or(0) > 0)
            .map(|test| Held::ApartFrom(test.clone()))
    }

    /// What holds a ready item up on every device; `None` where one would take it.
    pub(super) fn held_up_everywhere(&self, run: &Run, ix: ItemIx) -> Option<Held> {
        let in_use = self.count_in_use();
        let gate = run.test(run.item(ix).test).gate();
        let mut held = None;
        for (id, device) in &self.devices {
            let agent = &self.agents[&device.agent];
            if agent.present {
                held = Some(self.held_up(run, gate, *id, agent.gauges, &in_use)?);
            }
        }
        held
    }

    fn send(
        &mut self,
        device_id: DeviceId,
        run_id: RunId,
        class: Class,
        first: Rank,
        devices: u64,
        in_use: &mut InUse,
    ) -> (LeaseId, SentUnit) {
        let lease = match self.devices[&device_id].lease {
            Some(lease) => lease,
            None => {
                self.used.lease.0 += 1;
                let lease = self.used.lease;
                self.save(Change::LeaseGranted { lease, device: device_id });
                lease
            }
        };
        self.used.unit.0 += 1;
        let id: UnitId = self.used.unit;
        let run = self.runs.get_mut(&run_id).expect("the best item is of an active run");
        let items = Self::batch(run, class, first, devices);
        let unit_micros: u64 = items.iter().map(|ix| run.expected_micros(*ix)).sum();
        let left: Vec<(ItemIx, u16)> =
            items.iter().map(|ix| (*ix, run.item(*ix).record.attempts + 1)).collect();
        for &ix in &items {
            run.set_out(ix, id);
        }
        let test = run.item(first.item).test;
        let discovery = run.is_discovery(first.item);
        in_use.add(run, test, device_id);
        let device = self.devices.get_mut(&device_id).expect("the caller chose it");
        device.lease = Some(lease);
        device.units.push(id);
        device.micros += unit_micros;
        let sent = SentUnit { unit: id, run: run_id, attempts: left.clone() };
        self.units.insert(
            id,
            UnitState {
                run: run_id,
                test,
                lease,
                device: device_id,
                discovery,
                left,
                micros: unit_micros,
                running: false,
                told: None,
                wish: Wish::Run,
            },
        );
        (lease, sent)
    }

    /// The items of one unit: one, or as many of its class as make a process worth its start.
    fn batch(run: &Run, class: Class, first: Rank, devices: u64) -> Vec<ItemIx> {
        let Some((test, group)) = class.shared else { return vec![first.item] };
        let max = run.batch_max(test, group);
        let total: u64 = run.ready().class(class).map(|r| run.expected_micros(r.item)).sum();
        let share = (total / (devices * BATCHES_PER_DEVICE)).clamp(BATCH_MICROS_MIN, BATCH_MICROS_MAX);
        // Where nothing is known, the estimates are worth nothing: share by number.
        let known = run.ready().class(class).all(|r| run.planned(r.item).micros.is_some());
        let number = if known {
            usize::MAX
        } else {
            (run.ready().class_len(class) as u64).div_ceil(devices * BATCHES_PER_DEVICE) as usize
        };
        let mut sum = 0;
        let mut items = Vec::new();
        for rank in run.ready().class(class).take(max.min(number).max(1)) {
            let micros = run.expected_micros(rank.item);
            if known && !items.is_empty() && sum + micros > share {
                break;
            }
            sum += micros;
            items.push(rank.item);
        }
        items
    }

    fn count_in_use(&self) -> InUse {
        let mut in_use = InUse::default();
        for unit in self.units.values() {
            let run = &self.runs[&unit.run];
            in_use.add(run, unit.test, unit.device);
        }
        in_use
    }

    /// A device has nothing while another has work it has not started: that is asked back.
    fn ask_back(&mut self) {
        let ready: usize = self.runs.values().map(|r| r.ready().len()).sum();
        if ready > 0 {
            return;
        }
        let idle = self
            .agents
            .values()
            .filter(|a| a.present && a.pending.is_some())
            .flat_map(|a| &a.devices)
            .filter(|d| self.devices[d].units.is_empty())
            .count();
        if idle == 0 {
            return;
        }
        let asked = self.units.values().filter(|u| matches!(u.wish, Wish::GiveBack { .. })).count();
        let mut wanted = idle.saturating_sub(asked);
        let waiting: Vec<UnitId> = self
            .devices
            .values()
            // The first is running or about to.
            .flat_map(|d| d.units.iter().skip(1).rev())
            .copied()
            .filter(|u| !self.units[u].running && self.units[u].wish == Wish::Run)
            .collect();
        for unit in waiting {
            if wanted == 0 {
                break;
            }
            wanted -= 1;
            self.units.get_mut(&unit).expect("listed above").wish = Wish::GiveBack { said: None };
        }
    }

    fn end_idle_leases(&mut self) {
        let idle: Vec<LeaseId> =
            self.devices.values_mut().filter(|d| d.units.is_empty()).filter_map(|d| d.lease.take()).collect();
        for lease in idle {
            self.save(Change::LeaseEnded { lease });
        }
    }
}

impl InUse {
    fn add(&mut self, run: &Run, test: crate::id::TestIx, device: DeviceId) {
        let area = &run.record().spec.area;
        let gate = run.gate_of(test);
        for group in &gate.needs.groups {
            *self.groups.entry((area.clone(), group.clone())).or_default() += 1;
        }
        if !gate.apart_from.is_empty() {
            *self.tests.entry((area.clone(), run.test(test).name.to_string())).or_default() += 1;
        }
        self.devices.entry(area.clone()).or_default().insert(device);
    }
}
