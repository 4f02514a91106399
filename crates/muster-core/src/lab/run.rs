//! One run inside the lab: its tests and items, what they wait for, and what they have come to.
//!
//! Durable: record, phase, expansions and item records. All else is derived from these by
//! [`Run::derive`], so a restored run stands where the lost one stood.

use super::Rejected;
use super::ready::{Class, Rank, Ready};
use crate::change::{Change, Expansion, FoundAgain, ItemRecord, RunPhase, RunRecord, RunSnapshot};
use crate::definition::{AfterMode, Batch, Kind, Needs, TestDef, UnexpectedPass};
use crate::event::Event;
use crate::exchange::{Group, RunContext, TestContext};
use crate::id::{ItemIx, RunId, TestIx, UnitId};
use crate::outcome::{Counts, Verdict};
use crate::plan::{History, PathMap, PlannedItem, PlannedItems};
use crate::select::Selector;
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Expected of an item that nothing is known about, in microseconds.
const UNKNOWN_MICROS: u64 = 1_000_000;

#[derive(Debug)]
pub(super) struct Run {
    record: Arc<RunRecord>,
    phase: RunPhase,
    expansions: Vec<Expansion>,
    found_again: BTreeMap<TestIx, FoundAgain>,
    tests: Vec<Test>,
    items: Vec<Item>,
    pub(super) selector: Selector,
    pub(super) history: Arc<dyn History + Send + Sync>,
    gates: Vec<GateDef>,
    /// The places of the gates.
    gate_of: BTreeMap<GateKey, u32>,
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
}

/// A gate's definition in a form that can be looked up.
type GateKey = (u64, Option<u64>, Vec<String>, BTreeSet<String>);

impl GateDef {
    fn key(&self) -> GateKey {
        let Needs { disk_free_bytes_min, load_max, groups } = &self.needs;
        (*disk_free_bytes_min, load_max.map(f64::to_bits), groups.clone(), self.apart_from.clone())
    }

    pub(super) fn is_open_always(&self) -> bool {
        self.needs == Needs::default() && self.apart_from.is_empty()
    }
}

#[derive(Debug)]
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

