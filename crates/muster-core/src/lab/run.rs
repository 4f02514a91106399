//! One run inside the lab: its tests and items, what they wait for, and what they have come to.
//!
//! Durable: record, phase, expansions and item records. All else is derived from these by
//! [`Run::derive`], so a restored run stands where the lost one stood.

mod gates;
mod queue;
mod shown;
mod waiting;

use super::Rejected;
use super::gang::Gang;
use super::reach::{Reach, Seen};
use super::ready::{Class, Rank, Ready};
use super::shares::UserIx;
use crate::change::{
    Change, Expansion, FoundAgain, ItemRecord, MoreItems, Moved, RunPhase, RunRecord, RunSnapshot,
};
use crate::definition::{AfterMode, Batch, Kind, NeededDevices, Needs, TestDef, UnexpectedPass};
use crate::event::Event;
use crate::exchange::{Group, RunContext, TestContext};
use crate::id::{AgentId, DeviceId, ItemIx, RunId, TestIx, UnitId};
use crate::outcome::{Counts, Verdict};
use crate::plan::{History, PathMap, PlannedItem, PlannedItems};
use crate::select::Selector;
use crate::time::Time;
use gates::{GateKey, Shut, Waiting};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Expected of an item that nothing is known about, in microseconds.
const UNKNOWN_MICROS: u64 = 1_000_000;

#[derive(Clone)]
pub(super) struct Run {
    record: Arc<RunRecord>,
    phase: RunPhase,
    expansions: Vec<Expansion>,
    found_again: BTreeMap<TestIx, FoundAgain>,
    tests: Vec<Test>,
    items: Vec<Item>,
    pub(super) selector: Arc<Selector>,
    /// The devices it may have.
    pub(super) reach: Reach,
    pub(super) history: Arc<dyn History + Send + Sync>,
    /// Who asked for it.
    pub(super) user: UserIx,
    /// Since when it wants a device and gets none, as far as is known.
    pub(super) waits_since: Option<Time>,
    /// Something of it was given to a device once.
    pub(super) was_started: bool,
    /// Items that are to be killed and are still out, with who wants that and why. Not durable.
    pub(super) killing: BTreeMap<ItemIx, String>,
    /// Why the last item of it was killed.
    pub(super) killed: Option<String>,
    /// What people said of its place in the queue.
    moves: Vec<Moved>,
    /// The sets of devices that its tests need.
    gangs: Vec<Gang>,
    gates: Vec<GateDef>,
    /// Gates that a host has shut. Not durable: the host says so again.
    shut: BTreeMap<(u32, AgentId), Shut>,
    /// When the first hours begin of what could start otherwise.
    opens_at: Option<Time>,
    /// What keeps all of it from starting, and whether the watchers were told.
    waiting: Option<Waiting>,
    /// The places of the gates.
    gate_of: BTreeMap<GateKey, u32>,
    /// Sets of devices that items failed on; the first is empty.
    failed_on: Vec<Vec<DeviceId>>,
    ready: Ready,
    backoff: BTreeSet<(Time, ItemIx)>,
    /// Items of other tests that wait for an item to end.
    edges: BTreeMap<ItemIx, Vec<ItemIx>>,
    counts: Counts,
    /// Items without a verdict, discoveries included.
    open: u32,
    /// Items that are out.
    out: u32,
    stop: Option<Stop>,
    /// Failed items when it was last opened: what fail-fast does not count.
    failed_before: u32,
    deadline: Option<Time>,
    mean: Mean,
    context: Arc<RunContext>,
}

/// Why nothing more of a run is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) reason: String,
    pub(super) kill: bool,
}

/// What all tests that stand before the same gate need.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GateDef {
    pub(super) needs: Needs,
    /// Names of tests that must not run at the same time.
    pub(super) apart_from: BTreeSet<String>,
    /// The test's own name, where no two of its items may run at the same time.
    pub(super) alone: Option<Arc<str>>,
    /// The devices they need, by their place in the run.
    pub(super) gang: Option<u32>,
}

