//! One run on a lab, watched to its end.

use super::complain;
use super::records::ServerRecords;
use crate::commands::megatest::afterwards;
use crate::commands::typed::ExecArgs;
use crate::context::Context;
use crate::local::again::places;
use crate::local::megatest::is_area;
use crate::local::reports::Reports;
use crate::local::session::now;
use crate::local::signals::Signals;
use crate::records::StoreLogs;
use crate::terminal::{Interrupt, Watcher, watcher};
use crate::verdict::{self, Stopped};
use muster_api::{Client, ClientError, Seen, SeenWhat, Stop};
use muster_core::change::RunSnapshot;
use muster_core::event::{Event, Told};
use muster_core::id::{ItemIx, RunId};
use muster_core::outcome::{Counts, ExitCode, Verdict};
use muster_core::view::{ItemView, RunView};
use muster_formats::report::Logs;
use muster_store::{ItemFilter, Store as _};
use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often those who watch are given time to draw, and signals are looked at.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Pause before the server is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// A server that watches on says so every 15 s. A connection on which nothing came for so long is dead,
/// whatever the system thinks of it.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// A run this small is loaded whole, so that the summary can name the slowest.
const WHOLE_ITEMS_MAX: u32 = 2_000;

/// With so many Ctrl-C this command ends at once.
const LEAVES: u32 = 3;

/// A run and those who watch it.
pub(super) struct Session<'a> {
    client: Client,
    run: RunId,
    context: &'a Context,
    watcher: Box<dyn Watcher>,
    reports: Reports,
    logs: Arc<dyn Logs + Send + Sync>,
    signals: Signals,
    stopped: Option<Stopped>,
    kills: u32,
    /// What was told, so that it is not told again by a server that was restarted.
    told: HashSet<Key>,
    /// The news behind this number are watched.
    after: u64,
}

/// What tells one piece of news from another.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Run,
    Found(Arc<str>),
    Attempt(Arc<str>, Arc<str>, u16),
    Item(Arc<str>, Arc<str>),
    Test(Arc<str>),
}

/// What had ended before a run went on.
pub(super) struct Ended(HashSet<Key>);

impl Ended {
    /// Of this run, all of which but these items, and what was cancelled, stays as it is.
    pub(super) fn of(run: &RunView, snapshot: &RunSnapshot, again: &[ItemIx]) -> Self {
        let places = places(snapshot);
        let stays = |test: &str, item: &ItemView| {
            let place = places.get(&(test, item.path.as_str(), item.discovery));
            item.verdict.is_some_and(|v| v != Verdict::Cancelled)
                && !place.is_some_and(|ix| again.contains(ix))
        };
        let mut told = HashSet::new();
        for test in &run.tests {
            let name: Arc<str> = test.name.as_str().into();
            for item in &test.items {
                let path: Arc<str> = item.path.as_str().into();
                for attempt in &item.attempts {
                    told.insert(Key::Attempt(Arc::clone(&name), Arc::clone(&path), attempt.number));
                }
                if !item.discovery && stays(&name, item) {
                    told.insert(Key::Item(Arc::clone(&name), path));
                }
            }
            if test.verdict.is_some() && test.items.iter().all(|item| stays(&name, item)) {
                told.insert(Key::Test(name));
            }
        }
        Self(told)
    }
}

