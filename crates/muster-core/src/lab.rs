//! The lab: who has which device, what runs next, what it all comes to. The one place that decides.
//!
//! A value. [`Lab::apply`] is the only way to change it; time is an argument, and every durable decision
//! comes out as a [`Change`] to be saved, before the [`Orders`](crate::exchange::Orders) and [`Told`] that came out with it are
//! acted on. What is saved can be given to [`Lab::restore`], and the result decides as this one would.
//!
//! ```text
//!            CreateRun ─► Run: items Blocked ─► Ready ─► Out (in a unit, on a device) ─► Ended
//!                           ▲    prerequisites  │   ▲          │ result             │
//!                           └── roll-up ◄───────┘   └─ Backoff ◄─ retry ────────────┘
//!
//!   Exchange ─► agents.rs: what the agent has ─► results ─► settle.rs: verdicts, roll-up, prerequisites
//!   Tick     ─► dispatch.rs: gates, units, leases ─► orders.rs: what the agent should have
//! ```
//!
//! What is not here: how a test is run (the agent), what is kept where (the store), who asks (the shell).

mod agents;
mod apart;
mod candidates;
mod check;
mod chronicle;
mod dispatch;
mod elsewhere;
mod eta;
mod explain;
mod gang;
mod health;
mod hint;
mod hold;
mod in_use;
mod kill;
mod lost;
mod orders;
mod places;
mod policy;
mod pools;
mod queue;
mod reach;
mod ready;
mod register;
mod rejected;
mod run;
mod settle;
mod shares;
mod show;
mod shut;
mod stop;

pub use candidates::{Candidate, NotGiven, sum_up};
pub use eta::Eta;
pub use explain::{Explanation, Gate, Outlook};
pub use gang::{Lacking, Member};
pub use health::{PastResult, THE_LAB, WantedCheck};
pub use hold::Reserved;
pub use lost::Gone;
pub use orders::Effect;
pub use places::{Counted, Places, counts_places};
pub use policy::{Mistake, Policy};
pub use pools::{Pool, Pools};
pub use queue::{NOT_STARTED, SUPERSEDED};
pub use reach::DeviceSelector;
pub use register::Registering;
pub use rejected::Rejected;
pub use stop::RUN_TIME_LIMIT;

use crate::change::{
    AgentRecord, Change, Hold, LeaseRecord, MoreItems, Moved, Registration, RunPhase, RunRecord, RunSnapshot,
    SentUnit, Snapshot, Used,
};
use crate::event::{Event, LabEvent, Told};
use crate::exchange::{Exchange, Gauges, Labels};
use crate::health::DeviceHealth;
use crate::id::{AgentId, AttemptRef, DeviceId, ItemIx, LeaseId, RunId, SessionId, TestIx, UnitId};
use crate::kind::DeviceKind;
use crate::plan::History;
use crate::time::Time;
use dispatch::Held;
use elsewhere::Blamed;
use gang::Gathering;
use hint::Hint;
use in_use::InUse;
use run::Run;
use shares::{Shares, UserIx};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use stop::Wish;

