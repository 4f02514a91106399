//! The lab's thread: what was asked is drained, one turn is made and committed, then everybody is answered.
//!
//! ```text
//!   asks ──► drain ──► Shell::turn ──► answers, orders to exchanges that wait, news to the hub
//!     ▲                    │ store fails, or a bug
//!     └── later ◄── Down: everybody is told so; the lab is restored from its record
//! ```

use crate::checks::Checks;
pub(crate) use crate::clock::now;
use crate::http::locked;
use crate::hub::Hub;
use crate::past::past_results;
use crate::reopening::{self, Reopenings};
use crate::shell::{Shell, ShellError, Turn};
use muster_api::{Accepted, Outlook, Problem, Reopen, Reopened, Stop, Submit, Why};
use muster_core::change::{Change, Moved, RunPhase, RunRecord};
use muster_core::exchange::{DeviceOffer, Exchange, Orders};
use muster_core::id::{AgentId, DeviceId, ItemIx, RunId, SessionId, UnitId};
use muster_core::lab::{self, Gone, Input, Policy, Pools, Registering, Rejected};
use muster_core::note::{Note, Setting};
use muster_core::plan::{History, Plan, PlannedItems};
use muster_core::time::Time;
use muster_core::view::{DeviceDetail, LabView};
use muster_store::{Durations, LabKey, Removal, RunName, Sqlite, Store as _, StoreError};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// The lab of a server's records; there is one.
pub(crate) const LAB: LabKey = LabKey(1);
/// How long the lab waits with nothing to do before it looks round.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// How long the lab rests after its record failed.
const REST: Duration = Duration::from_secs(1);
/// Asks taken into one turn.
// Limit: the others wait for its commit no longer than it takes.
const TURN_ASKS_MAX: usize = 4_096;

type Answer<T> = oneshot::Sender<Result<T, Problem>>;

/// What the lab can be asked.
pub(crate) enum Ask {
    /// An agent's exchange. Answered when there are orders; dropped when a newer one takes its place.
    Exchange(Box<Exchange>, Answer<Orders>),
    /// A session of an agent is over.
    Goodbye(AgentId, SessionId, Answer<()>),
    /// A run is asked for.
    Submit(RunId, Box<Submit>, Answer<Accepted>),
    /// A run that is over is to go on.
    Reopen(RunId, Box<Reopen>, Answer<Reopened>),
    /// A run is to be stopped.
    Stop(RunId, Stop, Answer<()>),
    /// Items of a run are to be ended; who wants that, and why.
    Kill(RunId, Vec<ItemIx>, String, Answer<()>),
    /// A device is held, kept, or given back.
    Hold(Box<Input>, Answer<()>),
    /// A person wants a device to be checked.
    Check(DeviceId, String, Answer<()>),
    /// A person puts a device in quarantine (why, until when), or lets it out.
    Quarantine(DeviceId, String, Option<(String, Option<Time>)>, Answer<()>),
    /// Devices are added, adopted, forgotten.
    Register(Registering, Answer<()>),
    /// What the agent of a host is to have beside its own devices.
    AddedTo(String, Answer<Vec<DeviceOffer>>),
    /// All that is known of a device.
    Device(DeviceId, Answer<Box<DeviceDetail>>),
    /// A person does something with a run: says something of it, sets what came of it, removes it.
    Keep(RunId, Box<Keep>, Answer<()>),
    /// A run's place in the queue is changed.
    Move(RunId, Moved, Answer<()>),
    /// Why an item is not running.
    Why(RunId, ItemIx, Answer<Why>),
    /// Whose unit this is; nobody's once it is over.
    AgentOf(UnitId, Answer<Option<AgentId>>),
    /// Devices are checked so from now on.
    Checks(Box<Checks>, Answer<()>),
    /// What the lab has and does.
    View(Answer<LabView>),
    /// The server ends.
    End,
}

