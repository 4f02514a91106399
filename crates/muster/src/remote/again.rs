//! Going on with a run of a server: `resume` and `rerun`, as on this machine.
//!
//! In the directory of the run's area, a rerun has its files and definitions as they are now; anywhere else, and where
//! the tests came from elsewhere (`--tests`), as they were when the run was asked for. A resume is of what was asked for.

use super::records::{ServerRecords, area_at_hand};
use super::session::{Ended, Session};
use super::{ask_again, client, complain, heed, source};
use crate::commands::area_name;
use crate::commands::records::find_run;
use crate::commands::rerun::RerunArgs;
use crate::commands::resume::{ResumeArgs, nothing_to_resume};
use crate::commands::run::InputArgs;
use crate::commands::typed::ExecArgs;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::again::Again;
use crate::local::area::Purpose;
use crate::local::session::{ended_before, verdicts_of};
use crate::local::{again, area, made_of, packages, request};
use muster_api::{Client, PartOf, Reopen, Submit};
use muster_core::address::RunRef;
use muster_core::change::{RunPhase, RunRecord, RunSnapshot};
use muster_core::id::ItemIx;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::view::{RunState, RunView};
use muster_store::{ItemFilter, Store as _};
use std::io::Write as _;
use std::sync::Arc;

/// Goes on with a run that was stopped. One that is under way is watched.
///
/// # Errors
/// There is no such run, it has ended, or the server does not go on with it.
pub(crate) fn resume(args: ResumeArgs, server: &str, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let ResumeArgs { run, exec } = args;
    again::as_recorded(&exec)?;
    let client = client(server, context)?;
    let (mut store, view) = find(&client, &run, context)?;
    if view.state == RunState::Active {
        let session = Session::new(client, view.id, &exec, context)?;
        return session.run(|_| Ok(None));
    }
    let mut snapshot = store.load_run_snapshot(view.id)?;
    if !matches!(snapshot.phase, RunPhase::Stopped { .. }) {
        return Err(nothing_to_resume(&view, &context.program()));
    }
    let whole = store.load_run(view.id, ItemFilter::All)?;
    again::apply_flags(Arc::make_mut(&mut Arc::make_mut(&mut snapshot.record).spec), &exec);
    let record = Arc::clone(&snapshot.record);
    let (items, part, made_of) = (Vec::new(), None, String::new());
    go_on(GoOn { client, record, snapshot, whole, items, part, made_of, partial: false }, &exec, context)
}

/// Runs items of a run again.
///
/// # Errors
/// There is no such run, nothing of it is meant, or the server does not go on with it.
pub(crate) fn rerun(args: RerunArgs, server: &str, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let steps = args.steps();
    let RerunArgs { run, patterns, failed, flaky, stale, all, verdict, testpatt, downstream, exec, .. } =
        args;
    let client = client(server, context)?;
    let (mut store, view) = find(&client, &run, context)?;
    if view.state == RunState::Active {
        let program = context.program();
        return Err(Complaint::usage(format!("run `{}` is under way", view.number))
            .hint(format!("wait for its end: `{program} resume {}` watches it", view.number))
            .into());
    }
    let snapshot = store.load_run_snapshot(view.id)?;
    let spec = &snapshot.record.spec;
    let is_at_hand = spec.inputs.area_dir().is_none() && area_at_hand(context).as_ref() == Some(&spec.area);
    let area = if is_at_hand {
        let target: Vec<&str> = spec.target.iter().map(|(_, v)| v.as_str()).collect();
        let target = (!target.is_empty()).then(|| target.join("/"));
        let name = Some(spec.name.as_str()).filter(|name| !name.is_empty());
        let purpose = Purpose::Lab { name };
        Some(area::load(context, None, target.as_deref(), &request::flags_again(&exec, spec), purpose)?)
    } else if stale {
        let said = format!("`--stale` compares with the definitions of `{}` as they are now", spec.area);
        return Err(Complaint::usage(said).hint("go to the directory of the area, or use `-C DIR`").into());
    } else {
        again::as_recorded(&exec)?;
        None
    };
    let changed = area.as_ref().map(|area| request::changed_definitions(&snapshot.record, area));
    let whole = store.load_run(view.id, ItemFilter::All)?;
    let made = match area.as_ref().filter(|_| stale) {
        Some(area) => again::stale(&mut store, area, &whole, &snapshot, context)?,
        None => again::Staleness::default(),
    };
    let choice = again::Choice {
        patterns,
        failed: failed || !(flaky || stale || all || !verdict.is_empty()),
        flaky,
        changed: changed.as_ref().filter(|_| stale && !made.is_known),
        stale: &made.items,
        testpatt,
        all,
        verdicts: verdict,
    };
    let chosen = again::choose(&choice, &whole, &snapshot)?;
    let mut record = match &area {
        Some(area) => {
            let failures_max = exec.fail_fast.map(std::num::NonZeroU32::get);
            let mut record = request::replanned(&snapshot.record, area, failures_max);
            let (given, asked) = (&snapshot.record.spec.inputs.packages, InputArgs::default());
            let packages = packages::resolve_beside(given, &asked, area, &record.plan, &client, context)?;
            Arc::make_mut(&mut record.spec).inputs.packages = packages;
            record
        }
        None => {
            writeln!(context.stderr(), "with the files that the run was asked for with")?;
            let mut record = RunRecord::clone(&snapshot.record);
            again::apply_flags(Arc::make_mut(&mut record.spec), &exec);
            record
        }
    };
    let how = (steps.as_ref(), downstream);
    let Again { items, parts } = again::widen(chosen, how, (&whole, &snapshot, &record), false, context)?;
    if items.is_empty() {
        let said = format!("nothing of run `{}` is to be run again", view.number);
        return Err(Complaint::new(ExitCode::NothingRan, said)
            .hint(format!("`{} results {}` shows what it came to", context.program(), view.number))
            .into());
    }
    if let Some(area) = &area {
        let source = source(&client, area, &area.dir)?;
        Arc::make_mut(&mut record.spec).placement.source = source;
    }
    let part = steps.map(|steps| PartOf { items: parts.iter().map(|part| part.item).collect(), steps });
    let record = Arc::new(record);
    let made_of = area.as_ref().map(made_of::line).unwrap_or_default();
    go_on(GoOn { client, record, snapshot, whole, items, part, made_of, partial: true }, &exec, context)
}