/// What can happen to the lab.
#[derive(Debug)]
pub enum Input {
    /// Everything that had happened has been taken in: sweep what is overdue, give out work.
    Tick,
    /// A run is asked for. Whoever asks again after a lost answer looks into the store first: a lab that was
    /// restored knows only runs that are active, and would make one that is over a second time, which the
    /// store refuses.
    CreateRun {
        /// It, with its plan.
        record: Arc<RunRecord>,
        /// How long its items took before.
        history: Arc<dyn History + Send + Sync>,
    },
    /// A run that ended or was stopped goes on, or some of its items are to be run again.
    ReopenRun {
        /// What is recorded of it. Ignored where the lab has the run.
        snapshot: Box<RunSnapshot>,
        /// Items that get further attempts although they have a verdict.
        items: Vec<ItemIx>,
        /// Definitions that have changed since; see [`Change::RunReplanned`].
        replanned: Option<Arc<RunRecord>>,
        /// Items that it gets, of its tests and of those that `replanned` adds.
        more: Vec<MoreItems>,
        /// How long its items took before.
        history: Arc<dyn History + Send + Sync>,
    },
    /// Start nothing more of a run, and end what runs.
    StopRun {
        /// The run.
        run: RunId,
        /// Why, for people.
        reason: String,
        /// Without grace.
        kill: bool,
    },
    /// End these items of a run, and go on with the others. What has a verdict keeps it.
    Kill {
        /// The run.
        run: RunId,
        /// The items.
        items: Vec<ItemIx>,
        /// Who, and why, for people.
        reason: String,
    },
    /// A person changes a run's place in the queue.
    Move {
        /// The run.
        run: RunId,
        /// Who, why, when, and where to.
        moved: Moved,
    },
    /// An agent says what it has.
    Exchange(Box<Exchange>),
    /// A person takes a device out of scheduling, changes the hold, or gives it back (`None`).
    Hold {
        /// The device.
        device: DeviceId,
        /// Who takes it, and why.
        hold: Option<Hold>,
    },
    /// Whoever has made the reservation of a device that has this id uses it, or gives it back.
    Reserved(DeviceId, String, Reserved),
    /// The kinds of devices, from now on. Not recorded: they are configuration.
    Kinds(Arc<[DeviceKind]>),
    /// A check that the lab wants ([`Lab::checks_wanted`]) is this run.
    Check {
        /// The device.
        device: DeviceId,
        /// It, with its plan.
        record: Arc<RunRecord>,
        /// How long its items took before.
        history: Arc<dyn History + Send + Sync>,
    },
    /// A person wants a device to be checked now.
    CheckNow {
        /// The device.
        device: DeviceId,
        /// Who.
        by: String,
    },
    /// A person puts a device in quarantine, or lets it out.
    Quarantine {
        /// The device.
        device: DeviceId,
        /// Who.
        by: String,
        /// Why, and until when; `None`: it is let out.
        put: Option<(String, Option<Time>)>,
    },
    /// A device is to be the lab's, or no longer.
    Register(Registering),
    /// Proof that a session of an agent is over: its connection ended, its process was reaped.
    AgentGone {
        /// The agent.
        agent: AgentId,
        /// The session that is over.
        session: SessionId,
        /// How it ended.
        how: Gone,
    },
}

/// The lab.
#[derive(Clone, Debug)]
pub struct Lab {
    policy: Policy,
    runs: BTreeMap<RunId, Run>,
    agents: BTreeMap<AgentId, Agent>,
    devices: BTreeMap<DeviceId, Device>,
    units: BTreeMap<UnitId, UnitState>,
    in_use: InUse,
    /// The gangs that devices are kept for, as it was when work was last given out.
    gathering: Hint<Vec<Gathering>>,
    pools: Pools,
    /// Tokens of the lab as a whole. Configuration, not recorded.
    tokens: BTreeMap<String, u32>,
    /// What it may use of what other runs may have too; `None`: all.
    granted: Option<Places>,
    /// The time of the last input.
    now: Hint<Time>,
    /// When runs that wait were last looked at.
    looked: Hint<Time>,
    shares: Shares,
    used: Used,
    /// What devices are checked and mended with. Configuration, not recorded.
    kinds: Arc<[DeviceKind]>,
    /// Devices that were added or proposed, by host and name. Durable.
    registered: BTreeMap<(String, String), Registration>,
    /// What this `apply` has decided so far.
    out: Vec<Effect>,
}

/// What the lab knows of an agent. Durable: session, host, devices.
#[derive(Clone, Debug)]
struct Agent {
    session: SessionId,
    host: String,
    devices: Vec<DeviceId>,
    presence: Presence,
    /// Those who watch were told that it is gone.
    told_lost: bool,
    /// Its devices are lost when this passes without a word.
    lease_until: Time,
    /// When it was last heard.
    heard_at: Time,
    /// Last exchange taken in.
    seq: u64,
    /// Results recorded up to this spool number.
    acked: u64,
    gauges: Gauges,
    /// What its host's check of itself found.
    trouble: Vec<String>,
    /// The exchange that waits for an answer.
    pending: Option<Pending>,
    /// What the last orders said that the agent has no state to repeat for.
    said: Said,
}

