//! A lab with agents that do at once and exactly what they are told, in virtual time.
//!
//! After every step the lab's own check is made, and a lab restored from its snapshot must be like it.

mod agent;
mod tell;

use crate::build;
use crate::scenario::{Happening, Scenario};
pub(crate) use agent::Agent;
use expect_test::Expect;
use muster_core::change::{Change, Hold, MoreItems, Placement, RunRecord};
use muster_core::definition::{After, AfterMode};
use muster_core::event::Told;
use muster_core::exchange::{AttemptEnd, DeviceOffer, Exchange, Finished, Held, HeldPhase, Orders};
use muster_core::id::{AgentId, ItemIx, RunId, TestIx};
use muster_core::kind::DeviceKind;
use muster_core::lab::{Effect, Explanation, Gone, Input, Lab, Policy, Rejected};
use muster_core::outcome::Outcome;
use muster_core::plan::{PlannedItem, PlannedItems};
use muster_core::select::Selection;
use muster_core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The scenario's story, as the watchers are told it.
pub(crate) fn check(scenario: &str, expected: Expect) {
    expected.assert_eq(&story(scenario));
}

pub(crate) fn story(scenario: &str) -> String {
    let mut world = World::new(scenario);
    world.create();
    world.go_on();
    world.story
}

/// A lab and its agents.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) lab: Lab,
    pub(crate) policy: Policy,
    pub(crate) agents: Vec<Agent>,
    pub(crate) scenario: Scenario,
    pub(crate) record: Arc<RunRecord>,
    /// Everything that was saved.
    pub(crate) saved: Vec<Change>,
    pub(crate) story: String,
    /// What devices are checked and mended with.
    pub(crate) kinds: Arc<[DeviceKind]>,
    /// Checks that were made.
    pub(crate) checks: u32,
    /// What tests come to on devices that are not well: those that fail there, by device.
    pub(crate) broken: BTreeMap<String, Vec<String>>,
}

impl World {
    pub(crate) fn new(text: &str) -> Self {
        let scenario = Scenario::new(text);
        let policy = Policy::default();
        let spec = muster_core::change::RunSpec {
            failures_max: scenario.failures_max,
            placement: Placement { selector: scenario.on.clone(), ..Placement::default() },
            ..build::spec(&scenario.area, scenario.selection.clone())
        };
        let record =
            build::run_record(&scenario.area, 1, Time::default(), spec, &scenario.behaviour).expect("a plan");
        let mut devices = 0;
        let agents = (1u64..).zip(&scenario.agents).map(|(id, n)| {
            let offer = |d: usize| {
                let name = format!("d{d}");
                let labels = scenario.labels.get(&name).cloned().unwrap_or_default();
                DeviceOffer { name, labels }
            };
            let offers = (devices + 1..=devices + n).map(offer).collect();
            devices += n;
            Agent::new(AgentId(id), offers)
        });
        Self {
            now: Time::default(),
            lab: Lab::new(policy),
            policy,
            agents: agents.collect(),
            record: Arc::new(record),
            scenario,
            saved: Vec::new(),
            story: String::new(),
            kinds: Arc::from([]),
            checks: 0,
            broken: BTreeMap::new(),
        }
    }

    pub(crate) fn run(&self) -> RunId {
        self.record.id
    }

    /// Asks for the run.
    pub(crate) fn create(&mut self) {
        let record = Arc::clone(&self.record);
        self.apply(Input::CreateRun { record, history: Arc::new(self.scenario.behaviour.clone()) })
            .expect("the run is new");
        self.tick();
    }

    /// Asks for another run of the same area, placed like this.
    pub(crate) fn ask(&mut self, placement: Placement) -> RunId {
        let number = u32::try_from(self.lab.runs().count()).expect("few") + 1;
        let spec = muster_core::change::RunSpec { placement, ..(*self.record.spec).clone() };
        let area = &self.scenario.area;
        let record = build::run_record(area, number, self.now, spec, &self.scenario.behaviour);
        let record = Arc::new(record.expect("the plan of the first is good"));
        let id = record.id;
        self.apply(Input::CreateRun { record, history: Arc::new(self.scenario.behaviour.clone()) })
            .expect("the run is new");
        self.tick();
        id
    }

