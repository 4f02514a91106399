//! `muster runs kill`: items of a run that is under way, which goes on with the others; or all that is left of it.

use super::tell;
use crate::commands::typed::{pattern, run_ref};
use crate::context::Context;
use crate::error::Complaint;
use crate::keeper::{Chosen, Keeper};
use crate::terminal::text;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::note::Spot;
use muster_core::outcome::ExitCode;
use muster_core::select::Selection;
use muster_core::view::{RunState, RunView};
use muster_store::ItemFilter;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How often it is looked whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest wait for that: a test that is killed has its grace.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Arguments of `muster runs kill`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What runs is ended, what waits is not started; both come to `cancelled`. What comes after them waits until the
run goes on (`muster resume`), and so do they. Of items that share a process the others run again.

  muster runs kill latest net/tls --reason 'it hangs'
  muster runs kill 42 --testpatt 'sim/%' --dry-run")]
pub(crate) struct KillArgs {
    /// The run: its number, its name, `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    run: RunRef,
    /// Tests and items, as in `muster run`; without any, all that has not ended
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    patterns: Vec<String>,
    /// Tests and items as Megatest has them: `%` for any text, `~` for the opposite, commas join
    #[arg(long, value_name = "PATT")]
    testpatt: Option<String>,
    /// Say what would be killed, and kill nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for others
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Kills.
pub(super) fn run(args: &KillArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut keeper = Keeper::open(context)?;
    let run = keeper.find(std::slice::from_ref(&args.run))?.remove(0);
    let selection = Selection {
        patterns: args.patterns.clone(),
        testpatt: args.testpatt.clone(),
        ..Selection::default()
    };
    let mut chosen = keeper.choose(&run, &selection)?;
    chosen.retain(|c| c.verdict.is_none());
    if chosen.is_empty() || run.state != RunState::Active {
        let said = format!("nothing of {} that is meant is under way", run.address());
        return Err(Complaint::new(ExitCode::NothingRan, said)
            .hint(format!("`{} results {}` shows what it came to", context.program(), run.number))
            .into());
    }
    if args.dry_run {
        for c in &chosen {
            tell(context, &format!("{}/{} would be killed", run.address(), c.spot))?;
        }
        return Ok(ExitCode::Passed);
    }
    let killed = kill(&mut keeper, &run, chosen, &args.reason)?;
    tell(context, &format!("{} of {} killed", text::plural(killed, "item", "items"), run.address()))?;
    Ok(ExitCode::Passed)
}

/// Kills items, and waits until they have ended. How many have.
///
/// # Errors
/// Nobody executes the run, or they do not end.
pub(crate) fn kill(
    keeper: &mut Keeper,
    run: &RunView,
    chosen: Vec<Chosen>,
    reason: &str,
) -> Result<u64, anyhow::Error> {
    let wanted: HashSet<Spot> = chosen.into_iter().map(|c| c.spot).collect();
    keeper.kill(run, wanted.iter().cloned().collect(), reason)?;
    let began = Instant::now();
    loop {
        let now = keeper.store().load_run(run.id, ItemFilter::NotOk)?;
        let is_open = |(test, path): (&str, &str)| {
            wanted.contains(&Spot { test: test.to_owned(), item: path.to_owned() })
        };
        let items = now.all_items().filter(|(_, i)| !i.discovery && i.verdict.is_none());
        let left = items.filter(|(t, i)| is_open((&t.name, &i.path))).count();
        if left == 0 || now.state != RunState::Active {
            return Ok(wanted.len() as u64);
        }
        if began.elapsed() > WAIT_MAX {
            let said = format!(
                "{} of {} have not ended yet",
                text::plural(left as u64, "item", "items"),
                run.address()
            );
            return Err(Complaint::lab(said).hint("ask once more, or stop the whole run with Ctrl-C").into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
