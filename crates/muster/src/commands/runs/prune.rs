//! `muster runs prune`: removes runs by age, number and space. What matters more stays longer.

use super::remove::{RemoveArgs, whole};
use super::tell;
use crate::commands::archive::{self, MegatestArchive};
use crate::commands::megatest::leftovers;
use crate::commands::package::size;
use crate::commands::typed::{bytes, long_duration};
use crate::context::Context;
use crate::error::Complaint;
use crate::keeper::Keeper;
use crate::local::session::now;
use crate::terminal::text;
use clap::Args;
use muster_core::id::RunId;
use muster_core::outcome::ExitCode;
use muster_core::select::Selection;
use muster_core::view::RunView;
use muster_server::{Retention, is_without_files, weight};
use muster_store::Leftover;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

/// Arguments of `muster runs prune`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A run goes if it is too old, or if all runs together take more space than they may; then the oldest go first,
those that passed before those that failed. These stay whatever is said: runs that are under way, locked runs,
and the newest of each target (--keep), and those of names that are kept (--keep-named).

  muster runs prune --older-than 30d --failed-older-than 90d --dry-run
  muster runs prune --space 20GB --keep 5 --keep-records
  muster runs prune --older-than 30d --keep-named 'release-*' --archive")]
pub(crate) struct PruneArgs {
    /// Runs that ended longer ago than this go: `30d`, `12h`
    #[arg(long, value_name = "DURATION", value_parser = long_duration)]
    older_than: Option<Duration>,
    /// The same for runs that did not pass [default: as --older-than]
    #[arg(long, value_name = "DURATION", value_parser = long_duration)]
    failed_older_than: Option<Duration>,
    /// What all runs may take together, e.g. `20GB`
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    space: Option<u64>,
    /// So many of the newest runs of each target stay
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: u32,
    /// Runs of these names stay; `*` for any text
    #[arg(long, value_name = "NAME")]
    keep_named: Vec<String>,
    /// The files go into the archive of the area (`muster archive`); what runs came to stays
    #[arg(long, conflicts_with = "keep_records")]
    archive: bool,
    /// Only files go; what runs came to stays
    #[arg(long)]
    keep_records: bool,
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for others
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "too old, or in need of space",
        hide_default_value = true
    )]
    reason: String,
}

/// Removes what is not to be kept.
pub(super) fn run(args: &PruneArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if args.older_than.is_none() && args.failed_older_than.is_none() && args.space.is_none() {
        return Err(Complaint::usage("nothing says which runs are to go")
            .hint("`--older-than 30d`, `--failed-older-than 90d`, `--space 20GB`; `--dry-run` only shows")
            .into());
    }
    let mut keeper = Keeper::open(context)?;
    if args.space.is_some() && !keeper.is_here() {
        return Err(Complaint::usage("what runs of a server take is not known here")
            .hint("`--older-than 30d` goes by age")
            .into());
    }
    if args.archive && !keeper.is_here() {
        return Err(Complaint::usage("the files of a server's runs are archived where the server is").into());
    }
    let runs = keeper.all()?;
    let mut weights: BTreeMap<RunId, u64> = BTreeMap::new();
    if args.space.is_some() {
        for run in &runs {
            weights.insert(run.id, take(&mut keeper, run)?);
        }
    }
    let retention = Retention {
        older_than: args.older_than,
        failed_older_than: args.failed_older_than,
        space: args.space,
        keep: args.keep,
        keep_named: args.keep_named.clone(),
        keep_records: args.keep_records,
    };
    let mut gone = Vec::new();
    for run in retention.expired(&runs, now(), &weights) {
        if !((args.keep_records || args.archive) && is_without_files(keeper.store(), run.id)?) {
            gone.push(run);
        }
    }
    let mut code = ExitCode::Passed;
    if args.archive {
        gone = with_files(&mut keeper, gone)?;
        for run in &gone {
            if archive_one(run, args.dry_run, context)? != ExitCode::Passed {
                code = ExitCode::Lab;
            }
        }
    } else {
        let remove = RemoveArgs {
            runs: Vec::new(),
            keep_records: args.keep_records,
            testpatt: None,
            dry_run: args.dry_run,
            reason: args.reason.clone(),
        };
        for run in &gone {
            whole(&mut keeper, run, &remove, context)?;
        }
    }
    let freed: u64 = gone.iter().filter_map(|r| weights.get(&r.id)).sum();
    let freed = if weights.is_empty() { String::new() } else { format!(", {}", size(freed)) };
    let of = text::count(runs.len() as u64);
    let did = match (args.archive, args.dry_run) {
        (false, false) => "removed",
        (false, true) => "would remove",
        (true, false) => "archived",
        (true, true) => "would archive",
    };
    tell(context, &format!("{did} {} of {of} runs{freed}", text::count(gone.len() as u64)))?;
    Ok(code)
}

/// Puts the files of a run into the archive. What goes wrong with one is told, and the others are done.
fn archive_one(run: &RunView, dry_run: bool, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if dry_run {
        tell(context, &format!("would archive {}", run.address()))?;
        return Ok(ExitCode::Passed);
    }
    match archive::for_megatest(MegatestArchive::SaveRemove, std::slice::from_ref(run), None, context) {
        Ok(code) => Ok(code),
        Err(error) => {
            writeln!(context.stderr(), "{} stays: {error:#}", run.address())?;
            Ok(ExitCode::Lab)
        }
    }
}

/// Those that have files of which an archive could be made: not those whose files are all in one already.
fn with_files<'a>(keeper: &mut Keeper, runs: Vec<&'a RunView>) -> Result<Vec<&'a RunView>, anyhow::Error> {
    let mut found = Vec::new();
    for run in runs {
        let items = keeper.choose(run, &Selection::default())?;
        let trees = leftovers::of(keeper.store(), run, &items)?;
        let mut has = trees.iter().any(|file| matches!(file, Leftover::Tree(path) if path.is_dir()));
        if let Some(dir) = keeper.store().run_dir(run.number)
            && let Ok(entries) = fs::read_dir(dir)
        {
            // The outputs stay in any case: a run that goes on adds to them.
            has |= entries
                .flatten()
                .any(|entry| entry.file_name() != "output.seg" && entry.file_name() != "lock");
        }
        if has {
            found.push(run);
        }
    }
    Ok(found)
}

/// Bytes that a run takes on disks.
fn take(keeper: &mut Keeper, run: &RunView) -> Result<u64, anyhow::Error> {
    let items = keeper.choose(run, &Selection::default())?;
    let files = leftovers::of(keeper.store(), run, &items)?;
    let own = keeper.store().run_dir(run.number);
    let outside = files.iter().filter_map(|file| match file {
        Leftover::Tree(path) => Some(weight(path)),
        Leftover::Link(_) | Leftover::Empty(_) | Leftover::Hollow(..) => None,
    });
    Ok(outside.sum::<u64>() + own.map_or(0, |dir| weight(&dir)))
}