/// What a person does with a run.
pub(crate) enum Keep {
    /// Says something of it.
    Say(Vec<Note>),
    /// Sets what items came to.
    Set(Setting),
    /// Takes it away, or its files.
    Remove(Removal),
}

/// Where the lab is asked.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    asks: Sender<Ask>,
}

impl Desk {
    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Option<Result<T, Problem>> {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(ask(answer)).is_err() {
            return Some(Err(Problem::new(503, "shutting-down", "the server is ending")));
        }
        answered.await.ok()
    }

    /// Ends the lab's thread after what has been asked.
    pub(crate) fn end(&self) {
        // It may have ended.
        let _ended = self.asks.send(Ask::End);
    }
}

/// How the lab is kept.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    pub(crate) root: PathBuf,
    pub(crate) policy: Policy,
    /// How devices are checked.
    pub(crate) checks: Checks,
    pub(crate) pools: Pools,
    pub(crate) tokens: BTreeMap<String, u32>,
}

/// Starts the lab's thread. The records must be usable now; should they fail later, they are waited for.
///
/// # Errors
/// The records cannot be used, or no thread can be started.
pub(crate) fn start(keeping: Keeping, hub: Arc<Hub>) -> Result<(Desk, JoinHandle<()>), ShellError> {
    let shell = keeping.restore()?;
    let root = keeping.root.clone();
    let (asks, inbox) = channel();
    let (waiting, again) = (BTreeMap::new(), Vec::new());
    let reopenings = Reopenings::default();
    let lab = LabThread { keeping, hub, shell: Some(shell), inbox, again, waiting, reopenings };
    let thread =
        std::thread::Builder::new().name("lab".into()).spawn(move || lab.run()).map_err(|source| {
            ShellError::Store(StoreError::Io { doing: "start the thread of", path: root, source })
        })?;
    Ok((Desk { asks }, thread))
}

impl Keeping {
    fn restore(&self) -> Result<Shell<Sqlite>, ShellError> {
        let store = Sqlite::open(&self.root, LAB)?;
        let reader = RefCell::new(Sqlite::open_to_read(&self.root)?);
        let known = |record: &RunRecord| -> Arc<dyn History + Send + Sync> {
            match reader_durations(&mut reader.borrow_mut(), &record.spec.area, &record.spec.target) {
                Ok(durations) => durations,
                // What is not known takes as long as it takes.
                Err(_) => Arc::new(()),
            }
        };
        let mut shell = Shell::restore(store, self.policy, now(), &known)?;
        shell.set_kinds(now(), Arc::clone(&self.checks.kinds));
        shell.set_pools(self.pools.clone());
        shell.set_tokens(self.tokens.clone());
        shell.remember(past_results(&mut reader.into_inner())?);
        Ok(shell)
    }
}

fn reader_durations(
    store: &mut Sqlite,
    area: &str,
    target: &[(String, String)],
) -> Result<Arc<dyn History + Send + Sync>, StoreError> {
    Ok(Arc::new(store.list_durations(area, target)?))
}

struct LabThread {
    keeping: Keeping,
    hub: Arc<Hub>,
    /// `None` while its record cannot be used.
    shell: Option<Shell<Sqlite>>,
    inbox: Receiver<Ask>,
    /// Asks that wait for what has just been decided.
    again: Vec<Ask>,
    /// Exchanges that are held open.
    waiting: BTreeMap<AgentId, Answer<Orders>>,
    reopenings: Reopenings,
}

/// What is to be answered once a turn is committed.
enum Owed {
    Exchange(AgentId, Answer<Orders>),
    Plain(Answer<()>),
    Submit(RunId, u32, Time, Answer<Accepted>),
    Reopen { run: RunId, request: u128, accepted: (u32, Time), after: u64, answer: Answer<Reopened> },
}