/// Whether a session is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It spoke, and its lease has not ended since.
    There,
    /// Not heard of since its lease ended, or since the lab was restored.
    Missing,
    /// There is proof that it is over: whatever still comes from it is from the grave.
    Over,
}

#[derive(Clone, Debug, Default)]
struct Said {
    seq: u64,
    at: Time,
    /// Held units that were not listed: the agent ends them, which may take a while.
    unwelcome: BTreeSet<UnitId>,
    kill: bool,
}

#[derive(Clone, Debug)]
struct Pending {
    seq: u64,
    /// The last orders the agent had heard when it spoke.
    heard: u64,
    /// It carried results: answered at the end of the turn, whatever there is to say.
    urgent: bool,
    holding: BTreeSet<UnitId>,
    /// Reported as finished in the same exchange: their content need not be sent again.
    finished: BTreeSet<UnitId>,
}

/// Something tests run on. Durable: id, name, lease.
#[derive(Clone, Debug)]
struct Device {
    id: DeviceId,
    name: Arc<str>,
    /// What selectors look at. Not durable: the agent repeats it.
    labels: Labels,
    agent: AgentId,
    /// Its place in the agent's list.
    place: u32,
    /// Whose it is. Held while units are out on it; by several devices where they are one unit's.
    lease: Option<LeaseId>,
    /// Who has taken it out of scheduling. Durable.
    hold: Option<Hold>,
    /// What it is worth. Durable.
    health: DeviceHealth,
    /// What those who watch were told of that, in a word.
    told_health: &'static str,
    /// Its place among the kinds; found from its labels.
    kind: Option<usize>,
    /// How its last attempts ended.
    recent: VecDeque<health::Seen>,
    /// What the verifiers of the check under way said, by their name.
    findings: Vec<(String, String)>,
    /// What is out on it, in the order it runs.
    units: Vec<UnitId>,
    /// How long that is expected to last, in microseconds.
    micros: u64,
    /// Whose the first of it is.
    works_for: Option<UserIx>,
    /// What it failed that others did not.
    blamed: Blamed,
}

/// A unit that is out. Durable: run, lease, what is left of it.
#[derive(Clone, Debug)]
struct UnitState {
    id: UnitId,
    run: RunId,
    test: TestIx,
    lease: LeaseId,
    /// The one it runs on.
    device: DeviceId,
    /// Those it has beside that one, in the order of its test's roles. Its lease is then all theirs, and ends
    /// with it.
    others: Vec<DeviceId>,
    /// One of the others is lost, and how. What it still comes to is no word about the test, unless it is good.
    broken: Option<String>,
    discovery: bool,
    /// Items without a result, with their attempt number.
    left: Vec<(ItemIx, u16)>,
    /// Expected to last, in microseconds.
    micros: u64,
    /// The agent has said that it runs.
    running: bool,
    /// Since when, as far as is known.
    since: Hint<Option<Time>>,
    /// Its content was sent. Only [`Mistake::SendOnce`] relies on it.
    sent: bool,
    /// The attempt the watchers were last told of as started.
    told: Option<AttemptRef>,
    wish: Wish,
}

