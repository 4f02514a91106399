//! The view for a terminal: failures scroll by above, and below stands what is going on.
//!
//! ```text
//!    FAIL   1.25s  net/ping
//!                  exit code 1: ping: unknown host
//! ━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━  512/1,204  2 failed, 1 flaky  18s, about 25s left
//!          12.3s  ui/login
//!           3.1s  db/migrate#2
//!                 and 6 more running
//! ```

use super::emit::Emit;
use super::lines::{self, name_of};
use super::style::{DIM, WARN, paint};
use super::summary::Looks;
use super::tally::{News, Tally};
use super::text::{self, cut_middle, visible};
use super::{Interrupt, Watcher, rows_of, style, width_of};
use anstream::adapter::strip_str;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use muster_core::event::Told;
use muster_core::outcome::{Counts, Verdict};
use muster_core::time::Time;
use muster_core::view::RunView;
use muster_formats::report::words;
use std::fmt::Write as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Limit: attempts under way that are named.
const NAMED_MAX: usize = 8;

/// Rows left to what scrolls by.
const ROWS_FREE: usize = 6;

/// Draws a second at most; the loop ticks more seldom.
const DRAWS: u8 = 30;

/// Limit: failures told with the first useful line of their output in one tick; reading logs takes time.
const LOOKED_INTO_MAX: usize = 10;

/// Limit: failures told in one tick. The summary lists the others.
const TOLD_MAX: usize = 100;

/// A watcher that draws.
pub(super) struct Live {
    emit: Emit,
    looks: Looks,
    tally: Tally,
    bar: ProgressBar,
    /// What stands behind the bar and below it; the bar's style reads it when it draws.
    drawn: Arc<Mutex<Drawn>>,
    stopping: Option<Interrupt>,
}

#[derive(Default)]
struct Drawn {
    behind: String,
    below: String,
}

impl Live {
    pub(super) fn new(emit: Emit, looks: Looks) -> Self {
        let drawn = Arc::new(Mutex::new(Drawn::default()));
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(DRAWS));
        let template = if emit.has_color() {
            "{wide_bar:.green/black.bright}  {behind}{below}"
        } else {
            "{wide_bar}  {behind}{below}"
        };
        let part = |choose: fn(&Drawn) -> &str| {
            let drawn = drawn.clone();
            move |_: &ProgressState, w: &mut dyn std::fmt::Write| {
                let drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
                // Writing into the drawer's buffer does not fail.
                let _ = w.write_str(choose(&drawn));
            }
        };
        let style = ProgressStyle::with_template(template)
            .expect("the template is constant and tested")
            .progress_chars(if emit.has_color() { "━╸━" } else { "━╸ " })
            .with_key("behind", part(|d| &d.behind))
            .with_key("below", part(|d| &d.below));
        bar.set_style(style);
        Self { emit, looks, tally: Tally::new(), bar, drawn, stopping: None }
    }

    fn say_news(&mut self) {
        let width = width_of(&std::io::stderr());
        let mut told = 0;
        let mut left_out = 0u64;
        for news in self.tally.drain() {
            match news {
                News::Started => self.emit.line(&lines::opening(&self.tally)),
                // It stands below the bar.
                News::Waiting(_) => {}
                News::Item(_) if told == TOLD_MAX => left_out += 1,
                News::Item(item) => {
                    told += 1;
                    let logs = (told <= LOOKED_INTO_MAX).then_some(&*self.looks.logs as _);
                    self.emit.lines(lines::item(&item, logs, width));
                }
                // Of a test all is told by its items, except that it could not run.
                News::Test { test, verdict: verdict @ Verdict::PrerequisiteFailed, counts, took } => {
                    self.emit.line(&lines::test(&test, verdict, &counts, took, width));
                }
                News::Test { .. } | News::Attempt(_) => {}
            }
        }
        if left_out > 0 {
            self.emit.line(&lines::below(&format!("and {} more", text::count(left_out)), width));
        }
        if !self.emit.is_empty() {
            let emit = &mut self.emit;
            self.bar.suspend(|| emit.flush());
        }
    }

    fn draw(&mut self, now: Time, left: Option<Duration>) {
        let stderr = std::io::stderr();
        let (width, rows) = (width_of(&stderr), rows_of(&stderr));
        let mut behind = self.behind(now, left, width);
        let mut below = self.below(now, width, rows);
        if !self.emit.has_color() {
            behind = strip_str(&behind).to_string();
            below = strip_str(&below).to_string();
        }
        {
            let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
            *drawn = Drawn { behind, below };
        }
        let (ended, known) = (self.tally.ended().into(), self.tally.known().max(1).into());
        self.bar.update(|state| {
            state.set_len(known);
            state.set_pos(ended);
        });
    }

    /// ` 512/1,204  2 failed  18s, about 25s left`; parts are left out where the terminal is narrow.
    fn behind(&self, now: Time, left: Option<Duration>, width: usize) -> String {
        let t = &self.tally;
        let mut parts: Vec<(u8, String)> = Vec::new();
        if self.stopping.is_some() {
            parts.push((0, paint(WARN, "stopping")));
        }
        let more = if t.undiscovered > 0 { "+" } else { "" };
        parts.push((0, format!("{}/{}{more}", text::count(t.ended().into()), text::count(t.known().into()))));
        let bad = t.counts.failed();
        if bad > 0 {
            parts.push((1, paint(style::BAD, format!("{} not ok", text::count(bad.into())))));
        }
        let flaky = t.counts.get(Verdict::Flaky);
        if flaky > 0 {
            parts.push((2, paint(style::WARN, style::counted(Verdict::Flaky, flaky))));
        }
        let mut clock = words::duration(whole_secs(now.since(t.started)));
        if let Some(left) = t.left(now, left) {
            // Writing into a string does not fail.
            let _ = write!(clock, ", about {} left", words::duration(whole_secs(left)));
        }
        parts.push((3, paint(DIM, clock)));
        // At least a quarter stays for the bar.
        let room = width.saturating_sub(width / 4).saturating_sub(2);
        let wide = |parts: &[(u8, String)]| parts.iter().map(|(_, p)| text::width(p) + 2).sum::<usize>();
        while wide(&parts) > room && parts.iter().any(|(w, _)| *w > 0) {
            let least = parts.iter().map(|(w, _)| *w).max();
            parts.retain(|(w, _)| Some(*w) != least);
        }
        parts.into_iter().map(|(_, p)| p).collect::<Vec<_>>().join("  ")
    }

    /// What is running, a line each, the longest first.
    fn below(&self, now: Time, width: usize, rows: usize) -> String {
        let named = NAMED_MAX.min(rows.saturating_sub(ROWS_FREE));
        let mut below = String::new();
        let running = self.tally.longest_running(named);
        let shown = running.len();
        for (key, running) in running {
            let mut name = name_of(key);
            if running.attempt > 1 {
                let _ = write!(name, "#{}", running.attempt);
            }
            let name = visible(&name);
            let took = text::pad_left(&words::duration(tenths(now.since(running.since))), lines::INDENT - 2);
            let name = cut_middle(&name, width.saturating_sub(lines::INDENT + 1).max(8));
            let _ = write!(below, "\n{}  {name}", paint(DIM, took));
        }
        if let Some(reason) = &self.tally.waiting {
            let text = format!("waiting: {reason}");
            let text = visible(&text);
            let _ = write!(below, "\n  {}", paint(WARN, cut_middle(&text, width.saturating_sub(3).max(8))));
        }
        let others = self.tally.running.len() - shown;
        if others > 0 && shown > 0 {
            let _ =
                write!(below, "\n{}{}", " ".repeat(lines::INDENT), paint(DIM, format!("and {others} more")));
        }
        below
    }
}

