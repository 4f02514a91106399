//! A sign for each item, as many to a line as fit.

use super::emit::Emit;
use super::style::{of, paint, sign};
use super::summary::Looks;
use super::tally::{News, Tally};
use super::{Interrupt, WIDTH_MAX, Watcher, lines, text};
use muster_core::event::Told;
use muster_core::outcome::{Counts, Verdict};
use muster_core::time::Time;
use muster_core::view::RunView;
use std::process::ExitStatus;
use std::time::Duration;

/// Columns kept free at the end of a line for how far it is: ` 12,345`.
const MARGIN: usize = 12;

/// A watcher that writes signs.
pub(super) struct Dots {
    emit: Emit,
    looks: Looks,
    tally: Tally,
    column: usize,
    columns_max: usize,
    told: u32,
}

impl Dots {
    pub(super) fn new(emit: Emit, looks: Looks) -> Self {
        let columns_max = looks.width.min(WIDTH_MAX).saturating_sub(MARGIN).max(10);
        Self { emit, looks, tally: Tally::of_all(), column: 0, columns_max, told: 0 }
    }

    fn say_news(&mut self) {
        for news in self.tally.drain() {
            match news {
                News::Started => self.emit.line(&lines::opening(&self.tally)),
                News::Item(item) => self.say_sign(item.verdict),
                News::Attempt(_) | News::Test { .. } | News::Waiting(_) => {}
            }
        }
    }

    fn say_sign(&mut self, verdict: Verdict) {
        let sign = sign(verdict);
        if verdict == Verdict::Pass {
            self.emit.text(&sign.to_string());
        } else {
            self.emit.text(&paint(of(verdict), sign));
        }
        self.column += 1;
        self.told += 1;
        if self.column == self.columns_max {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        if self.column > 0 {
            let fill = self.columns_max - self.column;
            self.emit.line(&format!("{}  {}", " ".repeat(fill), text::count(self.told.into())));
            self.column = 0;
        }
    }

    /// Says this at once, after what there is to say.
    fn say(&mut self, line: &str) {
        self.say_news();
        self.end_line();
        self.emit.line(line);
        self.emit.flush();
    }
}

impl Watcher for Dots {
    fn goes_on(&mut self, before: Counts) {
        self.tally.counts = before;
    }

    fn told(&mut self, told: &Told) {
        self.tally.take(told);
    }

    fn tick(&mut self, _: Time, _: Option<Duration>) {
        self.say_news();
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
        self.end_line();
        self.emit.lines(self.looks.summary(run, stopped, &self.tally.slowest));
        self.emit.flush();
    }
}
