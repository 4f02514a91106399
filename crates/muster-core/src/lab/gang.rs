//! Several devices for one attempt: all of them at once, or none.
//!
//! Whose turn it is decides here as everywhere. A gang whose turn has come and whose devices are not all free
//! *gathers*: those that it is going to have are kept for it, and get nothing more but what comes before it and
//! what is known to be over by the time the last of them is free. Kept is only what makes a gang whole, and for
//! one gang at a time: so two never wait for each other's devices. Nothing is kept in the record, and what is
//! kept is found anew each time work is given out: a device that is held, lost or free sooner changes the plan.
//!
//! ```text
//!                              all free ─► one lease over all devices, one unit, which runs on the first
//!   ready ─► who may be what ─┤
//!                              some busy ─► gathering: kept, emptied, back-filled
//! ```
//!
//! While it is out, the unit is on the lists of all its devices. Its agent is that of the first, the leader;
//! the agents of the others know nothing of it. So a gang that has lost one of the others is not over before
//! the leader has let go of it, or is lost too: until then its devices are nobody else's.

use super::dispatch::Pick;
use super::queue::Turn;
use super::reach::{DeviceSelector, Seen};
use super::ready::{Class, Rank};
use super::run::{Phase, Run};
use super::{Device, Hint, Lab, Mistake, Rejected, UnitState, Wish};
use crate::change::SentUnit;
use crate::definition::NeededDevices;
use crate::exchange::Seat;
use crate::id::{AgentId, DeviceId, ItemIx, LeaseId, RunId, UnitId};
use crate::outcome::Verdict;
use crate::time::{Time, micros};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The devices that a test needs at once, and which of those that are known may be what.
#[derive(Clone, Debug)]
pub(super) struct Gang {
    pub(super) seats: Vec<Role>,
    pub(super) same_host: bool,
}

/// What a device is needed for.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) name: Arc<str>,
    /// `None`: any device will do.
    selector: Option<DeviceSelector>,
    /// Those for which the selector is true.
    devices: BTreeSet<DeviceId>,
}

/// A gang whose turn has come, with the devices that it is going to have.
#[derive(Clone, Debug)]
pub(super) struct Gathering {
    pub(super) run: RunId,
    pub(super) class: Class,
    pub(super) rank: Rank,
    turn: Turn,
    /// One for each role, the leader first.
    pub(super) devices: Vec<DeviceId>,
    /// All are free.
    whole: bool,
    /// When the last of them is expected to be free, in microseconds from then.
    pub(super) wait: u64,
}

impl Gathering {
    /// Whether an item of a run stands before it.
    pub(super) fn is_behind(&self, turn: Turn, run: RunId, rank: Rank) -> bool {
        if run == self.run { rank < self.rank } else { turn < self.turn }
    }
}

impl Role {
    pub(super) fn selector(&self) -> &str {
        self.selector.as_ref().map_or("", DeviceSelector::text)
    }

    pub(super) fn may_be(&self, device: DeviceId) -> bool {
        self.selector.is_none() || self.devices.contains(&device)
    }
}

impl Gang {
    /// Nothing is matched yet. `None` where a test needs no particular devices.
    ///
    /// # Errors
    /// A selector cannot be used, or there are too many of them.
    pub(super) fn new(needed: &NeededDevices) -> Result<Option<Self>, Rejected> {
        if needed.roles.is_empty() {
            return Ok(None);
        }
        if needed.roles.len() > NeededDevices::MAX {
            return Err(Rejected::TooManyDevices(needed.roles.len()));
        }
        let seats = needed.roles.iter().map(|role| {
            let selector = match role.selector.trim() {
                "" => None,
                text => Some(DeviceSelector::parse(text)?),
            };
            Ok(Role { name: role.name.as_str().into(), selector, devices: BTreeSet::new() })
        });
        let seats = seats.collect::<Result<_, Rejected>>()?;
        Ok(Some(Self { seats, same_host: needed.same_host }))
    }