/// What the watching thread has to say.
enum Watched {
    Seen(Seen),
    Lost(ClientError),
    Back,
    /// The server refuses to go on.
    Failed(ClientError),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        client: Client,
        run: RunId,
        exec: &ExecArgs,
        context: &'a Context,
    ) -> Result<Self, anyhow::Error> {
        let logs: Arc<dyn Logs + Send + Sync> = Arc::new(StoreLogs::of_server(client.clone(), run));
        let reports = Reports::open(&exec.reports, &context.dir, &logs)?;
        let watcher = watcher(exec.progress, context, Arc::clone(&logs));
        let signals = Signals::catch()?;
        let (stopped, kills, told, after) = (None, 0, HashSet::new(), 0);
        Ok(Self { client, run, context, watcher, reports, logs, signals, stopped, kills, told, after })
    }

    /// It is a run that goes on: what had ended before is not told again, and its news begin behind this number.
    pub(super) fn goes_on(&mut self, before: Counts, ended: Ended, after: u64) {
        self.watcher.goes_on(before);
        self.told = ended.0;
        self.after = after;
    }

    /// Watches the run to its end. `again`: the verdicts of the items that were to be run again, if it was some.
    pub(super) fn run(
        mut self,
        again: impl FnOnce(&mut ServerRecords) -> Result<Option<Vec<Verdict>>, anyhow::Error>,
    ) -> Result<ExitCode, anyhow::Error> {
        let reason = match self.follow()? {
            Followed::Over(reason) => reason,
            Followed::Left(code) => return Ok(code),
        };
        let mut records = ServerRecords::new(self.client.clone());
        let head = records.load_run(self.run, ItemFilter::Failed)?;
        let whole = self.reports.need_whole_run() || head.items <= WHOLE_ITEMS_MAX;
        let view = if whole { records.load_run(self.run, ItemFilter::All)? } else { head };
        let reason = reason.unwrap_or_default();
        self.watcher.finished(&view, &reason);
        let again = again(&mut records)?;
        let code = verdict::of_execution(&view, self.stopped, &reason, again.as_deref());
        self.reports.finish(&view, self.logs.as_ref(), code)?;
        // What an area of Megatest's has done after the end is done where somebody waits for it, as its hooks are.
        if let Ok(area) = self.context.area_dir()
            && is_area(&area)
        {
            let book = afterwards::book_of_lab(&area, self.run);
            afterwards::of_run(&mut records, self.run, &area, &book, &mut self.context.stderr())?;
        }
        Ok(code)
    }

    /// Watches from behind this news on, on a thread of its own.
    fn watch_from(&self, after: u64) -> Result<Receiver<Watched>, anyhow::Error> {
        let (sender, inbox) = channel();
        let (client, run) = (self.client.clone(), self.run);
        std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || watch(&client, run, after, &sender))?;
        Ok(inbox)
    }

    /// Until the run is over, or nobody wants to watch any more.
    fn follow(&mut self) -> Result<Followed, anyhow::Error> {
        let (mut drawn, mut after, mut heard) = (now(), self.after, Instant::now());
        let mut inbox = self.watch_from(after)?;
        let (failing, failures) = channel();
        loop {
            let watched = match inbox.recv_timeout(DRAW_EVERY) {
                Ok(watched) => Some(watched),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    anyhow::bail!("the thread that watches the run has ended")
                }
            };
            if watched.is_some() {
                heard = Instant::now();
            } else if heard.elapsed() >= SILENCE_MAX {
                // The thread of the dead connection ends when that does; nobody listens to it.
                heard = Instant::now();
                inbox = self.watch_from(after)?;
            }
            match watched {
                None => {}
                Some(Watched::Seen(Seen { id, what })) => {
                    after = id;
                    match what {
                        SeenWhat::Told(told) => self.tell(*told),
                        SeenWhat::Over(reason) => return Ok(Followed::Over(reason)),
                        SeenWhat::Quiet | SeenWhat::Again => {}
                    }
                }
                Some(Watched::Lost(error)) => {
                    self.say(&format!("{error}; the run goes on, waiting for the server"));
                }
                Some(Watched::Back) => self.say("the server is back"),
                Some(Watched::Failed(error)) => return Err(complain(error)),
            }
            if let Some(code) = self.take_signals(&failing)? {
                return Ok(Followed::Left(code));
            }
            if let Ok(error) = failures.try_recv() {
                return Err(complain(error));
            }
            let at = now();
            if at.since(drawn) >= DRAW_EVERY {
                drawn = at;
                self.watcher.tick(at, None);
            }
        }
    }

    fn tell(&mut self, told: Told) {
        let key = match &told.event {
            Event::RunStarted { .. } => Some(Key::Run),
            Event::ItemsFound { test, .. } => Some(Key::Found(Arc::clone(test))),
            Event::AttemptStarted { .. } | Event::Waiting { .. } | Event::RunEnded { .. } => None,
            Event::AttemptEnded { test, item, attempt, .. } => {
                Some(Key::Attempt(Arc::clone(test), Arc::clone(item), *attempt))
            }
            Event::ItemEnded { test, item, .. } => Some(Key::Item(Arc::clone(test), Arc::clone(item))),
            Event::TestEnded { test, .. } => Some(Key::Test(Arc::clone(test))),
        };
        if key.is_none_or(|key| self.told.insert(key)) {
            self.watcher.told(&told);
            self.reports.told(std::slice::from_ref(&told));
        }
    }

    /// Stops the run where that is asked for; the exit code where this command is to end at once.
    fn take_signals(&mut self, failing: &Sender<ClientError>) -> Result<Option<ExitCode>, anyhow::Error> {
        for stopped in self.signals.take() {
            self.stopped.get_or_insert(stopped);
            self.kills += 1;
            if self.kills >= LEAVES {
                self.say("left; whether the lab has heard that the run is to be stopped is not known");
                return Ok(Some(match stopped {
                    Stopped::Interrupted => ExitCode::Interrupted,
                    Stopped::Terminated => ExitCode::Terminated,
                }));
            }
            let kill = self.kills > 1;
            self.watcher.interrupted(if kill { Interrupt::Killing } else { Interrupt::Stopping });
            let reason = match stopped {
                Stopped::Interrupted => "interrupted (Ctrl-C)",
                Stopped::Terminated => "terminated",
            };
            let (client, run, failing) = (self.client.clone(), self.run, failing.clone());
            let stop = Stop { reason: reason.to_owned(), kill };
            // A server that stands still holds nobody up here.
            std::thread::Builder::new().name("stop".into()).spawn(move || {
                if let Err(error) = ask_to_stop(&client, run, &stop) {
                    // Nobody listens only when the session has ended.
                    let _told = failing.send(error);
                }
            })?;
        }
        Ok(None)
    }

    fn say(&self, text: &str) {
        // Whoever started it may have gone away.
        drop(writeln!(self.context.stderr(), "{text}"));
    }
}

