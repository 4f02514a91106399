//! What is left on the screen when a run is over: what went wrong, what was slow, what it came to, and
//! the very commands to go on with. The most important line is the last but the commands.

use super::lines::{self, below, head};
use super::style::{DIM, HEAD, INFO, LABEL_WIDTH, label, of, paint};
use super::tally::Key;
use super::text::add;
use super::text::{self, count, cut_middle, quoted, visible};
use super::{Interrupt, WIDTH_MAX};
use muster_core::address::{Address, item_name};
use muster_core::definition::UnexpectedPass;
use muster_core::outcome::Verdict;
use muster_core::view::{ItemView, RunState, RunView, TestView};
use muster_formats::report::{Logs, words};
use std::sync::Arc;
use std::time::Duration;

/// Limit: items listed under one heading.
const LISTED_MAX: usize = 40;

/// Limit: blocked items listed; their cause is listed above.
const BLOCKED_MAX: usize = 5;

/// A part of the summary: items that came to something alike.
struct Part {
    title: &'static str,
    /// Items listed at most.
    max: usize,
    /// What makes `muster results` list all of them.
    flag: &'static str,
}

/// What summaries need to know beside the run.
pub(super) struct Looks {
    /// Columns.
    pub(super) width: usize,
    /// How Muster is called in commands to type, with `-C DIR` where it was.
    pub(super) program: String,
    /// For the first useful lines of outputs.
    pub(super) logs: Arc<dyn Logs + Send + Sync>,
}

impl Interrupt {
    /// What is said when it happens.
    pub(super) fn line(self, running: usize) -> String {
        let running = text::plural(running as u64, "running attempt", "running attempts");
        match self {
            Self::Stopping => format!(
                "{} nothing more starts, {running} may end; Ctrl-C again kills",
                paint(of(Verdict::Cancelled), "stopping:")
            ),
            Self::Killing => format!("{} {running}", paint(of(Verdict::Fail), "killing:")),
        }
    }
}

impl Looks {
    /// The lines of the summary.
    pub(super) fn summary(&self, run: &RunView, stopped: &str, slowest: &[(Duration, Key)]) -> Vec<String> {
        let mut out = vec![paint(DIM, "─".repeat(self.width.min(WIDTH_MAX)))];
        let failed = |v: Verdict| {
            !v.is_ok()
                && v != Verdict::PrerequisiteFailed
                && (v != Verdict::UnexpectedPass || run.unexpected_pass == UnexpectedPass::Fail)
        };
        let first_bad = run.all_items().find(|(_, i)| i.verdict.is_some_and(failed));
        let mut section = |part: Part, wanted: &dyn Fn(Verdict) -> bool| {
            self.section(&mut out, run, &part, wanted);
        };
        let bad = |title| Part { title, max: LISTED_MAX, flag: " --failed" };
        section(bad("failed"), &|v| failed(v) && v != Verdict::UnexpectedPass);
        section(bad("passed unexpectedly"), &|v| v == Verdict::UnexpectedPass);
        section(Part { max: BLOCKED_MAX, ..bad("not run because of these") }, &|v| {
            v == Verdict::PrerequisiteFailed
        });
        section(Part { flag: " --flaky", ..bad("flaky") }, &|v| v == Verdict::Flaky);
        section(Part { flag: "", ..bad("for a person to look at") }, &|v| {
            matches!(v, Verdict::Check | Verdict::Warn)
        });
        if let Some(line) = self.slowest(run, slowest) {
            out.push(line);
        }
        if !stopped.is_empty() {
            let line = format!("{} {}", paint(DIM, text::pad_left("stopped", LABEL_WIDTH)), visible(stopped));
            out.push(line);
        }
        out.extend(self.verdict(run));
        let commands = self.commands(run, first_bad);
        if !commands.is_empty() {
            out.push(String::new());
            out.extend(commands);
        }
        out
    }

    fn section(&self, out: &mut Vec<String>, run: &RunView, part: &Part, wanted: &dyn Fn(Verdict) -> bool) {
        let total: u32 = Verdict::ALL.into_iter().filter(|v| wanted(*v)).map(|v| run.counts.get(v)).sum();
        let mut listed = 0;
        for (test, item) in run.all_items().filter(|(_, i)| i.verdict.is_some_and(wanted)).take(part.max) {
            if listed == 0 {
                out.push(paint(HEAD, part.title));
            }
            listed += 1;
            self.item(out, test, item);
        }
        if listed > 0 && total > listed {
            let command = format!("{} results {}{}", self.program, run.number, part.flag);
            out.push(below(&format!("and {} more: {command}", count((total - listed).into())), self.width));
        }
    }