    /// Asks for another run, of what this selects.
    pub(crate) fn ask_for(&mut self, pattern: &str, placement: Placement) -> RunId {
        let number = u32::try_from(self.lab.runs().count()).expect("few") + 1;
        let area = &self.scenario.area;
        let selection = Selection { patterns: vec![pattern.to_owned()], ..Selection::default() };
        let spec = muster_core::change::RunSpec { placement, ..build::spec(area, selection) };
        let record = build::run_record(area, number, self.now, spec, &self.scenario.behaviour);
        let record = Arc::new(record.expect("it can be planned"));
        let id = record.id;
        self.apply(Input::CreateRun { record, history: Arc::new(self.scenario.behaviour.clone()) })
            .expect("the run is new");
        self.tick();
        id
    }

    /// The numbers of the runs that were given devices, in that order.
    pub(crate) fn given(&self) -> String {
        let sent = self.saved.iter().filter_map(|change| match change {
            Change::Sent { units, .. } => Some(units),
            _ => None,
        });
        sent.flatten().map(|unit| unit.run.0.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Why a run was stopped; `None` unless it was.
    pub(crate) fn stopped(&self, run: RunId) -> Option<&str> {
        self.saved.iter().rev().find_map(|change| match change {
            Change::RunState { run: of, phase: muster_core::change::RunPhase::Stopped { reason, .. } }
                if *of == run =>
            {
                Some(reason.as_str())
            }
            _ => None,
        })
    }

    /// Applies an input and checks everything; orders and news are carried out.
    pub(crate) fn apply(&mut self, input: Input) -> Result<Vec<(AgentId, Orders)>, Rejected> {
        let before = format!("{:?}", self.lab.snapshot());
        let effects = match self.lab.apply(self.now, input) {
            Ok(effects) => effects,
            Err(rejected) => {
                assert_eq!(before, format!("{:?}", self.lab.snapshot()), "what is rejected changes nothing");
                return Err(rejected);
            }
        };
        self.lab.check();
        let snapshot = self.lab.snapshot();
        let behaviour = self.scenario.behaviour.clone();
        let again = Lab::restore(self.policy, self.now, snapshot.clone(), &|_| Arc::new(behaviour.clone()))
            .expect("a snapshot can be restored");
        again.check();
        assert_eq!(again.snapshot(), snapshot, "a restored lab is the lab that was lost");
        let mut orders = Vec::new();
        for effect in effects {
            match effect {
                Effect::Save(change) => self.saved.push(change),
                Effect::Tell(told) => self.hear(&told),
                Effect::Orders(agent, order) => orders.push((agent, *order)),
            }
        }
        Ok(orders)
    }

    /// The kinds of devices from now on.
    pub(crate) fn set_kinds(&mut self, kinds: Vec<DeviceKind>) {
        self.kinds = kinds.into();
        self.apply(Input::Kinds(Arc::clone(&self.kinds))).expect("always taken");
    }

    /// Makes the checks that the lab wants.
    fn make_checks(&mut self) {
        for wanted in self.lab.checks_wanted() {
            self.checks += 1;
            let mut spec = build::spec(&wanted.area, muster_core::select::Selection::default());
            spec.placement = Placement { selector: wanted.selector, ..Placement::default() };
            let number = 1_000 + self.checks;
            let record = build::run_record(&wanted.area, number, self.now, spec, &()).expect("a plan");
            let (device, record, history) = (wanted.device, Arc::new(record), Arc::new(()));
            self.apply(Input::Check { device, record, history }).expect("it is wanted");
        }
    }

    /// Lets the lab decide, and the agents hear of it.
    pub(crate) fn tick(&mut self) {
        self.decide();
        while !self.lab.checks_wanted().is_empty() {
            self.make_checks();
            self.decide();
        }
    }

    fn decide(&mut self) {
        for (agent, orders) in self.apply(Input::Tick).expect("a tick is always taken") {
            let now = self.now;
            let behaviour = self.scenario.behaviour.clone();
            if let Some(agent) = self.agents.iter_mut().find(|a| a.id == agent && a.hears()) {
                agent.receive(now, orders, &behaviour);
            }
        }
    }

    /// Every agent that has something to say says it, until none has.
    pub(crate) fn talk(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "the agents never stop talking at {:?}:\n{}", self.now, self.story);
            let Some(agent) = self.agents.iter_mut().find(|a| a.wants_to_speak(self.now)) else { break };
            let exchange = agent.exchange(self.now);
            // An agent that was replaced is not heard.
            let _stale = self.apply(Input::Exchange(Box::new(exchange)));
            self.tick();
        }
    }

