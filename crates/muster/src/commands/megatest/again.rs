//! `megatest -run` for a run that is there already: what has not ended goes on, what is asked for by status
//! is run again.

use super::args::Args;
use super::list_runs::{Line, lines, ticket_of};
use super::triggers;
use crate::commands;
use crate::commands::rerun::RerunArgs;
use crate::commands::resume::ResumeArgs;
use crate::commands::typed::ExecArgs;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::megatest;
use muster_core::address::RunRef;
use muster_core::change::RunPhase;
use muster_core::outcome::ExitCode;
use muster_core::select::testpatt::TestPatt;
use muster_core::view::{RunState, RunView};
use muster_formats::megatest::ticket::Ticket;
use muster_store::{ItemFilter, RunLock, Store};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// States and statuses that `-rerun-clean` runs again.
const UNCLEAN_STATES: [&str; 6] = ["KILLREQ", "KILLED", "UNKNOWN", "INCOMPLETE", "STUCK", "NOT_STARTED"];
const UNCLEAN_STATUSES: [&str; 7] =
    ["FAIL", "INCOMPLETE", "ABORT", "CHECK", "DEAD", "PREQ_FAIL", "PREQ_DISCARDED"];

/// Which records get another attempt.
enum Which<'a> {
    /// Those with one of these statuses.
    Statuses(Vec<&'a str>),
    /// Those that did not end well: with one of these states or statuses.
    Unclean([Vec<String>; 2]),
    All,
    /// Those that the area's files say may be run again by themselves.
    Allowed(Vec<String>),
}