    fn item(&self, out: &mut Vec<String>, test: &TestView, item: &ItemView) {
        let Some(verdict) = item.verdict else { return };
        let last = item.last().map(|a| &*a.result);
        let took = last.map(|r| r.duration);
        out.push(head(label(verdict), of(verdict), took, &item_name(&test.name, &item.path), self.width));
        let why = match verdict {
            Verdict::Flaky if item.reason.is_empty() => flaky_story(item),
            _ => lines::why(&item.reason, last, Some(&*self.logs)),
        };
        if !why.is_empty() {
            out.push(below(&why, self.width));
        }
    }

    fn slowest(&self, run: &RunView, slowest: &[(Duration, Key)]) -> Option<String> {
        // Among few, everybody sees which one was slow.
        if run.counts.total() < 4 || slowest.is_empty() {
            return None;
        }
        let mut line = format!("{} ", paint(DIM, text::pad_left("slowest", LABEL_WIDTH)));
        let mut room = self.width.min(WIDTH_MAX).saturating_sub(LABEL_WIDTH + 1);
        for (i, (took, key)) in slowest.iter().enumerate() {
            let name = item_name(&key.0, &key.1);
            let name = visible(&name);
            let took = words::duration(*took);
            let name = cut_middle(&name, 32);
            let needed = text::width(&took) + 1 + text::width(&name) + 2;
            if needed > room && i > 0 {
                break;
            }
            room = room.saturating_sub(needed);
            let comma = if i == 0 { "" } else { ", " };
            add!(line, "{comma}{} {name}", paint(DIM, took));
        }
        Some(line)
    }

    /// What it came to; of many verdicts, the counts have a line of their own.
    fn verdict(&self, run: &RunView) -> Vec<String> {
        let (word, style) = match (run.state, run.is_ok()) {
            // The lab's fault alone is not the tests'.
            _ if run.only_lab_failed() => (label(Verdict::Error), of(Verdict::Error)),
            _ if run.was_just_stopped() => ("STOPPED", of(Verdict::Cancelled)),
            (_, false) => ("FAIL", of(Verdict::Fail)),
            (RunState::Stopped, true) => ("STOPPED", of(Verdict::Cancelled)),
            (RunState::Active, true) => ("ACTIVE", of(Verdict::Check)),
            (RunState::Ended, true) if run.counts.total() == 0 => ("EMPTY", of(Verdict::NoItems)),
            (RunState::Ended, true) => ("PASS", of(Verdict::Pass)),
        };
        let took = run.ended.map(|e| e.since(run.started));
        let mut line = head(word, style, took, &run.address(), self.width);
        if !run.name.is_empty() {
            add!(line, " {}", paint(INFO, visible(&run.name)));
        }
        let target = text::target(&run.target);
        if !target.is_empty() {
            add!(line, " for {}", visible(&target));
        }
        add!(line, "{}", text::inputs(&run.inputs));
        let undone = run.items.saturating_sub(run.counts.total());
        let mut counts =
            if run.counts.total() > 0 { lines::counts(&run.counts) } else { "nothing was run".to_owned() };
        if undone > 0 {
            add!(counts, ", {} not ended", count(undone.into()));
        }
        if text::width(&line) + 2 + text::width(&counts) <= self.width {
            return vec![format!("{line}: {counts}")];
        }
        vec![line, format!("{}{counts}", " ".repeat(lines::INDENT))]
    }

    /// What to type next, for a person who wants to know more.
    fn commands(&self, run: &RunView, first_bad: Option<(&TestView, &ItemView)>) -> Vec<String> {
        let program = &self.program;
        let mut rows: Vec<(&str, String)> = Vec::new();
        if let Some((test, item)) = first_bad {
            let address = Address::of_item(&run.area, run.number, &test.name, &item.path).to_string();
            let address = quoted(&address);
            if item.attempts.is_empty() {
                rows.push(("why", format!("{program} why {address}")));
            } else {
                rows.push(("look", format!("{program} log {address}")));
                rows.push(("why", format!("{program} why {address}")));
            }
        }
        if run.state == RunState::Stopped {
            rows.push(("go on", format!("{program} resume {}", run.number)));
        }
        if !run.is_ok() && !run.was_just_stopped() {
            rows.push(("again", format!("{program} rerun {} --failed", run.number)));
        }
        rows.into_iter()
            .map(|(what, command)| {
                format!(
                    "{} {}",
                    paint(DIM, text::pad_left(what, LABEL_WIDTH)),
                    paint(INFO, visible(&command))
                )
            })
            .collect()
    }
}

/// `fail, timeout, then pass`.
pub(super) fn flaky_story(item: &ItemView) -> String {
    let outcomes: Vec<&str> = item.attempts.iter().map(|a| a.result.outcome.word()).collect();
    match outcomes.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{}, then {last}", before.join(", ")),
        _ => String::new(),
    }
}