#[derive(Clone)]
pub(super) struct Test {
    pub(super) def: Arc<TestDef>,
    pub(super) name: Arc<str>,
    /// The listed items of the plan: first record and how many.
    listed: (u32, u32),
    pub(super) discovery: Option<ItemIx>,
    /// Expansions of this test, by their place in the run's list.
    expansions: Vec<usize>,
    /// Items without a verdict.
    pub(super) open: u32,
    pub(super) counts: Counts,
    /// Prerequisites it still waits for.
    pub(super) unmet: u32,
    /// Tests that come after this one.
    pub(super) dependents: Vec<(TestIx, AfterMode)>,
    map_from: Vec<(TestIx, Arc<PathMap>)>,
    gate: u32,
    groups: Arc<[Group]>,
    context: Option<Arc<TestContext>>,
    mean: Mean,
    /// Items that are out.
    pub(super) out: u32,
    /// Watchers were told that it ended.
    pub(super) told: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) test: TestIx,
    pub(super) record: ItemRecord,
    pub(super) phase: Phase,
    /// Items of other tests it waits for.
    pub(super) unmet: u32,
    /// The devices it failed on, by their place in the run.
    failed_on: u32,
}

/// Where an item stands in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for prerequisites, or its run has been stopped.
    Blocked,
    /// Could start.
    Ready,
    /// Will be ready again.
    Backoff { until: Time },
    /// Is out in a unit.
    Out { unit: UnitId },
    /// Has its verdict.
    Ended,
}

/// A running mean.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    micros: u64,
    n: u64,
}

impl Mean {
    fn add(&mut self, micros: u64) {
        self.micros += micros;
        self.n += 1;
    }

    fn get(self) -> Option<u64> {
        self.micros.checked_div(self.n)
    }
}

/// An item that cannot run any more, and why.
pub(super) type Doomed = (ItemIx, Verdict, String);

impl Run {
    pub(super) fn new(
        record: Arc<RunRecord>,
        history: Arc<dyn History + Send + Sync>,
    ) -> Result<Self, Rejected> {
        Self::restore(
            RunSnapshot {
                record,
                phase: RunPhase::Active,
                expansions: Vec::new(),
                found_again: Vec::new(),
                items: Vec::new(),
                moves: Vec::new(),
            },
            history,
        )
    }

    pub(super) fn restore(
        snapshot: RunSnapshot,
        history: Arc<dyn History + Send + Sync>,
    ) -> Result<Self, Rejected> {
        let RunSnapshot { record, phase, expansions, found_again, items, moves } = snapshot;
        let spec = &record.spec;
        let selector = Selector::new(&spec.selection).map_err(crate::plan::PlanError::from)?;
        let reach = Reach::new(&spec.placement.selector, spec.placement.pools.as_deref())?;
        let mut env = spec.env.clone();
        env.extend(spec.target.iter().map(|(k, v)| (k.clone(), v.clone())));
        let run_dir = format!("{}/.muster/runs/{}", spec.area_dir, record.number);
        let context = Arc::new(RunContext {
            run: record.id,
            address: format!("{}/{}", spec.area, record.number),
            number: record.number,
            area_dir: match (spec.inputs.area_dir(), spec.placement.source) {
                // It was fetched to this host; on a lab it is packed and sent as any other.
                (Some(place), None) => format!("{run_dir}/{place}"),
                (Some(_), Some(_)) | (None, _) => spec.area_dir.clone(),
            },
            run_dir,
            inputs: spec.inputs.clone(),
            env,
            trace_id: spec.trace_id.clone(),
            source: spec.placement.source,
            unusable: None,
        });
        let deadline = spec.limits.run_timeout.map(|t| record.created + t);
        let mut run = Self {
            phase,
            expansions: Vec::new(),
            found_again: BTreeMap::new(),
            tests: Vec::with_capacity(record.plan.tests.len()),
            items: Vec::new(),
            selector: Arc::new(selector),
            reach,
            history,
            user: UserIx::default(),
            waits_since: None,
            was_started: false,
            killing: BTreeMap::new(),
            killed: None,
            moves,
            gangs: Vec::new(),
            gates: Vec::new(),
            shut: BTreeMap::new(),
            opens_at: None,
            waiting: None,
            gate_of: BTreeMap::new(),
            failed_on: vec![Vec::new()],
            ready: Ready::default(),
            backoff: BTreeSet::new(),
            edges: BTreeMap::new(),
            counts: Counts::default(),
            open: 0,
            out: 0,
            stop: None,
            failed_before: 0,
            deadline,
            mean: Mean::default(),
            context,
            record: Arc::clone(&record),
        };
        run.enter_tests()?;
        for expansion in expansions {
            run.append(expansion);
        }
        for again in found_again {
            run.find_again(again);
        }
        for (item, record) in items {
            run.set_record(item, record);
        }
        Ok(run)
    }