    /// A device is like this; `None`: it is gone.
    pub(super) fn set(&mut self, id: DeviceId, mut seen: Option<&mut Seen<'_>>) {
        for role in &mut self.seats {
            role.devices.remove(&id);
            let matches = |s: &DeviceSelector| seen.as_mut().is_some_and(|seen| seen.matches(s));
            if role.selector.as_ref().is_some_and(matches) {
                role.devices.insert(id);
            }
        }
    }

    /// Whether a device may be anything in it.
    pub(super) fn wants(&self, device: DeviceId) -> bool {
        self.seats.iter().any(|role| role.may_be(device))
    }

    /// Gives each role a device of its own, of those offered; the earlier ones are taken as far as they can be.
    /// `None` where there are too few.
    fn assign(&self, offered: &[DeviceId], leads: &dyn Fn(DeviceId) -> bool) -> Option<Vec<DeviceId>> {
        let may_be = |role: usize, device| self.seats[role].may_be(device) && (role > 0 || leads(device));
        let mut given: Vec<Option<DeviceId>> = vec![None; self.seats.len()];
        for device in offered {
            place(*device, &mut given, &mut vec![false; self.seats.len()], &may_be);
            if given.iter().all(Option::is_some) {
                return given.into_iter().collect();
            }
        }
        None
    }
}

/// Finds a role for one device more, where those that have one may have to take another. Whoever has a role
/// keeps one, so offering the cheapest first finds the cheapest set.
fn place(
    device: DeviceId,
    given: &mut [Option<DeviceId>],
    tried: &mut [bool],
    may_be: &dyn Fn(usize, DeviceId) -> bool,
) -> bool {
    let vacant = (0..given.len()).find(|role| given[*role].is_none() && may_be(*role, device));
    if let Some(role) = vacant {
        given[role] = Some(device);
        return true;
    }
    for role in 0..given.len() {
        if tried[role] || !may_be(role, device) {
            continue;
        }
        tried[role] = true;
        if given[role].is_some_and(|other| place(other, given, tried, may_be)) {
            given[role] = Some(device);
            return true;
        }
    }
    false
}

/// What the devices that are there lack for a gang, whatever they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Name and selector of each role, and how many of the devices that the run may have could be it.
    pub roles: Vec<(String, String, usize)>,
    /// They have to be of one host.
    pub same_host: bool,
}

/// A device that a gang waits for or that is kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is for.
    pub role: String,
    /// Its name.
    pub device: Arc<str>,
    /// What it still does; `None`: it is kept and waits.
    pub busy_with: Option<String>,
}

impl Lab {
    /// The gangs whose turn has come, in that order, each with devices that no earlier one has.
    pub(super) fn gatherings(&self, now: Time, wanting: &[RunId]) -> Vec<Gathering> {
        let mut heads: Vec<(Turn, Rank, Class, RunId)> = Vec::new();
        for run in wanting.iter().map(|id| &self.runs[id]).filter(|run| !run.gangs().is_empty()) {
            let turn = self.turn(now, run);
            let of_gangs = run.ready().heads().filter(|(_, class)| run.gate_def(class.gate).gang.is_some());
            heads.extend(of_gangs.map(|(rank, class)| (turn, rank, class, run.id())));
        }
        heads.sort_by_key(|(turn, rank, ..)| (*turn, *rank));
        let mut kept: BTreeSet<DeviceId> = BTreeSet::new();
        let mut all = Vec::new();
        for (turn, rank, class, run) in heads {
            if let Some(gathering) = self.gather(now, &self.runs[&run], turn, class, rank, &kept) {
                kept.extend(&gathering.devices);
                all.push(gathering);
            }
        }
        all
    }

