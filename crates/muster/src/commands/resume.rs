//! `muster resume`: goes on with a run that was stopped or killed.

use super::typed::{ExecArgs, run_ref};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::agent::Agent;
use crate::local::session::Request;
use crate::local::{again, given, packages, session};
use crate::remote;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::change::RunPhase;
use muster_core::outcome::ExitCode;
use muster_core::view::RunView;
use muster_store::Store as _;
use std::sync::Arc;

/// Arguments of `muster resume`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Finished results stay as they are; what was running is run again.

With --server the files and definitions are those that the run was asked for with; a run that is
under way is watched to its end.")]
pub(crate) struct ResumeArgs {
    /// The run: its number, its name, `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", default_value = "latest", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) run: RunRef,
    #[command(flatten)]
    pub(crate) exec: ExecArgs,
}

/// Goes on with the run.
pub(crate) fn run(args: ResumeArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if let Some(server) = &context.server {
        return remote::again::resume(args, server, context);
    }
    let ResumeArgs { run, exec } = args;
    again::as_recorded(&exec)?;
    let (mut store, view) = again::open(context, &run)?;
    let mut snapshot = store.load_run_snapshot(view.id)?;
    let undone = snapshot.phase == RunPhase::Active || matches!(snapshot.phase, RunPhase::Stopped { .. });
    if !undone {
        return Err(nothing_to_resume(&view, &context.program()));
    }
    let run_dir = store.run_dir(view.number).expect("the records of an area are in a directory");
    given::must_be_there(&snapshot.record.spec.inputs, &run_dir, view.number)?;
    let _leases = packages::again(&snapshot.record.spec.inputs, &run_dir, context)?.into_leases();
    let record = Arc::make_mut(&mut snapshot.record);
    again::apply_flags(Arc::make_mut(&mut record.spec), &exec);
    // Where the run was killed together with its agent, something of it may still be there.
    muster_agent::exec::kill_abandoned();
    let jobs = again::jobs(&record.spec, context);
    let agent = Agent::start(&again::area_dir(context)?, jobs)?;
    let durations = Arc::new(store.list_durations(&record.spec.area, &record.spec.target)?);
    let request = Request::Again {
        snapshot: Box::new(snapshot),
        items: Vec::new(),
        replanned: None,
        more: Vec::new(),
        partial: false,
    };
    session::execute(request, store, agent, durations, &exec, context)
}

/// A run that has ended.
pub(crate) fn nothing_to_resume(run: &RunView, program: &str) -> anyhow::Error {
    Complaint::usage(format!("run `{}` has ended: there is nothing to resume", run.number))
        .hint(format!("`{program} rerun {} --failed` runs again what failed", run.number))
        .into()
}
