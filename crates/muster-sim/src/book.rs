//! The checkers' own account of the lab: what was recorded, and what really ran.
//!
//! It is drawn from two sources that do not know of each other, the journal of the store and the facts of
//! the hosts, and panics with the broken promise:
//!
//! * no device is leased twice, alone or together with others, leases and units are numbered upwards, no attempt
//!   is out twice;
//! * a unit is sent with all the devices that its test needs, each such as its run and its role want by what the
//!   lab was last told of it, and none that is held or in quarantine;
//! * a device that is being verified gets nothing but its check, a quarantine ends by time, by a person, or by a check
//!   that may end it, and a repair is not used again before it has cooled down, nor more often than it may;
//! * nothing starts before what it comes after has ended as it must;
//! * an attempt is recorded once, under the live lease it ran under, and says what really happened;
//! * no unit runs twice, no item runs in two places, no device is used by two units (the hosts' own view), also
//!   after a host that stood still goes on;
//! * groups, exclusive tests and jobs at once hold on the hosts' own view;
//! * people are told only what is recorded, and a run's counts add up.

use crate::host::Fact;
use muster_core::attempt::{AttemptResult, Cause};
use muster_core::change::{Change, ItemRecord, RunPhase, RunRecord, SentUnit};
use muster_core::definition::{AfterMode, TestDef};
use muster_core::event::{Event, Told};
use muster_core::exchange::{DeviceOffer, Labels, Unit, UnitAttempt};
use muster_core::health::{Checked, DeviceHealth, Ends, Found, Health, Quarantine, Task};
use muster_core::id::{AgentId, AttemptRef, DeviceId, ItemIx, LeaseId, RunId, TestIx, UnitId};
use muster_core::kind::{DeviceKind, HEALTH_AREA};
use muster_core::lab::{DeviceSelector, Pools};
use muster_core::outcome::{Counts, Verdict};
use muster_core::plan::{PathMap, PlannedItems};
use muster_core::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The account.
#[derive(Debug, Default)]
pub struct Book {
    runs: BTreeMap<RunId, RunBook>,
    leases: BTreeMap<LeaseId, Vec<DeviceId>>,
    last_lease: LeaseId,
    units: BTreeMap<UnitId, (LeaseId, SentUnit)>,
    last_unit: UnitId,
    /// What attempts really came to.
    results: BTreeMap<(UnitId, AttemptRef), AttemptResult>,
    /// Units that were ever started.
    started: BTreeSet<UnitId>,
    /// What runs at this moment, on which devices.
    running: BTreeMap<UnitId, (Arc<Unit>, Vec<String>)>,
    /// What of it stands still together with its host, and counts for nothing until it goes on.
    frozen: BTreeSet<UnitId>,
    /// Agents with their hosts and devices, as recorded.
    agents: BTreeMap<AgentId, (String, Vec<(DeviceId, String)>)>,
    /// What the lab may take devices to be like, the newest last.
    labels: BTreeMap<(AgentId, String), Vec<Labels>>,
    /// Devices that people hold.
    held: BTreeSet<DeviceId>,
    /// What is known of the health of devices.
    health: BTreeMap<DeviceId, HealthBook>,
    /// Of each repair, how long it cools down, and how often it is tried.
    repairs: BTreeMap<String, (Duration, u16)>,
    /// When the turn that is recorded was made, and which devices people let out of quarantine in it.
    now: Time,
    released: BTreeSet<DeviceId>,
    pools: Pools,
}

/// A device's part of the account, as far as its health goes.
#[derive(Debug, Default)]
struct HealthBook {
    quarantine: Option<Quarantine>,
    /// The check that is under way.
    check: Option<RunId>,
    /// The last check that ended.
    checked: Option<Checked>,
    /// When each repair was last begun, and how often since the device was good.
    tried: BTreeMap<String, (Time, u16)>,
}

/// A run's part of the account.
#[derive(Debug)]
pub struct RunBook {
    record: Arc<RunRecord>,
    /// Where it stands.
    pub phase: RunPhase,
    items: Vec<Item>,
    records: BTreeMap<ItemIx, ItemRecord>,
    attempts: BTreeSet<(ItemIx, u16)>,
}

#[derive(Debug)]
struct Item {
    test: TestIx,
    path: Arc<str>,
    discovery: bool,
}