impl LabThread {
    fn run(mut self) {
        loop {
            let wait = match &self.shell {
                _ if !self.again.is_empty() => Duration::ZERO,
                Some(shell) if !shell.lab().checks_wanted().is_empty() => Duration::ZERO,
                Some(shell) => shell.wake_at().map_or(IDLE_MAX, |at| at.since(now()).min(IDLE_MAX)),
                None => REST,
            };
            let first = match self.inbox.recv_timeout(wait) {
                Ok(ask) => Some(ask),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let again = std::mem::take(&mut self.again);
            let new = first.into_iter().chain(self.inbox.try_iter().take(TURN_ASKS_MAX));
            let asks: Vec<Ask> = again.into_iter().chain(new).collect();
            let ends = asks.iter().any(|a| matches!(a, Ask::End));
            if self.shell.is_none() {
                match self.keeping.restore() {
                    Ok(shell) => self.shell = Some(shell),
                    Err(error) => asks.into_iter().for_each(|ask| ask.refuse(&down(&error))),
                }
            } else {
                // What a bug breaks is restored from the record like what a full disk does.
                match catch_unwind(AssertUnwindSafe(|| self.turn(asks))) {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => {
                        self.shell = None;
                        self.waiting.clear();
                    }
                }
            }
            if ends {
                return;
            }
        }
    }

    fn turn(&mut self, asks: Vec<Ask>) -> Result<(), ShellError> {
        let at = now();
        let mut inputs = Vec::with_capacity(asks.len());
        let mut owed: BTreeMap<usize, Owed> = BTreeMap::new();
        let mut submitted: BTreeSet<RunId> = BTreeSet::new();
        inputs.extend(self.checks(at)?);
        for ask in asks {
            let place = inputs.len();
            match ask {
                Ask::Exchange(exchange, answer) => {
                    owed.insert(place, Owed::Exchange(exchange.agent, answer));
                    inputs.push(Input::Exchange(exchange));
                }
                Ask::Goodbye(agent, session, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::AgentGone { agent, session, how: Gone::Goodbye });
                }
                Ask::Stop(run, Stop { reason, kill }, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::StopRun { run, reason, kill });
                }
                Ask::Kill(run, items, reason, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::Kill { run, items, reason });
                }
                // Asked for twice at once: the second is told what becomes of the first.
                Ask::Submit(run, ..) | Ask::Reopen(run, ..) if !submitted.insert(run) => self.again.push(ask),
                Ask::Reopen(run, reopen, answer) => match self.reopen(run, *reopen) {
                    Ok(Reopening::Known(reopened)) => drop(answer.send(Ok(reopened))),
                    Ok(Reopening::New { input, request, accepted, after }) => {
                        owed.insert(place, Owed::Reopen { run, request, accepted, after, answer });
                        inputs.push(*input);
                    }
                    Err(problem) => drop(answer.send(Err(problem))),
                },
                Ask::Submit(run, submit, answer) => match self.admit(at, run, &submit) {
                    Ok(Admitted::Known(accepted)) => drop(answer.send(Ok(accepted))),
                    Ok(Admitted::New(record, history)) => {
                        owed.insert(place, Owed::Submit(run, record.number, record.created, answer));
                        inputs.push(Input::CreateRun { record, history });
                    }
                    Err(problem) => drop(answer.send(Err(problem))),
                },
                Ask::Hold(input, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(*input);
                }
                Ask::Check(device, by, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::CheckNow { device, by });
                }
                Ask::Quarantine(device, by, put, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::Quarantine { device, by, put });
                }
                Ask::Register(what, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::Register(what));
                }
                Ask::AddedTo(host, answer) => {
                    let shell = self.shell.as_ref().expect("the caller has looked");
                    drop(answer.send(Ok(shell.lab().added_to(&host))));
                }
                Ask::Device(device, answer) => {
                    let shell = self.shell.as_ref().expect("the caller has looked");
                    let detail = shell.lab().device(at, device).map(Box::new);
                    drop(answer.send(detail.map_err(|rejected| problem_of(&rejected))));
                }
                Ask::Move(run, moved, answer) => {
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::Move { run, moved });
                }
                Ask::Keep(run, what, answer) => drop(answer.send(self.keep(run, *what))),
                Ask::Why(run, item, answer) => {
                    let lab = self.shell.as_ref().expect("the caller has looked").lab();
                    let devices = lab::sum_up(at, &lab.candidates(at, run, item));
                    drop(answer.send(Ok(Why { why: lab.explain(run, item).to_string(), devices })));
                }
                Ask::AgentOf(unit, answer) => {
                    let shell = self.shell.as_ref().expect("the caller has looked");
                    drop(answer.send(Ok(shell.lab().agent_of(unit))));
                }
                Ask::Checks(checks, answer) => {
                    self.keeping.checks = *checks;
                    owed.insert(place, Owed::Plain(answer));
                    inputs.push(Input::Kinds(Arc::clone(&self.keeping.checks.kinds)));
                }
                Ask::View(answer) => {
                    let shell = self.shell.as_ref().expect("the caller has looked");
                    drop(answer.send(Ok(shell.lab().view(at))));
                }
                Ask::End => {}
            }
        }
        let runs = self.active();
        let done = self.shell.as_mut().expect("the caller has looked").turn(at, inputs);
        match done {
            Ok(turn) => {
                self.act(turn, owed, runs);
                Ok(())
            }
            Err(error) => {
                for owed in owed.into_values() {
                    owed.refuse(&down(&error));
                }
                Err(error)
            }
        }
    }

    /// The checks that the lab wants, as runs.
    fn checks(&mut self, at: Time) -> Result<Vec<Input>, ShellError> {
        let shell = self.shell.as_mut().expect("the caller has looked");
        let wanted = shell.lab().checks_wanted();
        let mut inputs = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let number = shell.store().reserve_number(&wanted.area.name)?;
            let device = wanted.device;
            // What cannot be planned was refused when the kinds were read.
            let Ok(record) = self.keeping.checks.record(at, number, wanted) else { continue };
            inputs.push(Input::Check { device, record: Arc::new(record), history: Arc::new(()) });
        }
        Ok(inputs)
    }

    /// Runs that are under way.
    fn active(&self) -> BTreeSet<RunId> {
        self.shell.as_ref().map(|s| s.lab().runs().collect()).unwrap_or_default()
    }

    fn act(&mut self, turn: Turn, mut owed: BTreeMap<usize, Owed>, before: BTreeSet<RunId>) {
        let Turn { orders, told, happened, rejected } = turn;
        for (place, rejected) in rejected {
            if let Some(owed) = owed.remove(&place) {
                owed.refuse(&problem_of(&rejected));
            }
        }
        self.hub.tell(told);
        if happened {
            self.hub.ring_lab();
        }
        for owed in owed.into_values() {
            match owed {
                // A newer exchange takes the place of an older one, which is dropped.
                Owed::Exchange(agent, answer) => drop(self.waiting.insert(agent, answer)),
                Owed::Plain(answer) => drop(answer.send(Ok(()))),
                Owed::Submit(run, number, created, answer) => {
                    let outlook = self.outlook(run);
                    drop(answer.send(Ok(Accepted { number, created, outlook })));
                }
                Owed::Reopen { run, request, accepted: (number, created), after, answer } => {
                    self.reopenings.note(run, request, after);
                    let accepted = Accepted { number, created, outlook: self.outlook(run) };
                    drop(answer.send(Ok(Reopened { accepted, after })));
                }
            }
        }
        for (agent, orders) in orders {
            // Nobody there: the next exchange heals it.
            if let Some(answer) = self.waiting.remove(&agent) {
                drop(answer.send(Ok(*orders)));
            }
        }
        self.waiting.retain(|_, answer| !answer.is_closed());
        let shell = self.shell.as_mut().expect("it has just made a turn");
        let known: BTreeSet<RunId> = shell.lab().runs().collect();
        for run in before.union(&known) {
            if shell.is_over(*run) {
                let stopped = shell.store().load_run_snapshot(*run).ok().and_then(|s| match s.phase {
                    RunPhase::Stopped { reason, .. } => Some(reason),
                    RunPhase::Active | RunPhase::Ended { .. } => None,
                });
                shell.forget_run(*run);
                self.hub.end(*run, stopped);
            }
        }
    }

    /// When a run may start; of one that is over nothing remains to be said.
    fn outlook(&self, run: RunId) -> Outlook {
        let lab = self.shell.as_ref().expect("the caller has looked").lab();
        if !lab.runs().any(|known| known == run) {
            return Outlook::Now;
        }
        match lab.outlook(now(), run) {
            lab::Outlook::Now => Outlook::Now,
            lab::Outlook::Later(why, None) => Outlook::Later(why.to_string()),
            lab::Outlook::Later(why, Some(eta)) => Outlook::Later(format!("{why}; it may start {eta}")),
            lab::Outlook::Never(why) => Outlook::Never(why.to_string()),
        }
    }

    /// Makes the record of a run that is asked for, unless there is one.
    fn admit(&mut self, at: Time, run: RunId, submit: &Submit) -> Result<Admitted, Problem> {
        let store = self.shell.as_mut().expect("the caller has looked").store();
        match store.load_run_snapshot(run) {
            Ok(known) if is_asked_for(&known.record, submit) => {
                let RunRecord { number, created, .. } = *known.record;
                return Ok(Admitted::Known(Accepted { number, created, outlook: self.outlook(run) }));
            }
            Ok(_) => {
                let said = "another run was asked for under this id".to_owned();
                return Err(Problem::new(409, "run-exists", said).next("ask under a new id"));
            }
            Err(StoreError::UnknownRun { .. }) => {}
            Err(e) => return Err(down(&e)),
        }
        let Submit { spec, mut plan, made_of } = submit.clone();
        let durations = store.list_durations(&spec.area, &spec.target).map_err(|e| down(&e))?;
        expect_durations(&mut plan, &durations);
        let number = store.reserve_number(&spec.area).map_err(|e| down(&e))?;
        reopening::note_made_of(store, number, at, &made_of)?;
        let record = RunRecord { id: run, number, created: at, spec: Arc::new(spec), plan: Arc::new(plan) };
        Ok(Admitted::New(Arc::new(record), Arc::new(durations)))
    }

    /// Does with a run what a person wants. The lab knows nothing of it: what is under way goes on.
    fn keep(&mut self, run: RunId, what: Keep) -> Result<(), Problem> {
        let shell = self.shell.as_mut().expect("the caller has looked");
        let is_active = shell.lab().runs().any(|known| known == run);
        let store = shell.store();
        let must_be_over = |number: u32| match is_active {
            false => Ok(()),
            true => Err(Problem::new(409, "run-active", format!("run {number} is under way"))
                .next("wait for its end, or stop it first")),
        };
        let done = match what {
            Keep::Say(notes) => {
                let changes: Vec<Change> =
                    notes.into_iter().map(|note| Change::Noted { run, note }).collect();
                store.commit(&changes)
            }
            Keep::Set(setting) => {
                let snapshot = store.load_run_snapshot(run).map_err(refused)?;
                must_be_over(snapshot.record.number)?;
                must_be_open(store, &snapshot.record)?;
                store.commit(&setting.changes(&snapshot))
            }
            Keep::Remove(removal) => {
                must_be_over(store.load_run_snapshot(run).map_err(refused)?.record.number)?;
                store.remove_run(run, &removal)
            }
        };
        done.map_err(refused)
    }

    /// What the lab is told of a run that is to go on.
    fn reopen(&mut self, run: RunId, reopen: Reopen) -> Result<Reopening, Problem> {
        let shell = self.shell.as_mut().expect("the caller has looked");
        let is_active = shell.lab().runs().any(|known| known == run);
        let store = shell.store();
        let snapshot = match store.load_run_snapshot(run) {
            Ok(snapshot) => snapshot,
            Err(StoreError::UnknownRun { .. }) => {
                return Err(Problem::new(404, "no-such-run", "the server has no such run"));
            }
            Err(e) => return Err(down(&e)),
        };
        let (number, created) = (snapshot.record.number, snapshot.record.created);
        if let Some(after) = self.reopenings.find(run, reopen.request) {
            let accepted = Accepted { number, created, outlook: self.outlook(run) };
            return Ok(Reopening::Known(Reopened { accepted, after }));
        }
        if is_active {
            let said = format!("run {number} of `{}` is under way", snapshot.record.spec.area);
            return Err(Problem::new(409, "run-active", said)
                .next(format!("wait for its end: `muster resume {number}` watches it")));
        }
        must_be_open(store, &snapshot.record)?;
        // It begins with nothing of what was taken away. Whoever asks has seen to that; a removal may have come since.
        if store.is_to_lose_files(number).map_err(|e| down(&e))? {
            let said = format!("files of run {number} are still being taken away");
            return Err(Problem::new(503, "record-unavailable", said).next("ask again in a moment"));
        }
        let Reopen { request, items, submit, part } = reopen;
        let made_of = submit.made_of.clone();
        let mut record = reopening::record(&snapshot.record, submit)?;
        reopening::keep_steps(store, &snapshot, &mut record, &items, part)?;
        reopening::note_made_of(store, number, now(), &made_of)?;
        let RunRecord { spec, plan, .. } = &mut record;
        let durations = store.list_durations(&spec.area, &spec.target).map_err(|e| down(&e))?;
        expect_durations(Arc::make_mut(plan), &durations);
        let after = self.hub.now(run);
        let (snapshot, replanned, history) =
            (Box::new(snapshot), Some(Arc::new(record)), Arc::new(durations));
        let input = Box::new(Input::ReopenRun { snapshot, items, replanned, more: Vec::new(), history });
        Ok(Reopening::New { input, request, accepted: (number, created), after })
    }
}

