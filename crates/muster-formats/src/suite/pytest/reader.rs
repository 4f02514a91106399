//! Reads what the plug-in reports, and puts each item's phases together.

use super::super::batch::Book;
use super::super::bytes::take_line;
use super::super::item_log::ItemLog;
use super::super::{End, ItemEnd, LaunchItem, Reader, Reported, shorten};
use muster_core::attempt::{Cause, StepResult};
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use serde::Deserialize;
use std::collections::HashMap;
use std::time::Duration;

/// One line of the plug-in.
#[derive(Debug, Deserialize)]
#[serde(tag = "e", rename_all = "kebab-case")]
pub(super) enum Event {
    /// An item was collected.
    Item { id: String },
    /// A collector (a module, a class) skipped itself or failed.
    Collect { id: String, outcome: String, message: String, text: String },
    /// The items are known; whether pytest captures what tests print.
    Ready { capture: bool },
    /// An item begins.
    Start { id: String },
    /// One of an item's phases, or a subtest, has ended.
    Phase(Phase),
    /// An item has ended.
    Finish { id: String },
    /// pytest has finished; `foreign` collectors that nobody asked for failed.
    End { foreign: u32 },
}

/// A phase report.
#[derive(Debug, Deserialize)]
pub(super) struct Phase {
    id: String,
    /// `setup`, `call` or `teardown`.
    when: String,
    /// `passed`, `failed`, `skipped`, or `rerun` (pytest-rerunfailures).
    outcome: String,
    seconds: f64,
    message: String,
    text: String,
    /// Captured output: heading and text.
    sections: Vec<(String, String)>,
    /// The reason of its xfail mark, where that decided the outcome.
    xfail: Option<String>,
    /// The subtest it is about.
    sub: Option<String>,
}

/// Reads the report of one process.
pub(in super::super) struct PytestReader {
    names: HashMap<String, usize>,
    book: Book,
    log_max: usize,
    line: Vec<u8>,
    /// What the process printed by itself since the running item began: pytest's own progress, unless
    /// capture is off or the process dies.
    raw: ItemLog,
    captured: bool,
    so_far: SoFar,
    over: Option<u32>,
}

/// What is known of the running item.
#[derive(Default)]
struct SoFar {
    worst: Option<(Outcome, String)>,
    duration: Duration,
    steps: Vec<StepResult>,
    reruns: u32,
    /// This try does not count: another follows (pytest-rerunfailures).
    again: bool,
}

