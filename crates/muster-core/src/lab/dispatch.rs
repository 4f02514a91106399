//! Who runs what next: gates, units, leases.
//!
//! A device is kept supplied: while the work it has is expected to be over soon, it gets more, so that it
//! never waits for a commit. Work it has not started can be asked back for a device that has none.

use super::gang::Gathering;
use super::places::Counted;
use super::queue::Turn;
use super::ready::{Class, Rank};
use super::run::Run;
use super::{Agent, Device, Hint, Lab, Mistake, Presence, UnitState, Wish};
use crate::change::{Change, SentUnit};
use crate::exchange::Gauges;
use crate::id::{DeviceId, ItemIx, LeaseId, RunId, UnitId};
use crate::time::{Time, micros};
use std::collections::{BTreeMap, BTreeSet};

/// Shortest work worth a process of its own when items share one, in microseconds. What a process costs
/// shows in the time of its first item (a debug build reads its symbols at the first panic, say), so with
/// less than this each batch would make one more item look slow, and the next run's batches smaller still.
const BATCH_MICROS_MIN: u64 = 250_000;
/// Longest work put into one process when items share one: failures are seen by then.
const BATCH_MICROS_MAX: u64 = 2_000_000;
/// Each device should get this many processes out of a group of items, so that none ends up alone at the end.
const BATCHES_PER_DEVICE: u64 = 3;

/// Why a ready item is not started.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    Group { group: String, max: u32 },
    ApartFrom(String),
    Load { now: f64, max: f64 },
    Disk { free: u64, min: u64 },
    Jobs { max: u32 },
    Elsewhere { failed_on: String },
    Tokens { token: String, takes: u32, used: u32, max: u32 },
    OtherRuns { what: Counted },
    Hours { hours: String, opens: Option<String> },
    Shut { host: String, why: String },
}

/// What a device is given next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) run: RunId,
    pub(super) class: Class,
    /// The first item.
    pub(super) rank: Rank,
    /// No other item shares its process: it was chosen for being short.
    pub(super) alone: bool,
}

impl Lab {
    pub(super) fn dispatch(&mut self, now: Time) {
        let mut wanting = self.line_up(now);
        let mut sent: BTreeMap<LeaseId, Vec<SentUnit>> = BTreeMap::new();
        if wanting.is_empty() {
            self.keep(Vec::new());
        } else {
            self.shares.settle(now, &self.policy);
            self.supply(now, &mut wanting, &mut sent);
        }
        for (lease, units) in sent {
            self.save(Change::Sent { lease, units });
        }
        self.ask_back();
        self.end_idle_leases();
    }

    /// Gives devices work of runs that want it, until none wants more or nothing may start.
    fn supply(&mut self, now: Time, wanting: &mut Vec<RunId>, sent: &mut BTreeMap<LeaseId, Vec<SentUnit>>) {
        let devices: Vec<DeviceId> = self
            .agents
            .values()
            .filter(|a| a.is_there() && a.pending.is_some() && !self.is_suspect(a, now))
            .filter(|a| a.trouble.is_empty())
            .flat_map(|a| a.devices.iter().copied())
            .filter(|d| self.takes_something(&self.devices[d]))
            .collect();
        loop {
            let kept = self.gatherings(now, wanting);
            self.supply_each(now, wanting, sent, &devices, &kept);
            // What stands before the gangs has what it can have.
            if kept.is_empty() || !self.send_gangs(now, wanting, sent, devices.len() as u64) {
                break;
            }
        }
        let kept = self.gatherings(now, wanting);
        self.keep(kept);
    }

    /// Gives devices, each for itself, work of runs that want it.
    fn supply_each(
        &mut self,
        now: Time,
        wanting: &mut Vec<RunId>,
        sent: &mut BTreeMap<LeaseId, Vec<SentUnit>>,
        devices: &[DeviceId],
        kept: &[Gathering],
    ) {
        let kept_for = |device: DeviceId| kept.iter().find(|g| g.devices.contains(&device));
        let place = |lab: &Self, device: DeviceId| {
            let d = &lab.devices[&device];
            (kept_for(device).is_some(), d.micros, d.units.len(), device)
        };
        let mut hungry: BTreeSet<(bool, u64, usize, DeviceId)> =
            devices.iter().filter(|d| self.wants_more(**d)).map(|d| place(self, *d)).collect();
        // The device that will be idle first is served first, whosever it is; those that are kept last.
        while let Some((_, _, _, device)) = hungry.pop_first() {
            if wanting.is_empty() {
                return;
            }
            let Some(pick) = self.best(now, wanting, device, kept_for(device)) else { continue };
            let (lease, unit) = self.send(now, vec![device], pick, devices.len() as u64);
            if self.runs[&pick.run].ready().len() == 0 {
                wanting.retain(|r| *r != pick.run);
            }
            sent.entry(lease).or_default().push(unit);
            if self.wants_more(device) {
                hungry.insert(place(self, device));
            }
        }
    }