/// Refuses a run that a person has locked.
fn must_be_open(store: &mut Sqlite, run: &RunRecord) -> Result<(), Problem> {
    let head = store.find_run(&run.spec.area, RunName::Number(run.number)).map_err(refused)?;
    match head.and_then(|head| head.said.locked) {
        None => Ok(()),
        Some(lock) => Err(locked(&lock.to_string())),
    }
}

/// What the records do not take.
fn refused(error: StoreError) -> Problem {
    match error {
        StoreError::UnknownRun { .. } => Problem::new(404, "no-such-run", "the server has no such run"),
        StoreError::Locked { lock, .. } => locked(&lock.to_string()),
        error => down(&error),
    }
}

/// Notes how long items are expected to take.
fn expect_durations(plan: &mut Plan, durations: &Durations) {
    for test in &mut plan.tests {
        if let PlannedItems::Listed(items) = &mut test.items {
            for item in items {
                item.micros = durations.micros(&test.def.name, &item.path);
            }
        }
    }
}

/// Whether this is what the record was made of: all but what the server itself has put into it.
fn is_asked_for(record: &RunRecord, submit: &Submit) -> bool {
    let Submit { spec, plan, made_of: _ } = submit;
    let plain = |plan: &Plan| {
        let mut plan = plan.clone();
        for test in &mut plan.tests {
            if let PlannedItems::Listed(items) = &mut test.items {
                items.iter_mut().for_each(|item| item.micros = None);
            }
        }
        plan
    };
    let mut spec = spec.clone();
    if spec.placement.source.is_some() {
        // The packed area is the same; where it was packed is another place each time it is fetched.
        spec.area_dir.clone_from(&record.spec.area_dir);
    }
    *record.spec == spec && plain(&record.plan) == plain(plan)
}

