//! What people see of a run while it is under way, and the words and shapes of all that is printed.
//!
//! ```text
//! Told (each change) ──► Watcher::told    cheap: keeps counts, remembers what to say
//! ten times a second ──► Watcher::tick    says it, redraws
//! the end            ──► Watcher::finished  the summary
//! ```
//!
//! A watcher never decides anything and never fails: when nobody can read what it writes any more, the
//! run goes on and its records and exit code tell.

pub(crate) mod chart;
mod dots;
mod emit;
#[cfg(test)]
pub(crate) mod fixtures;
mod json;
mod lines;
mod live;
pub(crate) mod log_printer;
mod plain;
mod quiet;
pub(crate) mod style;
mod summary;
pub(crate) mod table;
mod tally;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use crate::context::{Context, OutputMode};
use clap::ValueEnum;
use emit::Emit;
use muster_core::event::Told;
use muster_core::outcome::{Counts, Verdict};
use muster_core::time::Time;
use muster_core::view::{ItemView, RunView};
use muster_formats::report::Logs;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// What is shown of a run under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Progress {
    /// `live` on a terminal, else `plain`
    #[default]
    Auto,
    /// A bar, what is running, and failures as they happen
    Live,
    /// A line for each failure and each finished test, and a sign of life now and then
    Plain,
    /// A sign for each item
    Dots,
    /// A line for each attempt, with the output of those that failed
    Verbose,
    /// Nothing until the end, and then only what is wrong
    Quiet,
    /// One JSON object per event, on standard output
    Json,
}

/// How far a person has gone in stopping a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Once: nothing more is started, what runs is ended with grace.
    Stopping,
    /// Twice: what runs is killed.
    Killing,
}

/// Somebody who watches a run.
pub(crate) trait Watcher {
    /// These items have a verdict already: the run goes on. Told before anything else; they are among the
    /// items that [`Event::RunStarted`](muster_core::event::Event::RunStarted) counts.
    fn goes_on(&mut self, _before: Counts) {}

    /// Something happened. Called for each change, thousands of times a second: must be cheap.
    fn told(&mut self, told: &Told);

    /// Time to say it; about ten times a second. `left` is how long the rest is expected to take on the
    /// clock, where the lab knows; otherwise it is guessed from the pace so far.
    fn tick(&mut self, now: Time, left: Option<Duration>);

    /// The person wants it stopped.
    fn interrupted(&mut self, stage: Interrupt);

    /// The agent process ended, and with it all that was running, which another one runs again.
    fn agent_lost(&mut self, how: ExitStatus);

    /// The run is over, or stopped: clears what was drawn and prints the summary. The view's counts are
    /// of the whole run; its items may be only those that did not plainly pass. `stopped` is why it was
    /// stopped; empty where it was not.
    fn finished(&mut self, run: &RunView, stopped: &str);
}

/// The watcher for this way of showing progress. Failures' outputs are read through `logs`, at the moment
/// they are told and again for the summary.
pub(crate) fn watcher(
    progress: Option<Progress>,
    context: &Context,
    logs: Arc<dyn Logs + Send + Sync>,
) -> Box<dyn Watcher> {
    let chosen = progress.or(context.settings.progress).unwrap_or_default();
    let looks = summary::Looks { width: context.stderr_width(), program: context.program(), logs };
    let emit = || Emit::stderr(context.stderr_has_color());
    match (chosen, context.output) {
        (Progress::Json, _) | (Progress::Auto, OutputMode::Json) => {
            Box::new(json::Json::new(Box::new(std::io::stdout()), emit()))
        }
        (Progress::Quiet, _) | (Progress::Auto, OutputMode::Quiet) => {
            Box::new(quiet::Quiet::new(emit(), looks))
        }
        (Progress::Live, _) | (Progress::Auto, OutputMode::Human) if context.stderr_is_live() => {
            Box::new(live::Live::new(emit(), looks))
        }
        (Progress::Dots, _) => Box::new(dots::Dots::new(emit(), looks)),
        (Progress::Verbose, _) => Box::new(plain::Plain::new(emit(), looks, plain::Detail::Attempts)),
        (Progress::Auto | Progress::Plain | Progress::Live, _) => {
            Box::new(plain::Plain::new(emit(), looks, plain::Detail::Tests))
        }
    }
}

/// Columns of lines that are drawn rather than cut: rules, bars, charts.
pub(crate) const WIDTH_MAX: usize = 100;

/// Columns of what is at this file; without limit where it is no terminal and `COLUMNS` does not say.
pub(crate) fn width_of(file: &impl AsFd) -> usize {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|n| *n > 0);
    let real = || rustix::termios::tcgetwinsize(file).ok().map(|s| usize::from(s.ws_col)).filter(|n| *n > 0);
    real().or_else(said).unwrap_or(usize::MAX)
}

/// Rows of the terminal at this file.
fn rows_of(file: &impl AsFd) -> usize {
    rustix::termios::tcgetwinsize(file).map_or(24, |s| usize::from(s.ws_row).max(2))
}

/// How many of each verdict, the worst first: `2 failed, 312 passed`.
pub(crate) fn lines_counts_painted(counts: &Counts) -> String {
    lines::counts(counts)
}

/// The same without colours.
pub(crate) fn lines_counts(counts: &Counts) -> String {
    anstream::adapter::strip_str(&lines::counts(counts)).to_string()
}

/// Why an item is as it is, in one line; empty where there is nothing to say.
pub(crate) fn why_item(item: &ItemView, logs: &dyn Logs) -> String {
    if item.verdict == Some(Verdict::Flaky) && item.reason.is_empty() {
        return summary::flaky_story(item);
    }
    lines::why(&item.reason, item.last().map(|a| &*a.result), Some(logs))
}
