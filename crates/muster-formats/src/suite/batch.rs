//! The book that a reader keeps of the items of one process: which runs, which has ended, and who is to
//! blame when the process ends.

use super::item_log::ItemLog;
use super::{End, ItemEnd, Reported};
use muster_core::attempt::Cause;
use muster_core::outcome::Outcome;
use muster_core::output::{self, Stream};
use std::time::Duration;

/// What a framework has said about an item; the rest is known to the [`Book`].
pub(super) struct Said {
    /// What it came to.
    pub(super) outcome: Outcome,
    /// For people.
    pub(super) message: String,
    /// By the framework's own clock.
    pub(super) duration: Option<Duration>,
}

impl Said {
    pub(super) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), duration: None }
    }
}

/// The items of one process.
pub(super) struct Book {
    done: Vec<bool>,
    left: usize,
    failed: bool,
    running: Option<Running>,
    /// Output while no item ran, since the last one ended.
    outside: ItemLog,
    /// The last item to end, until the process has.
    held: Option<(usize, ItemEnd)>,
    log_max: usize,
}

struct Running {
    index: usize,
    started: Duration,
    log: ItemLog,
}

impl Book {
    pub(super) fn new(items: usize, log_max: usize) -> Self {
        Self {
            done: vec![false; items],
            left: items,
            failed: false,
            running: None,
            outside: ItemLog::new(Duration::ZERO, log_max),
            held: None,
            log_max,
        }
    }

    /// The item that runs.
    pub(super) fn running(&self) -> Option<usize> {
        self.running.as_ref().map(|r| r.index)
    }

    /// The item has not ended and does not run.
    pub(super) fn is_waiting(&self, index: usize) -> bool {
        self.done.get(index) == Some(&false) && self.running() != Some(index)
    }

    /// No item of the process failed so far.
    pub(super) fn all_good(&self) -> bool {
        !self.failed
    }

    /// Output of the item that runs, or of none.
    pub(super) fn push(&mut self, stream: Stream, at: Duration, text: &[u8]) {
        match &mut self.running {
            Some(r) => r.log.push(stream, at, text),
            None => self.outside.push(stream, at, text),
        }
    }

    /// An item begins. One that ran and was not ended is forgotten by the framework: it is not done.
    pub(super) fn start(&mut self, index: usize, at: Duration, out: &mut Vec<Reported>) {
        self.outside = ItemLog::new(at, self.log_max);
        self.running = Some(Running { index, started: at, log: ItemLog::new(at, self.log_max) });
        out.push(Reported::Started { index, at });
    }

    /// Where the running item's log is now; see [`ItemLog::mark`].
    pub(super) fn mark(&mut self) -> u64 {
        self.running.as_mut().map_or(0, |r| r.log.mark())
    }

    /// The running item's log goes on being written by the caller; it is ended by [`end`](Self::end).
    pub(super) fn take_running(&mut self) -> Option<(usize, Duration, ItemLog)> {
        let r = self.running.take()?;
        self.outside = ItemLog::new(r.started, self.log_max);
        Some((r.index, r.started, r.log))
    }

    /// The running item has ended as the framework said.
    pub(super) fn end_running(&mut self, at: Duration, said: Said, out: &mut Vec<Reported>) {
        if let Some((index, started, log)) = self.take_running() {
            self.outside = ItemLog::new(at, self.log_max);
            let duration = said.duration.unwrap_or_else(|| at.saturating_sub(started));
            let end = ItemEnd {
                outcome: said.outcome,
                cause: Cause::Framework,
                message: said.message,
                started,
                duration,
                steps: Vec::new(),
                log: log.finish().log,
            };
            self.end(index, end, out);
        }
    }

    /// An item has ended.
    pub(super) fn end(&mut self, index: usize, end: ItemEnd, out: &mut Vec<Reported>) {
        match self.done.get_mut(index) {
            Some(done @ false) => *done = true,
            Some(true) | None => return,
        }
        self.left -= 1;
        self.failed |= !end.outcome.is_good();
        if self.left == 0 {
            self.held = Some((index, end));
        } else {
            out.push(Reported::Ended { index, end });
        }
    }