/// The run of this name for this target, if there is one.
pub(super) fn find(name: &str, target: &str, context: &Context) -> Result<Option<RunView>, anyhow::Error> {
    let (mut store, filter) = match crate::wiring::open_at_hand(context) {
        Ok(opened) => opened,
        // Without records there is no run either.
        Err(_) if context.server.is_none() => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(store.list_runs(&filter)?.into_iter().find(|view| {
        let values: Vec<&str> = view.target.iter().map(|(_, v)| v.as_str()).collect();
        view.name == name && values.join("/") == target
    }))
}

/// Goes on with the run.
pub(super) fn go_on(
    view: &RunView,
    args: &Args,
    patt: Option<&str>,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let which = if args.has("rerun-all") {
        Which::All
    } else if args.has("rerun-clean") {
        Which::Unclean(unclean(context)?)
    } else if let Some(statuses) = args.get("rerun") {
        Which::Statuses(statuses.split(',').map(str::trim).collect())
    } else if view.state == RunState::Active {
        return go_on_with_the_rest(view, context);
    } else {
        Which::Allowed(rerun_ok(context)?)
    };
    let (mut store, _) = crate::wiring::open_at_hand(context)?;
    // What runs there now loses none of its files to a command that is refused in the end.
    if store.run_dir(view.number).is_some_and(|dir| RunLock::holder(&dir).is_some()) {
        return Err(Complaint::usage(format!("run `{}` is being executed by another process", view.number))
            .hint("wait until it has ended, or stop that process with Ctrl-C first")
            .into());
    }
    if context.server.is_some() && view.state == RunState::Active {
        return Err(Complaint::usage(format!("run `{}` is under way", view.number))
            .hint("wait until it has ended; `-run` without `-rerun…` watches it")
            .into());
    }
    let chosen = chosen(store.as_mut(), view, &which, patt)?;
    drop(store);
    if chosen.is_empty() && matches!(which, Which::Allowed(_)) {
        return go_on_with_the_rest(view, context);
    }
    if chosen.is_empty() {
        let said = format!("nothing of run `{}` is to be run again", view.number);
        return Err(Complaint::new(ExitCode::NothingRan, said)
            .hint("`megatest -list-runs` shows what it came to")
            .into());
    }
    if args.has("preclean") || matches!(which, Which::Unclean(_) | Which::All) {
        for line in &chosen {
            clean(&line.run_dir)?;
        }
    }
    // A comma would join two patterns.
    let pattern = |line: &Line| format!("{}/{}", line.test, line.item).replace(',', "*");
    commands::rerun::run(
        RerunArgs {
            run: RunRef::Number(view.number),
            patterns: chosen.iter().map(pattern).collect(),
            failed: false,
            flaky: false,
            stale: false,
            all: false,
            verdict: Vec::new(),
            testpatt: None,
            downstream: args.has("rerun-downstream"),
            step: None,
            from_step: None,
            exec: ExecArgs::default(),
        },
        context,
    )
}

/// States and statuses that `-rerun-clean` runs again: the area's own lists, where it has some.
fn unclean(context: &Context) -> Result<[Vec<String>; 2], anyhow::Error> {
    let outline = megatest::outline(&context.area_dir()?)?;
    let list = |key: &str, usual: &[&str]| -> Vec<String> {
        let own = outline.valid_values.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        match own {
            Some(own) => {
                own.split([' ', ',', '\t', '\n']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
            }
            None => usual.iter().map(|w| (*w).to_owned()).collect(),
        }
    };
    Ok([list("cleanrerun-states", &UNCLEAN_STATES), list("cleanrerun-statuses", &UNCLEAN_STATUSES)])
}

/// What the area's main file says may be run again by itself, where tests do not say so themselves.
fn rerun_ok(context: &Context) -> Result<Vec<String>, anyhow::Error> {
    let main = megatest::main_sections(&context.area_dir()?)?;
    let values = main.iter().filter(|section| section.name == "setup").flat_map(|section| &section.values);
    let said = values.filter(|v| matches!(v.path.as_str(), "allow-auto-rerun" | "rerunok"));
    Ok(said.flat_map(|v| muster_formats::megatest::status::rerun_ok(&v.value)).collect())
}

fn go_on_with_the_rest(view: &RunView, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let (mut store, _) = crate::wiring::open_at_hand(context)?;
    let phase = store.load_run_snapshot(view.id)?.phase;
    drop(store);
    let run = RunRef::Number(view.number);
    match phase {
        RunPhase::Active | RunPhase::Stopped { .. } => {
            commands::resume::run(ResumeArgs { run, exec: ExecArgs::default() }, context)
        }
        RunPhase::Ended { .. } => {
            let said = format!("this run is there already, as number {}, and has ended", view.number);
            Err(Complaint::usage(said)
                .hint("`-rerun FAIL` or `-rerun-clean` runs again what failed; another `-runname` begins another run")
                .into())
        }
    }
}

/// The records of the run that are to be run again; toplevel records are not.
fn chosen(
    store: &mut dyn Store,
    view: &RunView,
    which: &Which<'_>,
    patt: Option<&str>,
) -> Result<Vec<Line>, anyhow::Error> {
    let whole = store.load_run(view.id, ItemFilter::All)?;
    let snapshot = store.load_run_snapshot(view.id)?;
    let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
    let patt = TestPatt::new(patt.unwrap_or("%"));
    let tests = snapshot.record.plan.tests.iter();
    let tickets: HashMap<&str, Ticket> =
        tests.filter_map(|t| Some((t.def.name.as_str(), ticket_of(&t.def.env)?))).collect();
    let all = lines(&whole, &snapshot.record.spec, ticket.as_ref(), &view.name);
    Ok(all
        .into_iter()
        .filter(|line| !line.is_top && patt.matches(&line.test, &line.item))
        .filter(|line| match which {
            Which::All => true,
            Which::Unclean([states, statuses]) => {
                states.iter().any(|s| s == line.state.word())
                    || statuses.iter().any(|s| s == line.status.word())
            }
            Which::Statuses(statuses) => statuses.contains(&line.status.word()),
            Which::Allowed(of_area) => {
                let own = tickets.get(line.test.as_str()).map_or(&[][..], |ticket| &ticket.rerun_ok[..]);
                let list = if own.is_empty() { &of_area[..] } else { own };
                list.iter().any(|pattern| triggers::matches(pattern, &line.state, &line.status))
            }
        })
        .collect())
}

/// Empties a run directory, which stays where it is.
fn clean(link: &Path) -> Result<(), anyhow::Error> {
    let Ok(dir) = fs::canonicalize(link) else { return Ok(()) };
    // Only what was set up as a run directory: nothing else is ever removed.
    if !dir.join(".muster").is_dir() || !dir.join("megatest.sh").is_file() {
        return Ok(());
    }
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        let is_dir = fs::symlink_metadata(&path)?.is_dir();
        if is_dir { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}