    /// Whether an agent has been silent for so long that it may be lost.
    pub(super) fn is_suspect(&self, agent: &Agent, now: Time) -> bool {
        now.since(agent.heard_at) > self.policy.suspect
    }

    fn wants_more(&self, device: DeviceId) -> bool {
        let d = &self.devices[&device];
        // What it has together with others it has alone.
        if d.units.first().is_some_and(|unit| !self.units[unit].others.is_empty()) {
            return false;
        }
        match d.units.len() {
            0 => true,
            1 => d.micros < micros(self.policy.look_ahead),
            n => n < self.policy.units_max && d.micros < micros(self.policy.low_water),
        }
    }

    /// The best item that may start on this device now: of the run whose turn it is, of that the one of the
    /// highest priority, of those the longest. Where the device is kept for a gang, only what stands before that,
    /// or is known to be over in time.
    fn best(&self, now: Time, wanting: &[RunId], device: DeviceId, kept: Option<&Gathering>) -> Option<Pick> {
        let idle = self.devices[&device].units.is_empty();
        if kept.is_some() && !idle {
            return None;
        }
        let gauges = self.agents[&self.devices[&device].agent].gauges;
        let mut best: Option<(Turn, Pick)> = None;
        let may = |r: &&Run| r.reach.has(device) && self.is_fit_for(&self.devices[&device], r.id());
        for run in wanting.iter().map(|id| &self.runs[id]).filter(may) {
            let turn = self.turn(now, run);
            if best.is_some_and(|(b, ..)| b <= turn) {
                continue;
            }
            // Where something may hold an item up, it is only given to a device that starts it at once.
            let startable = run.ready().heads().find_map(|(rank, class)| {
                let gate = run.gate_def(class.gate);
                let free = gate.is_open_always();
                let may_start = gate.gang.is_none()
                    && (free || idle)
                    && self.held_up(run, class.gate, device, gauges).is_none()
                    && !self.waits_for_another(run, run.failed_on(class), device);
                let (rank, alone) = match kept {
                    _ if !may_start => return None,
                    Some(gang) if !gang.is_behind(turn, run.id(), rank) => {
                        (run.ready().short(class, gang.wait)?, true)
                    }
                    Some(_) | None => (rank, false),
                };
                Some(Pick { run: run.id(), class, rank, alone })
            });
            if let Some(pick) = startable {
                best = Some((turn, pick));
            }
        }
        best.map(|(_, pick)| pick)
    }

