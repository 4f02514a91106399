//! One run from its start to its end: the loop round the shell.
//!
//! Wait for the agent, a signal or the clock; take in all there is; one turn (which commits); then send
//! the orders and tell those who watch.

use super::agent::Agent;
use super::door::{self, Door, DoorAsk};
use super::places::SharedPlaces;
use super::reports::Reports;
use super::signals::Signals;
use super::standing::Teller;
use crate::commands::megatest::afterwards;
use crate::commands::typed::ExecArgs;
use crate::context::Context;
use crate::error::Complaint;
use crate::records::StoreLogs;
use crate::terminal::{Interrupt, Watcher, watcher};
use crate::verdict::{self, Stopped};
use muster_agent::process::AgentProcess;
use muster_core::change::{MoreItems, RunPhase, RunRecord, RunSnapshot};
use muster_core::id::{ItemIx, RunId};
use muster_core::lab::{Input, Policy, counts_places};
use muster_core::note::spots;
use muster_core::outcome::{Counts, ExitCode, Verdict};
use muster_core::plan::History;
use muster_core::time::Time;
use muster_core::view::RunView;
use muster_formats::report::Logs;
use muster_server::{Shell, ShellError, Turn};
use muster_store::{Durations, ItemFilter, LockError, RunLock, Sqlite, Store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often those who watch are given time to draw.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// What is to be executed.
pub(crate) enum Request {
    /// A new run.
    New(Arc<RunRecord>),
    /// A recorded run goes on; these items get further attempts.
    Again {
        /// What is recorded of it.
        snapshot: Box<RunSnapshot>,
        /// Items with a verdict that are run once more.
        items: Vec<ItemIx>,
        /// Changed definitions.
        replanned: Option<Arc<RunRecord>>,
        /// Items that it gets beyond those it has.
        more: Vec<MoreItems>,
        /// Only the items run now decide the exit code, with a word for what is outstanding.
        partial: bool,
    },
}

impl Request {
    fn record(&self) -> &Arc<RunRecord> {
        match self {
            Self::New(record) => record,
            Self::Again { snapshot, replanned, .. } => replanned.as_ref().unwrap_or(&snapshot.record),
        }
    }
}

/// Executes the request to its end.
///
/// # Errors
/// The records cannot be written, or the agent cannot be had.
pub(crate) fn execute(
    request: Request,
    mut store: Sqlite,
    agent: Agent,
    durations: Arc<Durations>,
    exec: &ExecArgs,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let record = Arc::clone(request.record());
    let id = record.id;
    let area_dir = Path::new(&record.spec.area_dir).to_owned();
    let run_dir = store.run_dir(record.number).expect("the records of an area are in a directory");
    let lock = RunLock::acquire(&run_dir).map_err(|e| match e {
        LockError::Held { .. } => {
            Complaint::usage(format!("run `{}` cannot be taken up", record.number)).because(e).hint(format!(
                "wait for it, or end that process; `{} results {}` shows how far it is",
                context.program(),
                record.number
            ))
        }
        LockError::Store(e) => Complaint::lab("the run cannot be locked").because(e),
    })?;
    let shared: Arc<dyn Logs + Send + Sync> = Arc::new(StoreLogs::new(&area_dir, id));
    // Without one nobody can ask it for anything, and it runs all the same.
    let door = Door::open(&run_dir).ok();
    let mut reports = Reports::open(&exec.reports, &context.dir, &shared)?;
    let signals = Signals::catch()?;
    if matches!(request, Request::Again { .. }) {
        store.adopt_run(id)?;
    }
    let history: Arc<dyn History + Send + Sync> = durations;
    let shell = Shell::restore(store, Policy { closed: true, ..Policy::default() }, now(), &|_| {
        Arc::clone(&history)
    })?;
    let mut watcher = watcher(exec.progress, context, Arc::clone(&shared));
    let (first, again) = match request {
        Request::New(record) => (Input::CreateRun { record, history }, None),
        Request::Again { snapshot, items, replanned, more, partial } => {
            let known = spots(&snapshot).len();
            let new = more.iter().map(|m| m.items.len()).sum::<usize>();
            let new = (known..known + new).filter_map(|ix| u32::try_from(ix).ok().map(ItemIx));
            let again = partial.then(|| items.iter().copied().chain(new).collect::<Vec<_>>());
            watcher.goes_on(ended_before(&snapshot, &items));
            (Input::ReopenRun { snapshot, items, replanned, more, history }, again)
        }
    };
    let records = run_dir.parent().and_then(Path::parent).unwrap_or(&run_dir);
    let places = if counts_places(&record) { Some(SharedPlaces::new(records)?) } else { None };
    let mut session = Session {
        shell,
        agent,
        run: id,
        door,
        watcher,
        reports: &mut reports,
        stopped: None,
        kills: 0,
        heard: Vec::new(),
        places,
        standing: Teller::new(&run_dir),
    };
    let ended = session.run(first, &signals);
    // Whatever an agent that was killed has left is killed now.
    let rest = session.agent.process.kill_rest();
    ended?;
    rest.map_err(|e| Complaint::lab("the agent process cannot be waited for").because(e))?;
    let stopped = session.stopped;
    let Session { shell, mut watcher, .. } = session;
    let mut store = shell.into_store();
    let reason = match store.load_run_snapshot(id)?.phase {
        RunPhase::Stopped { reason, .. } => reason,
        RunPhase::Active | RunPhase::Ended { .. } => String::new(),
    };
    let view = load_view(&mut store, id, reports.need_whole_run())?;
    watcher.finished(&view, &reason);
    let again = match again {
        None => None,
        Some(items) => Some(verdicts_of(&mut store, id, &items)?),
    };
    store.delete_lab()?;
    if super::megatest::is_area(&area_dir) {
        let book = afterwards::book_of(&area_dir, record.number);
        afterwards::of_run(&mut store, id, &area_dir, &book, &mut context.stderr())?;
    }
    let code = verdict::of_execution(&view, stopped, &reason, again.as_deref());
    reports.finish(&view, shared.as_ref(), code)?;
    drop(lock);
    Ok(code)
}

/// What had its verdict before and keeps it.
pub(crate) fn ended_before(snapshot: &RunSnapshot, again: &[ItemIx]) -> Counts {
    let mut counts = Counts::default();
    let kept = snapshot.items.iter().filter(|(ix, _)| !again.contains(ix));
    for verdict in kept.filter_map(|(_, record)| record.verdict).filter(|v| *v != Verdict::Cancelled) {
        counts.add(verdict);
    }
    counts
}

/// The run as the summary and the reports need it: without what plainly passed, unless a report is written.
fn load_view(store: &mut Sqlite, id: RunId, whole: bool) -> Result<RunView, anyhow::Error> {
    // Limit: a run this small is loaded whole anyway, so that the summary can name the slowest.
    const WHOLE_ITEMS_MAX: u32 = 2_000;
    let head = store.load_run(id, ItemFilter::Failed)?;
    let filter = if whole || head.items <= WHOLE_ITEMS_MAX { ItemFilter::All } else { return Ok(head) };
    Ok(store.load_run(id, filter)?)
}

/// What these items came to.
///
/// # Errors
/// The records cannot be read.
pub(crate) fn verdicts_of(
    store: &mut dyn Store,
    id: RunId,
    items: &[ItemIx],
) -> Result<Vec<Verdict>, anyhow::Error> {
    let snapshot = store.load_run_snapshot(id)?;
    Ok(snapshot
        .items
        .iter()
        .filter(|(ix, _)| items.contains(ix))
        .filter_map(|(_, record)| record.verdict)
        .collect())
}

struct Session<'a> {
    shell: Shell<Sqlite>,
    agent: Agent,
    run: RunId,
    /// Where other processes ask.
    door: Option<Door>,
    /// Those whose question the next turn takes in.
    heard: Vec<UnixStream>,
    watcher: Box<dyn Watcher>,
    reports: &'a mut Reports,
    stopped: Option<Stopped>,
    /// Signals that asked to stop.
    kills: u32,
    /// What it shares with other runs, where it shares anything.
    places: Option<SharedPlaces>,
    /// Tells others where the run stands.
    standing: Teller,
}

