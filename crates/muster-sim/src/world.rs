//! A whole lab in virtual time, driven by a seed.
//!
//! After every step the lab, the ledgers and the [`Book`] are checked, and the store's snapshot must equal
//! the lab's. In the end faults stop, and everything that was accepted must finish.

/// Adds a line to the history, if it is recorded.
macro_rules! say {
    ($world:expr, $($text:tt)*) => {
        if $world.record {
            let line = format!($($text)*);
            $world.note(line);
        }
    };
}

mod agents;
mod checks;
mod faults;
mod people;
mod shell;

use crate::area::{Home, Truth, random_area};
use crate::book::{Book, RunBook};
use crate::host::{Due, Host};
use crate::mistake::Mistake;
use crate::rng::Rng;
use crate::shaky::{Journal, Shaky};
use faults::Weather;
use muster_core::change::RunPhase;
use muster_core::definition::AreaDef;
use muster_core::exchange::{Exchange, Gauges, Orders};
use muster_core::id::{AgentId, ItemIx, RunId, SessionId};
use muster_core::kind::DeviceKind;
use muster_core::lab::{DeviceSelector, Explanation, Gone, Input, Policy, Pool, Pools};
use muster_core::time::Time;
use muster_server::Shell;
use muster_store::{LabKey, Mem, Store as _};
use people::Wish;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

const KEY: LabKey = LabKey(1);
// Limit: a world that is not quiet by then has something wrong with it.
const STEPS_MAX: usize = 50_000;

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
    /// A host that stood still goes on.
    Thaw(usize),
    Fault,
    Person,
    /// Faults end, and people want nothing more.
    Quiet,
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
    /// How devices are verified and repaired; the shell is told whenever it comes up.
    kinds: Arc<[DeviceKind]>,
    checks_made: u32,
    hosts: Vec<Host>,
    /// Every device, and where it is at home.
    homes: Vec<Home>,
    pools: Pools,
    book: Book,
    quiet: bool,
    /// When last something was recorded or ran.
    progress: Time,
    record: bool,
    /// What happened, if it is recorded.
    pub history: Vec<String>,
    hash: u64,
}

impl World {
    /// The world of a seed. With `record` its history is kept as text.
    pub fn new(seed: u64, mistake: Mistake, record: bool) -> Self {
        let mut rng = Rng::new(seed);
        let lease = Duration::from_secs(*rng.pick(&[20, 30, 60]).unwrap_or(&60));
        // Its agents are lost for no fault of the tests, and speak three times before they are suspected, as real ones.
        let suspect = lease / 2;
        let policy =
            Policy { lease, suspect, mistake: mistake.of_lab(), losses_max: None, ..Policy::default() };
        let weather = if rng.permille(100) { Weather::FINE } else { Weather::random(&mut rng) };
        let millis = [20, 1_000, 8_000, 120_000];
        let longest = Duration::from_millis(*rng.pick(&millis).unwrap_or(&1_000));
        let longest = if weather.far_off { lease * 2 } else { longest };
        let mut homes = Vec::new();
        let hosts = (0..rng.between(1, 3)).map(|n| {
            let skew = if rng.permille(300) { Duration::from_secs(3600) } else { Duration::ZERO };
            for d in 0..rng.between(1, 3) {
                let kind = if rng.permille(500) { "a" } else { "b" };
                homes.push(Home { name: format!("d{d}@h{n}"), host: n, kind });
            }
            Host::new(n, lease, skew)
        });
        let hosts = hosts.collect::<Vec<_>>();
        let of_kind = |kind: &str| Pool {
            name: kind.to_owned(),
            devices: DeviceSelector::parse(&format!("labels.kind == '{kind}'")).expect("a selector"),
        };
        let pools = if rng.permille(300) { Pools::new(vec![of_kind("a")]) } else { Pools::default() };
        let kinds = checks::random_kinds(seed, lease);
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
            area: random_area(&mut rng, &homes),
            mem: Mem::new(KEY),
            journal: if late { Journal::late() } else { Journal::default() },
            shell: None,
            turn_at: None,
            inbox: Vec::new(),
            wishes: Vec::new(),
            accepted: BTreeSet::new(),
            runs_made: 0,
            checks_made: 0,
            hosts,
            homes,
            book: Book::new(pools.clone(), &kinds),
            kinds,
            pools,
            quiet: false,
            progress: Time::default(),
            record,
            history: Vec::new(),
            hash: 0,
            rng,
        };
        say!(world, "{:?}, patience {:?}, {:?}", world.policy, world.patience, world.weather);
        for n in 0..world.hosts.len() {
            world.come_home(n);
        }
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
        for kind in world.kinds.clone().iter() {
            say!(world, "kind {kind:?}");
        }
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
        let (least, most) =
            if self.weather.far_off { (self.policy.lease * 2, 4) } else { (self.policy.lease / 20, 3) };
        let lasts = self.rng.duration(least, self.policy.lease * most);
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
                    "a quiet lab finishes everything, but for {idle:?} nothing happens, with {:?} and {} leases left{}",
                    self.unfinished(),
                    self.book.leases(),
                    self.what_holds_it_up(),
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
                    self.inbox.push(Input::AgentGone { agent, session, how: Gone::Died });
                    self.turn_soon();
                }
            }
            Event::Turn => self.turn(),
            Event::ShellUp => self.shell_up(),
            Event::Wake(n) => self.wake(n),
            Event::Due(n, due) => self.due(n, due),
            Event::AgentUp(n) => {
                if self.hosts[n].ledger.is_none() {
                    let names = self.devices_of(n);
                    self.hosts[n].start(self.mistake == Mistake::SessionUsedAgain, names);
                    let host = &self.hosts[n];
                    say!(self, "{} begins {} with {:?}", host.id, host.session, host.names);
                    self.poke(n);
                }
            }
            Event::Thaw(n) => self.thaw(n),
            Event::Fault => self.fault(),
            Event::Person => self.person(),
            Event::Quiet => self.calm(),
        }
    }

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

    fn calm(&mut self) {
        say!(self, "from now on all is quiet");
        self.quiet = true;
        self.weather = Weather::FINE;
        if self.runs_made == 0 {
            self.ask_for_run();
        }
        for n in 0..self.hosts.len() {
            self.hosts[n].well = true;
            self.hosts[n].parted_until = Time::default();
            if self.hosts[n].frozen_until.is_some() {
                self.hosts[n].frozen_until = Some(self.now);
                self.at(Duration::ZERO, Event::Thaw(n));
            }
            self.come_home(n);
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

    /// What the lab itself says of what is open.
    fn what_holds_it_up(&self) -> String {
        let Some(shell) = &self.shell else { return "; the shell is down".to_owned() };
        let mut text = String::new();
        for (run, _) in self.unfinished() {
            for item in
                (0..self.book.run(run).map_or(0, RunBook::len)).map(|n| ItemIx(u32::try_from(n).unwrap_or(0)))
            {
                let why = shell.explain(run, item);
                if !matches!(why, Explanation::Ended { .. }) {
                    let _infallible = write!(text, "\n{run} {item}: {why:?}");
                }
            }
        }
        text
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
