//! `muster rerun`: new attempts of items of a recorded run, in the same run.

use super::typed::{ExecArgs, pattern, run_ref, verdict};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::again::Again;
use crate::local::agent::Agent;
use crate::local::area::Purpose;
use crate::local::session::Request;
use crate::local::{again, area, given, made_of, packages, request, session, tier};
use crate::remote;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::change::RunPhase;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::part::{self, SomeSteps};
use muster_store::{ItemFilter, Store as _};
use std::sync::Arc;

/// Arguments of `muster rerun`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster rerun 42 --failed          what failed, and what could not run because of it
  muster rerun latest 'net/*'       some items, whatever they came to
  muster rerun -2 --flaky -j1       of the run before the latest, one at a time
  muster rerun 42 build --downstream    a test, and all that comes after it
  muster rerun 42 --verdict timeout,error
  muster rerun 42 net/tls --from-step check    a step and those behind it; the others keep what they came to

Without a choice, `--failed` is meant. Exit code 5: what was run passed, but earlier failures are outstanding.

Files and definitions are those of the area as they are now. With --server they are packed and sent
anew from the directory of the run's area; called anywhere else, the run goes on with those it was
asked for with.")]
pub(crate) struct RerunArgs {
    /// The run: its number, its name, `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) run: RunRef,
    /// Only these tests and items, as in `muster run`
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    pub(crate) patterns: Vec<String>,
    /// Items that failed, and those that were not run because of them
    #[arg(long)]
    pub(crate) failed: bool,
    /// Items that passed only after they had failed
    #[arg(long)]
    pub(crate) flaky: bool,
    /// Items that were made of something else than there is now: a definition, or files of the test, have changed
    #[arg(long)]
    pub(crate) stale: bool,
    /// All items
    #[arg(long, conflicts_with_all = ["failed", "flaky", "stale", "verdict"])]
    pub(crate) all: bool,
    /// Items that came to one of these, with commas between: `fail`, `timeout`, `error`, `prerequisite-failed`, …
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = verdict)]
    pub(crate) verdict: Vec<Verdict>,
    /// Only these, as Megatest has them: `%` for any text, `~` for the opposite, commas join
    #[arg(long, value_name = "PATT")]
    pub(crate) testpatt: Option<String>,
    /// And all that comes after them, whatever it came to: it was made of what is run again
    #[arg(long)]
    pub(crate) downstream: bool,
    /// Only this step of them; the others keep what they came to, and the files of the attempt before are there
    #[arg(long, value_name = "STEP", conflicts_with = "from_step")]
    pub(crate) step: Option<String>,
    /// Only this step of them and those behind it
    #[arg(long, value_name = "STEP")]
    pub(crate) from_step: Option<String>,
    #[command(flatten)]
    pub(crate) exec: ExecArgs,
}

impl RerunArgs {
    /// Which steps are meant, if not all.
    pub(crate) fn steps(&self) -> Option<SomeSteps> {
        let from = self.from_step.clone().map(SomeSteps::From);
        self.step.clone().map(SomeSteps::Only).or(from)
    }
}

/// Runs the items again.
pub(crate) fn run(args: RerunArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if let Some(server) = &context.server {
        return remote::again::rerun(args, server, context);
    }
    let steps = args.steps();
    let RerunArgs { run, patterns, failed, flaky, stale, all, verdict, testpatt, downstream, exec, .. } =
        args;
    let (mut store, view) = again::open(context, &run)?;
    let snapshot = store.load_run_snapshot(view.id)?;
    let target: Vec<&str> = snapshot.record.spec.target.iter().map(|(_, v)| v.as_str()).collect();
    let target = (!target.is_empty()).then(|| target.join("/"));
    let run_dir = store.run_dir(view.number).expect("the records of an area are in a directory");
    given::must_be_there(&snapshot.record.spec.inputs, &run_dir, view.number)?;
    let mut packages = packages::again(&snapshot.record.spec.inputs, &run_dir, context)?;
    let fetched = snapshot.record.spec.inputs.area_dir().map(|place| run_dir.join(place));
    let name = Some(snapshot.record.spec.name.as_str()).filter(|name| !name.is_empty());
    let purpose = Purpose::Run { name };
    let area = area::load(
        context,
        fetched,
        target.as_deref(),
        &request::flags_again(&exec, &snapshot.record.spec),
        purpose,
    )?;
    tier::must_take_runs(&area.loaded.area)?;
    let changed = request::changed_definitions(&snapshot.record, &area);
    let whole = store.load_run(view.id, ItemFilter::All)?;
    let made = if stale {
        again::stale(&mut store, &area, &whole, &snapshot, context)?
    } else {
        again::Staleness::default()
    };
    let choice = again::Choice {
        stale: &made.items,
        patterns,
        failed: failed || !(flaky || stale || all || !verdict.is_empty()),
        flaky,
        changed: (stale && !made.is_known).then_some(&changed),
        testpatt,
        all,
        verdicts: verdict,
    };
    let chosen = again::choose(&choice, &whole, &snapshot)?;
    let failures_max = exec.fail_fast.map(std::num::NonZeroU32::get);
    let mut record = request::replanned(&snapshot.record, &area, failures_max);
    let how = (steps.as_ref(), downstream);
    let Again { items, parts } = again::widen(chosen, how, (&whole, &snapshot, &record), true, context)?;
    part::renew(&mut Arc::make_mut(&mut record.spec).parts, &items, parts);
    if items.is_empty() && snapshot.phase != RunPhase::Active {
        let said = format!("nothing of run `{}` is to be run again", view.number);
        return Err(Complaint::new(ExitCode::NothingRan, said)
            .hint(format!("`{} results {}` shows what it came to", context.program(), view.number))
            .into());
    }
    packages.add(&area, &record.plan, &run_dir, context)?;
    made_of::note(&run_dir, &area, session::now())?;
    Arc::make_mut(&mut record.spec).inputs.packages = packages.needed();
    let record = Arc::new(record);
    // They stay where they are until the run has ended.
    let _leases = packages.into_leases();
    let agent = Agent::start(&area.dir, request::jobs(&area.loaded.area, context))?;
    let durations = Arc::new(store.list_durations(&record.spec.area, &record.spec.target)?);
    let (replanned, more) = (Some(record), Vec::new());
    let request = Request::Again { snapshot: Box::new(snapshot), items, replanned, more, partial: true };
    session::execute(request, store, agent, durations, &exec, context)
}