impl Book {
    /// An account of a lab with these pools and kinds of devices.
    pub fn new(pools: Pools, kinds: &[DeviceKind]) -> Self {
        let repairs = kinds.iter().flat_map(|kind| &kind.repairs);
        let repairs = repairs.map(|r| (r.name.clone(), (r.cool_down, r.tries))).collect();
        Self { pools, repairs, ..Self::default() }
    }

    /// The lab is about to make a turn, in which people let these devices out of quarantine.
    pub fn begin_turn(&mut self, now: Time, released: BTreeSet<DeviceId>) {
        (self.now, self.released) = (now, released);
    }

    /// An agent says what its devices are like; the lab may take it in or not.
    pub fn said(&mut self, agent: AgentId, devices: &[DeviceOffer]) {
        for DeviceOffer { name, labels } in devices {
            self.labels.entry((agent, name.clone())).or_default().push(labels.clone());
        }
    }

    /// The lab has taken it in.
    pub fn heard(&mut self, agent: AgentId, devices: &[DeviceOffer]) {
        for DeviceOffer { name, labels } in devices {
            self.labels.insert((agent, name.clone()), vec![labels.clone()]);
        }
    }

    /// A run that was recorded.
    pub fn run(&self, run: RunId) -> Option<&RunBook> {
        self.runs.get(&run)
    }

    /// Every run that was recorded.
    pub fn runs(&self) -> impl Iterator<Item = (RunId, &RunBook)> {
        self.runs.iter().map(|(id, run)| (*id, run))
    }

    /// Whether anything runs on any host at this moment.
    pub fn is_anything_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Leases that have not ended.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Enters what a commit recorded.
    pub fn record(&mut self, changes: &[Change]) {
        let last_unit = self.last_unit;
        for change in changes {
            match change {
                Change::RunCreated(record) => {
                    let before = self.runs.insert(record.id, RunBook::new(record));
                    assert!(before.is_none(), "{} is created once", record.id);
                }
                Change::Expanded(expansion) => {
                    let run = self.run_mut(expansion.run);
                    assert_eq!(expansion.first.0 as usize, run.items.len(), "found items are appended");
                    let item = |path| Item { test: expansion.test, path, discovery: false };
                    run.items.extend(expansion.items.iter().map(|i| item(Arc::clone(&i.path))));
                }
                Change::FoundAgain(_) => {}
                Change::RunReplanned(record) => self.run_mut(record.id).record = Arc::clone(record),
                Change::AttemptEnded { attempt, unit, device: _, result, record } => {
                    self.attempt_ended(*attempt, *unit, result, record);
                }
                Change::ItemSet { run, item, record } => {
                    self.run_mut(*run).records.insert(*item, record.clone());
                }
                Change::RunState { run, phase } => {
                    let run = self.run_mut(*run);
                    run.phase = phase.clone();
                    if matches!(phase, RunPhase::Ended { .. }) {
                        assert_eq!(run.open(), 0, "a run that ended has a verdict for every item");
                    }
                }
                Change::AgentSeen { agent, session: _, host, devices } => {
                    self.agents.insert(*agent, (host.clone(), devices.clone()));
                }
                Change::DeviceHeld { device, hold } => {
                    enter(&mut self.held, *device, hold.is_some());
                }
                Change::DeviceHealth { device, health } => self.health_is(*device, health.as_deref()),
                Change::Registered { .. }
                | Change::RunMoved { .. }
                | Change::Noted { .. }
                | Change::Happened { .. }
                | Change::LateEvidence { .. } => {}
                Change::LeaseGranted { lease, devices } => {
                    assert!(*lease > self.last_lease, "{lease} is newer than all before");
                    self.last_lease = *lease;
                    for (place, device) in devices.iter().enumerate() {
                        let held = self.leases.values().any(|d| d.contains(device));
                        assert!(!held && !devices[..place].contains(device), "{device} is leased once");
                    }
                    self.leases.insert(*lease, devices.clone());
                }
                Change::LeaseEnded { lease } => {
                    assert!(self.leases.remove(lease).is_some(), "{lease} ends once");
                    self.units.retain(|_, (l, _)| l != lease);
                }
                Change::Sent { lease, units } => {
                    assert!(self.leases.contains_key(lease), "units are sent under a live lease");
                    for unit in units {
                        assert!(unit.unit > last_unit, "{} is newer than all before", unit.unit);
                        self.last_unit = self.last_unit.max(unit.unit);
                        let before = self.units.insert(unit.unit, (*lease, unit.clone()));
                        assert!(before.is_none(), "{} is sent once", unit.unit);
                        self.check_devices(unit, &self.leases[lease]);
                    }
                }
                Change::Returned { unit, items } => {
                    self.take_from_unit(*unit, |item| items.contains(&item));
                }
            }
        }
        // What a commit sends must be right by what the whole commit says.
        for change in changes {
            if let Change::Sent { units, .. } = change {
                for unit in units.iter().filter(|u| self.units.contains_key(&u.unit)) {
                    self.check_sent(unit);
                }
            }
        }
        let mut out = BTreeSet::new();
        for (_, unit) in self.units.values() {
            for (item, _) in &unit.attempts {
                assert!(out.insert((unit.run, *item)), "{item} of {} is out once", unit.run);
            }
        }
    }