    /// The devices that a gang can have soonest, of those that are fit and not kept for others.
    fn gather(
        &self,
        now: Time,
        run: &Run,
        turn: Turn,
        class: Class,
        rank: Rank,
        kept: &BTreeSet<DeviceId>,
    ) -> Option<Gathering> {
        let gang = run.gang_of(class.gate)?;
        let failed_on = run.failed_on(class);
        // What it failed on comes last, and what is free first.
        let mut offered: Vec<(bool, u64, bool, DeviceId)> = Vec::new();
        for (id, device) in &self.devices {
            let wanted = gang.wants(*id) && run.reach.has(*id) && !kept.contains(id);
            if wanted && self.may_join(now, device, run) {
                let wait = self.expected_wait(now, device);
                offered.push((failed_on.contains(id), wait, !self.is_free(device), *id));
            }
        }
        offered.sort_unstable();
        let costs: BTreeMap<DeviceId, (bool, u64)> =
            offered.iter().map(|(failed, wait, _, id)| (*id, (*failed, *wait))).collect();
        let leads = |id: DeviceId| {
            let gauges = self.agents[&self.devices[&id].agent].gauges;
            self.held_up(run, class.gate, id, gauges).is_none()
        };
        let ids: Vec<DeviceId> = offered.iter().map(|(.., id)| *id).collect();
        let sets = self.of_one_host(gang, &ids).into_iter().filter_map(|ids| gang.assign(&ids, &leads));
        let mut devices = sets.min_by_key(|set| set.iter().map(|id| costs[id]).max())?;
        let wait = devices.iter().map(|id| costs[id].1).max().unwrap_or(0);
        if self.policy.mistake == Mistake::HalfGang && self.is_free(&self.devices[&devices[0]]) {
            devices.retain(|id| self.is_free(&self.devices[id]));
        }
        let whole = devices.iter().all(|id| self.is_free(&self.devices[id]));
        Some(Gathering { run: run.id(), class, rank, turn, devices, whole, wait })
    }

    /// The devices among which a gang must be found: all, or those of each host.
    fn of_one_host(&self, gang: &Gang, ids: &[DeviceId]) -> Vec<Vec<DeviceId>> {
        if !gang.same_host {
            return vec![ids.to_vec()];
        }
        let mut hosts: BTreeMap<&str, Vec<DeviceId>> = BTreeMap::new();
        for id in ids {
            let host = &self.agents[&self.devices[id].agent].host;
            hosts.entry(host).or_default().push(*id);
        }
        hosts.into_values().collect()
    }

    /// Whether a gang may count on a device, whatever that does just now.
    fn may_join(&self, now: Time, device: &Device, run: &Run) -> bool {
        let agent = &self.agents[&device.agent];
        agent.is_there() && !self.is_suspect(agent, now) && self.is_usable(device, run)
    }

    /// Whether a device can be used at once by somebody else than its agent: nothing is out on it, and its
    /// agent has just said that it holds nothing but what it should. What was taken from an agent that had
    /// fallen silent may still be ending there.
    fn is_free(&self, device: &Device) -> bool {
        let known = |unit: &UnitId| self.units.contains_key(unit);
        let pending = self.agents[&device.agent].pending.as_ref();
        device.units.is_empty() && pending.is_some_and(|p| p.holding.iter().all(known))
    }

    /// How long a device is expected to be busy. One that has taken longer than expected is expected to take as
    /// long again as it is late, so that nobody waits for one that hangs while others come and go.
    fn expected_wait(&self, now: Time, device: &Device) -> u64 {
        let since = device.units.first().and_then(|unit| self.units[unit].since.0);
        device.micros.abs_diff(since.map_or(0, |since| micros(now.since(since))))
    }

    /// Gives gangs that are whole their devices; whether any was.
    pub(super) fn send_gangs(
        &mut self,
        now: Time,
        wanting: &mut Vec<RunId>,
        sent: &mut BTreeMap<LeaseId, Vec<SentUnit>>,
        share: u64,
    ) -> bool {
        let mut any = false;
        for gathering in self.gatherings(now, wanting) {
            let Gathering { run, class, rank, devices, whole, .. } = gathering;
            let gauges = self.agents[&self.devices[&devices[0]].agent].gauges;
            // What was sent a moment ago may have closed the gate.
            if !whole || self.held_up(&self.runs[&run], class.gate, devices[0], gauges).is_some() {
                continue;
            }
            let share = share.div_ceil(devices.len() as u64).max(1);
            let (lease, unit) = self.send(now, devices, Pick { run, class, rank, alone: false }, share);
            sent.entry(lease).or_default().push(unit);
            wanting.retain(|id| self.runs[id].ready().len() > 0);
            any = true;
        }
        any
    }

