//! A whole lab in virtual time, driven by a seed.
//!
//! After every step the lab, the ledgers and the [`Book`] are checked, and the store's snapshot must equal
//! the lab's. In the end faults stop, and everything that was accepted must finish.

use crate::area::{Truth, random_area};
use crate::book::Book;
use crate::build;
use crate::host::{Due, Fact, Host};
use crate::mistake::Mistake;
use crate::rng::Rng;
use crate::shaky::{Journal, Next, Shaky};
use muster_agent::ledger::Speak;
use muster_core::change::{RunPhase, RunRecord, RunSpec};
use muster_core::definition::AreaDef;
use muster_core::exchange::{Exchange, Gauges, Orders};
use muster_core::id::{AgentId, ItemIx, RunId, SessionId};
use muster_core::lab::{Input, Policy, Rejected};
use muster_core::plan::History;
use muster_core::select::Selection;
use muster_core::time::Time;
use muster_server::Shell;
use muster_store::{LabKey, Mem, Store as _};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

const KEY: LabKey = LabKey(1);
// Limit: a world that is not quiet by then has something wrong with it.
const STEPS_MAX: usize = 50_000;

/// How often things go wrong, in a thousand.
#[derive(Clone, Copy, Debug)]
struct Weather {
    lost: u32,
    doubled: u32,
    /// Delayed by seconds, up to beyond every lease.
    delayed: u32,
    commit_refused: u32,
    commit_unanswered: u32,
    crash_before_acting: u32,
}

impl Weather {
    const FINE: Self = Self {
        lost: 0,
        doubled: 0,
        delayed: 0,
        commit_refused: 0,
        commit_unanswered: 0,
        crash_before_acting: 0,
    };

    /// Each kind of fault is absent from some worlds: what one hides, another shows.
    fn random(rng: &mut Rng) -> Self {
        let mut some = |most: usize| {
            if rng.permille(400) { 0 } else { u32::try_from(rng.below(most)).unwrap_or(0) }
        };
        Self {
            lost: some(200),
            doubled: some(200),
            delayed: some(60),
            commit_refused: some(20),
            commit_unanswered: some(20),
            crash_before_acting: some(30),
        }
    }
}

enum Event {
    /// An exchange reaches the shell.
    ToShell(Box<Exchange>),
    /// Orders reach an agent.
    ToAgent(AgentId, Box<Orders>),
    /// The shell learns that a session is over.
    Gone(AgentId, SessionId),
    /// The shell makes a turn.
    Turn,
    /// The shell comes up again.
    ShellUp,
    /// An agent looks whether it wants to speak.
    Wake(usize),
    /// Something ends on a device.
    Due(usize, Due),
    AgentUp(usize),
    Fault,
    Person,
    /// Faults end, and people want nothing more.
    Quiet,
}

/// What people want of the shell.
enum Wish {
    Create(Arc<RunRecord>),
    Stop(RunId, bool),
    Reopen(RunId),
}

/// A whole lab.
pub struct World {
    seed: u64,
    rng: Rng,
    now: Time,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    numbered: u64,
    policy: Policy,
    mistake: Mistake,
    weather: Weather,
    /// How long an agent goes on without the lab.
    patience: Duration,
    truth: Truth,
    area: AreaDef,
    mem: Mem,
    journal: Journal,
    shell: Option<Shell<Shaky<Mem>>>,
    turn_at: Option<Time>,
    inbox: Vec<Input>,
    wishes: Vec<Wish>,
    accepted: BTreeSet<RunId>,
    runs_made: u32,
    hosts: Vec<Host>,
    book: Book,
    quiet: bool,
    /// When last something was recorded or ran.
    progress: Time,
    record: bool,
    /// What happened, if it is recorded.
    pub history: Vec<String>,
    hash: u64,
}

macro_rules! say {
    ($world:expr, $($text:tt)*) => {
        if $world.record {
            let line = format!($($text)*);
            $world.note(line);
        }
    };
}

