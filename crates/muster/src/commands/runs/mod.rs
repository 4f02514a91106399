//! `muster runs`: the recorded runs, newest first, and what is done with them.

mod keep;
pub(crate) mod kill;
mod prune;
mod relocate;
pub(crate) mod remove;
mod tier;

use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::records::{Life, Records};
use crate::terminal::style::{self, DIM, INFO};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::add;
use crate::terminal::{lines_counts, text};
use anstyle::Style;
use clap::{Args, Subcommand};
use muster_core::id::RunId;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::view::{RunState, RunView};
use muster_formats::report::{wire, words};
use muster_store::{MovedRun, RunFilter, RunName, RunPlace, Store as _};
use serde::Serialize;
use std::collections::HashMap;
use std::io::Write as _;

/// Arguments of `muster runs`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    /// List at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
    /// Also those that were moved to other areas, with where they are
    #[arg(long)]
    pub(crate) full: bool,
    /// List the runs of all areas that are known: `[areas]` of the user's config.toml and of the `megatest.config` at hand
    #[arg(long, conflicts_with = "full")]
    pub(crate) all_areas: bool,
    /// Only areas of this name, or with this tag; `*` for any text
    #[arg(long, value_name = "TAG", requires = "all_areas", value_delimiter = ',')]
    pub(crate) area_tag: Vec<String>,
    /// Say what each area has for each target, in place of the runs
    #[arg(long, requires = "all_areas", conflicts_with = "limit")]
    pub(crate) totals: bool,
}

/// What is done with runs.
#[derive(Clone, Debug, Subcommand)]
enum RunsCommand {
    /// Keep runs as they are: nobody changes, reruns or removes them
    Lock(keep::LockArgs),
    /// End that
    Unlock(keep::LockArgs),
    /// Say something of a run or of its items, for others
    Comment(keep::CommentArgs),
    /// End items of a run that is under way, and go on with the others
    Kill(kill::KillArgs),
    /// Remove runs that are too old, or take too much space
    Prune(prune::PruneArgs),
    /// Remove runs, or their files
    Remove(remove::RemoveArgs),
    /// Put runs that are over into the cold tier: compressed, and out of the way
    Reduce(tier::ReduceArgs),
    /// Bring runs back from the cold tier
    Restore(tier::RestoreArgs),
    /// Move runs to another area with the same keys
    Move(relocate::MoveArgs),
}

/// Lists runs, or does something with them.
pub(crate) fn run(args: &RunsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match &args.command {
        None if args.all_areas => list_all_areas(args, context),
        None => list(args, context),
        Some(RunsCommand::Lock(args)) => keep::lock(args, true, context),
        Some(RunsCommand::Unlock(args)) => keep::lock(args, false, context),
        Some(RunsCommand::Comment(args)) => keep::comment(args, context),
        Some(RunsCommand::Kill(args)) => kill::run(args, context),
        Some(RunsCommand::Prune(args)) => prune::run(args, context),
        Some(RunsCommand::Remove(args)) => remove::run(args, context),
        Some(RunsCommand::Reduce(args)) => tier::reduce(args, context),
        Some(RunsCommand::Restore(args)) => tier::restore(args, context),
        Some(RunsCommand::Move(args)) => relocate::run(args, context),
    }
}

/// Says what was done, unless only what is wrong is wanted.
pub(crate) fn tell(context: &Context, line: &str) -> Result<(), anyhow::Error> {
    if context.output != OutputMode::Quiet {
        writeln!(context.stdout(), "{line}")?;
    }
    Ok(())
}

fn list_all_areas(args: &RunsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if context.server.is_some() {
        return Err(Complaint::usage("`--all-areas` is for areas on this machine")
            .hint("a lab lists the runs of all its areas")
            .into());
    }
    super::runs_of_areas::run(args.limit, args.totals, &args.area_tag, context)
}