/// The run that is meant: of the area at hand, of that which is named, or of that of the latest run.
fn find(client: &Client, run: &RunRef, context: &Context) -> Result<(ServerRecords, RunView), anyhow::Error> {
    let mut store = ServerRecords::new(client.clone());
    let named = match run {
        RunRef::Name(name) => name.split_once('/').map(|(area, _)| area.to_owned()),
        RunRef::Number(_) | RunRef::Back(_) => None,
    };
    let area = match named.or_else(|| area_at_hand(context)) {
        Some(area) => area,
        None => area_name(context, &mut store)?,
    };
    let view = find_run(&mut store, &area, run)?;
    Ok((store, view))
}

/// A run that is to go on.
struct GoOn {
    client: Client,
    /// As it is recorded.
    snapshot: RunSnapshot,
    /// With all its items.
    whole: RunView,
    /// As it is carried out from now on.
    record: Arc<RunRecord>,
    items: Vec<ItemIx>,
    /// Of which of them only some steps run.
    part: Option<PartOf>,
    /// What its tests are made of from now on; empty: what they were.
    made_of: String,
    /// Only the items run now decide the exit code, with a word for what is outstanding.
    partial: bool,
}

fn go_on(what: GoOn, exec: &ExecArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let GoOn { client, snapshot, whole, record, items, part, made_of, partial } = what;
    let (id, number) = (record.id, record.number);
    let mut session = Session::new(client.clone(), id, exec, context)?;
    let ended = Ended::of(&whole, &snapshot, &items);
    let counts = ended_before(&snapshot, &items);
    let request = uuid::Uuid::now_v7().as_u128();
    let submit = Submit { spec: (*record.spec).clone(), plan: (*record.plan).clone(), made_of };
    let reopen = Reopen { request, items: items.clone(), submit, part };
    let mut asked = 0;
    let reopened = ask_again(|| {
        asked += 1;
        match client.reopen(id, &reopen) {
            Ok(reopened) => Ok(Some(reopened)),
            // It was heard, and its answer lost with the server that gave it.
            Err(e) if asked > 1 && e.code() == Some("run-active") => Ok(None),
            Err(e) => Err(e),
        }
    });
    let reopened = reopened.map_err(complain)?;
    let address = format!("{}/{number}", record.spec.area);
    if let Some(reopened) = &reopened {
        heed(&client, id, &address, &reopened.accepted.outlook, false, context)?;
    }
    session.goes_on(counts, ended, reopened.map_or(0, |reopened| reopened.after));
    session.run(|records| {
        let verdicts: Option<Vec<Verdict>> =
            if partial { Some(verdicts_of(records, id, &items)?) } else { None };
        Ok(verdicts)
    })
}
