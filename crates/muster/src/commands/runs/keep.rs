//! `muster runs lock`, `unlock`, `comment`: what people say of runs.

use super::tell;
use crate::commands::typed::{pattern, run_ref};
use crate::context::Context;
use crate::error::Complaint;
use crate::keeper::Keeper;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::note::Spot;
use muster_core::outcome::ExitCode;
use muster_core::select::Selection;

/// Arguments of `muster runs lock` and `unlock`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A locked run is not run again, changed or removed until it is unlocked; what of it is under way goes on.
Comments may still be made on it.

  muster runs lock 42 --reason 'evidence for the release'
  muster runs unlock 'nightly-*'")]
pub(crate) struct LockArgs {
    /// Runs: numbers, names (`*` for any text), `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", required = true, value_parser = run_ref, allow_negative_numbers = true)]
    runs: Vec<RunRef>,
    /// Why, for others
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `muster runs comment`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
  muster runs comment 42 --text 'the switch was rebooted at noon'
  muster runs comment latest 'net/*' --text 'known: see the vendor'")]
pub(crate) struct CommentArgs {
    /// The run: its number, its name, `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    run: RunRef,
    /// About these tests and items, as in `muster run`; without any, about the run
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    patterns: Vec<String>,
    /// The comment
    #[arg(short = 'm', long, value_name = "TEXT")]
    text: String,
}

/// Locks runs, or unlocks them.
pub(super) fn lock(args: &LockArgs, lock: bool, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut keeper = Keeper::open(context)?;
    for run in keeper.find(&args.runs)? {
        let done = if lock { "locked" } else { "unlocked" };
        if args.dry_run {
            tell(context, &format!("{} would be {done}", run.address()))?;
        } else if keeper.lock(&run, lock, &args.reason)? {
            tell(context, &format!("{} is {done}", run.address()))?;
        } else {
            tell(context, &format!("{} was not locked", run.address()))?;
        }
    }
    Ok(ExitCode::Passed)
}

/// Comments on a run, or on items of it.
pub(super) fn comment(args: &CommentArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if args.text.trim().is_empty() {
        return Err(Complaint::usage("a comment is not empty").into());
    }
    let mut keeper = Keeper::open(context)?;
    let run = keeper.find(std::slice::from_ref(&args.run))?.remove(0);
    let mut items: Vec<Spot> = Vec::new();
    if !args.patterns.is_empty() {
        let selection = Selection { patterns: args.patterns.clone(), ..Selection::default() };
        items.extend(keeper.choose(&run, &selection)?.into_iter().map(|c| c.spot));
        if items.is_empty() {
            return Err(Complaint::new(ExitCode::NothingRan, "no item of the run is meant").into());
        }
    }
    keeper.comment(&run, items, &args.text)?;
    Ok(ExitCode::Passed)
}
