//! `muster runs reduce` and `restore`: between the database and the cold tier.

use crate::commands::area_name;
use crate::commands::records::find_run;
use crate::commands::typed::run_ref;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::area::{self, Purpose};
use crate::local::{session, tier};
use clap::Args;
use muster_core::address::RunRef;
use muster_core::outcome::ExitCode;
use muster_core::view::RunView;
use muster_formats::report::words;
use muster_store::{HotLimits, RunFilter, Sqlite, Store as _};
use serde::Serialize;
use std::collections::HashSet;
use std::io::Write as _;

/// Arguments of `muster runs reduce`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What is recorded of a run becomes one compressed file in `.muster/cold`. Its line in `muster runs` stays, and
`results`, `log`, `why`, `history`, `diff` and all others read it from there as before. `rerun` and `resume`
bring it back by themselves. Files that its tests left stay where they are: `muster archive` is for those.

Runs go there by themselves too, after a run: those beyond `hot-runs` and `hot-for` of `[records]`.

  muster runs reduce 41 42
  muster runs reduce --due --dry-run
  muster runs reduce --due --hot-runs 20")]
pub(crate) struct ReduceArgs {
    /// The runs: their numbers, their names, or `-2` for the one before the latest
    #[arg(
        value_name = "RUN",
        value_parser = run_ref,
        allow_negative_numbers = true,
        required_unless_present = "due"
    )]
    runs: Vec<RunRef>,
    /// All that are due by what the area says
    #[arg(long, conflicts_with = "runs")]
    due: bool,
    /// All but so many of the newest, whatever the area says
    #[arg(long, value_name = "N", requires = "due")]
    hot_runs: Option<u32>,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `muster runs restore`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreArgs {
    /// The runs: their numbers, their names, or `-2` for the one before the latest
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true, required = true)]
    runs: Vec<RunRef>,
}

/// What became of a run.
#[derive(Serialize)]
struct Moved {
    run: u32,
    tier: &'static str,
    /// Bytes it takes in the cold tier.
    bytes: Option<u64>,
}

/// Puts runs there.
pub(super) fn reduce(args: &ReduceArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let ReduceArgs { runs, due, hot_runs, dry_run } = args;
    let (mut store, area) = open(context)?;
    let chosen = match (due, hot_runs) {
        (false, _) => named(&mut store, &area, runs)?,
        (true, Some(most)) => {
            let limits = HotLimits { runs: Some(*most), ..HotLimits::default() };
            of(&mut store, &area, &limits)?
        }
        (true, None) => {
            let loaded = area::load(context, None, None, &[], Purpose::Look)?;
            let limits = tier::limits(&loaded.loaded.area.records, session::now());
            of(&mut store, &area, &limits)?
        }
    };
    let mut moved = Vec::with_capacity(chosen.len());
    for run in &chosen {
        must_be_over(run)?;
        let bytes = match dry_run {
            true => None,
            false => Some(store.reduce_run(run.id)?),
        };
        moved.push(Moved { run: run.number, tier: "cold", bytes });
    }
    tell(&moved, *dry_run, context)
}

/// Brings runs back.
pub(super) fn restore(args: &RestoreArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let (mut store, area) = open(context)?;
    let mut moved = Vec::new();
    for run in named(&mut store, &area, &args.runs)? {
        store.restore_run(run.id)?;
        moved.push(Moved { run: run.number, tier: "hot", bytes: None });
    }
    tell(&moved, false, context)
}

/// Refuses a run that is under way, or was killed.
pub(super) fn must_be_over(run: &RunView) -> Result<(), anyhow::Error> {
    if run.ended.is_some() {
        return Ok(());
    }
    Err(Complaint::usage(format!("run `{}` has not ended", run.number))
        .hint(format!("`muster resume {}` goes on with it", run.number))
        .into())
}

pub(super) fn open(context: &Context) -> Result<(Sqlite, String), anyhow::Error> {
    if context.server.is_some() {
        return Err(Complaint::usage("a server keeps its records itself")
            .hint("call this without --server in the directory of an area")
            .into());
    }
    let mut store = crate::wiring::open_to_write(&context.area_dir()?)?;
    let area = area_name(context, &mut store)?;
    Ok((store, area))
}

pub(super) fn named(store: &mut Sqlite, area: &str, runs: &[RunRef]) -> Result<Vec<RunView>, anyhow::Error> {
    runs.iter().map(|run| find_run(store, area, run)).collect()
}

/// All runs of an area that are due, oldest first.
fn of(store: &mut Sqlite, area: &str, limits: &HotLimits) -> Result<Vec<RunView>, anyhow::Error> {
    let due: HashSet<_> = store.list_due(area, limits, u32::MAX)?.into_iter().collect();
    let filter = RunFilter { area: Some(area.to_owned()), limit: u32::MAX, ..RunFilter::default() };
    let mut runs = store.list_runs(&filter)?;
    runs.retain(|run| due.contains(&run.id));
    runs.reverse();
    Ok(runs)
}

fn tell(moved: &[Moved], dry_run: bool, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, moved)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => {}
        OutputMode::Human if moved.is_empty() => writeln!(out, "no run is due")?,
        OutputMode::Human => {
            for Moved { run, tier, bytes } in moved {
                match bytes {
                    Some(bytes) => writeln!(out, "run {run}: in the cold tier, {}", words::bytes(*bytes))?,
                    None if dry_run => writeln!(out, "run {run} would go to the cold tier")?,
                    None => writeln!(out, "run {run}: {tier}, as runs that have just ended")?,
                }
            }
        }
    }
    Ok(ExitCode::Passed)
}
