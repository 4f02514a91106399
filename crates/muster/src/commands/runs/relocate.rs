//! `muster runs move`: to another area with the same keys.

use super::tier;
use crate::commands::typed::run_ref;
use crate::context::{Context, OutputMode};
use crate::keeper::must_be_open;
use crate::local::relocate::{There, relocate};
use clap::Args;
use muster_core::address::RunRef;
use muster_core::outcome::ExitCode;
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;

/// Arguments of `muster runs move`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The other area has the same keys. A run gets a number of its own there, is in its cold tier, and can be looked
at, compared and run again there. Its files go along; run directories of a Megatest area stay on their disks,
and are found from there. Here, whoever asks for the run is told where it is, and `muster runs --full` lists it.

A move that was cut off is ended by calling it again.

  muster runs move 41 42 --to ../archive")]
pub(crate) struct MoveArgs {
    /// The runs: their numbers, their names, or `-2` for the one before the latest
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true, required = true)]
    runs: Vec<RunRef>,
    /// The directory of the other area
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

/// Moves them.
pub(super) fn run(args: &MoveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let MoveArgs { runs, to, dry_run } = args;
    let (mut store, area) = tier::open(context)?;
    let runs = tier::named(&mut store, &area, runs)?;
    for run in &runs {
        tier::must_be_over(run)?;
        must_be_open(run, &context.program())?;
    }
    let mut there = There::open(&context.dir.join(to), &store)?;
    let mut all = Vec::new();
    for run in &runs {
        let mut out = context.stdout();
        if *dry_run {
            if context.output == OutputMode::Human {
                writeln!(out, "run {} would go to `{}`", run.number, to.display())?;
            }
            all.push(json!({ "run": run.number, "to": to }));
            continue;
        }
        let place = relocate(&mut store, run, &mut there)?;
        if context.output == OutputMode::Human {
            writeln!(
                out,
                "run {} is {}/{} in `{}` now",
                run.number,
                place.area,
                place.number,
                place.dir.display()
            )?;
        }
        all.push(json!({ "run": run.number, "to": place.dir, "area": place.area, "number": place.number }));
    }
    if context.output == OutputMode::Json {
        let mut out = context.stdout();
        serde_json::to_writer(&mut out, &all)?;
        writeln!(out)?;
    }
    Ok(ExitCode::Passed)
}