    fn enter_tests(&mut self) -> Result<(), Rejected> {
        let plan = Arc::clone(&self.record.plan);
        let places: HashMap<&str, TestIx> =
            (0u32..).zip(&plan.tests).map(|(ix, t)| (t.def.name.as_str(), TestIx(ix))).collect();
        let mut apart: Vec<BTreeSet<String>> = vec![BTreeSet::new(); plan.tests.len()];
        for (ix, planned) in plan.tests.iter().enumerate() {
            for after in planned.def.after.iter().filter(|a| a.mode == AfterMode::Exclusive) {
                apart[ix].insert(after.test.clone());
                if let Some(other) = places.get(after.test.as_str()) {
                    apart[other.0 as usize].insert(planned.def.name.clone());
                }
            }
        }
        let mut dependents: Vec<Vec<(TestIx, AfterMode)>> = vec![Vec::new(); plan.tests.len()];
        for ((ix, planned), apart_from) in (0u32..).zip(&plan.tests).zip(apart) {
            let def = &planned.def;
            let gang = self.enter_gang(&def.needs.devices)?;
            let alone = def.after.iter().any(|a| a.mode == AfterMode::Exclusive && a.test == def.name);
            let alone = alone.then(|| Arc::from(def.name.as_str()));
            let gate = self.gate(GateDef { needs: def.needs.clone(), apart_from, alone, gang });
            let first = u32::try_from(self.items.len()).expect("fewer than 2^32 items");
            let (listed, discovery) = match &planned.items {
                PlannedItems::Listed(items) => {
                    ((first, u32::try_from(items.len()).expect("fewer than 2^32 items")), None)
                }
                PlannedItems::Found(_) => ((first, 0), Some(ItemIx(first))),
            };
            let records = listed.1 + u32::from(discovery.is_some());
            self.items.extend((0..records).map(|_| Item::new(TestIx(ix))));
            self.open += records;
            let mut map_from = Vec::new();
            for after in &def.after {
                let Some(&other) = places.get(after.test.as_str()) else { continue };
                match &after.mode {
                    AfterMode::Exclusive => continue,
                    AfterMode::Passed | AfterMode::Ended => {}
                    AfterMode::MatchingItem { map } => {
                        map_from.push((other, Arc::new(PathMap::new(&def.name, map)?)));
                    }
                }
                dependents[other.0 as usize].push((TestIx(ix), after.mode.clone()));
            }
            self.tests.push(Test {
                name: def.name.as_str().into(),
                def: Arc::clone(def),
                listed,
                discovery,
                expansions: Vec::new(),
                open: records,
                counts: Counts::default(),
                unmet: 0,
                dependents: Vec::new(),
                map_from,
                gate,
                groups: Arc::from([]),
                context: None,
                mean: Mean::default(),
                out: 0,
                told: false,
            });
        }
        for (test, dependents) in self.tests.iter_mut().zip(dependents) {
            test.dependents = dependents;
        }
        Ok(())
    }