/// A run that is to go on.
enum Reopening {
    /// It was asked for before.
    Known(Reopened),
    New {
        input: Box<Input>,
        request: u128,
        accepted: (u32, Time),
        after: u64,
    },
}

enum Admitted {
    /// It was asked for before.
    Known(Accepted),
    New(Arc<RunRecord>, Arc<dyn History + Send + Sync>),
}

impl Ask {
    fn refuse(self, problem: &Problem) {
        match self {
            Self::Exchange(_, answer) => drop(answer.send(Err(problem.clone()))),
            Self::Submit(.., answer) => drop(answer.send(Err(problem.clone()))),
            Self::Reopen(.., answer) => drop(answer.send(Err(problem.clone()))),
            Self::Why(.., answer) => drop(answer.send(Err(problem.clone()))),
            Self::AddedTo(_, answer) => drop(answer.send(Err(problem.clone()))),
            Self::Device(.., answer) => drop(answer.send(Err(problem.clone()))),
            Self::AgentOf(_, answer) => drop(answer.send(Err(problem.clone()))),
            Self::View(answer) => drop(answer.send(Err(problem.clone()))),
            Self::Goodbye(.., answer)
            | Self::Stop(.., answer)
            | Self::Kill(.., answer)
            | Self::Hold(_, answer)
            | Self::Check(.., answer)
            | Self::Register(_, answer)
            | Self::Checks(_, answer)
            | Self::Quarantine(.., answer)
            | Self::Keep(.., answer)
            | Self::Move(.., answer) => {
                drop(answer.send(Err(problem.clone())));
            }
            Self::End => {}
        }
    }
}

