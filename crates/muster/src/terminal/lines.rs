//! The lines in which attempts, items and tests are told, the same in every way of showing progress.

use super::style::{DIM, HEAD, INFO, LABEL_WIDTH, counted, label, of, of_outcome, paint};
use super::tally::{AttemptNews, ItemNews, Key, Tally};
use super::text::add;
use super::text::{self, cut, cut_middle, visible};
use muster_core::address::item_name;
use muster_core::attempt::AttemptResult;
use muster_core::judge::first_useful_line;
use muster_core::outcome::{Counts, Verdict};
use muster_core::output::Stream;

use muster_formats::report::text::{clean, one_line, pieces};
use muster_formats::report::{Logs, words};
use std::process::ExitStatus;
use std::time::Duration;

/// Where the text of a line begins: label, blank, duration, two blanks.
pub(super) const INDENT: usize = LABEL_WIDTH + 1 + DURATION_WIDTH + 2;

const DURATION_WIDTH: usize = 7;

/// Limit: bytes of a log searched for its first useful line.
const SEARCH_BYTES_MAX: usize = 64 << 10;

/// Limit: bytes of a log shown in full.
const SHOWN_BYTES_MAX: usize = 64 << 10;

/// Limit: columns of a message where the terminal sets none.
const MESSAGE_MAX: usize = 240;

/// `   FAIL   1.25s  name`.
pub(super) fn head(
    label: &str,
    style: anstyle::Style,
    took: Option<Duration>,
    name: &str,
    width: usize,
) -> String {
    let took = took.map(words::duration).unwrap_or_default();
    let name = visible(name);
    format!(
        "{}{} {}  {}",
        " ".repeat(LABEL_WIDTH - label.len()),
        paint(style, label),
        paint(DIM, text::pad_left(&took, DURATION_WIDTH)),
        cut_middle(&name, width.saturating_sub(INDENT).max(16)),
    )
}

/// A further line under a head.
pub(super) fn below(what: &str, width: usize) -> String {
    let what = visible(what);
    format!("{}{}", " ".repeat(INDENT), cut(&what, width.saturating_sub(INDENT).clamp(16, MESSAGE_MAX)))
}

/// Nothing runs, and this is why.
pub(super) fn waiting(reason: &str, width: usize) -> String {
    let what = visible(reason);
    let what = cut(&what, width.saturating_sub(INDENT).clamp(16, MESSAGE_MAX));
    format!("{}  {what}", paint(INFO, text::pad_left("waiting", INDENT - 2)))
}

/// An item with its verdict, and what a person should read first.
pub(super) fn item(news: &ItemNews, logs: Option<&dyn Logs>, width: usize) -> Vec<String> {
    // Of a flaky item, the result is that of the attempt that failed.
    let took = news.result.as_ref().filter(|r| news.verdict == r.outcome.into()).map(|r| r.duration);
    let mut lines = vec![head(label(news.verdict), of(news.verdict), took, &name_of(&news.key), width)];
    let why = why(&news.reason, news.result.as_deref(), logs);
    if !why.is_empty() {
        lines.push(below(&why, width));
    }
    lines
}

/// An attempt that ended, with where it ran and what it used; its output, if it was not good.
pub(super) fn attempt(news: &AttemptNews, logs: &dyn Logs, width: usize) -> Vec<String> {
    let result = &news.result;
    let word = if news.retried { "RETRY" } else { label(Verdict::from(result.outcome)) };
    let style = if news.retried { of(Verdict::Flaky) } else { of_outcome(result.outcome) };
    let mut name = name_of(&news.key);
    if news.discovery {
        name.push_str(" (items)");
    }
    if news.number > 1 || news.retried {
        add!(name, "#{}", news.number);
    }
    let mut lines = vec![head(word, style, Some(result.duration), &name, width)];
    let mut facts = vec![format!("on {}", news.device)];
    let cpu = Duration::from_micros(result.usage.user_micros + result.usage.system_micros);
    if !cpu.is_zero() {
        facts.push(format!("cpu {}", words::duration(cpu)));
    }
    if result.usage.memory_peak_bytes > 0 {
        facts.push(format!("memory {}", words::bytes(result.usage.memory_peak_bytes)));
    }
    if result.leaked > 0 {
        facts.push(text::plural(result.leaked.into(), "process left behind", "processes left behind"));
    }
    lines.push(paint(DIM, below(&facts.join(", "), width)));
    if !result.outcome.is_good() {
        lines.push(below(&words::attempt_headline(result), width));
        lines.extend(output(result, logs));
    }
    lines
}