    /// What is recorded of a device's health from now on; `None`: the device is gone.
    fn health_is(&mut self, id: DeviceId, new: Option<&DeviceHealth>) {
        let Some(new) = new else {
            self.health.remove(&id);
            return;
        };
        let known = self.health.entry(id).or_default();
        let is_new = new.checked != known.checked;
        let passed = is_new && new.checked.as_ref().is_some_and(|c| c.found == Found::Good);
        let quarantine = match &new.health {
            Health::Quarantined(quarantine) => Some(quarantine.clone()),
            Health::Unknown | Health::Good { .. } | Health::Suspect { .. } | Health::Failing { .. } => None,
        };
        let mut let_out = false;
        if let (Some(before), None) = (&known.quarantine, &quarantine) {
            let over = before.until.is_some_and(|until| until <= self.now) || self.released.contains(&id);
            let good = before.ends == Ends::Check && passed;
            assert!(over || good, "the quarantine of {id} ends for nothing: {before:?}");
            let_out = true;
        }
        if passed || let_out {
            known.tried.values_mut().for_each(|(_, times)| *times = 0);
        }
        if let Task::UnderWay { errand, run, .. } = &new.task
            && known.check != Some(*run)
        {
            assert_eq!(known.check, None, "{id} has one check at a time");
            if let Some(repair) = &errand.repair {
                let (cool_down, tries) = self.repairs[repair];
                let (at, times) = known.tried.get(repair).copied().unwrap_or_default();
                let cool = times == 0 && at == Time::default() || self.now.since(at) >= cool_down;
                assert!(cool, "`{repair}` of {id} had {cool_down:?} to cool down, and was used at {at:?}");
                assert!(times < tries, "`{repair}` of {id} is tried {tries} times");
                known.tried.insert(repair.clone(), (self.now, times + 1));
            }
        }
        known.check = new.task.run();
        known.checked.clone_from(&new.checked);
        known.quarantine = quarantine;
    }

    fn run_mut(&mut self, run: RunId) -> &mut RunBook {
        self.runs.get_mut(&run).unwrap_or_else(|| panic!("{run} is recorded before anything of it"))
    }

    fn take_from_unit(&mut self, unit: UnitId, gone: impl Fn(ItemIx) -> bool) {
        let Some((_, sent)) = self.units.get_mut(&unit) else { panic!("{unit} is out") };
        sent.attempts.retain(|(item, _)| !gone(*item));
        if sent.attempts.is_empty() {
            self.units.remove(&unit);
        }
    }

    fn attempt_ended(
        &mut self,
        attempt: AttemptRef,
        unit: UnitId,
        result: &AttemptResult,
        record: &ItemRecord,
    ) {
        let AttemptRef { run: run_id, item, attempt: number } = attempt;
        let out = self.units.get(&unit).is_some_and(|(_, sent)| sent.attempts.contains(&(item, number)));
        assert!(out, "a result of {unit} is recorded, which is not out with {attempt:?}");
        self.take_from_unit(unit, |i| i == item);
        let really = self.results.get(&(unit, attempt));
        // What a gang that lost a device comes to is no word about the test, unless it is good.
        let broken = matches!(&result.cause, Cause::Lab(why) if why.contains("lost together with its agent") || why.contains("is gone, which it needs"))
            && really.is_some_and(|really| !really.outcome.is_good());
        assert!(broken || really == Some(result), "{result:?} is recorded, and {really:?} happened");
        let run = self.run_mut(run_id);
        assert!(run.attempts.insert((item, number)), "{attempt:?} is recorded once");
        assert_eq!(record.attempts, number, "attempts are counted");
        run.records.insert(item, record.clone());
    }