impl PytestReader {
    pub(in super::super) fn new(items: &[LaunchItem<'_>], log_max: usize) -> Self {
        Self {
            names: items.iter().enumerate().map(|(i, item)| (item.selector.to_owned(), i)).collect(),
            book: Book::new(items.len(), log_max),
            log_max,
            line: Vec::new(),
            raw: ItemLog::new(Duration::ZERO, log_max),
            captured: true,
            so_far: SoFar::default(),
            over: None,
        }
    }

    fn event(&mut self, at: Duration, event: Event, out: &mut Vec<Reported>) {
        match event {
            Event::Item { .. } => {}
            Event::Ready { capture } => self.captured = capture,
            Event::Start { id } => {
                if self.so_far.again && self.names.get(&id).copied() == self.book.running() {
                    let SoFar { duration, reruns, .. } = std::mem::take(&mut self.so_far);
                    self.so_far = SoFar { duration, reruns, ..SoFar::default() };
                    return;
                }
                if let Some(index) = self.names.get(&id).copied().filter(|i| self.book.is_waiting(*i)) {
                    self.so_far = SoFar::default();
                    self.raw = ItemLog::new(at, self.log_max);
                    self.book.start(index, at, out);
                }
            }
            Event::Phase(phase) => {
                if self.book.running().is_some() && self.names.get(&phase.id).copied() == self.book.running()
                {
                    self.phase(at, phase);
                }
            }
            Event::Finish { id } => {
                if self.book.running().is_some() && self.names.get(&id).copied() == self.book.running() {
                    self.finish(at, out);
                }
            }
            Event::Collect { id, outcome, message, text } => {
                self.collector(at, &id, &outcome, &message, &text, out);
            }
            Event::End { foreign } => self.over = Some(foreign),
        }
    }

    /// What the process printed by itself belongs to the running item after all. While pytest captures,
    /// its standard output is pytest's own progress.
    fn keep_raw(&mut self, at: Duration) {
        let raw = std::mem::replace(&mut self.raw, ItemLog::new(at, 0)).finish().log;
        for frame in muster_core::output::frames(&raw) {
            if self.captured && frame.stream == Stream::Stdout {
                continue;
            }
            self.book.push(frame.stream, at, frame.text);
        }
    }

    fn phase(&mut self, at: Duration, phase: Phase) {
        for (heading, text) in &phase.sections {
            let stream = if heading.contains("stdout") { Stream::Stdout } else { Stream::Stderr };
            self.book.push(stream, at, text.as_bytes());
            if !text.is_empty() && !text.ends_with('\n') {
                self.book.push(stream, at, b"\n");
            }
        }
        if !phase.text.is_empty() {
            self.book.push(Stream::Stdout, at, phase.text.as_bytes());
            self.book.push(Stream::Stdout, at, b"\n");
        }
        let duration = Duration::try_from_secs_f64(phase.seconds).unwrap_or_default();
        let (outcome, message) = judge(&phase);
        if let Some(name) = phase.sub {
            let output_from = self.book.mark();
            self.so_far.steps.push(StepResult {
                name,
                outcome,
                exit: None,
                duration,
                output_from,
                message: message.clone(),
            });
            if outcome == Outcome::Skip {
                return;
            }
        } else {
            self.so_far.duration += duration;
        }
        if phase.outcome == "rerun" {
            self.so_far.reruns += 1;
            self.so_far.again = true;
            return;
        }
        let worse = self
            .so_far
            .worst
            .as_ref()
            .is_none_or(|(worst, said)| outcome > *worst || (outcome == *worst && said.is_empty()));
        if worse {
            self.so_far.worst = Some((outcome, message));
        }
    }

    fn finish(&mut self, at: Duration, out: &mut Vec<Reported>) {
        if self.so_far.again {
            return;
        }
        if !self.captured {
            self.keep_raw(at);
        }
        let SoFar { worst, duration, steps, reruns, again: _ } = std::mem::take(&mut self.so_far);
        let Some((index, started, log)) = self.book.take_running() else { return };
        let (mut outcome, mut message) =
            worst.unwrap_or_else(|| (Outcome::Error, "pytest reported nothing about it".to_owned()));
        if outcome == Outcome::Pass && reruns > 0 {
            outcome = Outcome::Warn;
            message = format!("passed after {reruns} failed {}", if reruns == 1 { "try" } else { "tries" });
        }
        let log = log.finish();
        let mut steps = steps;
        for step in &mut steps {
            step.output_from = log.place(step.output_from);
        }
        self.raw = ItemLog::new(at, self.log_max);
        let message = shorten(&message).into_owned();
        let end =
            ItemEnd { outcome, cause: Cause::Framework, message, started, duration, steps, log: log.log };
        self.book.end(index, end, out);
    }

    /// A collector that failed takes all its items with it; one that skipped itself skips them.
    fn collector(
        &mut self,
        at: Duration,
        id: &str,
        outcome: &str,
        message: &str,
        text: &str,
        out: &mut Vec<Reported>,
    ) {
        let within = |name: &str| {
            id.is_empty()
                || name == id
                || name.strip_prefix(id).is_some_and(|r| r.starts_with("::") || r.starts_with('/'))
        };
        let mut of_it: Vec<usize> = self.names.iter().filter(|(n, _)| within(n)).map(|(_, i)| *i).collect();
        of_it.sort_unstable();
        let (outcome, head) =
            if outcome == "skipped" { (Outcome::Skip, "") } else { (Outcome::Fail, "cannot be collected: ") };
        let message = shorten(&format!("{head}{message}")).into_owned();
        for index in of_it {
            if self.book.is_waiting(index) {
                let mut log = ItemLog::new(at, self.log_max);
                log.push(Stream::Stdout, at, text.as_bytes());
                let end = ItemEnd {
                    outcome,
                    cause: Cause::Framework,
                    message: message.clone(),
                    started: at,
                    duration: Duration::ZERO,
                    steps: Vec::new(),
                    log: log.finish().log,
                };
                self.book.end(index, end, out);
            }
        }
    }
}

/// What one report means for its item.
fn judge(phase: &Phase) -> (Outcome, String) {
    let reason =
        |what: &str, why: &str| if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") };
    match (phase.outcome.as_str(), &phase.xfail) {
        ("skipped", Some(why)) => {
            (Outcome::Pass, reason("failed as expected (xfail)", why.trim_start_matches("reason: ")))
        }
        ("passed", Some(why)) => (Outcome::Warn, reason("passed although marked xfail", why)),
        ("skipped", None) => (Outcome::Skip, phase.message.clone()),
        ("failed", _) => {
            let what = match (&phase.sub, phase.when.as_str()) {
                (Some(sub), _) => reason(sub, &phase.message),
                (None, "call") => phase.message.clone(),
                (None, when) => reason(&format!("error in {when}"), &phase.message),
            };
            (Outcome::Fail, what)
        }
        _ => (Outcome::Pass, String::new()),
    }
}

impl Reader for PytestReader {
    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8], _out: &mut Vec<Reported>) {
        match self.book.running() {
            Some(_) => self.raw.push(stream, at, bytes),
            None => self.book.push(stream, at, bytes),
        }
    }

    fn report(&mut self, at: Duration, mut bytes: &[u8], out: &mut Vec<Reported>) {
        while !bytes.is_empty() {
            take_line(&mut bytes, &mut self.line);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                // A line that is none of the plug-in's comes from a test that found the pipe.
                if let Ok(event) = serde_json::from_slice(&line) {
                    self.event(at, event, out);
                }
            }
        }
    }

    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>) {
        if self.book.running().is_some() {
            self.keep_raw(at);
        }
        let code_fits = match end {
            End::Exit(0) => self.book.all_good(),
            // 5: none of the items is there any more.
            End::Exit(5) => true,
            End::Exit(1) => !self.book.all_good() || self.over.is_some_and(|foreign| foreign > 0),
            _ => false,
        };
        self.book.close(end, code_fits && self.over.is_some(), at, out);
    }
}