fn list(args: &RunsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open(context)?;
    let runs = records.with(|s| s.list_runs(&RunFilter { limit: args.limit, ..RunFilter::default() }))?;
    let moved = if args.full { moved(&records)? } else { Vec::new() };
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            let cold = cold(&records)?;
            // Those that were moved have the form of all others, and other areas and numbers.
            let moved = moved.iter().filter_map(|(_, view)| view.as_ref());
            let all: Vec<_> = runs
                .iter()
                .chain(moved)
                .map(|run| Listed {
                    cold_bytes: cold.get(&run.id).copied(),
                    run: wire::Run::new(run, wire::Texts::None),
                })
                .collect();
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
            for line in table(&runs, &cold(&records)?, records.area(), lives).lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    for (MovedRun { number, place: RunPlace { dir, area, number: there }, .. }, view) in &moved {
        match context.output {
            OutputMode::Json => {}
            OutputMode::Quiet => writeln!(out, "{area}/{there}")?,
            OutputMode::Human => {
                let came_to = view.as_ref().map_or("not to be found there", |view| word(view, None).0);
                writeln!(out, "run {number} is {area}/{there} in `{}`: {came_to}", dir.display())?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

/// A run as a program is told of it.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    run: wire::Run<'a>,
    /// Bytes it takes in the cold tier, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    cold_bytes: Option<u64>,
}

/// The runs in the cold tier. What a server has there is its own affair.
fn cold(records: &Records) -> Result<HashMap<RunId, u64>, anyhow::Error> {
    Ok(records.with_here(|s| s.list_cold().map(Some))?.unwrap_or_default().into_iter().collect())
}

/// The runs that are in other areas, with what they are there as far as these can be asked.
fn moved(records: &Records) -> Result<Vec<(MovedRun, Option<RunView>)>, anyhow::Error> {
    let moved = records.with_here(|s| s.list_moved(records.area()).map(Some))?.unwrap_or_default();
    let view = |moved: &MovedRun| {
        let RunPlace { dir, area, number } = &moved.place;
        let found = crate::wiring::open_sqlite(dir).ok()?.find_run(area, RunName::Number(*number));
        found.ok().flatten().filter(|view| view.id == moved.run)
    };
    Ok(moved
        .into_iter()
        .map(|moved| {
            let view = view(&moved);
            (moved, view)
        })
        .collect())
}

fn table(
    runs: &[RunView],
    cold: &HashMap<RunId, u64>,
    area: &str,
    life: impl Fn(&RunView) -> Option<Life>,
) -> Table {
    let any_cold = runs.iter().any(|run| cold.contains_key(&run.id));
    let mut columns = vec![
        ("run", Column::Right),
        ("name", Column::Shrink),
        ("target", Column::Left),
        ("started", Column::Left),
        ("took", Column::Right),
        ("came to", Column::Left),
        ("items", Column::Cut),
    ];
    if any_cold {
        columns.insert(columns.len() - 1, ("cold", Column::Right));
    }
    let mut table = Table::new(&columns);
    for run in runs {
        let (word, style) = word(run, life(run));
        let took = run.ended.map(|e| words::duration(e.since(run.started))).unwrap_or_default();
        let undone = run.items.saturating_sub(run.counts.total());
        let mut counts = lines_counts(&run.counts);
        if undone > 0 {
            let comma = if counts.is_empty() { "" } else { ", " };
            add!(counts, "{comma}{} not ended", text::count(undone.into()));
        }
        let mut row = vec![
            // A server has runs of other areas too.
            if run.area == area { run.number.to_string() } else { run.address() }.into(),
            Cell::new(run.name.as_str(), INFO),
            text::target(&run.target).into(),
            Cell::new(text::moment(run.started), DIM),
            took.into(),
            Cell::new(
                if run.said.locked.is_some() { format!("{word}, locked") } else { word.to_owned() },
                style,
            ),
            counts.into(),
        ];
        if any_cold {
            let bytes = cold.get(&run.id).map(|n| words::bytes(*n)).unwrap_or_default();
            row.insert(row.len() - 1, Cell::new(bytes, DIM));
        }
        table.row(row);
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