/// How watching ended.
enum Followed {
    /// With the run: why it was stopped, if it was.
    Over(Option<String>),
    /// Before, by whoever watched.
    Left(ExitCode),
}

/// Asks until the server has heard it.
fn ask_to_stop(client: &Client, run: RunId, stop: &Stop) -> Result<(), ClientError> {
    loop {
        match client.stop(run, stop) {
            Ok(()) => return Ok(()),
            // It has just ended.
            Err(e) if e.code() == Some("no-such-run") => return Ok(()),
            Err(e) if e.may_pass() => std::thread::sleep(AGAIN),
            Err(e) => return Err(e),
        }
    }
}

/// Watches until the run is over, through restarts of the server.
fn watch(client: &Client, run: RunId, mut after: u64, say: &Sender<Watched>) {
    let mut lost = false;
    loop {
        let error = match client.watch(run, after) {
            Ok(seen) => {
                if std::mem::take(&mut lost) && say.send(Watched::Back).is_err() {
                    return;
                }
                let mut broken = None;
                for seen in seen {
                    match seen {
                        Ok(seen) => {
                            after = seen.id;
                            let over = matches!(seen.what, SeenWhat::Over(_));
                            if say.send(Watched::Seen(seen)).is_err() || over {
                                return;
                            }
                        }
                        Err(e) => {
                            broken = Some(e);
                            break;
                        }
                    }
                }
                broken
            }
            Err(e) => Some(e),
        };
        match error {
            Some(e) if !e.may_pass() => {
                // Nobody listens only when the session ends.
                let _ended = say.send(Watched::Failed(e));
                return;
            }
            // Told once.
            Some(_) if lost => {}
            Some(e) => {
                lost = true;
                if say.send(Watched::Lost(e)).is_err() {
                    return;
                }
            }
            // The server has ended in good order: it comes back, or it does not answer.
            None => {}
        }
        std::thread::sleep(AGAIN);
    }
}