impl Lab {
    /// An empty lab.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            runs: BTreeMap::new(),
            agents: BTreeMap::new(),
            devices: BTreeMap::new(),
            units: BTreeMap::new(),
            in_use: InUse::default(),
            gathering: Hint::default(),
            pools: Pools::default(),
            tokens: BTreeMap::new(),
            granted: None,
            now: Hint::default(),
            looked: Hint::default(),
            shares: Shares::default(),
            used: Used::default(),
            kinds: Arc::from([]),
            registered: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    /// The lab as it was when the snapshot was all that had been saved. Agents that held devices get one
    /// lease period to be heard of again.
    ///
    /// # Errors
    /// If a run's plan cannot be used.
    pub fn restore(
        policy: Policy,
        now: Time,
        snapshot: Snapshot,
        history: &dyn Fn(&RunRecord) -> Arc<dyn History + Send + Sync>,
    ) -> Result<Self, Rejected> {
        let mut lab = Self::new(policy);
        lab.now = Hint(now);
        lab.used = snapshot.used;
        for AgentRecord { agent, session, host, devices } in snapshot.agents {
            lab.enter_agent(agent, session, host, devices, now);
        }
        for (device, hold) in snapshot.holds {
            if let Some(device) = lab.devices.get_mut(&device) {
                device.hold = Some(hold);
            }
        }
        let by_name = |r: Registration| ((r.host.clone(), r.name.clone()), r);
        lab.registered = snapshot.registered.into_iter().map(by_name).collect();
        for (device, health) in snapshot.health {
            if let Some(device) = lab.devices.get_mut(&device) {
                device.told_health = health.health.word();
                device.health = health;
            }
        }
        let mut out: BTreeMap<RunId, Vec<(ItemIx, UnitId)>> = BTreeMap::new();
        for LeaseRecord { lease, devices, units } in snapshot.leases {
            let (device, others) = devices.split_first().expect("leases are of devices");
            lab.devices.get_mut(device).expect("leases are of known devices").lease = Some(lease);
            let gone = others.iter().find(|d| !lab.devices.contains_key(d));
            let broken = gone.map(|d| format!("{d} is gone, which it needs"));
            for SentUnit { unit, run, attempts } in units {
                out.entry(run).or_default().extend(attempts.iter().map(|(item, _)| (*item, unit)));
                lab.units.insert(
                    unit,
                    UnitState {
                        id: unit,
                        run,
                        test: TestIx(0),
                        lease,
                        device: *device,
                        others: others.to_vec(),
                        wish: if broken.is_some() { Wish::Stop { said: None } } else { Wish::Run },
                        broken: broken.clone(),
                        discovery: false,
                        left: attempts,
                        micros: 0,
                        running: false,
                        since: Hint(None),
                        sent: false,
                        told: None,
                    },
                );
                for device in &devices {
                    // Of the others one may be gone that was there when it was sent.
                    if let Some(device) = lab.devices.get_mut(device) {
                        device.lease = Some(lease);
                        device.units.push(unit);
                    }
                }
            }
        }
        for run in snapshot.runs {
            let id = run.record.id;
            let history = history(&run.record);
            let mut run = Run::restore(run, history)?;
            for (item, unit) in out.remove(&id).unwrap_or_default() {
                run.set_out(item, unit);
            }
            run.derive();
            lab.enter_run(run);
        }
        for (id, device) in &lab.devices {
            if let Some(run) = device.health.task.run().and_then(|run| lab.runs.get_mut(&run)) {
                run.reach.pin(*id);
            }
        }
        for unit in lab.units.values_mut() {
            let run = lab.runs.get(&unit.run).expect("units are of active runs");
            let first = unit.left.first().expect("units in a snapshot have something left").0;
            unit.test = run.item(first).test;
            unit.discovery = run.is_discovery(first);
            unit.micros = unit.left.iter().map(|(item, _)| run.expected_micros(*item)).sum();
            for device in unit.devices() {
                if let Some(device) = lab.devices.get_mut(&device) {
                    device.micros += unit.micros;
                }
            }
            lab.in_use.add(run, unit.test, unit.device);
            lab.shares.give(run.user, unit.device_micros());
        }
        for device in lab.devices.keys().copied().collect::<Vec<_>>() {
            lab.account(now, device);
        }
        lab.keep_apart();
        // That a run was being stopped is not recorded until it has; that it is to be, is.
        for run in lab.runs.keys().copied().collect::<Vec<_>>() {
            lab.supersede(now, run);
        }
        Ok(lab)
    }

