//! One run on a lab, watched to its end.

use super::complain;
use super::records::ServerRecords;
use crate::commands::typed::ExecArgs;
use crate::context::Context;
use crate::local::reports::Reports;
use crate::local::session::now;
use crate::local::signals::Signals;
use crate::records::StoreLogs;
use crate::terminal::{Interrupt, Watcher, watcher};
use crate::verdict::{self, Stopped};
use muster_api::{Client, ClientError, Seen, SeenWhat, Stop};
use muster_core::event::{Event, Told};
use muster_core::id::RunId;
use muster_core::outcome::ExitCode;
use muster_formats::report::Logs;
use muster_store::{ItemFilter, Store as _};
use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often those who watch are given time to draw, and signals are looked at.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Pause before the server is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// A run this small is loaded whole, so that the summary can name the slowest.
const WHOLE_ITEMS_MAX: u32 = 2_000;

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
        let (stopped, kills, told) = (None, 0, HashSet::new());
        Ok(Self { client, run, context, watcher, reports, logs, signals, stopped, kills, told })
    }

    /// Watches the run to its end.
    pub(super) fn run(mut self) -> Result<ExitCode, anyhow::Error> {
        let (sender, inbox) = channel();
        let (client, run) = (self.client.clone(), self.run);
        std::thread::Builder::new().name("watch".into()).spawn(move || watch(&client, run, &sender))?;
        let reason = self.follow(&inbox)?;
        let mut records = ServerRecords::new(self.client.clone());
        let head = records.load_run(run, ItemFilter::Failed)?;
        let whole = self.reports.need_whole_run() || head.items <= WHOLE_ITEMS_MAX;
        let view = if whole { records.load_run(run, ItemFilter::All)? } else { head };
        let reason = reason.unwrap_or_default();
        self.watcher.finished(&view, &reason);
        let code = verdict::of_execution(&view, self.stopped, &reason, None);
        self.reports.finish(&view, self.logs.as_ref(), code)?;
        Ok(code)
    }

    /// Until the run is over: why it was stopped, if it was.
    fn follow(&mut self, inbox: &Receiver<Watched>) -> Result<Option<String>, anyhow::Error> {
        let mut drawn = now();
        loop {
            let watched = match inbox.recv_timeout(DRAW_EVERY) {
                Ok(watched) => Some(watched),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    anyhow::bail!("the thread that watches the run has ended")
                }
            };
            match watched {
                None => {}
                Some(Watched::Seen(Seen { what: SeenWhat::Told(told), .. })) => self.tell(*told),
                Some(Watched::Seen(Seen { what: SeenWhat::Over(reason), .. })) => return Ok(reason),
                Some(Watched::Seen(Seen { what: SeenWhat::Quiet | SeenWhat::Again, .. })) => {}
                Some(Watched::Lost(error)) => {
                    self.say(&format!("{error}; the run goes on, waiting for the server"));
                }
                Some(Watched::Back) => self.say("the server is back"),
                Some(Watched::Failed(error)) => return Err(complain(error)),
            }
            self.take_signals()?;
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
            Event::AttemptStarted { .. } | Event::RunEnded { .. } => None,
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

    fn take_signals(&mut self) -> Result<(), anyhow::Error> {
        for stopped in self.signals.take() {
            self.stopped.get_or_insert(stopped);
            self.kills += 1;
            let kill = self.kills > 1;
            self.watcher.interrupted(if kill { Interrupt::Killing } else { Interrupt::Stopping });
            let reason = match stopped {
                Stopped::Interrupted => "interrupted (Ctrl-C)",
                Stopped::Terminated => "terminated",
            };
            match self.client.stop(self.run, &Stop { reason: reason.to_owned(), kill }) {
                Ok(()) => {}
                // It has just ended.
                Err(e) if e.code() == Some("no-such-run") => {}
                Err(e) => return Err(complain(e)),
            }
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        // Whoever started it may have gone away.
        drop(writeln!(self.context.stderr(), "{text}"));
    }
}

/// Watches until the run is over, through restarts of the server.
fn watch(client: &Client, run: RunId, say: &Sender<Watched>) {
    let (mut after, mut lost) = (0, false);
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