    /// A unit has the devices it needs, all of them, and such as its run may have.
    fn check_devices(&self, unit: &SentUnit, devices: &[DeviceId]) {
        let run = &self.runs[&unit.run];
        let placement = &run.record.spec.placement;
        let test = run.test(run.items[unit.attempts[0].0.0 as usize].test);
        let needed = &test.needs.devices;
        assert_eq!(
            devices.len(),
            needed.roles.len().max(1),
            "{} has all devices of `{}`",
            unit.unit,
            test.name
        );
        let mut hosts = BTreeSet::new();
        for (place, id) in devices.iter().enumerate() {
            assert!(!self.held.contains(id), "{id} is held, and {} is sent there", unit.unit);
            let health = self.health.get(id);
            match health.and_then(|h| h.check) {
                Some(check) => {
                    assert_eq!(check, unit.run, "{id} is verified, and {} is sent there", unit.unit);
                }
                None => {
                    let out = health.is_some_and(|h| h.quarantine.is_some());
                    assert!(!out, "{id} is in quarantine, and {} is sent there", unit.unit);
                }
            }
            let found = self.agents.iter().find_map(|(agent, (host, devices))| {
                let (_, name) = devices.iter().find(|(device, _)| device == id)?;
                Some((*agent, host.clone(), name.clone()))
            });
            let (agent, host, name) = found.unwrap_or_else(|| panic!("{id} is an agent's"));
            let labels = self.labels.get(&(agent, name.clone())).cloned().unwrap_or_default();
            let selectors = [Some(&placement.selector), needed.roles.get(place).map(|role| &role.selector)];
            for selector in selectors.into_iter().flatten().filter(|s| !s.is_empty()) {
                let wanted = DeviceSelector::parse(selector).expect("selectors are made well");
                let matches = labels.iter().any(|labels| wanted.matches(&name, &host, labels));
                assert!(matches, "{name} of {host} is sent {} and does not match `{selector}`", unit.unit);
            }
            if let Some(pools) = &placement.pools {
                let may = |labels: &Labels| pools.iter().any(|p| p == self.pools.of(&name, &host, labels));
                assert!(labels.iter().any(may), "{name} of {host} is in no pool that {} may use", unit.run);
            }
            hosts.insert(host);
        }
        assert!(!needed.same_host || hosts.len() == 1, "the devices of {} are of one host", unit.unit);
    }

    fn check_sent(&self, unit: &SentUnit) {
        let run = &self.runs[&unit.run];
        assert_eq!(run.phase, RunPhase::Active, "nothing of a run that is over is sent");
        for (ix, number) in &unit.attempts {
            let record = run.records.get(ix).cloned().unwrap_or_default();
            assert_eq!(record.verdict, None, "what has its verdict is not run");
            assert_eq!(record.attempts + 1, *number, "attempts are numbered in order");
            run.check_may_start(*ix);
        }
    }

    /// Enters what really happened on a host.
    pub fn fact(&mut self, host: &str, fact: Fact) {
        match fact {
            Fact::Started { taken, device } => {
                let unit = taken.unit;
                let mut places = vec![format!("{host}/{device}")];
                if let Some((leader, others)) = unit.devices.split_first() {
                    assert_eq!(
                        format!("{}/{}", leader.host, leader.device),
                        places[0],
                        "it runs on the first"
                    );
                    places.extend(others.iter().map(|seat| format!("{}/{}", seat.host, seat.device)));
                }
                for seat in &unit.devices {
                    assert_eq!(seat.address, seat.device, "{} is told where its devices are", unit.id);
                }
                let needed = taken.test.def.needs.devices.roles.len();
                assert_eq!(unit.devices.len(), needed, "{} starts with all its devices", unit.id);
                assert!(self.started.insert(unit.id), "{} is started once", unit.id);
                self.begin(unit, places);
            }
            Fact::Frozen { unit } => drop(self.frozen.insert(unit)),
            Fact::Thawed { unit } => {
                self.frozen.remove(&unit);
                let (unit, places) = self.running.remove(&unit).expect("what goes on stood still");
                self.begin(unit, places);
            }
            Fact::Ended { unit, attempt, result } => {
                let before = self.results.insert((unit, attempt), *result);
                assert!(before.is_none(), "{attempt:?} of {unit} runs once");
            }
            Fact::Gone { unit } => {
                self.frozen.remove(&unit);
                self.running.remove(&unit);
            }
        }
    }