    /// What waits on devices that are kept is asked back.
    pub(super) fn keep(&mut self, gatherings: Vec<Gathering>) {
        for device in gatherings.iter().flat_map(|g| &g.devices) {
            self.empty(*device);
        }
        self.gathering = Hint(gatherings);
    }

    /// The gang that a device is kept for, as far as was known when work was last given out.
    pub(super) fn kept_for(&self, device: DeviceId) -> Option<&Gathering> {
        self.gathering.0.iter().find(|g| g.devices.contains(&device))
    }

    /// The gang that is to have an item, or one of its class, if its turn has come.
    pub(super) fn gathering_of(&self, run: RunId, item: ItemIx) -> Option<&Gathering> {
        self.gathering.0.iter().find(|g| g.run == run && g.rank.item == item)
    }

    /// What a gang that is to have an item is waiting for: each role with its device.
    pub(super) fn members(&self, gathering: &Gathering) -> Vec<Member> {
        let run = self.runs.get(&gathering.run);
        let roles = run.and_then(|r| r.gang_of(gathering.class.gate)).map_or(&[][..], |g| &g.seats);
        let member = |(role, id): (&Role, &DeviceId)| {
            let device = self.devices.get(id)?;
            let busy_with = device.units.first().map(|unit| self.name_of(*unit));
            Some(Member { role: role.name.to_string(), device: Arc::clone(&device.name), busy_with })
        };
        roles.iter().zip(&gathering.devices).filter_map(member).collect()
    }

    /// What the devices that are there lack for what stands before a gate; `None`: nothing.
    pub(super) fn lacking(&self, run: &Run, gate: u32) -> Option<Lacking> {
        self.lacking_of(run, gate, self.reachable(run))
    }

    /// What all devices that are known lack for it, those that are away too.
    pub(super) fn lacking_ever(&self, run: &Run, gate: u32) -> Option<Lacking> {
        self.lacking_of(run, gate, self.known_to(run))
    }

