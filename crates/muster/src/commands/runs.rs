//! `muster runs`: the recorded runs, newest first.

use crate::context::{Context, OutputMode};
use crate::records::{Life, Records};
use crate::terminal::style::{self, DIM, INFO};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::add;
use crate::terminal::{lines_counts, text};
use anstyle::Style;
use clap::Args;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::view::{RunState, RunView};
use muster_formats::report::{wire, words};
use muster_store::RunFilter;
use std::io::Write as _;

/// Arguments of `muster runs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunsArgs {
    /// List at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
}

/// Lists runs.
pub(crate) fn run(args: &RunsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open(context)?;
    let runs = records.with(|s| s.list_runs(&RunFilter { limit: args.limit, ..RunFilter::default() }))?;
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            let all: Vec<_> = runs.iter().map(|r| wire::Run::new(r, wire::Texts::None)).collect();
            serde_json::to_writer(&mut out, &all)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => {
            for run in &runs {
                writeln!(out, "{}", run.number)?;
            }
        }
        OutputMode::Human => {
            let lives = |run: &RunView| records.life(run);
            for line in table(&runs, records.area(), lives).lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

fn table(runs: &[RunView], area: &str, life: impl Fn(&RunView) -> Option<Life>) -> Table {
    let mut table = Table::new(&[
        ("run", Column::Right),
        ("name", Column::Shrink),
        ("target", Column::Left),
        ("started", Column::Left),
        ("took", Column::Right),
        ("came to", Column::Left),
        ("items", Column::Cut),
    ]);
    for run in runs {
        let (word, style) = word(run, life(run));
        let took = run.ended.map(|e| words::duration(e.since(run.started))).unwrap_or_default();
        let undone = run.items.saturating_sub(run.counts.total());
        let mut counts = lines_counts(&run.counts);
        if undone > 0 {
            let comma = if counts.is_empty() { "" } else { ", " };
            add!(counts, "{comma}{} not ended", text::count(undone.into()));
        }
        table.row(vec![
            // A server has runs of other areas too.
            if run.area == area { run.number.to_string() } else { run.address() }.into(),
            Cell::new(run.name.as_str(), INFO),
            text::target(&run.target).into(),
            Cell::new(text::moment(run.started), DIM),
            took.into(),
            Cell::new(word, style),
            counts.into(),
        ]);
    }
    table
}

/// A run in one word.
pub(crate) fn word(run: &RunView, life: Option<Life>) -> (&'static str, Style) {
    match (run.state, life) {
        (RunState::Active, Some(Life::Dead)) => ("KILLED", style::of(Verdict::Cancelled)),
        (RunState::Active, _) => ("RUNNING", INFO),
        // The lab's fault alone is not the tests'.
        (_, _) if run.only_lab_failed() => (style::label(Verdict::Error), style::of(Verdict::Error)),
        (RunState::Stopped, _) if run.was_just_stopped() => ("STOPPED", style::of(Verdict::Cancelled)),
        (RunState::Stopped | RunState::Ended, _) if !run.is_ok() => ("FAIL", style::of(Verdict::Fail)),
        (RunState::Stopped | RunState::Ended, _) if run.counts.total() == 0 => ("EMPTY", DIM),
        (RunState::Stopped | RunState::Ended, _) => ("PASS", style::of(Verdict::Pass)),
    }
}