    /// Time goes on until the run is over and nothing more happens.
    pub(crate) fn go_on(&mut self) {
        self.go_on_until(Time(u64::MAX));
    }

    pub(crate) fn go_on_until(&mut self, end: Time) {
        self.step_until(end, true);
    }

    /// Time passes, whether the run is over or not.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.step_until(end, false);
        self.now = end;
        self.tick();
        self.talk();
    }

    fn step_until(&mut self, end: Time, run_only: bool) {
        for step in 0.. {
            assert!(step < 10_000, "it never ends:\n{}", self.story);
            while self.scenario.happenings.first().is_some_and(|(at, _)| *at <= self.now) {
                let (_, what) = self.scenario.happenings.remove(0);
                self.happen(what);
                self.tick();
            }
            self.talk();
            let over = self.lab.runs().all(|run| self.lab.is_over(run));
            if run_only && over && self.scenario.happenings.is_empty() {
                return;
            }
            let happens = self.scenario.happenings.first().map(|(at, _)| *at);
            let next = self.agents.iter().filter_map(Agent::next).chain(self.lab.wake_at()).chain(happens);
            let next = next.min().unwrap_or(Time(u64::MAX));
            if next > end || next == Time(u64::MAX) {
                return;
            }
            self.now = self.now.max(next);
            let (now, behaviour) = (self.now, self.scenario.behaviour.clone());
            for agent in &mut self.agents {
                agent.advance(now, &behaviour, &self.broken);
            }
            self.tick();
        }
    }

    fn happen(&mut self, what: Happening) {
        let run = self.run();
        match what {
            Happening::Stop | Happening::Kill => {
                let kill = what == Happening::Kill;
                self.note(if kill { "KILL" } else { "STOP" });
                let reason = "interrupted".to_owned();
                let _over = self.apply(Input::StopRun { run, reason, kill });
            }
            Happening::Reopen(items) => {
                let items: Vec<ItemIx> = items.iter().map(|(t, i)| self.item(t, i)).collect();
                self.note("REOPEN");
                self.reopen(items);
            }
            Happening::Restart => {
                self.note("RESTART");
                self.restart();
            }
            Happening::Load(load) => {
                for agent in &mut self.agents {
                    agent.gauges.load_per_core = load;
                    agent.dirty = true;
                }
            }
            Happening::Disk(free) => {
                for agent in &mut self.agents {
                    agent.gauges.disk_free_bytes = free;
                    agent.dirty = true;
                }
            }
            Happening::Shut(shut) => self.agents.iter_mut().for_each(|agent| agent.shut = shut),
            Happening::Silence(n) => self.agents[n - 1].silent = true,
            Happening::Voice(n) => {
                self.agents[n - 1].silent = false;
                self.agents[n - 1].dirty = true;
            }
            Happening::Gone(n) => {
                let agent = &mut self.agents[n - 1];
                agent.silent = true;
                let (agent, session) = (agent.id, agent.session);
                self.note("GONE");
                self.apply(Input::AgentGone { agent, session, how: Gone::Died }).expect("always taken");
            }
            Happening::Hold(name, held) => {
                let view = self.lab.view(self.now);
                let device = view.devices.iter().find(|d| d.name == name).expect("a device of this name").id;
                let hold = held.then(|| Hold {
                    by: "ana".to_owned(),
                    reason: "its relay clicks".to_owned(),
                    since: self.now,
                    until: None,
                    id: None,
                });
                self.note(if held { "HELD" } else { "RELEASED" });
                self.apply(Input::Hold { device, hold }).expect("the device is known");
            }
            Happening::Back(n) => {
                self.note("BACK");
                self.agents[n - 1].begin_session();
            }
            Happening::Why(test, item) => {
                let why = self.why(&test, &item);
                let name = tell::name(&test, &item);
                self.note(&format!("why {name}? {why}"));
            }
        }
    }

    /// The lab is lost and taken up from its record; what was on its way to agents is lost too.
    pub(crate) fn restart(&mut self) {
        let behaviour = self.scenario.behaviour.clone();
        let snapshot = self.lab.snapshot();
        self.lab = Lab::restore(self.policy, self.now, snapshot, &|_| Arc::new(behaviour.clone()))
            .expect("a snapshot can be restored");
        self.lab.apply(self.now, Input::Kinds(Arc::clone(&self.kinds))).expect("always taken");
        for agent in &mut self.agents {
            agent.dirty = true;
        }
    }

    pub(crate) fn reopen(&mut self, items: Vec<ItemIx>) {
        let snapshot = Box::new(self.run_snapshot());
        let history = Arc::new(self.scenario.behaviour.clone());
        let (replanned, more) = (None, Vec::new());
        self.apply(Input::ReopenRun { snapshot, items, replanned, more, history }).expect("it is there");
    }

    /// The run gets the item `y` of its only test `a`, and a test `b` that comes after it.
    pub(crate) fn grow(&mut self) {
        let snapshot = self.run_snapshot();
        let mut record = (*snapshot.record).clone();
        let tests = &mut Arc::make_mut(&mut record.plan).tests;
        let mut added = tests[0].clone();
        let PlannedItems::Listed(items) = std::mem::replace(&mut added.items, PlannedItems::Listed(vec![]))
        else {
            unreachable!("its items are listed")
        };
        let item = |path: &str| PlannedItem { path: path.into(), ..items[0].clone() };
        let def = Arc::make_mut(&mut added.def);
        def.name = "b".to_owned();
        def.after = vec![After { test: "a".to_owned(), mode: AfterMode::Passed }];
        tests.push(added);
        let more = [(0, "y"), (1, "")].map(|(test, path)| {
            let items = vec![item(path)].into();
            MoreItems { test: TestIx(test), items }
        });
        self.record = Arc::new(record);
        let (replanned, history) =
            (Some(Arc::clone(&self.record)), Arc::new(self.scenario.behaviour.clone()));
        let (snapshot, items, more) = (Box::new(snapshot), Vec::new(), more.to_vec());
        self.apply(Input::ReopenRun { snapshot, items, replanned, more, history }).expect("it may grow");
    }

    /// What is saved of the run.
    fn run_snapshot(&self) -> muster_core::change::RunSnapshot {
        let mut snapshot = muster_core::change::RunSnapshot {
            record: Arc::clone(&self.record),
            phase: muster_core::change::RunPhase::Active,
            expansions: Vec::new(),
            found_again: Vec::new(),
            items: Vec::new(),
            moves: Vec::new(),
        };
        let mut items = std::collections::BTreeMap::new();
        for change in &self.saved {
            match change {
                // Checks of devices are other runs.
                Change::AttemptEnded { attempt, .. } if attempt.run != self.run() => {}
                Change::ItemSet { run, .. } | Change::RunState { run, .. } if *run != self.run() => {}
                Change::Expanded(expansion) => snapshot.expansions.push(expansion.clone()),
                Change::FoundAgain(again) => {
                    snapshot.found_again.retain(|f| f.test != again.test);
                    snapshot.found_again.push(again.clone());
                }
                Change::AttemptEnded { attempt, record, .. } => {
                    drop(items.insert(attempt.item, record.clone()));
                }
                Change::ItemSet { item, record, .. } => drop(items.insert(*item, record.clone())),
                Change::RunState { phase, .. } => snapshot.phase = phase.clone(),
                Change::RunReplanned(record) => snapshot.record = Arc::clone(record),
                Change::RunMoved { run, moved } if *run == self.run() => snapshot.moves.push(moved.clone()),
                Change::RunCreated(_)
                | Change::RunMoved { .. }
                | Change::Noted { .. }
                | Change::AgentSeen { .. }
                | Change::LeaseGranted { .. }
                | Change::LeaseEnded { .. }
                | Change::Sent { .. }
                | Change::Returned { .. }
                | Change::DeviceHeld { .. }
                | Change::DeviceHealth { .. }
                | Change::Registered { .. }
                | Change::Happened { .. }
                | Change::LateEvidence { .. } => {}
            }
        }
        snapshot.items = items.into_iter().collect();
        snapshot.found_again.sort_by_key(|f| f.test);
        snapshot
    }

    /// Why an item is not running.
    pub(crate) fn why(&self, test: &str, item: &str) -> Explanation {
        self.lab.explain(self.run(), self.item(test, item))
    }

    /// The record of an item.
    pub(crate) fn item(&self, test: &str, path: &str) -> ItemIx {
        let mut at = 0;
        for planned in &self.record.plan.tests {
            match &planned.items {
                muster_core::plan::PlannedItems::Listed(items) => {
                    for item in items {
                        if planned.def.name == test && *item.path == *path {
                            return ItemIx(at);
                        }
                        at += 1;
                    }
                }
                muster_core::plan::PlannedItems::Found(_) => {
                    if planned.def.name == test && path.is_empty() {
                        return ItemIx(at);
                    }
                    at += 1;
                }
            }
        }
        for change in &self.saved {
            if let Change::Expanded(expansion) = change
                && self.record.plan.tests[expansion.test.0 as usize].def.name == test
                && let Some(n) = expansion.items.iter().position(|i| *i.path == *path)
            {
                return ItemIx(expansion.first.0 + u32::try_from(n).expect("small"));
            }
        }
        panic!("there is no {test}/{path}")
    }

    /// Results that were kept although they came too late.
    pub(crate) fn late(&self) -> usize {
        self.saved.iter().filter(|c| matches!(c, Change::LateEvidence { .. })).count()
    }

    /// Attempts that were recorded.
    pub(crate) fn recorded(&self) -> usize {
        self.saved.iter().filter(|c| matches!(c, Change::AttemptEnded { .. })).count()
    }
}