/// The output of an attempt, indented, standard error marked.
fn output(result: &AttemptResult, logs: &dyn Logs) -> Vec<String> {
    let log = logs.log(&result.output, SHOWN_BYTES_MAX);
    let mut lines = Vec::new();
    for piece in pieces(&log, |_| true) {
        let mark = match piece.stream {
            Stream::Stdout => paint(DIM, "│"),
            Stream::Stderr => paint(of(Verdict::Warn), "│"),
            Stream::Muster => paint(INFO, "▒"),
        };
        lines.extend(clean(&piece.text).lines().map(|l| format!("{}{mark} {l}", " ".repeat(INDENT - 2))));
    }
    lines
}

/// A test with its verdict: `   PASS   2.10s  unit  312 passed, 3 skipped`.
pub(super) fn test(
    name: &str,
    verdict: Verdict,
    counts: &Counts,
    took: Option<Duration>,
    width: usize,
) -> String {
    let line = head(label(verdict), of(verdict), took, name, width);
    // Of a test that is its only item, the label says it all.
    if counts.total() <= 1 { line } else { format!("{line}  {}", self::counts(counts)) }
}

/// How many of each verdict, the worst first: `2 failed, 312 passed`.
pub(crate) fn counts(counts: &Counts) -> String {
    let parts: Vec<String> = Verdict::ALL
        .into_iter()
        .rev()
        .filter(|v| counts.get(*v) > 0)
        .map(|v| {
            let style = if v.is_ok() { anstyle::Style::new() } else { of(v) };
            paint(style, counted(v, counts.get(v)))
        })
        .collect();
    parts.join(", ")
}

/// Why an item is as it is, in one line: the reason for its verdict, else its last attempt's message, else
/// what it printed that is most telling, behind the cause.
pub(super) fn why(reason: &str, result: Option<&AttemptResult>, logs: Option<&dyn Logs>) -> String {
    if !reason.is_empty() {
        return one_line(reason, MESSAGE_MAX);
    }
    let Some(result) = result else { return String::new() };
    let cause = words::cause(&result.cause);
    if !result.message.is_empty() && result.message != cause {
        return one_line(&result.message, MESSAGE_MAX);
    }
    if result.outcome.is_good() {
        return String::new();
    }
    let useful = logs.and_then(|logs| first_useful_line(&logs.log(&result.output, SEARCH_BYTES_MAX)));
    match useful {
        Some(line) => format!("{cause}: {}", one_line(&line, MESSAGE_MAX)),
        None => cause,
    }
}

/// What is said when the agent process has ended before the run.
pub(super) fn agent_lost(how: ExitStatus) -> String {
    let style = of(Verdict::Error);
    format!(
        "{} {how}; another takes its place, and what was running is run again",
        paint(style, "agent lost:")
    )
}

/// `TEST/ITEM`.
pub(super) fn name_of(key: &Key) -> String {
    item_name(&key.0, &key.1)
}

/// The line that opens a run: `demo/42 nightly, for linux/release: 12 tests, 340 items`.
pub(super) fn opening(run: &Tally) -> String {
    let Tally { address, name, target, tests, items, undiscovered, .. } = run;
    let (tests, items, undiscovered) = (*tests, *items, *undiscovered);
    let mut line = paint(HEAD, visible(address));
    if !name.is_empty() {
        add!(line, " {}", paint(INFO, visible(name)));
    }
    if !target.is_empty() {
        add!(line, " for {}", visible(target));
    }
    add!(line, ": {}", text::plural(tests.into(), "test", "tests"));
    if items > 0 {
        add!(line, ", {}", text::plural(items.into(), "item", "items"));
    }
    if undiscovered > 0 {
        let tests = text::plural(undiscovered.into(), "test is", "tests are");
        add!(line, ", {tests} yet to be asked for theirs");
    }
    line
}