    /// Everything durable: equal to what the store gives back once all changes are saved.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            used: self.used,
            agents: self
                .agents
                .iter()
                .map(|(&agent, a)| AgentRecord {
                    agent,
                    session: a.session,
                    host: a.host.clone(),
                    devices: a.devices.iter().map(|d| (*d, self.devices[d].name.to_string())).collect(),
                })
                .collect(),
            leases: {
                let mut leases: Vec<LeaseRecord> = self
                    .devices
                    .iter()
                    .filter(|(_, d)| self.follows(d).is_none())
                    .filter_map(|(&device, d)| {
                        let others = d.units.first().map_or(&[][..], |unit| &self.units[unit].others);
                        Some(LeaseRecord {
                            lease: d.lease?,
                            devices: [device].iter().chain(others).copied().collect(),
                            units: d.units.iter().map(|u| self.sent_unit(*u)).collect(),
                        })
                    })
                    .collect();
                leases.sort_by_key(|l| l.lease);
                leases
            },
            holds: self.devices.iter().filter_map(|(id, d)| Some((*id, d.hold.clone()?))).collect(),
            health: self
                .devices
                .iter()
                .filter(|(_, d)| d.health != DeviceHealth::default())
                .map(|(id, d)| (*id, d.health.clone()))
                .collect(),
            registered: self.registered.values().cloned().collect(),
            runs: self.runs.values().filter(|r| r.phase() == &RunPhase::Active).map(Run::snapshot).collect(),
        }
    }

    fn sent_unit(&self, id: UnitId) -> SentUnit {
        let unit = &self.units[&id];
        SentUnit { unit: id, run: unit.run, attempts: unit.left.clone() }
    }

    /// Takes an input in. The only way to change the lab.
    ///
    /// # Errors
    /// [`Rejected`] if the input cannot be taken; the lab is then as it was.
    pub fn apply(&mut self, now: Time, input: Input) -> Result<Vec<Effect>, Rejected> {
        self.now = Hint(now);
        match input {
            Input::Tick => self.tick(now),
            Input::CreateRun { record, history } => self.create_run(now, record, history)?,
            Input::ReopenRun { snapshot, items, replanned, more, history } => {
                self.reopen_run(now, *snapshot, &items, replanned, more, history)?;
            }
            Input::StopRun { run, reason, kill } => {
                if !self.runs.contains_key(&run) {
                    return Err(Rejected::NoSuchRun(run));
                }
                self.stop_run(now, run, &reason, kill);
            }
            Input::Kill { run, items, reason } => self.kill_items(now, run, &items, &reason)?,
            Input::Move { run, moved } => self.move_run(run, moved)?,
            Input::Exchange(exchange) => self.receive_exchange(now, *exchange)?,
            Input::Hold { device, hold } => self.hold(now, device, hold)?,
            Input::Reserved(device, id, what) => self.reserved(now, device, &id, what)?,
            Input::Kinds(kinds) => self.set_kinds(kinds),
            Input::Register(what) => self.register(what)?,
            Input::Check { device, record, history } => self.begin_check(now, device, record, history)?,
            Input::CheckNow { device, by } => self.ask_for_check(device, &by)?,
            Input::Quarantine { device, by, put } => self.quarantine(now, device, &by, put)?,
            Input::AgentGone { agent, session, how } => self.receive_agent_gone(now, agent, session, how),
        }
        Ok(std::mem::take(&mut self.out))
    }

    /// When [`Input::Tick`] must be applied even if nothing else happens.
    pub fn wake_at(&self) -> Option<Time> {
        let leases =
            self.agents.iter().filter(|(id, _)| self.is_waited_for(**id)).map(|(_, a)| a.lease_until);
        let runs = self.runs.values().filter_map(Run::wake_at);
        let holds = self.devices.values().filter_map(|d| d.hold.as_ref()?.until);
        leases.chain(runs).chain(holds).chain(self.health_wakes_at()).min()
    }

    /// Whether a run has nothing out and nothing more to do: it ended, or it was stopped.
    pub fn is_over(&self, run: RunId) -> bool {
        self.runs.get(&run).is_none_or(|r| *r.phase() != RunPhase::Active)
    }

    /// The runs it has in hand, those that are over and not forgotten included.
    pub fn runs(&self) -> impl Iterator<Item = RunId> {
        self.runs.keys().copied()
    }

    /// Forgets a run that is over; its record is the store's.
    pub fn forget_run(&mut self, run: RunId) {
        if self.is_over(run) {
            self.runs.remove(&run);
        }
    }

    fn create_run(
        &mut self,
        now: Time,
        record: Arc<RunRecord>,
        history: Arc<dyn History + Send + Sync>,
    ) -> Result<(), Rejected> {
        let id = record.id;
        if self.runs.contains_key(&id) {
            return Err(Rejected::RunExists(id));
        }
        // It may come from anybody, and one that waits for itself would never end.
        record.plan.check()?;
        let mut run = Run::new(Arc::clone(&record), history)?;
        let doomed = run.derive();
        let started = run.started_event();
        self.enter_run(run);
        self.keep_apart();
        let user = record.spec.placement.user.clone();
        self.save(Change::RunCreated(record));
        self.run_happened(now, id, |address| LabEvent::RunCreated { run: id, address, user });
        self.tell(now, id, started);
        self.settle_new(now, id, doomed);
        self.supersede(now, id);
        Ok(())
    }

    /// A run is new here, or is again.
    fn enter_run(&mut self, mut run: Run) {
        let id = run.id();
        run.user = self.shares.user(&run.record().spec.placement.user);
        run.was_started |= run.has_started();
        self.runs.insert(id, run);
        self.reach_from(id);
    }

    fn reopen_run(
        &mut self,
        now: Time,
        snapshot: RunSnapshot,
        items: &[ItemIx],
        replanned: Option<Arc<RunRecord>>,
        more: Vec<MoreItems>,
        history: Arc<dyn History + Send + Sync>,
    ) -> Result<(), Rejected> {
        let id = snapshot.record.id;
        let known = self.runs.get(&id);
        // What is out was sent with the old definitions, and goes on under them.
        let replanned = replanned.filter(|_| known.is_none_or(|run| run.out() == 0));
        let replan = |run: &mut Run| match &replanned {
            Some(record) => run.replan(Arc::clone(record), Arc::clone(&history)),
            None => Ok(()),
        };
        let mut run = match self.runs.get_mut(&id) {
            Some(run) => {
                replan(run)?;
                self.runs.remove(&id).expect("just seen")
            }
            None => {
                let mut run = Run::restore(snapshot, Arc::clone(&history))?;
                replan(&mut run)?;
                run
            }
        };
        // Who opens it again wants it, however late.
        run.was_started = true;
        let mut changes: Vec<Change> = replanned.into_iter().map(Change::RunReplanned).collect();
        changes.extend(run.grow(more));
        changes.extend(run.reopen(now, items));
        if *run.phase() != RunPhase::Active {
            run.set_phase(RunPhase::Active);
            changes.insert(0, Change::RunState { run: id, phase: RunPhase::Active });
        }
        let doomed = run.derive();
        let started = run.started_event();
        self.enter_run(run);
        // What was to be stopped and has not ended goes on; an agent that dropped it gets it again.
        for unit in self.units.values_mut().filter(|u| u.run == id && u.broken.is_none()) {
            if let Wish::Stop { .. } = unit.wish {
                unit.wish = Wish::Run;
            }
        }
        self.keep_apart();
        for change in changes {
            self.save(change);
        }
        self.run_happened(now, id, |address| LabEvent::RunReopened { run: id, address });
        self.tell(now, id, started);
        self.settle_new(now, id, doomed);
        Ok(())
    }

    fn tick(&mut self, now: Time) {
        self.sweep_lost_agents(now);
        self.sweep_holds(now);
        self.sweep_health(now);
        self.sweep_deadlines(now);
        self.sweep_killed(now);
        self.sweep_unstarted(now);
        self.settle_stuck(now);
        self.settle_lacking(now);
        self.dispatch(now);
        self.look_at_gates(now);
        self.finish_runs(now);
        self.give_orders(now);
    }

    fn save(&mut self, change: Change) {
        self.out.push(Effect::Save(change));
    }

    fn tell(&mut self, at: Time, run: RunId, event: Event) {
        self.out.push(Effect::Tell(Told { at, run, event }));
    }

    fn run_mut(&mut self, run: RunId) -> &mut Run {
        self.runs.get_mut(&run).expect("runs are kept while anything refers to them")
    }
}