/// An exchange as an agent of one device would say it, for tests that speak for the agent.
pub(crate) fn exchange(agent: u64, session: u64, seq: u64, heard: u64) -> Exchange {
    let exchange =
        Agent::new(AgentId(agent), vec![DeviceOffer::named(format!("d{agent}"))]).say(session, seq);
    Exchange { heard, ..exchange }
}

/// The results of all attempts of some orders' new units, spooled from a number on.
pub(crate) fn results_of(orders: &Orders, outcome: Outcome, mut spool: u64) -> Vec<Finished> {
    let mut finished = Vec::new();
    for unit in &orders.new {
        let lease = orders.units.iter().find(|w| w.unit == unit.id).expect("listed").lease;
        for attempt in &unit.attempts {
            let end = AttemptEnd::Ran(build::result(outcome, Time::default(), Duration::from_millis(1)));
            finished.push(Finished { spool, unit: unit.id, lease, attempt: attempt.attempt, end });
            spool += 1;
        }
    }
    finished
}

/// The units of some orders as held, running or not.
pub(crate) fn held(orders: &Orders, running: bool) -> Vec<Held> {
    let phase = if running {
        HeldPhase::Running { since: Time::default(), current: None }
    } else {
        HeldPhase::Queued
    };
    orders.units.iter().map(|w| Held { unit: w.unit, lease: w.lease, phase }).collect()
}

impl World {
    /// An agent says this and the lab decides: the orders it gets, if any.
    pub(crate) fn hears(&mut self, exchange: Exchange) -> Option<Orders> {
        let agent = exchange.agent;
        let _none = self.apply(Input::Exchange(Box::new(exchange))).expect("it is not stale");
        self.decides().into_iter().find(|(a, _)| *a == agent).map(|(_, orders)| orders)
    }

    pub(crate) fn decides(&mut self) -> Vec<(AgentId, Orders)> {
        self.apply(Input::Tick).expect("a tick is always taken")
    }

    /// What the run has come to so far.
    pub(crate) fn counts(&self) -> String {
        let snapshot = self.run_snapshot();
        let verdicts = snapshot.items.iter().filter_map(|(_, r)| r.verdict).map(|v| v.word());
        verdicts.collect::<Vec<_>>().join(" ")
    }
}

impl World {
    fn hear(&mut self, told: &Told) {
        tell::tell(&mut self.story, told);
    }

    pub(crate) fn note(&mut self, text: &str) {
        tell::line(&mut self.story, self.now, text);
    }
}