    fn lacking_of<'a>(&self, run: &Run, gate: u32, of: impl Iterator<Item = &'a Device>) -> Option<Lacking> {
        let gang = run.gang_of(gate)?;
        let there: Vec<DeviceId> = of.map(|d| d.id).collect();
        if self.of_one_host(gang, &there).iter().any(|ids| gang.assign(ids, &|_| true).is_some()) {
            return None;
        }
        let count = |role: &Role| there.iter().filter(|id| role.may_be(**id)).count();
        let of = |role: &Role| (role.name.to_string(), role.selector().to_owned(), count(role));
        Some(Lacking { roles: gang.seats.iter().map(of).collect(), same_host: gang.same_host })
    }

    /// Whether those of the devices that may be used are enough for what stands before a gate.
    pub(super) fn has_gang(&self, run: &Run, gate: u32) -> bool {
        let Some(gang) = run.gang_of(gate) else { return true };
        let usable: Vec<DeviceId> =
            self.reachable(run).filter(|d| self.is_usable(d, run)).map(|d| d.id).collect();
        self.of_one_host(gang, &usable).iter().any(|ids| gang.assign(ids, &|_| true).is_some())
    }

    /// Where no devices will come, what they lack is lacking for ever.
    pub(super) fn settle_lacking(&mut self, now: Time) {
        if !self.policy.closed || !self.agents.values().any(super::Agent::is_there) {
            return;
        }
        let lacks = |run: &&Run| {
            let mut heads = run.ready().heads();
            !run.gangs().is_empty() && heads.any(|(_, class)| self.lacking(run, class.gate).is_some())
        };
        let lacks: Vec<RunId> = self.runs.values().filter(lacks).map(Run::id).collect();
        for id in lacks {
            let run = &self.runs[&id];
            let ready = (0u32..).map(ItemIx).zip(run.items()).filter(|(_, i)| i.phase == Phase::Ready);
            let doomed = ready.filter_map(|(ix, item)| {
                let lacking = self.lacking(run, run.test(item.test).gate())?;
                Some((ix, Verdict::Error, lacking.to_string()))
            });
            let doomed = doomed.collect();
            self.end_items(now, id, doomed);
        }
    }

    /// A device of a gang is lost that is not its leader: the attempt is ended, and is the lab's fault.
    pub(super) fn break_gang(&mut self, now: Time, id: UnitId, why: String) {
        let unit = self.units.get_mut(&id).expect("units on devices are known");
        unit.broken.get_or_insert(why);
        if !matches!(unit.wish, Wish::Stop { .. }) {
            unit.wish = Wish::Stop { said: None };
        }
        if self.policy.mistake == Mistake::FreeBrokenGang {
            let items = unit.left.drain(..).map(|(ix, _)| ix).collect();
            self.return_items(id, items);
            self.end_unit_if_empty(now, id);
        }
    }

    /// The gang that a device is part of and not the leader of.
    pub(super) fn follows(&self, device: &Device) -> Option<UnitId> {
        device.units.first().copied().filter(|unit| self.units[unit].device != device.id)
    }

    /// Whether something is lost when an agent falls silent for a lease.
    pub(super) fn is_waited_for(&self, agent: AgentId) -> bool {
        self.agents[&agent].devices.iter().any(|id| {
            let device = &self.devices[id];
            let broken = || self.follows(device).is_some_and(|unit| self.units[&unit].broken.is_some());
            device.lease.is_some() && !broken()
        })
    }

    /// Whether it is known where all devices of a unit are: after the lab was lost, not before their agents have
    /// said so again.
    pub(super) fn knows_places(&self, unit: &UnitState) -> bool {
        let there = |id: &DeviceId| self.devices.get(id).is_some_and(|d| self.agents[&d.agent].is_there());
        unit.others.iter().all(there)
    }

    /// The devices that a unit has, for its agent; none where its test does not say what they are for.
    pub(super) fn seats(&self, unit: &UnitState) -> Vec<Seat> {
        let run = &self.runs[&unit.run];
        let Some(gang) = run.gang_of(run.test(unit.test).gate()) else { return Vec::new() };
        let seat = |(role, id): (&Role, DeviceId)| {
            let device = self.devices.get(&id)?;
            Some(Seat {
                role: role.name.to_string(),
                device: device.name.to_string(),
                host: self.agents[&device.agent].host.clone(),
                address: device.labels.get("address").cloned().unwrap_or_default(),
            })
        };
        gang.seats.iter().zip(unit.devices()).filter_map(seat).collect()
    }

    /// Where a unit runs, for records and people.
    pub(super) fn place_of(&self, unit: &UnitState) -> Arc<str> {
        let leader = &self.devices[&unit.device].name;
        if unit.others.is_empty() {
            return Arc::clone(leader);
        }
        let names = unit.devices().filter_map(|id| Some(&*self.devices.get(&id)?.name));
        names.collect::<Vec<_>>().join("+").into()
    }
}

impl UnitState {
    /// Its devices, the leader first. One that its agent has no more is not known.
    pub(super) fn devices(&self) -> impl Iterator<Item = DeviceId> {
        [self.device].into_iter().chain(self.others.iter().copied())
    }

    /// What it is expected to take of its devices together, in microseconds.
    pub(super) fn device_micros(&self) -> u64 {
        self.micros.saturating_mul(1 + self.others.len() as u64)
    }
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n = self.roles.len();
        let one = if self.same_host && n > 1 { " of one host" } else { "" };
        match n {
            1 => f.write_str("it needs a device that is not there:")?,
            _ => write!(f, "it needs {n} devices{one} at once, and those that are there will not do:")?,
        }
        for (place, (role, selector, may)) in self.roles.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let what = if selector.is_empty() { String::new() } else { format!(" (`{selector}`)") };
            let may = match may {
                0 => "none".to_owned(),
                may => format!("{may} of them"),
            };
            write!(f, "{comma} {may} can be its `{role}`{what}")?;
        }
        Ok(())
    }
}