    /// A unit runs from now on.
    fn begin(&mut self, unit: Arc<Unit>, places: Vec<String>) {
        for (other, on) in self.running.values().filter(|(other, _)| !self.frozen.contains(&other.id)) {
            let shared = places.iter().find(|place| on.contains(place));
            assert!(shared.is_none(), "{shared:?} has {} and {} at once", other.id, unit.id);
            // What has its result there already may be tried again here while the rest goes on.
            let twice = other.attempts.iter().any(|a| {
                let same =
                    |b: &UnitAttempt| (a.attempt.run, a.attempt.item) == (b.attempt.run, b.attempt.item);
                unit.attempts.iter().any(same) && !self.results.contains_key(&(other.id, a.attempt))
            });
            assert!(!twice, "an item of {} and {} runs in two places", other.id, unit.id);
        }
        self.running.insert(unit.id, (unit, places));
        self.check_limits();
    }

    /// Limits hold among what really runs.
    fn check_limits(&self) {
        let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
        let mut tests: Vec<&TestDef> = Vec::new();
        let mut jobs_max = u32::MAX;
        let mut groups_max: BTreeMap<&str, u32> = BTreeMap::new();
        // Limits are an area's, and checks of devices are of one that has none.
        let is_limited = |unit: &Unit| self.runs[&unit.run].record.spec.area != HEALTH_AREA;
        let running = || {
            let all = self.running.values();
            all.filter(|(unit, _)| !self.frozen.contains(&unit.id) && is_limited(unit))
        };
        for (unit, _) in running() {
            let run = &self.runs[&unit.run];
            let limits = &run.record.spec.limits;
            jobs_max = jobs_max.min(limits.jobs.unwrap_or(u32::MAX));
            let def = &*run.record.plan.tests[unit.test.0 as usize].def;
            for group in &def.needs.groups {
                *groups.entry(group).or_default() += 1;
                groups_max.insert(group, limits.groups.get(group).copied().unwrap_or(u32::MAX));
            }
            tests.push(def);
        }
        assert!(running().count() <= jobs_max as usize, "no more than {jobs_max} units run at once");
        for (group, n) in groups {
            assert!(
                n <= groups_max[group],
                "group `{group}` has {} places, and {n} are taken",
                groups_max[group]
            );
        }
        for (i, a) in tests.iter().enumerate() {
            for b in &tests[i + 1..] {
                let apart = |a: &TestDef, b: &TestDef| {
                    a.after.iter().any(|x| x.mode == AfterMode::Exclusive && x.test == b.name)
                };
                assert!(!apart(a, b) && !apart(b, a), "`{}` and `{}` run at once", a.name, b.name);
            }
        }
    }

    /// What people were told in a turn must be what the turn recorded.
    pub fn told(&self, told: &[Told], recorded: &[Change]) {
        for Told { run: run_id, event, .. } in told {
            let Some(run) = self.runs.get(run_id) else {
                panic!("people are told of {run_id}, which is not recorded")
            };
            let item_is = |ix: ItemIx, test: &str, path: &str| {
                run.items
                    .get(ix.0 as usize)
                    .is_some_and(|i| *i.path == *path && run.test(i.test).name == test)
            };
            let found = match event {
                Event::RunStarted { .. } | Event::AttemptStarted { .. } | Event::Waiting { .. } => true,
                Event::ItemsFound { items, .. } => recorded
                    .iter()
                    .any(|c| matches!(c, Change::Expanded(e) if e.run == *run_id && e.items.len() == *items as usize)),
                Event::AttemptEnded { test, item, attempt: number, result: told, .. } => {
                    recorded.iter().any(|c| match c {
                        Change::AttemptEnded { attempt, result, .. } => {
                            attempt.run == *run_id
                                && attempt.attempt == *number
                                && result == told
                                && item_is(attempt.item, test, item)
                        }
                        _ => false,
                    })
                }
                Event::ItemEnded { test, item, verdict, .. } => recorded.iter().any(|c| {
                    let (ix, record) = match c {
                        Change::AttemptEnded { attempt, record, .. } if attempt.run == *run_id => {
                            (attempt.item, record)
                        }
                        Change::ItemSet { run, item, record } if run == run_id => (*item, record),
                        _ => return false,
                    };
                    record.verdict == Some(*verdict) && item_is(ix, test, item)
                }),
                Event::TestEnded { verdict, counts, .. } => counts.worst().is_none_or(|w| w == *verdict),
                Event::RunEnded { counts, stopped, .. } => {
                    assert_eq!(run.counts(), *counts, "the counts that people are told add up");
                    recorded.iter().any(|c| match c {
                        Change::RunState { run, phase } => {
                            run == run_id && *stopped == matches!(phase, RunPhase::Stopped { .. })
                        }
                        _ => false,
                    })
                }
            };
            assert!(found, "people were told what is not recorded: {event:?}");
        }
    }
}