    /// The process has ended. `expected`: this is how it ends when what it reported is all there is to
    /// say, so items it has said nothing about were not run at all.
    pub(super) fn close(&mut self, end: &End, expected: bool, at: Duration, out: &mut Vec<Reported>) {
        if let Some((index, started, log)) = self.take_running() {
            let (mut outcome, cause) = end.judgement();
            if outcome == Outcome::Pass {
                outcome = Outcome::Fail;
            }
            let log = log.finish().log;
            let message = with_last_words(&format!("the process {end} in the middle of the test"), &log);
            self.blame(index, (outcome, cause), message, (started, at), log, out);
        } else if self.left > 0 {
            self.close_without_running(end, expected, at, out);
        }
        if let Some((index, mut last)) = self.held.take() {
            let stopped = matches!(end, End::Stopped(_));
            if !expected && !stopped && matches!(last.cause, Cause::Framework) {
                let (outcome, cause) = end.judgement();
                let outcome = if outcome.is_good() { Outcome::Fail } else { outcome };
                // What the item said of itself stays when it failed of its own accord.
                if last.outcome.is_good() {
                    last.outcome = outcome;
                    last.cause = cause;
                    let outside = std::mem::replace(&mut self.outside, ItemLog::new(at, 0));
                    last.log.extend(outside.finish().log);
                    last.message =
                        with_last_words(&format!("the process {end} after its last test"), &last.log);
                }
            }
            out.push(Reported::Ended { index, end: last });
        }
    }

    fn close_without_running(&mut self, end: &End, expected: bool, at: Duration, out: &mut Vec<Reported>) {
        let waiting: Vec<usize> = (0..self.done.len()).filter(|i| !self.done[*i]).collect();
        let none_ran = waiting.len() == self.done.len();
        let log = std::mem::replace(&mut self.outside, ItemLog::new(at, 0)).finish().log;
        if expected {
            let message =
                "the framework ended well but did not run this item; is the list of items out of date?";
            for index in waiting {
                let what = (Outcome::Error, Cause::Lab("the framework did not run it".to_owned()));
                self.blame(index, what, message.to_owned(), (at, at), log.clone(), out);
            }
            return;
        }
        let (mut outcome, cause) = end.judgement();
        if outcome == Outcome::Pass {
            outcome = Outcome::Fail;
        }
        // Nothing ran: all items of this process share its fate, for each would meet it again. Else the
        // next one is to blame: what went wrong lies before its start.
        let blamed = if none_ran { waiting.len() } else { 1 };
        let when = if none_ran {
            "before it ran any test"
        } else {
            "after one test had ended and before the next began"
        };
        let message = with_last_words(&format!("the process {end} {when}"), &log);
        for index in waiting.into_iter().take(blamed) {
            self.blame(index, (outcome, cause.clone()), message.clone(), (at, at), log.clone(), out);
        }
    }

    fn blame(
        &mut self,
        index: usize,
        (outcome, cause): (Outcome, Cause),
        message: String,
        (started, at): (Duration, Duration),
        log: Vec<u8>,
        out: &mut Vec<Reported>,
    ) {
        let duration = at.saturating_sub(started);
        let end = ItemEnd { outcome, cause, message, started, duration, steps: Vec::new(), log };
        self.end(index, end, out);
    }
}

/// `what: last line of the log`.
pub(super) fn with_last_words(what: &str, log: &[u8]) -> String {
    let last = |wanted: Stream| {
        let text = output::text(log, |s| s == wanted);
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().map(str::trim).rfind(|l| !l.is_empty()).map(|l| super::shorten(l).into_owned())
    };
    match last(Stream::Stderr).or_else(|| last(Stream::Stdout)) {
        Some(line) => format!("{what}: {line}"),
        None => what.to_owned(),
    }
}