    /// Puts an item's record in place and keeps all counts right.
    pub(super) fn set_record(&mut self, ix: ItemIx, record: ItemRecord) {
        if self.item(ix).record.failed_on != record.failed_on {
            self.set_failed_on(ix, &record.failed_on);
        }
        let discovery = self.is_discovery(ix);
        // A question for items is not a check of its own: it counts only where it went wrong.
        let counted = |v: Verdict| !discovery || !v.is_ok() || v == Verdict::NoItems;
        let item = &mut self.items[ix.0 as usize];
        let before = std::mem::replace(&mut item.record, record).verdict;
        let after = item.record.verdict;
        let test = &mut self.tests[item.test.0 as usize];
        match (before, after) {
            (None, Some(_)) => {
                test.open -= 1;
                self.open -= 1;
            }
            (Some(_), None) => {
                test.open += 1;
                self.open += 1;
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        if let Some(v) = before.filter(|v| counted(*v)) {
            test.counts.remove(v);
            self.counts.remove(v);
        }
        if let Some(v) = after.filter(|v| counted(*v)) {
            test.counts.add(v);
            self.counts.add(v);
        }
        if after.is_some() && !matches!(item.phase, Phase::Out { .. }) {
            self.unqueue(ix);
            self.item_mut(ix).phase = Phase::Ended;
        }
    }

    /// An item failed on other devices than was known: it stands elsewhere among those that are ready.
    fn set_failed_on(&mut self, ix: ItemIx, failed_on: &[DeviceId]) {
        let ready = self.item(ix).phase == Phase::Ready;
        if ready {
            self.unqueue(ix);
        }
        let known = self.failed_on.iter().position(|set| set == failed_on);
        let at = known.unwrap_or_else(|| {
            self.failed_on.push(failed_on.to_vec());
            self.failed_on.len() - 1
        });
        self.item_mut(ix).failed_on = u32::try_from(at).expect("fewer than 2^32 sets");
        if ready {
            self.release_item(ix);
        }
    }

    /// Enters the items that were found for a test.
    pub(super) fn append(&mut self, expansion: Expansion) {
        let n = u32::try_from(expansion.items.len()).expect("fewer than 2^32 items");
        debug_assert_eq!(expansion.first.0 as usize, self.items.len());
        self.items.extend((0..n).map(|_| Item::new(expansion.test)));
        self.open += n;
        let at = self.expansions.len();
        let test = self.test_mut(expansion.test);
        test.open += n;
        test.expansions.push(at);
        test.groups = Arc::clone(&expansion.groups);
        test.context = None;
        self.expansions.push(expansion);
    }

    /// Gets more items of its tests.
    pub(super) fn grow(&mut self, more: Vec<MoreItems>) -> Vec<Change> {
        let mut changes = Vec::new();
        for MoreItems { test, items } in more {
            // What was to be added to definitions that were not taken has no place.
            if test.0 as usize >= self.tests.len() {
                continue;
            }
            let first = ItemIx(u32::try_from(self.items.len()).expect("fewer than 2^32 items"));
            let groups = Arc::clone(&self.test(test).groups);
            let expansion = Expansion { run: self.record.id, test, first, groups, items };
            self.append(expansion.clone());
            changes.push(Change::Expanded(expansion));
        }
        changes
    }

    /// Enters a later answer to the question for a test's items.
    pub(super) fn find_again(&mut self, again: FoundAgain) {
        let test = self.test_mut(again.test);
        test.groups = Arc::clone(&again.groups);
        test.context = None;
        self.found_again.insert(again.test, again);
    }

    /// Opens items again: those named, and those whose verdict was only that the run was stopped.
    pub(super) fn reopen(&mut self, now: Time, items: &[ItemIx]) -> Vec<Change> {
        self.stop = None;
        self.deadline = self.record.spec.limits.run_timeout.map(|t| now + t);
        let mut all: BTreeSet<ItemIx> =
            items.iter().copied().filter(|ix| (ix.0 as usize) < self.items.len()).collect();
        let stopped = (0u32..).map(ItemIx).zip(&self.items);
        all.extend(stopped.filter(|(_, i)| i.record.verdict == Some(Verdict::Cancelled)).map(|(ix, _)| ix));
        // What a suite's items are run with may have changed since (another build), so it is asked again.
        let open = (0u32..).map(ItemIx).zip(&self.items).filter(|(_, i)| i.record.verdict.is_none());
        let tests: BTreeSet<TestIx> =
            all.iter().copied().chain(open.map(|(ix, _)| ix)).map(|ix| self.item(ix).test).collect();
        all.extend(tests.into_iter().filter_map(|t| self.test(t).discovery));
        let mut changes = Vec::new();
        for ix in all {
            let old = &self.item(ix).record;
            if old.verdict.is_none() {
                continue;
            }
            let record = ItemRecord { attempts: old.attempts, ..ItemRecord::default() };
            self.set_record(ix, record.clone());
            self.item_mut(ix).phase = Phase::Blocked;
            changes.push(Change::ItemSet { run: self.record.id, item: ix, record });
        }
        self.failed_before = self.failed();
        changes
    }

    pub(super) fn started_event(&self) -> Event {
        let undiscovered = self
            .tests
            .iter()
            .filter(|t| t.discovery.is_some_and(|d| self.item(d).record.verdict.is_none()))
            .count();
        let discoveries = self.tests.iter().filter(|t| t.discovery.is_some()).count();
        Event::RunStarted {
            address: self.context.address.as_str().into(),
            name: self.record.spec.name.as_str().into(),
            target: self.record.spec.target.clone(),
            tests: u32::try_from(self.tests.len()).expect("fewer than 2^32 tests"),
            items: u32::try_from(self.items.len() - discoveries).expect("fewer than 2^32 items"),
            undiscovered: u32::try_from(undiscovered).expect("fewer than 2^32 tests"),
        }
    }

    pub(super) fn snapshot(&self) -> RunSnapshot {
        RunSnapshot {
            record: Arc::clone(&self.record),
            phase: self.phase.clone(),
            expansions: self.expansions.clone(),
            found_again: self.found_again.values().cloned().collect(),
            items: (0u32..)
                .map(ItemIx)
                .zip(&self.items)
                .filter(|(_, item)| item.record != ItemRecord::default())
                .map(|(ix, item)| (ix, item.record.clone()))
                .collect(),
            moves: self.moves.clone(),
        }
    }

    /// Items that fail the run.
    fn failed(&self) -> u32 {
        match self.record.spec.unexpected_pass {
            UnexpectedPass::Fail => self.counts.failed(),
            UnexpectedPass::Report => self.counts.failed() - self.counts.get(Verdict::UnexpectedPass),
        }
    }

    /// Items that fail the run and did not when it was last opened.
    pub(super) fn failed_now(&self) -> u32 {
        self.failed().saturating_sub(self.failed_before)
    }

    /// Nothing of it can happen any more, and yet it is not over.
    pub(super) fn is_stuck(&self) -> bool {
        self.phase == RunPhase::Active
            && self.stop.is_none()
            && self.open > 0
            && self.out == 0
            && self.ready.len() == 0
            && self.backoff.is_empty()
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        if self.phase != RunPhase::Active {
            return None;
        }
        let deadline = self.deadline.filter(|_| self.stop.is_none());
        let backoff = self.backoff.first().map(|(t, _)| *t);
        backoff.into_iter().chain(deadline).chain(self.start_by()).chain(self.gates_wake_at()).min()
    }

    /// Items of a test, the question for its items first.
    pub(super) fn items_of(&self, test: TestIx) -> impl Iterator<Item = ItemIx> + use<> {
        let t = self.test(test);
        let (first, n) = t.listed;
        let found: Vec<(u32, u32)> = t
            .expansions
            .iter()
            .map(|&e| {
                let e = &self.expansions[e];
                (e.first.0, u32::try_from(e.items.len()).expect("fewer than 2^32 items"))
            })
            .collect();
        t.discovery
            .into_iter()
            .chain((first..first + n).map(ItemIx))
            .chain(found.into_iter().flat_map(|(first, n)| (first..first + n).map(ItemIx)))
    }

    /// The plan's word on an item; not for a question for items.
    pub(super) fn planned(&self, ix: ItemIx) -> &PlannedItem {
        let test = self.item(ix).test;
        if let Some(again) = self.found_again.get(&test)
            && let Ok(at) = again.items.binary_search_by_key(&ix, |(ix, _)| *ix)
        {
            return &again.items[at].1;
        }
        let t = self.test(test);
        let (first, n) = t.listed;
        if ix.0 >= first && ix.0 < first + n {
            let PlannedItems::Listed(items) = &self.record.plan.tests[test.0 as usize].items else {
                unreachable!("only listed items have a place in the plan")
            };
            return &items[(ix.0 - first) as usize];
        }
        t.expansions
            .iter()
            .map(|&e| &self.expansions[e])
            .find_map(|e| e.items.get(ix.0.checked_sub(e.first.0)? as usize))
            .expect("an item is listed or found")
    }

    /// Whether the last answer to the question for its test's items had this one.
    pub(super) fn was_found(&self, ix: ItemIx) -> bool {
        let test = self.item(ix).test;
        self.found_again.get(&test).is_none_or(|a| a.items.binary_search_by_key(&ix, |(ix, _)| *ix).is_ok())
    }

    pub(super) fn path(&self, ix: ItemIx) -> &Arc<str> {
        static EMPTY: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| Arc::from(""));
        if self.is_discovery(ix) { &EMPTY } else { &self.planned(ix).path }
    }

    pub(super) fn is_discovery(&self, ix: ItemIx) -> bool {
        self.test(self.item(ix).test).discovery == Some(ix)
    }

    pub(super) fn test_context(&mut self, test: TestIx) -> Arc<TestContext> {
        let run = self.record.id;
        let t = &mut self.tests[test.0 as usize];
        let (def, groups) = (&t.def, &t.groups);
        Arc::clone(t.context.get_or_insert_with(|| {
            Arc::new(TestContext { run, test, def: Arc::clone(def), groups: Arc::clone(groups) })
        }))
    }

    pub(super) fn context(&self) -> &Arc<RunContext> {
        &self.context
    }
    pub(super) fn id(&self) -> RunId {
        self.record.id
    }
    pub(super) fn record(&self) -> &Arc<RunRecord> {
        &self.record
    }
    pub(super) fn phase(&self) -> &RunPhase {
        &self.phase
    }
    pub(super) fn set_phase(&mut self, phase: RunPhase) {
        self.phase = phase;
    }
    pub(super) fn test(&self, ix: TestIx) -> &Test {
        &self.tests[ix.0 as usize]
    }
    pub(super) fn test_mut(&mut self, ix: TestIx) -> &mut Test {
        &mut self.tests[ix.0 as usize]
    }
    pub(super) fn tests(&self) -> &[Test] {
        &self.tests
    }
    pub(super) fn item(&self, ix: ItemIx) -> &Item {
        &self.items[ix.0 as usize]
    }
    pub(super) fn item_mut(&mut self, ix: ItemIx) -> &mut Item {
        &mut self.items[ix.0 as usize]
    }
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }
    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }
    pub(super) fn open(&self) -> u32 {
        self.open
    }
    pub(super) fn out(&self) -> u32 {
        self.out
    }
    pub(super) fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }
    /// Goes on with changed definitions; see [`Change::RunReplanned`].
    pub(super) fn replan(
        &mut self,
        record: Arc<RunRecord>,
        history: Arc<dyn History + Send + Sync>,
    ) -> Result<(), Rejected> {
        let snapshot = RunSnapshot { record, ..self.snapshot() };
        *self = Self { user: self.user, was_started: self.was_started, ..Self::restore(snapshot, history)? };
        Ok(())
    }
    pub(super) fn moves(&self) -> &[Moved] {
        &self.moves
    }
    pub(super) fn enter_move(&mut self, moved: Moved) {
        self.moves.push(moved);
    }
    pub(super) fn set_stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadline
    }
}

impl Test {
    /// Its items were found once.
    pub(super) fn is_expanded(&self) -> bool {
        !self.expansions.is_empty()
    }

    pub(super) fn gate(&self) -> u32 {
        self.gate
    }
}

impl Item {
    fn new(test: TestIx) -> Self {
        Self { test, record: ItemRecord::default(), phase: Phase::Blocked, unmet: 0, failed_on: 0 }
    }
}

/// Whether what is waited for has happened.
pub(super) enum Met {
    Yes,
    NotYet,
    /// It cannot happen any more.
    Never(String),
}
