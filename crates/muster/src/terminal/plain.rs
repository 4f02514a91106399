//! Lines for pipes, files and CI logs. No line is ever taken back.

use super::emit::Emit;
use super::summary::Looks;
use super::tally::{News, Tally, is_news};
use super::text::add;
use super::{Interrupt, Watcher, lines, text};
use muster_core::event::Told;
use muster_core::outcome::{Counts, Verdict};
use muster_core::time::Time;
use muster_core::view::RunView;
use muster_formats::report::words;
use std::process::ExitStatus;
use std::time::Duration;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Tests, and items that need a person.
    Tests,
    /// Every attempt.
    Attempts,
}

/// A sign of life comes after this long without any other line.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Limit: items told with the first useful line of their output in one tick; reading logs takes time.
const LOOKED_INTO_MAX: usize = 50;

/// A watcher that writes lines.
pub(super) struct Plain {
    emit: Emit,
    looks: Looks,
    tally: Tally,
    detail: Detail,
    last_line: Option<Time>,
}

impl Plain {
    pub(super) fn new(emit: Emit, looks: Looks, detail: Detail) -> Self {
        let tally = match detail {
            Detail::Tests => Tally::new(),
            Detail::Attempts => Tally::of_all(),
        };
        Self { emit, looks, tally, detail, last_line: None }
    }

    fn say_news(&mut self) {
        let width = self.looks.width;
        let mut looked_into = 0;
        for news in self.tally.drain() {
            match news {
                News::Started => self.emit.line(&lines::opening(&self.tally)),
                News::Waiting(reason) => self.emit.line(&lines::waiting(&reason, width)),
                News::Attempt(news) => self.emit.lines(lines::attempt(&news, &*self.looks.logs, width)),
                // Attempts have told what there is, unless there was none or they were judged otherwise.
                News::Item(news) if self.detail == Detail::Attempts => {
                    let came_to = news.result.as_ref().map_or(Verdict::Pass, |r| r.outcome.into());
                    if news.attempts == 0 || news.verdict != came_to || !news.reason.is_empty() {
                        self.emit.lines(lines::item(&news, None, width));
                    }
                }
                News::Item(news) => {
                    looked_into += 1;
                    let logs = (looked_into <= LOOKED_INTO_MAX).then_some(&*self.looks.logs as _);
                    self.emit.lines(lines::item(&news, logs, width));
                }
                // A test that is its only item has been told with it.
                News::Test { verdict, counts, .. }
                    if counts.total() <= 1 && (self.detail == Detail::Attempts || is_news(verdict)) => {}
                News::Test { test, verdict, counts, took } => {
                    self.emit.line(&lines::test(&test, verdict, &counts, took, width));
                }
            }
        }
    }

    fn say_alive(&mut self, now: Time, left: Option<Duration>) {
        let t = &self.tally;
        let more = if t.undiscovered > 0 { "+" } else { "" };
        let mut line = format!(
            "        {:>7}  {} of {}{more} items",
            words::duration(now.since(t.started)),
            text::count(t.ended().into()),
            text::count(t.known().into()),
        );
        if t.counts.failed() > 0 {
            add!(line, ", {} not ok", text::count(t.counts.failed().into()));
        }
        if let Some((key, running)) = t.longest_running(1).first() {
            let took = words::duration(now.since(running.since));
            add!(line, ", {} running ({} for {took})", t.running.len(), lines::name_of(key));
        }
        if let Some(reason) = &t.waiting {
            add!(line, ", waiting: {reason}");
        }
        if let Some(left) = t.left(now, left) {
            add!(line, ", about {} left", words::duration(left));
        }
        self.emit.line(&super::style::paint(super::style::DIM, text::visible(&line)));
    }

    /// Says this at once, after what there is to say.
    fn say(&mut self, line: &str) {
        self.say_news();
        self.emit.line(line);
        self.emit.flush();
    }
}

impl Watcher for Plain {
    fn goes_on(&mut self, before: Counts) {
        self.tally.counts = before;
    }

    fn told(&mut self, told: &Told) {
        self.tally.take(told);
    }

    fn tick(&mut self, now: Time, left: Option<Duration>) {
        self.say_news();
        let last = *self.last_line.get_or_insert(now);
        if !self.emit.is_empty() {
            self.last_line = Some(now);
        } else if now.since(last) >= SILENCE_MAX {
            self.say_alive(now, left);
            self.last_line = Some(now);
        }
        self.emit.flush();
    }

    fn interrupted(&mut self, stage: Interrupt) {
        self.say(&stage.line(self.tally.running.len()));
    }

    fn agent_lost(&mut self, how: ExitStatus) {
        self.tally.running.clear();
        self.say(&lines::agent_lost(how));
    }

    fn finished(&mut self, run: &RunView, stopped: &str) {
        self.say_news();
        self.emit.lines(self.looks.summary(run, stopped, &self.tally.slowest));
        self.emit.flush();
    }
}
