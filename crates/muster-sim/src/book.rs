//! The checkers' own account of the lab: what was recorded, and what really ran.
//!
//! It is drawn from two sources that do not know of each other, the journal of the store and the facts of
//! the hosts, and panics with the broken promise:
//!
//! * no device is leased twice, leases and units are numbered upwards, no attempt is out twice;
//! * nothing starts before what it comes after has ended as it must;
//! * an attempt is recorded once, under the live lease it ran under, and says what really happened;
//! * no unit runs twice, no item runs in two places, no device runs two units (the hosts' own view);
//! * groups, exclusive tests and jobs at once hold on the hosts' own view;
//! * people are told only what is recorded, and a run's counts add up.

use crate::host::Fact;
use muster_core::attempt::AttemptResult;
use muster_core::change::{Change, ItemRecord, RunPhase, RunRecord, SentUnit};
use muster_core::definition::{AfterMode, TestDef};
use muster_core::event::{Event, Told};
use muster_core::exchange::{Unit, UnitAttempt};
use muster_core::id::{AttemptRef, DeviceId, ItemIx, LeaseId, RunId, TestIx, UnitId};
use muster_core::outcome::{Counts, Verdict};
use muster_core::plan::{PathMap, PlannedItems};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// What runs at this moment, on which device.
    running: BTreeMap<UnitId, (Arc<Unit>, String)>,
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
                Change::AgentSeen { .. }
                | Change::DeviceHeld { .. }
                | Change::DeviceHealth { .. }
                | Change::Registered { .. }
                | Change::RunMoved { .. }
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
        assert_eq!(really, Some(result), "what is recorded is what happened");
        let run = self.run_mut(run_id);
        assert!(run.attempts.insert((item, number)), "{attempt:?} is recorded once");
        assert_eq!(record.attempts, number, "attempts are counted");
        run.records.insert(item, record.clone());
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
                let place = format!("{host}/{device}");
                assert!(self.started.insert(unit.id), "{} is started once", unit.id);
                for (other, on) in self.running.values() {
                    assert!(*on != place, "{place} runs {} and {} at once", other.id, unit.id);
                    // What has its result there already may be tried again here while the rest goes on.
                    let twice = other.attempts.iter().any(|a| {
                        let same = |b: &UnitAttempt| {
                            (a.attempt.run, a.attempt.item) == (b.attempt.run, b.attempt.item)
                        };
                        unit.attempts.iter().any(same) && !self.results.contains_key(&(other.id, a.attempt))
                    });
                    assert!(!twice, "an item of {} and {} runs in two places", other.id, unit.id);
                }
                self.running.insert(unit.id, (unit, place));
                self.check_limits();
            }
            Fact::Ended { unit, attempt, result } => {
                let before = self.results.insert((unit, attempt), result);
                assert!(before.is_none(), "{attempt:?} of {unit} runs once");
            }
            Fact::Gone { unit } => drop(self.running.remove(&unit)),
        }
    }

    /// Limits hold among what really runs.
    fn check_limits(&self) {
        let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
        let mut tests: Vec<&TestDef> = Vec::new();
        let mut jobs_max = u32::MAX;
        let mut groups_max: BTreeMap<&str, u32> = BTreeMap::new();
        for (unit, _) in self.running.values() {
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
        assert!(self.running.len() <= jobs_max as usize, "no more than {jobs_max} units run at once");
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
                Event::RunStarted { .. } | Event::AttemptStarted { .. } => true,
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