impl World {
    /// The world of a seed. With `record` its history is kept as text.
    pub fn new(seed: u64, mistake: Mistake, record: bool) -> Self {
        let mut rng = Rng::new(seed);
        let lease = Duration::from_secs(*rng.pick(&[20, 30, 60]).unwrap_or(&60));
        let policy = Policy { lease, mistake: mistake.of_lab(), ..Policy::default() };
        let weather = if rng.permille(100) { Weather::FINE } else { Weather::random(&mut rng) };
        let millis = [20, 1_000, 8_000, 120_000];
        let longest = Duration::from_millis(*rng.pick(&millis).unwrap_or(&1_000));
        let hosts = (0..rng.between(1, 3)).map(|n| {
            let skew = if rng.permille(300) { Duration::from_secs(3600) } else { Duration::ZERO };
            Host::new(n, rng.between(1, 3), lease, skew)
        });
        let hosts = hosts.collect::<Vec<_>>();
        let late = mistake == Mistake::ActBeforeCommit;
        let mut world = Self {
            seed,
            now: Time(1_000_000_000),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            numbered: 0,
            policy,
            mistake,
            weather,
            patience: lease / 2,
            truth: Truth::new(seed, longest),
            area: random_area(&mut rng),
            mem: Mem::new(KEY),
            journal: if late { Journal::late() } else { Journal::default() },
            shell: None,
            turn_at: None,
            inbox: Vec::new(),
            wishes: Vec::new(),
            accepted: BTreeSet::new(),
            runs_made: 0,
            hosts,
            book: Book::default(),
            quiet: false,
            progress: Time::default(),
            record,
            history: Vec::new(),
            hash: 0,
            rng,
        };
        say!(world, "{:?}, patience {:?}, {:?}", world.policy, world.patience, world.weather);
        for test in &world.area.tests.clone() {
            say!(
                world,
                "test {} {:?} after {:?} needs {:?} retries {:?}",
                test.name,
                test.kind,
                test.after,
                test.needs,
                test.retries
            );
        }
        say!(world, "limits {:?}", world.area.limits);
        world
    }

    /// Lives the whole life of the world.
    ///
    /// # Panics
    /// With the broken promise.
    pub fn live(&mut self) {
        self.shell_up();
        for n in 0..self.hosts.len() {
            self.at(Duration::ZERO, Event::AgentUp(n));
        }
        self.at(Duration::ZERO, Event::Person);
        if self.rng.permille(800) {
            self.at(Duration::from_millis(200), Event::Fault);
        }
        let lasts = self.rng.duration(self.policy.lease / 20, self.policy.lease * 3);
        self.at(lasts, Event::Quiet);
        for step in 0.. {
            assert!(step < STEPS_MAX, "it ends in {STEPS_MAX} steps");
            let Some(Reverse((at, number))) = self.queue.pop() else { break };
            let event = self.events.remove(&number).expect("queued once");
            self.now = at;
            self.hash = crate::rng::mix([self.hash, at.0, number]);
            self.happen(event);
            if self.quiet {
                if self.is_finished() {
                    self.finish();
                    return;
                }
                if self.book.is_anything_running() {
                    self.progress = self.now;
                }
                let idle = self.now.since(self.progress);
                assert!(
                    idle < self.policy.lease * 5,
                    "a quiet lab finishes everything, but for {idle:?} nothing happens, with {:?} and {} leases left",
                    self.unfinished(),
                    self.book.leases(),
                );
            }
        }
        panic!("something always happens while agents are up");
    }

