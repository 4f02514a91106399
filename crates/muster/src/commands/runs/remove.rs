//! `muster runs remove`: runs, their files, or the files of some of their items.

use super::tell;
use crate::commands::megatest::leftovers;
use crate::commands::package::size;
use crate::commands::typed::run_ref;
use crate::context::Context;
use crate::error::Complaint;
use crate::keeper::{Chosen, Keeper};
use crate::terminal::text;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::attempt::Output;
use muster_core::note::Spot;
use muster_core::outcome::ExitCode;
use muster_core::select::Selection;
use muster_core::view::RunView;
use muster_server::weight;
use muster_store::{Extent, ItemFilter, Leftover};
use std::path::Path;

/// Arguments of `muster runs remove`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What Muster made goes, and nothing else: the record, the run's directory, and in a Megatest area the run
directories and the links to them. A removal that is cut off is finished by the next command.
With --testpatt only files of those items go. Their results stay with --keep-records; without, the items
count as not run, and `muster resume` runs them. Who removed what, when and why is kept.

  muster runs remove 17 18 --reason 'disk is full'
  muster runs remove 'nightly-*' --keep-records --dry-run
  muster runs remove latest --testpatt 'sim/%'")]
pub(crate) struct RemoveArgs {
    /// Runs: numbers, names (`*` for any text), `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", required = true, value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) runs: Vec<RunRef>,
    /// Only files go; what the run came to stays
    #[arg(long)]
    pub(crate) keep_records: bool,
    /// Only of these items: `test`, `test/item`, `%` for any text, `~` for the opposite, commas join
    #[arg(long, value_name = "PATT")]
    pub(crate) testpatt: Option<String>,
    /// Say what would go, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why, for others
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
}

/// Removes.
pub(super) fn run(args: &RemoveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut keeper = Keeper::open(context)?;
    let runs = keeper.find(&args.runs)?;
    // A lock is told before anything goes.
    runs.iter().try_for_each(|run| keeper.must_be_open(run))?;
    for run in runs {
        match &args.testpatt {
            None => whole(&mut keeper, &run, args, context)?,
            Some(testpatt) => {
                let selection = Selection { testpatt: Some(testpatt.clone()), ..Selection::default() };
                let chosen = keeper.choose(&run, &selection)?;
                if chosen.is_empty() {
                    let said = format!("no item of {} is meant", run.address());
                    return Err(Complaint::new(ExitCode::NothingRan, said).into());
                }
                of_items(&mut keeper, &run, &chosen, args, context)?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

/// Removes a run, or all its files.
pub(crate) fn whole(
    keeper: &mut Keeper,
    run: &RunView,
    args: &RemoveArgs,
    context: &Context,
) -> Result<(), anyhow::Error> {
    let mut files = Vec::new();
    let mut bytes = 0;
    if keeper.is_here() {
        let items = keeper.choose(run, &Selection::default())?;
        files = leftovers::of(keeper.store(), run, &items)?;
        let own = keeper.store().run_dir(run.number);
        bytes = trees(&files).chain(own.as_deref()).map(weight).sum();
    }
    let what = if args.keep_records { "files of " } else { "" };
    let items = text::plural(u64::from(run.items), "item", "items");
    let line = format!("{what}{}: {items}, {}", run.address(), size(bytes));
    if args.dry_run {
        tell(context, &format!("would remove {line}"))?;
        return trees(&files).try_for_each(|dir| tell(context, &format!("  {}", dir.display())));
    }
    let extent = if args.keep_records { Extent::Files } else { Extent::Run };
    keeper.remove(run, extent, files, &args.reason)?;
    tell(context, &format!("removed {line}"))
}

/// Removes files of items; without their record, they count as not run.
pub(crate) fn of_items(
    keeper: &mut Keeper,
    run: &RunView,
    chosen: &[Chosen],
    args: &RemoveArgs,
    context: &Context,
) -> Result<(), anyhow::Error> {
    let mut files = leftovers::of(keeper.store(), run, chosen)?;
    files.extend(own_files(keeper, run, chosen)?);
    let bytes = trees(&files).map(weight).sum();
    let items = text::plural(chosen.len() as u64, "item", "items");
    let line = format!("files of {items} of {}: {}", run.address(), size(bytes));
    if args.dry_run {
        tell(context, &format!("would remove {line}"))?;
        return trees(&files).try_for_each(|dir| tell(context, &format!("  {}", dir.display())));
    }
    let spots: Vec<Spot> = chosen.iter().map(|c| c.spot.clone()).collect();
    // First what is recorded: an item without its files, and with its verdict, would be a lie if this were cut off.
    if !args.keep_records {
        let ended: Vec<Spot> =
            chosen.iter().filter(|c| c.verdict.is_some()).map(|c| c.spot.clone()).collect();
        let why = if args.reason.is_empty() { "its files were removed" } else { args.reason.as_str() };
        keeper.set(run, ended, None, "", why)?;
    }
    keeper.remove(run, Extent::FilesOf(spots), files, &args.reason)?;
    tell(context, &format!("removed {line}"))
}

/// What attempts of these items left in the run's directory.
fn own_files(keeper: &mut Keeper, run: &RunView, chosen: &[Chosen]) -> Result<Vec<Leftover>, anyhow::Error> {
    let Some(dir) = keeper.store().run_dir(run.number) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for Chosen { spot: Spot { test, item }, .. } in chosen {
        let view = keeper.store().load_run(run.id, ItemFilter::Item(test, item))?;
        for attempt in view.all_items().flat_map(|(_, item)| &item.attempts) {
            let result = &attempt.result;
            let mut add = |path: &str| {
                // It comes from an agent.
                if muster_core::artifact::is_path(path) {
                    files.push(Leftover::Tree(dir.join(path)));
                }
            };
            if let Some(kept) = &result.artifacts {
                add(&kept.dir);
            }
            if let Output::File { path, .. } = &result.output {
                add(path);
            }
        }
    }
    Ok(files)
}

fn trees(files: &[Leftover]) -> impl Iterator<Item = &Path> {
    files.iter().filter_map(|file| match file {
        Leftover::Tree(path) => Some(path.as_path()),
        Leftover::Link(_) | Leftover::Empty(_) | Leftover::Hollow(..) => None,
    })
}