impl Owed {
    fn refuse(self, problem: &Problem) {
        match self {
            Self::Exchange(_, answer) => drop(answer.send(Err(problem.clone()))),
            Self::Plain(answer) => drop(answer.send(Err(problem.clone()))),
            Self::Submit(.., answer) => drop(answer.send(Err(problem.clone()))),
            Self::Reopen { answer, .. } => drop(answer.send(Err(problem.clone()))),
        }
    }
}

/// The record cannot be used just now.
pub(crate) fn down(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    Problem::new(503, "record-unavailable", detail)
        .next("nothing of this was done; the server tries again each second, and so may you")
}

fn problem_of(rejected: &Rejected) -> Problem {
    let (status, next) = match rejected {
        Rejected::Held { .. } => {
            (409, "wait for it, or talk to whoever has it; `muster device release` takes it away")
        }
        Rejected::ReservationOver { .. } => (409, "`muster reserve` takes the device again"),
        Rejected::NoCheckDue(_) => (409, ""),
        Rejected::NotRegistered { .. } => (404, "`muster device list --proposed` lists them"),
        Rejected::TooManyProposals(_) => (429, "adopt or remove some: `muster device list --proposed`"),
        Rejected::NoVerifier(_) => {
            (409, "write `[kind.NAME]` with a verifier into `kinds.toml` in the server's directory")
        }
        Rejected::NoSuchDevice(_) => (404, "`muster device list` lists them"),
        Rejected::NoSuchRun(_) => (404, "it may be over: look at its results"),
        Rejected::BeforeItself(_) => (422, "name another run"),
        Rejected::RunExists(_) => (409, ""),
        Rejected::Plan(_) | Rejected::Selector { .. } | Rejected::TooManyDevices(_) => {
            (422, "mend it and ask again, under a new id")
        }
        Rejected::Replaced { .. } => (409, "another life of this agent has spoken: end this one"),
        Rejected::Stale { .. } => (409, "it was heard: say something newer"),
    };
    Problem::new(status, rejected.code(), rejected.to_string()).next(next)
}