    /// A number that tells histories apart.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    fn note(&mut self, line: String) {
        let micros = self.now.0 - 1_000_000_000;
        self.history.push(format!("{:>5}.{:06} {line}", micros / 1_000_000, micros % 1_000_000));
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.numbered += 1;
        self.queue.push(Reverse((self.now + after, self.numbered)));
        self.events.insert(self.numbered, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToShell(exchange) => {
                if self.shell.is_some() {
                    say!(
                        self,
                        "shell hears {} {} #{} heard {} holding {:?} finished {:?}",
                        exchange.agent,
                        exchange.session,
                        exchange.seq,
                        exchange.heard,
                        exchange.holding.iter().map(|h| h.unit.0).collect::<Vec<_>>(),
                        exchange
                            .finished
                            .iter()
                            .map(|f| (f.spool, f.unit.0, f.attempt.item.0))
                            .collect::<Vec<_>>()
                    );
                    self.inbox.push(Input::Exchange(exchange));
                    self.turn_soon();
                }
            }
            Event::ToAgent(agent, orders) => self.agent_hears(agent, *orders),
            Event::Gone(agent, session) => {
                if self.shell.is_some() {
                    self.inbox.push(Input::AgentGone { agent, session });
                    self.turn_soon();
                }
            }
            Event::Turn => self.turn(),
            Event::ShellUp => self.shell_up(),
            Event::Wake(n) => self.wake(n),
            Event::Due(n, due) => self.due(n, due),
            Event::AgentUp(n) => {
                if self.hosts[n].ledger.is_none() {
                    self.hosts[n].start(self.mistake == Mistake::SessionUsedAgain);
                    say!(self, "{} begins {}", self.hosts[n].id, self.hosts[n].session);
                    self.poke(n);
                }
            }
            Event::Fault => self.fault(),
            Event::Person => self.person(),
            Event::Quiet => self.calm(),
        }
    }

    // ---- the shell

    fn turn_soon(&mut self) {
        let after = self.rng.duration(Duration::from_micros(1), Duration::from_millis(5));
        self.turn_by(self.now + after);
    }

    fn turn_by(&mut self, at: Time) {
        if self.turn_at.is_none_or(|t| at < t) {
            self.turn_at = Some(at);
            self.at(at.since(self.now), Event::Turn);
        }
    }

    fn turn(&mut self) {
        if self.turn_at != Some(self.now) {
            return;
        }
        self.turn_at = None;
        let Some(mut shell) = self.shell.take() else { return };
        let mut inputs = std::mem::take(&mut self.inbox);
        for wish in &self.wishes {
            match wish {
                // It may have been recorded, and over, before the shell was lost with the answer.
                Wish::Create(record) if shell.store().load_run_snapshot(record.id).is_ok() => {}
                Wish::Create(record) => {
                    let (record, history) = (Arc::clone(record), Arc::new(self.truth));
                    inputs.push(Input::CreateRun { record, history });
                }
                Wish::Stop(run, kill) => {
                    inputs.push(Input::StopRun { run: *run, reason: "a person".to_owned(), kill: *kill });
                }
                Wish::Reopen(run) => {
                    let snapshot =
                        shell.store().load_run_snapshot(*run).expect("an accepted run is never lost");
                    let records = self.book.run(*run).map_or(0, crate::book::RunBook::len);
                    let items = (0..self.rng.below(4))
                        .map(|_| ItemIx(u32::try_from(self.rng.below(records)).expect("few")));
                    let items = items.collect();
                    let (snapshot, history) = (Box::new(snapshot), Arc::new(self.truth));
                    inputs.push(Input::ReopenRun { snapshot, items, replanned: None, history });
                }
            }
        }
        if self.rng.permille(self.weather.commit_refused) {
            self.journal.next(Next::Refuses);
        } else if self.rng.permille(self.weather.commit_unanswered) {
            self.journal.next(Next::RecordsAndFails);
        }
        let turn = shell.turn(self.now, inputs);
        self.journal.next(Next::Works);
        let recorded = self.journal.take();
        self.book.record(&recorded);
        if !recorded.is_empty() {
            self.progress = self.now;
        }
        for change in &recorded {
            say!(self, "  recorded {change:?}");
        }
        let turn = match turn {
            Ok(turn) => turn,
            Err(error) => {
                say!(self, "the shell is lost: {error:?}");
                self.shell_down();
                return;
            }
        };
        shell.lab().check();
        let stored = shell.store().load_snapshot().expect("memory can be read");
        assert_eq!(stored, shell.lab().snapshot(), "the record is what the lab knows");
        if self.rng.permille(self.weather.crash_before_acting) {
            say!(self, "the shell is lost before it acts");
            self.shell_down();
            return;
        }
        self.book.told(&turn.told, &recorded);
        for (place, rejected) in &turn.rejected {
            match rejected {
                Rejected::Stale { .. } | Rejected::NoSuchRun(_) | Rejected::RunExists(_) => {}
                Rejected::Plan(_) | Rejected::Selector { .. } => {
                    panic!("input {place} was made well, but {rejected}")
                }
            }
        }
        for wish in std::mem::take(&mut self.wishes) {
            if let Wish::Create(record) = wish {
                self.accepted.insert(record.id);
            }
        }
        for run in &self.accepted {
            assert!(self.book.run(*run).is_some(), "{run} was accepted and is not recorded");
        }
        for (agent, orders) in turn.orders {
            say!(
                self,
                "orders to {agent} #{} acked {} units {:?} new {:?} kill {}",
                orders.seq,
                orders.acked,
                orders.units.iter().map(|w| (w.unit.0, w.give_back)).collect::<Vec<_>>(),
                orders.new.iter().map(|u| u.id.0).collect::<Vec<_>>(),
                orders.kill
            );
            self.send(agent, || Event::ToAgent(agent, orders.clone()));
        }
        let wake = shell.wake_at();
        self.shell = Some(shell);
        if let Some(wake) = wake {
            self.turn_by(wake.max(self.now + Duration::from_micros(1)));
        }
    }

    fn shell_down(&mut self) {
        self.shell = None;
        self.journal.crash();
        self.inbox.clear();
        self.turn_at = None;
        let most = if self.rng.permille(100) { self.policy.lease * 2 } else { Duration::from_secs(1) };
        let after = self.rng.duration(Duration::from_millis(1), most);
        self.at(after, Event::ShellUp);
    }

    fn shell_up(&mut self) {
        if self.shell.is_some() {
            return;
        }
        let truth = self.truth;
        let history = move |_: &RunRecord| -> Arc<dyn History + Send + Sync> { Arc::new(truth) };
        let store = Shaky::new(self.mem.handle(KEY), self.journal.clone());
        let mut shell =
            Shell::restore(store, self.policy, self.now, &history).expect("the record can be used");
        shell.lab().check();
        let stored = shell.store().load_snapshot().expect("memory can be read");
        assert_eq!(stored, shell.lab().snapshot(), "what is restored is what was recorded");
        for run in &self.accepted {
            let lost = shell.store().load_run_snapshot(*run).is_err();
            assert!(!lost, "{run} was accepted and is lost");
        }
        say!(self, "the shell is up");
        self.shell = Some(shell);
        self.turn_soon();
    }

    // ---- the network

    fn send(&mut self, agent: AgentId, event: impl Fn() -> Event) {
        let n = usize::try_from(agent.0 - 1).expect("agents are hosts' numbers from 1");
        let copies = if self.rng.permille(self.weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.hosts[n].parted_until > self.now || self.rng.permille(self.weather.lost) {
                say!(self, "  lost");
                continue;
            }
            let delay = if self.rng.permille(self.weather.delayed) {
                self.rng.duration(Duration::from_millis(100), self.policy.lease * 3)
            } else {
                self.rng.duration(Duration::from_micros(50), Duration::from_millis(20))
            };
            self.at(delay, event());
        }
    }

    // ---- agents

    fn agent_hears(&mut self, agent: AgentId, orders: Orders) {
        let n = usize::try_from(agent.0 - 1).expect("agents are hosts' numbers from 1");
        say!(self, "{agent} hears #{}", orders.seq);
        let mut facts = Vec::new();
        let limit = (self.mistake != Mistake::GoOnWithoutLab).then_some(self.patience);
        let host = &mut self.hosts[n];
        let due = host.receive(self.now, orders, limit, &mut self.rng, &self.truth, &mut facts);
        self.carry_on(n, due, facts);
    }

    fn wake(&mut self, n: usize) {
        if self.hosts[n].wake != Some(self.now) || self.hosts[n].ledger.is_none() {
            return;
        }
        self.hosts[n].wake = None;
        if self.mistake != Mistake::GoOnWithoutLab {
            let mut facts = Vec::new();
            let due = self.hosts[n].sweep(self.now, self.patience, &mut self.rng, &self.truth, &mut facts);
            self.carry_on(n, due, facts);
        }
        let clock = self.hosts[n].clock(self.now);
        let host = &mut self.hosts[n];
        let Some(ledger) = &mut host.ledger else { return };
        if ledger.wants_to_speak(clock) == Speak::Now {
            let mut exchange = ledger.exchange(clock, host.gauges);
            if self.mistake == Mistake::ForgetUnacknowledged {
                exchange.finished.retain(|f| f.spool > host.forgotten);
                host.forgotten = exchange.finished.last().map_or(host.forgotten, |f| f.spool);
            }
            let (id, exchange) = (host.id, Box::new(exchange));
            say!(self, "{id} says #{}", exchange.seq);
            self.send(id, || Event::ToShell(exchange.clone()));
        }
        self.poke(n);
    }

    fn due(&mut self, n: usize, due: Due) {
        let mut facts = Vec::new();
        let due = self.hosts[n].happen(self.now, due, &self.truth, &mut facts);
        self.carry_on(n, due, facts);
    }

    fn carry_on(&mut self, n: usize, due: Vec<Due>, facts: Vec<Fact>) {
        let name = format!("h{n}");
        for fact in facts {
            match &fact {
                Fact::Started { taken, device } => say!(
                    self,
                    "{name}/{device} starts {} of `{}` {:?}",
                    taken.unit.id,
                    taken.test.def.name,
                    taken
                        .unit
                        .attempts
                        .iter()
                        .map(|a| (a.attempt.item.0, a.attempt.attempt))
                        .collect::<Vec<_>>()
                ),
                Fact::Ended { unit, attempt, result } => {
                    say!(
                        self,
                        "{name} {unit} {}#{} came to {}",
                        attempt.item,
                        attempt.attempt,
                        result.outcome
                    );
                }
                Fact::Gone { unit } => say!(self, "{name} {unit} is over"),
            }
            self.book.fact(&name, fact);
        }
        for due in due {
            self.at(due.at.since(self.now), Event::Due(n, due));
        }
        if let Some(ledger) = &self.hosts[n].ledger {
            ledger.check();
        }
        self.poke(n);
    }

    /// Sees to it that an agent is asked when it wants to speak.
    fn poke(&mut self, n: usize) {
        let clock = self.hosts[n].clock(self.now);
        let Some(ledger) = &self.hosts[n].ledger else { return };
        let at = match ledger.wants_to_speak(clock) {
            Speak::Now => self.now + Duration::from_micros(1),
            Speak::At(at) => self.now + at.since(clock).max(Duration::from_micros(1)),
        };
        let sooner = self.hosts[n].wake.is_none_or(|w| at < w || w <= self.now);
        if sooner {
            self.hosts[n].wake = Some(at);
            self.at(at.since(self.now), Event::Wake(n));
        }
    }

    // ---- what goes wrong

    fn fault(&mut self) {
        if self.quiet {
            return;
        }
        let n = self.rng.below(self.hosts.len());
        match self.rng.below(8) {
            0 => {
                say!(self, "the shell is killed");
                self.shell_down();
            }
            1 | 2 => self.crash_agent(n),
            3 | 4 => {
                let most = if self.rng.permille(300) { self.policy.lease * 3 } else { self.policy.lease };
                let lasts = self.rng.duration(Duration::from_millis(10), most);
                say!(self, "h{n} is cut off for {lasts:?}");
                self.hosts[n].parted_until = self.now + lasts;
            }
            _ => {
                let load = *self.rng.pick(&[0.1, 1.0, 3.0]).unwrap_or(&0.1);
                let disk = *self.rng.pick(&[100, 1000, 1000]).unwrap_or(&1000);
                self.hosts[n].gauges = Gauges { load_per_core: load, disk_free_bytes: disk };
            }
        }
        let after = self.rng.duration(Duration::from_millis(20), self.policy.lease);
        self.at(after, Event::Fault);
    }

    fn crash_agent(&mut self, n: usize) {
        let (id, session) = (self.hosts[n].id, self.hosts[n].session);
        if self.hosts[n].ledger.is_none() {
            return;
        }
        say!(self, "{id} is killed");
        let mut facts = Vec::new();
        self.hosts[n].crash(&mut facts);
        self.carry_on(n, Vec::new(), facts);
        if self.rng.permille(300) {
            self.send(id, || Event::Gone(id, session));
        }
        let after = self.rng.duration(Duration::from_millis(1), self.policy.lease);
        self.at(after, Event::AgentUp(n));
    }

    // ---- people

    fn person(&mut self) {
        if self.quiet {
            return;
        }
        let runs: Vec<RunId> = self.accepted.iter().copied().collect();
        let active = self.book.runs().filter(|(_, r)| r.phase == RunPhase::Active).count();
        match (self.rng.below(6), self.rng.pick(&runs).copied()) {
            (0..=2, _) | (_, None) if active < 2 && self.runs_made < 4 => self.ask_for_run(),
            (3, Some(run)) => {
                let kill = self.rng.permille(300);
                say!(self, "a person stops {run}, kill {kill}");
                self.wishes.push(Wish::Stop(run, kill));
            }
            (4 | 5, Some(run)) => {
                say!(self, "a person reopens {run}");
                self.wishes.push(Wish::Reopen(run));
            }
            _ => {}
        }
        if self.shell.is_some() {
            self.turn_soon();
        }
        let after = self.rng.duration(Duration::from_millis(100), self.policy.lease);
        self.at(after, Event::Person);
    }

    fn ask_for_run(&mut self) {
        let patterns = if self.rng.permille(200) {
            vec![format!("t{}", self.rng.below(self.area.tests.len()))]
        } else {
            vec![]
        };
        let selection = Selection { patterns, ..Selection::default() };
        let failures_max = self.rng.permille(150).then_some(2);
        let spec = RunSpec { failures_max, ..build::spec(&self.area, selection) };
        self.runs_made += 1;
        let record = build::run_record(&self.area, self.runs_made, self.now, spec, &self.truth);
        let record = Arc::new(record.expect("random areas can be planned"));
        say!(self, "a person asks for {} of {} tests", record.id, record.plan.tests.len());
        self.wishes.push(Wish::Create(record));
    }

    // ---- the end

    fn calm(&mut self) {
        say!(self, "from now on all is quiet");
        self.quiet = true;
        self.weather = Weather::FINE;
        if self.runs_made == 0 {
            self.ask_for_run();
        }
        for n in 0..self.hosts.len() {
            self.hosts[n].parted_until = Time::default();
            self.hosts[n].gauges = Gauges { load_per_core: 0.1, disk_free_bytes: 1000 };
            self.at(Duration::ZERO, Event::AgentUp(n));
        }
        self.shell_up();
        self.turn_soon();
        self.progress = self.now;
    }

    fn unfinished(&self) -> Vec<(RunId, usize)> {
        let active = self.book.runs().filter(|(_, r)| r.phase == RunPhase::Active);
        active.map(|(id, run)| (id, run.open())).collect()
    }

    fn is_finished(&self) -> bool {
        self.wishes.is_empty()
            && self.inbox.is_empty()
            && self.shell.is_some()
            && self.book.leases() == 0
            && self.unfinished().is_empty()
    }

    fn finish(&mut self) {
        let Some(shell) = &mut self.shell else { return };
        for run in &self.accepted {
            let view = shell.store().load_run(*run, muster_store::ItemFilter::All).expect("it is recorded");
            let book = self.book.run(*run).expect("it is recorded");
            assert_eq!(view.counts, book.counts(), "the counts of {run}");
            let attempts: usize = view.all_items().map(|(_, i)| i.attempts.len()).sum();
            assert_eq!(attempts, book.attempts(), "the attempts of {run}");
            assert!(shell.is_over(*run));
        }
        assert_eq!(shell.store().check().expect("memory can be read"), [], "the record is whole");
        say!(self, "everything has finished (seed {:#x})", self.seed);
    }
}