impl Session<'_> {
    fn run(&mut self, first: Input, signals: &Signals) -> Result<(), anyhow::Error> {
        let mut inputs = vec![first];
        let mut drawn = now();
        let mut is_recorded = false;
        let mut hurries = false;
        loop {
            let at = now();
            if let Some(places) = &self.places {
                self.shell.set_granted(places.granted()?);
            }
            let turn = self.shell.turn(at, inputs.drain(..)).map_err(|e| not_recorded(e, is_recorded))?;
            is_recorded = true;
            self.heard.drain(..).for_each(door::answer);
            if let Some((_, rejected)) = turn.rejected.first() {
                // Nobody but this loop speaks to the lab, so a refusal is our own mistake.
                let stale = matches!(
                    rejected,
                    muster_core::lab::Rejected::Stale { .. } | muster_core::lab::Rejected::Replaced { .. }
                );
                anyhow::ensure!(stale, "the lab refused: {rejected}");
            }
            self.act(turn)?;
            if self.shell.is_over(self.run) {
                return Ok(());
            }
            // Only now: what it said before it ended is recorded, whatever comes of the next.
            if self.agent.process.link.has_ended() {
                let how = self.agent.replace()?;
                self.watcher.agent_lost(how);
            }
            if at.since(drawn) >= DRAW_EVERY {
                drawn = at;
                self.watcher.tick(at, None);
            }
            self.standing.look(self.shell.lab(), self.run);
            if let Some(places) = &mut self.places {
                // What was got can be used at once; if it is not, other things are looked at first.
                hurries = places.settle(self.shell.lab())? && !hurries;
                if hurries {
                    continue;
                }
            }
            let wake = self.shell.wake_at().map_or(DRAW_EVERY, |t| t.since(now()));
            self.wait(wake.min(DRAW_EVERY.saturating_sub(now().since(drawn))), signals)?;
            self.collect(signals, &mut inputs)?;
        }
    }

    fn act(&mut self, turn: Turn) -> Result<(), anyhow::Error> {
        for (_, orders) in turn.orders {
            self.agent
                .process
                .link
                .send(*orders)
                .map_err(|e| Complaint::lab("the agent cannot be told what to do").because(e))?;
        }
        for told in &turn.told {
            self.watcher.told(told);
        }
        self.reports.told(&turn.told);
        Ok(())
    }

    fn wait(&mut self, at_most: Duration, signals: &Signals) -> Result<(), anyhow::Error> {
        let mut others: Vec<BorrowedFd<'_>> = signals.streams().into_iter().map(AsFd::as_fd).collect();
        others.extend(self.door.as_ref().map(AsFd::as_fd));
        let Some(places) = &self.places else { return poll_all(&self.agent.process, &others, at_most) };
        others.push(places.bell());
        let at_most = places.look_in().map_or(at_most, |look| look.min(at_most));
        poll_all(&self.agent.process, &others, at_most)?;
        places.heard();
        Ok(())
    }

    fn collect(&mut self, signals: &Signals, inputs: &mut Vec<Input>) -> Result<(), anyhow::Error> {
        for stopped in signals.take() {
            self.stopped.get_or_insert(stopped);
            self.kills += 1;
            let kill = self.kills > 1;
            self.watcher.interrupted(if kill { Interrupt::Killing } else { Interrupt::Stopping });
            let reason = match stopped {
                Stopped::Interrupted => "interrupted (Ctrl-C)",
                Stopped::Terminated => "terminated",
            };
            inputs.push(Input::StopRun { run: self.run, reason: reason.to_owned(), kill });
        }
        for (ask, stream) in self.door.iter().flat_map(Door::take) {
            let DoorAsk::Kill { items, reason } = ask;
            inputs.push(Input::Kill { run: self.run, items, reason });
            self.heard.push(stream);
        }
        let agent = &mut self.agent.process;
        let heard = agent.link.flush().and_then(|()| agent.link.receive()).map_err(|e| {
            Complaint::lab("the agent cannot be spoken with")
                .because(e)
                .hint("what had ended is recorded: `muster resume` goes on from there")
        })?;
        inputs.extend(heard.into_iter().map(|e| Input::Exchange(Box::new(e))));
        if agent.link.has_ended() {
            inputs.push(self.agent.gone());
        }
        Ok(())
    }
}

/// A turn that could not be recorded, with what to do about it once there is a run to go on with.
fn not_recorded(error: ShellError, is_recorded: bool) -> anyhow::Error {
    match error {
        ShellError::Store(_) if is_recorded => Complaint::lab(error.to_string())
            .because(error)
            .hint("what had ended is recorded: `muster resume` goes on from there")
            .into(),
        ShellError::Store(_) | ShellError::Restore(_) => error.into(),
    }
}

/// Waits until the agent says something, or so long.
///
/// # Errors
/// The system cannot wait.
pub(crate) fn wait_for(agent: &AgentProcess, at_most: Duration) -> Result<(), anyhow::Error> {
    poll_all(agent, &[], at_most)
}

fn poll_all(agent: &AgentProcess, others: &[BorrowedFd<'_>], at_most: Duration) -> Result<(), anyhow::Error> {
    let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
    let interest = if agent.link.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let fd = agent.link.fd().expect("the agent is ended only after the loop");
    let mut fds = vec![PollFd::new(&fd, interest)];
    fds.extend(others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(Complaint::lab("cannot wait for the agent").because(e).into()),
    }
}

/// The time now, for the lab.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(muster_core::time::micros(since))
}