#[derive(Debug)]
pub(super) struct Item {
    pub(super) test: TestIx,
    pub(super) record: ItemRecord,
    pub(super) phase: Phase,
    /// Items of other tests it waits for.
    pub(super) unmet: u32,
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
            },
            history,
        )
    }

    pub(super) fn restore(
        snapshot: RunSnapshot,
        history: Arc<dyn History + Send + Sync>,
    ) -> Result<Self, Rejected> {
        let RunSnapshot { record, phase, expansions, found_again, items } = snapshot;
        let spec = &record.spec;
        let selector = Selector::new(&spec.selection).map_err(crate::plan::PlanError::from)?;
        let mut env = spec.env.clone();
        env.extend(spec.target.iter().map(|(k, v)| (k.clone(), v.clone())));
        let context = Arc::new(RunContext {
            run: record.id,
            address: format!("{}/{}", spec.area, record.number),
            number: record.number,
            area_dir: spec.area_dir.clone(),
            run_dir: format!("{}/.muster/runs/{}", spec.area_dir, record.number),
            env,
            trace_id: spec.trace_id.clone(),
        });
        let deadline = spec.limits.run_timeout.map(|t| record.created + t);
        let mut run = Self {
            phase,
            expansions: Vec::new(),
            found_again: BTreeMap::new(),
            tests: Vec::with_capacity(record.plan.tests.len()),
            items: Vec::new(),
            selector,
            history,
            gates: Vec::new(),
            gate_of: BTreeMap::new(),
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
            let gate = self.gate(GateDef { needs: def.needs.clone(), apart_from });
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

    fn gate(&mut self, def: GateDef) -> u32 {
        let new = u32::try_from(self.gates.len()).expect("no more gates than tests");
        let at = *self.gate_of.entry(def.key()).or_insert(new);
        if at == new {
            self.gates.push(def);
        }
        at
    }

    /// What each test must not run beside, in this run or another of the area.
    pub(super) fn apart(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeSet<String>)> {
        self.tests.iter().map(|t| (&t.name, &self.gate_def(t.gate).apart_from)).filter(|(_, a)| !a.is_empty())
    }

    /// Keeps a test apart from these others too.
    pub(super) fn keep_apart(&mut self, test: TestIx, others: &BTreeSet<String>) {
        let gate = self.gate_of(test);
        if others.is_subset(&gate.apart_from) {
            return;
        }
        let apart_from = gate.apart_from.union(others).cloned().collect();
        let gate = GateDef { needs: gate.needs.clone(), apart_from };
        let ready: Vec<ItemIx> =
            self.items_of(test).filter(|ix| self.item(*ix).phase == Phase::Ready).collect();
        for ix in &ready {
            self.unqueue(*ix);
        }
        let gate = self.gate(gate);
        self.test_mut(test).gate = gate;
        for ix in ready {
            self.release_item(ix);
        }
    }

    /// Derives from records and units what waits for what. Returns what can never run any more.
    pub(super) fn derive(&mut self) -> Vec<Doomed> {
        self.ready.clear();
        self.backoff.clear();
        self.edges.clear();
        for item in &mut self.items {
            item.unmet = 0;
            item.phase = match item.phase {
                Phase::Out { unit } => Phase::Out { unit },
                Phase::Blocked | Phase::Ready | Phase::Backoff { .. } | Phase::Ended => {
                    if item.record.verdict.is_some() { Phase::Ended } else { Phase::Blocked }
                }
            };
        }
        let mut doomed = Vec::new();
        for ix in 0..self.tests.len() {
            self.tests[ix].unmet = 0;
            self.tests[ix].told = self.tests[ix].open == 0;
        }
        for ix in 0..self.tests.len() {
            let test = TestIx(u32::try_from(ix).expect("fewer than 2^32 tests"));
            for (dependent, mode) in self.tests[ix].dependents.clone() {
                match self.met(test, &mode) {
                    Met::Yes => {}
                    Met::NotYet => self.test_mut(dependent).unmet += 1,
                    Met::Never(reason) => doomed.extend(self.doom(dependent, &reason)),
                }
            }
        }
        for ix in 0..self.tests.len() {
            let test = TestIx(u32::try_from(ix).expect("fewer than 2^32 tests"));
            doomed.extend(self.link_items(test, None));
        }
        for ix in 0..self.tests.len() {
            self.release(TestIx(u32::try_from(ix).expect("fewer than 2^32 tests")));
        }
        doomed
    }

    /// Whether what a test is waited for has happened.
    pub(super) fn met(&self, test: TestIx, mode: &AfterMode) -> Met {
        let t = self.test(test);
        let worst = t.counts.worst();
        if matches!(mode, AfterMode::MatchingItem { .. }) {
            // Item by item; only the list of the other's items is waited for here.
            let unknown = t.discovery.is_some_and(|d| self.item(d).record.verdict.is_none());
            return if unknown { Met::NotYet } else { Met::Yes };
        }
        if t.open > 0 {
            return Met::NotYet;
        }
        match (mode, worst) {
            (_, Some(Verdict::Abort)) => {
                Met::Never(format!("`{}` asked to stop what comes after it", t.name))
            }
            // What was cancelled is run again when the run goes on, and what comes after it then follows.
            (_, Some(Verdict::Cancelled)) => Met::NotYet,
            (AfterMode::Passed, Some(v)) if !v.is_ok() => Met::Never(format!("`{}` came to `{v}`", t.name)),
            (AfterMode::Ended, Some(_)) if t.counts.get(Verdict::Cancelled) > 0 => Met::NotYet,
            _ => Met::Yes,
        }
    }

    /// The items of a test that could still run and now cannot.
    pub(super) fn doom(&self, test: TestIx, reason: &str) -> Vec<Doomed> {
        self.items_of(test)
            .filter(|ix| {
                matches!(self.item(*ix).phase, Phase::Blocked | Phase::Ready | Phase::Backoff { .. })
            })
            .filter(|ix| self.item(*ix).record.verdict.is_none())
            .map(|ix| (ix, Verdict::PrerequisiteFailed, reason.to_owned()))
            .collect()
    }

    /// Makes the edges from this test's open items to the items they come after, of all tests or of one.
    pub(super) fn link_items(&mut self, test: TestIx, only: Option<TestIx>) -> Vec<Doomed> {
        let mut doomed = Vec::new();
        for (other, map) in self.test(test).map_from.clone() {
            if only.is_some_and(|only| only != other) {
                continue;
            }
            let discovered =
                self.test(other).discovery.is_some_and(|d| self.item(d).record.verdict.is_none());
            if discovered {
                continue;
            }
            // The question for the other's items was never answered.
            let unasked =
                self.test(other).discovery.and_then(|d| self.item(d).record.verdict).filter(|v| !v.is_ok());
            let by_path: HashMap<Arc<str>, ItemIx> = self
                .items_of(other)
                .filter(|ix| !self.is_discovery(*ix))
                .map(|ix| (Arc::clone(self.path(ix)), ix))
                .collect();
            for ix in self.items_of(test).collect::<Vec<_>>() {
                if self.is_discovery(ix) || self.item(ix).record.verdict.is_some() {
                    continue;
                }
                let wanted = map.apply(self.path(ix));
                let name = Arc::clone(&self.test(other).name);
                match by_path.get(wanted.as_str()) {
                    None => {
                        let reason = match unasked {
                            Some(v) => format!("`{name}` came to `{v}`"),
                            None if wanted.is_empty() => format!("`{name}` has no item without a path"),
                            None => format!("`{name}` has no item `{wanted}` in this run"),
                        };
                        doomed.push((ix, Verdict::PrerequisiteFailed, reason));
                    }
                    Some(&prerequisite) => match self.item(prerequisite).record.verdict {
                        None | Some(Verdict::Cancelled) => {
                            self.edges.entry(prerequisite).or_default().push(ix);
                            self.item_mut(ix).unmet += 1;
                        }
                        Some(v) if v.is_ok() => {}
                        Some(v) => doomed.push((
                            ix,
                            Verdict::PrerequisiteFailed,
                            format!("`{name}/{wanted}` came to `{v}`"),
                        )),
                    },
                }
            }
        }
        doomed
    }

    /// Items that waited for this one.
    pub(super) fn take_edges(&mut self, item: ItemIx) -> Vec<ItemIx> {
        self.edges.remove(&item).unwrap_or_default()
    }

    /// Makes ready what of a test waits for nothing any more.
    pub(super) fn release(&mut self, test: TestIx) {
        if self.test(test).unmet > 0 || self.stop.is_some() {
            return;
        }
        for ix in self.items_of(test).collect::<Vec<_>>() {
            self.release_item(ix);
        }
    }

    pub(super) fn release_item(&mut self, ix: ItemIx) {
        let item = self.item(ix);
        let free = item.phase == Phase::Blocked
            && item.unmet == 0
            && item.record.verdict.is_none()
            && self.stop.is_none()
            && self.test(item.test).unmet == 0
            && self.knows_items(item.test, ix)
            // A planned skip never becomes ready: it gets its verdict when the run is settled.
            && (self.is_discovery(ix) || self.planned(ix).skip.is_none());
        if free {
            self.item_mut(ix).phase = Phase::Ready;
            let (class, rank) = self.place(ix);
            let micros = if self.is_discovery(ix) { None } else { self.planned(ix).micros };
            self.ready.insert(class, rank, micros);
        }
    }

    /// Whether the question for a test's items is answered, or this is it.
    fn knows_items(&self, test: TestIx, ix: ItemIx) -> bool {
        self.test(test).discovery.is_none_or(|d| d == ix || self.item(d).record.verdict.is_some())
    }

    /// Takes an item out of whatever queue it is in.
    pub(super) fn unqueue(&mut self, ix: ItemIx) {
        match self.item(ix).phase {
            Phase::Ready => {
                let (class, rank) = self.place(ix);
                self.ready.remove(class, rank);
            }
            Phase::Backoff { until } => {
                self.backoff.remove(&(until, ix));
            }
            Phase::Blocked | Phase::Out { .. } | Phase::Ended => {}
        }
        self.item_mut(ix).phase = Phase::Blocked;
    }

    pub(super) fn set_backoff(&mut self, ix: ItemIx, until: Time) {
        self.item_mut(ix).phase = Phase::Backoff { until };
        self.backoff.insert((until, ix));
    }

    pub(super) fn release_backoff(&mut self, now: Time) {
        while let Some(&(until, ix)) = self.backoff.first() {
            if until > now {
                break;
            }
            self.backoff.pop_first();
            self.item_mut(ix).phase = Phase::Blocked;
            self.release_item(ix);
        }
    }

    fn place(&self, ix: ItemIx) -> (Class, Rank) {
        let item = self.item(ix);
        let test = self.test(item.test);
        let discovery = self.is_discovery(ix);
        let shared = match (&test.def.kind, discovery) {
            (Kind::Suite(suite), false) if item.record.tries == 0 && suite.batch != Batch::Single => {
                let group = self.planned(ix).group;
                let several = test.groups.get(group as usize).is_some_and(|g| g.batch_max > 1);
                several.then_some((item.test, group))
            }
            _ => None,
        };
        // Questions for items come first: everything of their test waits for the answer.
        let micros = if discovery {
            u64::MAX
        } else {
            let planned = self.planned(ix);
            let known = planned.micros.map_or(UNKNOWN_MICROS, u64::from);
            if planned.expected.slow { known.max(3_600_000_000) } else { known }
        };
        let rank = Rank { priority: Reverse(test.def.priority), micros: Reverse(micros), item: ix };
        (Class { gate: test.gate, shared }, rank)
    }

    pub(super) fn expected_micros(&self, ix: ItemIx) -> u64 {
        if self.is_discovery(ix) {
            return UNKNOWN_MICROS;
        }
        if let Some(micros) = self.planned(ix).micros {
            return u64::from(micros);
        }
        self.unknown_micros(self.item(ix).test)
    }

    /// Expected of an item of a test that nothing is known about itself.
    pub(super) fn unknown_micros(&self, test: TestIx) -> u64 {
        self.test(test).mean.get().or(self.mean.get()).unwrap_or(UNKNOWN_MICROS)
    }

    pub(super) fn learn(&mut self, ix: ItemIx, duration: Duration) {
        let micros = crate::time::micros(duration);
        let test = self.item(ix).test;
        self.test_mut(test).mean.add(micros);
        self.mean.add(micros);
    }

    /// Most items of one process, for a class whose items share one.
    pub(super) fn batch_max(&self, test: TestIx, group: u32) -> usize {
        let test = self.test(test);
        let framework = test.groups.get(group as usize).map_or(1, |g| g.batch_max);
        let asked = match &test.def.kind {
            Kind::Suite(suite) => match suite.batch {
                Batch::Auto => u32::MAX,
                Batch::Single => 1,
                Batch::Most(n) => n,
            },
            Kind::Steps { .. } => 1,
        };
        framework.min(asked).max(1) as usize
    }

    pub(super) fn set_out(&mut self, ix: ItemIx, unit: UnitId) {
        self.unqueue(ix);
        self.item_mut(ix).phase = Phase::Out { unit };
        let test = self.item(ix).test;
        self.test_mut(test).out += 1;
        self.out += 1;
    }

    pub(super) fn set_back(&mut self, ix: ItemIx) {
        self.item_mut(ix).phase = Phase::Blocked;
        let test = self.item(ix).test;
        self.test_mut(test).out -= 1;
        self.out -= 1;
    }

    /// Puts an item's record in place and keeps all counts right.
    pub(super) fn set_record(&mut self, ix: ItemIx, record: ItemRecord) {
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
        self.backoff.first().map(|(t, _)| *t).into_iter().chain(deadline).min()
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

    /// The tests and items an item that is not ready waits for, by name.
    pub(super) fn waits_for(&self, ix: ItemIx) -> Vec<String> {
        let test = self.item(ix).test;
        let tests = self
            .tests
            .iter()
            .filter(|t| t.open > 0)
            .filter(|t| {
                t.dependents
                    .iter()
                    .any(|(d, mode)| *d == test && !matches!(mode, AfterMode::MatchingItem { .. }))
            })
            .map(|t| format!("`{}`", t.name));
        let items = self
            .edges
            .iter()
            .filter(|(_, waiting)| waiting.contains(&ix))
            .map(|(on, _)| format!("`{}/{}`", self.test(self.item(*on).test).name, self.path(*on)));
        tests.chain(items).collect()
    }

    /// Ready items that rank before this one.
    pub(super) fn ready_before(&self, ix: ItemIx) -> usize {
        self.ready.before(self.place(ix).1)
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
    pub(super) fn gate_def(&self, gate: u32) -> &GateDef {
        &self.gates[gate as usize]
    }
    pub(super) fn gate_of(&self, test: TestIx) -> &GateDef {
        self.gate_def(self.test(test).gate)
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
        *self = Self::restore(snapshot, history)?;
        Ok(())
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
        Self { test, record: ItemRecord::default(), phase: Phase::Blocked, unmet: 0 }
    }
}

/// Whether what is waited for has happened.
pub(super) enum Met {
    Yes,
    NotYet,
    /// It cannot happen any more.
    Never(String),
}