/// Whether a device is in a set from now on.
fn enter(set: &mut BTreeSet<DeviceId>, device: DeviceId, is_in: bool) {
    if is_in {
        set.insert(device)
    } else {
        set.remove(&device)
    };
}

impl RunBook {
    fn new(record: &Arc<RunRecord>) -> Self {
        let mut items = Vec::new();
        for (test, planned) in (0u32..).map(TestIx).zip(&record.plan.tests) {
            match &planned.items {
                PlannedItems::Listed(list) => items.extend(list.iter().map(|i| Item {
                    test,
                    path: Arc::clone(&i.path),
                    discovery: false,
                })),
                PlannedItems::Found(_) => items.push(Item { test, path: Arc::from(""), discovery: true }),
            }
        }
        Self {
            record: Arc::clone(record),
            phase: RunPhase::Active,
            items,
            records: BTreeMap::new(),
            attempts: BTreeSet::new(),
        }
    }

    fn test(&self, test: TestIx) -> &TestDef {
        &self.record.plan.tests[test.0 as usize].def
    }

    fn verdict(&self, ix: ItemIx) -> Option<Verdict> {
        self.records.get(&ix).and_then(|r| r.verdict)
    }

    fn all(&self) -> impl Iterator<Item = (ItemIx, &Item)> {
        (0u32..).map(ItemIx).zip(&self.items)
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has no record at all.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Attempts recorded.
    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }

    /// Items without a verdict.
    pub fn open(&self) -> usize {
        self.all().filter(|(ix, _)| self.verdict(*ix).is_none()).count()
    }

    /// Items by verdict, as the lab counts them.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (ix, item) in self.all() {
            match self.verdict(ix) {
                Some(v) if !item.discovery || !v.is_ok() || v == Verdict::NoItems => counts.add(v),
                Some(_) | None => {}
            }
        }
        counts
    }

    /// What an item comes after has ended as it must.
    fn check_may_start(&self, ix: ItemIx) {
        let item = &self.items[ix.0 as usize];
        let def = self.test(item.test);
        for after in &def.after {
            let of_other: Vec<(ItemIx, &Item)> =
                self.all().filter(|(_, i)| self.test(i.test).name == after.test).collect();
            let who = || format!("`{}/{}` starts although `{}`", def.name, item.path, after.test);
            match &after.mode {
                AfterMode::Exclusive => {}
                AfterMode::Passed => {
                    let good = of_other
                        .iter()
                        .all(|(ix, _)| self.verdict(*ix).is_some_and(Verdict::lets_others_go_on));
                    assert!(good, "{} has not passed", who());
                }
                AfterMode::Ended => {
                    let ended = of_other.iter().all(|(ix, _)| {
                        self.verdict(*ix).is_some_and(|v| v != Verdict::Abort && v != Verdict::Cancelled)
                    });
                    assert!(ended, "{} has not ended", who());
                }
                AfterMode::MatchingItem { map } => {
                    if item.discovery {
                        continue;
                    }
                    let map = PathMap::new(&def.name, map).expect("it was planned with it");
                    let wanted = map.apply(&item.path);
                    let good = of_other.iter().any(|(ix, i)| {
                        !i.discovery
                            && *i.path == *wanted
                            && self.verdict(*ix).is_some_and(Verdict::lets_others_go_on)
                    });
                    assert!(good, "{} has no `{wanted}` that passed", who());
                }
            }
        }
    }
}