fn whole_secs(d: Duration) -> Duration {
    Duration::from_secs(d.as_secs())
}

fn tenths(d: Duration) -> Duration {
    Duration::from_millis(u64::try_from(d.as_millis() / 100 * 100).unwrap_or(u64::MAX))
}

impl Watcher for Live {
    fn goes_on(&mut self, before: Counts) {
        self.tally.counts = before;
    }

    fn told(&mut self, told: &Told) {
        self.tally.take(told);
    }

    fn tick(&mut self, now: Time, left: Option<Duration>) {
        self.say_news();
        if self.tally.started != Time::default() {
            self.draw(now, left);
        }
    }

    fn interrupted(&mut self, stage: Interrupt) {
        self.stopping = Some(stage);
        self.emit.line(&stage.line(self.tally.running.len()));
        self.say_news();
    }

    fn agent_lost(&mut self, how: ExitStatus) {
        self.tally.running.clear();
        self.emit.line(&lines::agent_lost(how));
        self.say_news();
    }

    fn finished(&mut self, run: &RunView, stopped: &str) {
        self.bar.finish_and_clear();
        self.say_news();
        self.looks.width = width_of(&std::io::stderr());
        self.emit.lines(self.looks.summary(run, stopped, &self.tally.slowest));
        self.emit.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::fixtures::START;
    use muster_core::event::Event;
    use muster_core::id::RunId;
    use muster_formats::report::InlineLogs;

    fn live(color: bool) -> Live {
        let looks = Looks { width: 60, program: "muster".to_owned(), logs: Arc::new(InlineLogs) };
        Live::new(Emit::new(Box::new(std::io::sink()), color), looks)
    }

    /// Starts `running` attempts of a run of 40 items.
    fn begin(live: &mut Live, running: u32) {
        let tell = |event| Told { at: START, run: RunId(1), event };
        live.told(&tell(Event::RunStarted {
            address: "demo/1".into(),
            name: "".into(),
            target: Vec::new(),
            tests: 1,
            items: 40,
            undiscovered: 0,
        }));
        for n in 0..running {
            live.told(&tell(Event::AttemptStarted {
                test: "unit".into(),
                item: format!("a/rather/long/path/to/an/item/that/has/to/be/cut/{n}").into(),
                attempt: 1,
                device: "box".into(),
            }));
        }
    }

    #[test]
    fn without_colours_not_one_code_of_them_is_drawn() {
        for color in [false, true] {
            let mut live = live(color);
            begin(&mut live, 3);
            live.tick(START + Duration::from_secs(9), Some(Duration::from_secs(61)));
            let drawn = live.drawn.lock().unwrap();
            assert_eq!(drawn.behind.contains('\x1b'), color);
            assert_eq!(drawn.below.contains('\x1b'), color);
            let behind = strip_str(&drawn.behind).to_string();
            assert_eq!(behind, "0/40  9s, about 1m01s left");
        }
    }

    #[test]
    fn what_is_drawn_fits_the_terminal_whatever_its_size() {
        let mut live = live(false);
        begin(&mut live, 30);
        let now = START + Duration::from_secs(9);
        for (width, rows) in [(20, 3), (40, 8), (80, 24), (200, 60)] {
            let below = live.below(now, width, rows);
            let lines: Vec<&str> = below.split_terminator('\n').collect();
            assert!(lines.len() <= rows, "{width}x{rows}: {} lines", lines.len());
            for line in lines {
                assert!(text::width(line) <= width.max(lines::INDENT + 16), "{width}x{rows}: {line}");
            }
            assert!(text::width(&live.behind(now, None, width)) < width);
        }
    }
}