    /// What keeps the items of a gate from starting on a device, if anything does.
    pub(super) fn held_up(&self, run: &Run, gate: u32, device: DeviceId, gauges: Gauges) -> Option<Held> {
        if self.policy.mistake == Mistake::IgnoreLimits {
            return None;
        }
        let spec = &run.record().spec;
        let limits = &spec.limits;
        let in_use = self.in_use.area(&spec.area);
        let (place, now) = (gate, self.now.0);
        if let Some(hours) = run.gate_def(gate).needs.hours.iter().find(|hours| !hours.holds(&spec.zone, now))
        {
            let opens = hours.next_change(&spec.zone, now).map(|at| spec.zone.clock(at));
            return Some(Held::Hours { hours: format!("{hours} ({})", spec.zone.name), opens });
        }
        if let Some(max) = limits.jobs
            && in_use.is_some_and(|u| u.other_devices(device) >= max as usize)
        {
            return Some(Held::Jobs { max });
        }
        let gate = run.gate_def(gate);
        // A load limit never stops the only thing there is to do.
        let anything_out = !self.in_use.is_empty();
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
            if in_use.is_some_and(|in_use| in_use.group(group) >= max) {
                return Some(Held::Group { group: group.clone(), max });
            }
        }
        for (token, takes) in &gate.needs.tokens {
            let max = self.tokens_of(limits, token);
            let used = self.in_use.token(token);
            if used.saturating_add(*takes) > max {
                return Some(Held::Tokens { token: token.clone(), takes: *takes, used, max });
            }
        }
        let beside = gate.apart_from.iter().find(|test| in_use.is_some_and(|in_use| in_use.test(test) > 0));
        if let Some(test) = beside {
            return Some(Held::ApartFrom(test.clone()));
        }
        let agent = self.devices[&device].agent;
        if let Some(why) = run.is_shut(place, agent, now) {
            return Some(Held::Shut { host: self.agents[&agent].host.clone(), why: why.to_owned() });
        }
        // Last: what would start but for this is what others are asked for.
        self.not_granted(run, place, device).map(|what| Held::OtherRuns { what })
    }

    /// What holds a ready item up on every device; `None` where one would take it.
    pub(super) fn held_up_everywhere(&self, run: &Run, ix: ItemIx) -> Option<Held> {
        let gate = run.test(run.item(ix).test).gate();
        let there = || {
            let may = |id: &DeviceId, d: &Device| {
                let agent = &self.agents[&d.agent];
                let there = agent.is_there() && agent.trouble.is_empty() && d.hold.is_none();
                there && run.reach.has(*id) && self.is_fit_for(d, run.id())
            };
            self.devices.iter().filter(move |(id, d)| may(id, d))
        };
        // Where a device has nothing to do, what holds it up there is the reason; else that all are busy
        // is, unless it would be held up on every one of them.
        let idle = there().any(|(_, d)| d.units.is_empty());
        let mut held = None;
        let failed_on = &run.item(ix).record.failed_on;
        for (id, device) in there().filter(|(_, d)| !idle || d.units.is_empty()) {
            let gauges = self.agents[&device.agent].gauges;
            let elsewhere = self.waits_for_another(run, failed_on, *id);
            let elsewhere = elsewhere.then(|| Held::Elsewhere { failed_on: self.names(failed_on) });
            held = Some(self.held_up(run, gate, *id, gauges).or(elsewhere)?);
        }
        held
    }

    /// Sends a unit to a device, or to several at once, of which it runs on the first. `share`: how many others
    /// may take their part of what is ready.
    pub(super) fn send(
        &mut self,
        now: Time,
        devices: Vec<DeviceId>,
        pick: Pick,
        share: u64,
    ) -> (LeaseId, SentUnit) {
        let Pick { run: run_id, class, rank: first, alone } = pick;
        let lease = self.lease(&devices);
        self.used.unit.0 += 1;
        let id: UnitId = self.used.unit;
        let run = self.runs.get_mut(&run_id).expect("the best item is of an active run");
        let items = if alone { vec![first.item] } else { Self::batch(run, class, first, share) };
        let unit_micros: u64 = items.iter().map(|ix| run.expected_micros(*ix)).sum();
        let left: Vec<(ItemIx, u16)> =
            items.iter().map(|ix| (*ix, run.item(*ix).record.attempts + 1)).collect();
        for &ix in &items {
            run.set_out(ix, id);
        }
        let test = run.item(first.item).test;
        let discovery = run.is_discovery(first.item);
        run.was_started = true;
        run.waits_since = Some(now);
        self.in_use.add(run, test, devices[0]);
        for device in &devices {
            let device = self.devices.get_mut(device).expect("the caller chose it");
            device.lease = Some(lease);
            device.units.push(id);
            device.micros += unit_micros;
        }
        let sent = SentUnit { unit: id, run: run_id, attempts: left.clone() };
        let unit = UnitState {
            id,
            run: run_id,
            test,
            lease,
            device: devices[0],
            others: devices[1..].to_vec(),
            broken: None,
            discovery,
            left,
            micros: unit_micros,
            running: false,
            since: Hint(None),
            sent: false,
            told: None,
            wish: Wish::Run,
        };
        self.shares.give(self.runs[&run_id].user, unit.device_micros());
        self.units.insert(id, unit);
        for device in devices {
            self.account(now, device);
        }
        (lease, sent)
    }

    /// The lease of a device, or one for several together.
    fn lease(&mut self, devices: &[DeviceId]) -> LeaseId {
        if let [device] = devices
            && let Some(lease) = self.devices[device].lease
        {
            return lease;
        }
        // Nothing is out on them; what they had each for itself is over.
        for device in devices {
            if let Some(lease) = self.devices.get_mut(device).and_then(|d| d.lease.take()) {
                self.save(Change::LeaseEnded { lease });
            }
        }
        self.used.lease.0 += 1;
        let lease = self.used.lease;
        self.save(Change::LeaseGranted { lease, devices: devices.to_vec() });
        lease
    }

    /// The items of one unit: one, or as many of its class as make a process worth its start.
    fn batch(run: &Run, class: Class, first: Rank, devices: u64) -> Vec<ItemIx> {
        let Some((test, group)) = class.shared else { return vec![first.item] };
        let max = run.batch_max(test, group);
        let (len, unknown, known_micros) = run.ready().class_micros(class);
        let total = known_micros + unknown as u64 * run.unknown_micros(test);
        let share = (total / (devices * BATCHES_PER_DEVICE)).clamp(BATCH_MICROS_MIN, BATCH_MICROS_MAX);
        // Where nothing is known, the estimates are worth nothing: share by number.
        let known = unknown == 0;
        let share_of_number = (len as u64).div_ceil(devices * BATCHES_PER_DEVICE);
        let number = if known { usize::MAX } else { usize::try_from(share_of_number).unwrap_or(usize::MAX) };
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

    /// A device has nothing while another has work it has not started: that is asked back.
    fn ask_back(&mut self) {
        let ready: usize = self.runs.values().map(|r| r.ready().len()).sum();
        if ready > 0 {
            return;
        }
        let idle = self
            .agents
            .values()
            .filter(|a| a.is_there() && a.pending.is_some())
            .flat_map(|a| &a.devices)
            .filter(|d| self.devices[d].units.is_empty() && self.takes_something(&self.devices[d]))
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

impl Agent {
    pub(super) fn is_there(&self) -> bool {
        self.presence == Presence::There
    }
}
