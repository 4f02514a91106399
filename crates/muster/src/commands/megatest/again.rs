//! `megatest -run` for a run that is there already: what is open goes on, what is asked for by status is run again,
//! and what the run has not yet is added to it.

use super::args::Args;
use super::list_runs::{Line, lines, state, status, ticket_of};
use super::triggers;
use super::wait::LOOK_EVERY;
use crate::commands;
use crate::commands::rerun::RerunArgs;
use crate::commands::resume::ResumeArgs;
use crate::commands::runs::tell;
use crate::commands::typed::{ExecArgs, SelectArgs};
use crate::context::{Context, RECORDS};
use crate::error::Complaint;
use crate::local::agent::Agent;
use crate::local::area::Purpose;
use crate::local::grow::grow;
use crate::local::megatest::{self, Megatest};
use crate::local::session::Request;
use crate::local::{again, area, given, made_of, packages, request, session, tier};
use muster_core::address::RunRef;
use muster_core::change::{RunPhase, RunSnapshot};
use muster_core::downstream::with_downstream;
use muster_core::id::ItemIx;
use muster_core::outcome::ExitCode;
use muster_core::part;
use muster_core::select::testpatt::TestPatt;
use muster_core::view::{RunState, RunView};
use muster_formats::megatest::ticket::Ticket;
use muster_store::{ItemFilter, RunFilter, RunLock, Store as _};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// States and statuses that `-rerun-clean` runs again.
const UNCLEAN_STATES: [&str; 6] = ["KILLREQ", "KILLED", "UNKNOWN", "INCOMPLETE", "STUCK", "NOT_STARTED"];
const UNCLEAN_STATUSES: [&str; 7] =
    ["FAIL", "INCOMPLETE", "ABORT", "CHECK", "DEAD", "PREQ_FAIL", "PREQ_DISCARDED"];

/// Which records get another attempt.
enum Which<'a> {
    /// None that has ended.
    Open,
    /// Those with one of these statuses.
    Statuses(Vec<&'a str>),
    /// Those that did not end well: with one of these states or statuses.
    Unclean([Vec<String>; 2]),
    All,
}

/// What is asked of a run that is there.
struct Asked<'a> {
    which: Which<'a>,
    /// What the area says is run again whenever its run goes on, where tests do not say so themselves.
    automatic: Vec<String>,
    patt: TestPatt,
    /// Directories are emptied first.
    cleans: bool,
    downstream: bool,
}

impl<'a> Asked<'a> {
    fn of(args: &'a Args, patt: Option<&str>, context: &Context) -> Result<Self, anyhow::Error> {
        let outline = megatest::outline(&context.area_dir()?)?;
        let list = |values: &[(String, String)], key: &str| -> Option<Vec<String>> {
            let (_, own) = values.iter().find(|(name, _)| name == key)?;
            Some(own.split([' ', ',', '\t', '\n']).filter(|w| !w.is_empty()).map(str::to_owned).collect())
        };
        // The area's own lists, where it has some.
        let unclean = |key: &str, usual: &[&str]| {
            let usual = || usual.iter().map(|w| (*w).to_owned()).collect();
            list(&outline.valid_values, key).unwrap_or_else(usual)
        };
        let which = if args.has("rerun-all") {
            Which::All
        } else if args.has("rerun-clean") {
            Which::Unclean([
                unclean("cleanrerun-states", &UNCLEAN_STATES),
                unclean("cleanrerun-statuses", &UNCLEAN_STATUSES),
            ])
        } else if let Some(statuses) = args.get("rerun") {
            Which::Statuses(statuses.split(',').map(str::trim).collect())
        } else {
            Which::Open
        };
        Ok(Self {
            automatic: rerun_ok(context)?,
            patt: TestPatt::new(patt.unwrap_or("%")),
            cleans: args.has("preclean") || matches!(which, Which::Unclean(_) | Which::All),
            downstream: args.has("rerun-downstream"),
            which,
        })
    }

    /// The records of the run that are to be run again; toplevel records are not.
    fn chosen(&self, whole: &RunView, snapshot: &RunSnapshot) -> Vec<Line> {
        let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
        let mut all = lines(whole, &snapshot.record.spec, ticket.as_ref(), &whole.name);
        let tests = snapshot.record.plan.tests.iter();
        let tickets: HashMap<&str, Ticket> =
            tests.filter_map(|t| Some((t.def.name.as_str(), ticket_of(&t.def.env)?))).collect();
        let is_automatic = |line: &Line| {
            let own = tickets.get(line.test.as_str()).map_or(&[][..], |ticket| &ticket.rerun_ok[..]);
            let list = if own.is_empty() { &self.automatic[..] } else { own };
            list.iter().any(|patt| triggers::matches(patt, &line.state, &line.status))
        };
        let is_asked = |line: &Line| match &self.which {
            Which::Open => false,
            Which::All => true,
            Which::Unclean([states, statuses]) => {
                states.iter().any(|s| s == line.state.word())
                    || statuses.iter().any(|s| s == line.status.word())
            }
            Which::Statuses(statuses) => statuses.contains(&line.status.word()),
        };
        all.retain(|line| !line.is_top && self.patt.matches(&line.test, &line.item));
        all.retain(|line| is_asked(line) || is_automatic(line));
        all
    }

    fn clean(&self, chosen: &[Line]) -> Result<(), anyhow::Error> {
        if self.cleans {
            chosen.iter().try_for_each(|line| clean(&line.run_dir))?;
        }
        Ok(())
    }
}

/// What the area's main file says may be run again by itself, where tests do not say so themselves.
fn rerun_ok(context: &Context) -> Result<Vec<String>, anyhow::Error> {
    let main = megatest::main_sections(&context.area_dir()?)?;
    let values = main.iter().filter(|section| section.name == "setup").flat_map(|section| &section.values);
    let said = values.filter(|v| matches!(v.path.as_str(), "allow-auto-rerun" | "rerunok"));
    Ok(said.flat_map(|v| muster_formats::megatest::status::rerun_ok(&v.value)).collect())
}

/// The run of this name for this target, if there is one.
pub(super) fn find(name: &str, target: &str, context: &Context) -> Result<Option<RunView>, anyhow::Error> {
    let (mut store, filter) = match crate::wiring::open_at_hand(context) {
        Ok(opened) => opened,
        // Without records there is no run either.
        Err(_) if context.server.is_none() => return Ok(None),
        Err(error) => return Err(error),
    };
    let filter = RunFilter { called: Some(name.to_owned()), ..filter };
    Ok(store.list_runs(&filter)?.into_iter().find(|view| {
        let values: Vec<&str> = view.target.iter().map(|(_, v)| v.as_str()).collect();
        view.name == name && values.join("/") == target
    }))
}

/// Goes on with the run. `select`: what it is to have.
pub(super) fn go_on(
    view: &RunView,
    args: &Args,
    select: &SelectArgs,
    exec: &ExecArgs,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let asked = Asked::of(args, select.testpatt.as_deref(), context)?;
    if context.server.is_some() {
        return on_a_lab(view, &asked, context);
    }
    if matches!(asked.which, Which::Open) {
        wait_for_its_turn(view, context)?;
    }
    let (mut store, view) = again::open(context, &RunRef::Number(view.number))?;
    let run_dir = store.run_dir(view.number).expect("the records of an area are in a directory");
    // What runs there now loses none of its files to a command that is refused in the end.
    if RunLock::holder(&run_dir).is_some() {
        return Err(Complaint::usage(format!("run `{}` is being executed by another process", view.number))
            .hint("wait until it has ended (`megatest -run-wait`), or stop that process with Ctrl-C first")
            .into());
    }
    let snapshot = store.load_run_snapshot(view.id)?;
    let whole = store.load_run(view.id, ItemFilter::All)?;
    let chosen = asked.chosen(&whole, &snapshot);
    let spec = &snapshot.record.spec;
    given::must_be_there(&spec.inputs, &run_dir, view.number)?;
    let _leases = packages::again(&spec.inputs, &run_dir, context)?.into_leases();
    let target: Vec<&str> = spec.target.iter().map(|(_, v)| v.as_str()).collect();
    let target = (!target.is_empty()).then(|| target.join("/"));
    let fetched = spec.inputs.area_dir().map(|place| run_dir.join(place));
    let purpose = Purpose::Run { name: Some(&spec.name) };
    let area = area::load(context, fetched, target.as_deref(), &request::flags_again(exec, spec), purpose)?;
    let def = &area.loaded.area;
    tier::must_take_runs(def)?;
    let durations = Arc::new(store.list_durations(&def.name, &def.target)?);
    let record = request::replanned(&snapshot.record, &area, None);
    let selection = request::selection(select, &area, &mut store, context)?;
    // Who only wants something again and does not say of what means what the run has.
    let is_said = selection.testpatt.is_some() || selection.tagpatt.is_some();
    let (mut record, more, left_out) = if is_said || matches!(asked.which, Which::Open) {
        let facts = &area.loaded.facts;
        let plan = request::make_plan(def, facts, &selection, durations.as_ref(), &context.program())?;
        let grown = grow(record, &snapshot, &plan);
        (grown.record, grown.more, grown.left_out)
    } else {
        (record, Vec::new(), Vec::new())
    };
    for (test, why) in left_out {
        tell(context, &format!("`{test}` is not added to run `{}`: {why}", view.number))?;
    }
    let places = again::places(&snapshot);
    let place = |line: &Line| places.get(&(line.test.as_str(), line.item.as_str(), false)).copied();
    let mut items: Vec<ItemIx> = chosen.iter().filter_map(place).collect();
    if asked.downstream {
        items = with_downstream(&snapshot, &items)?.into_iter().collect();
    }
    // All of their steps run.
    part::renew(&mut Arc::make_mut(&mut record.spec).parts, &items, Vec::new());
    let has_ended = matches!(snapshot.phase, RunPhase::Ended { .. });
    if items.is_empty() && more.is_empty() && has_ended {
        return nothing_to_run(&view, &asked, context);
    }
    asked.clean(&chosen)?;
    made_of::note(&run_dir, &area, session::now())?;
    // Where the run was killed together with its agent, something of it may still be there.
    muster_agent::exec::kill_abandoned();
    let agent = Agent::start(&area.dir, request::jobs(def, context))?;
    let (snapshot, replanned) = (Box::new(snapshot), Some(Arc::new(record)));
    // What was stopped on the way is judged as a whole.
    let request = Request::Again { snapshot, items, replanned, more, partial: has_ended };
    let code = session::execute(request, store, agent, durations, exec, context)?;
    if let Some(Megatest { after: Some(line), .. }) = &area.megatest {
        megatest::run_hook("post-hook", line, &area.dir, &def.env)?;
    }
    Ok(code)
}

/// One process executes a run at a time: what is asked for beside it is done behind it.
fn wait_for_its_turn(view: &RunView, context: &Context) -> Result<(), anyhow::Error> {
    let area = context.area_dir()?;
    let run_dir = area.join(RECORDS).join("runs").join(view.number.to_string());
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    // A test of the run itself would wait for its own end.
    if is("MUSTER_RUN", &view.number.to_string()) && is("MUSTER_AREA_DIR", &area.to_string_lossy()) {
        return Ok(());
    }
    let mut is_told = false;
    while RunLock::holder(&run_dir).is_some() {
        if !is_told {
            tell(context, &format!("run `{}` is being executed; what is asked for follows", view.number))?;
            is_told = true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Tells what a run has come to of which nothing is to be run: as with Megatest that is no mistake, unless something was
/// asked for again by what it came to.
fn nothing_to_run(view: &RunView, asked: &Asked<'_>, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if !matches!(asked.which, Which::Open) {
        let said = format!("nothing of run `{}` is to be run again", view.number);
        return Err(Complaint::new(ExitCode::NothingRan, said)
            .hint("`megatest -list-runs` shows what it came to")
            .into());
    }
    let again =
        if view.has_passed() { "" } else { "; `-rerun FAIL` or `-rerun-clean` runs again what failed" };
    let said = format!(
        "run `{}` has ended as {}/{}, and nothing of it is to be run{again}",
        view.number,
        state(view),
        status(view)
    );
    tell(context, &said)?;
    Ok(if view.has_passed() { ExitCode::Passed } else { ExitCode::Failed })
}

/// On a lab a run has the tests that it was begun with.
fn on_a_lab(view: &RunView, asked: &Asked<'_>, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let run = RunRef::Number(view.number);
    let (mut store, _) = crate::wiring::open_at_hand(context)?;
    let snapshot = store.load_run_snapshot(view.id)?;
    let whole = store.load_run(view.id, ItemFilter::All)?;
    drop(store);
    let is_again = !matches!(asked.which, Which::Open);
    if is_again && view.state == RunState::Active {
        return Err(Complaint::usage(format!("run `{}` is under way", view.number))
            .hint("wait until it has ended; `-run` without `-rerun…` watches it")
            .into());
    }
    if !is_again && !matches!(snapshot.phase, RunPhase::Ended { .. }) {
        return commands::resume::run(ResumeArgs { run, exec: ExecArgs::default() }, context);
    }
    let chosen = asked.chosen(&whole, &snapshot);
    if chosen.is_empty() {
        return nothing_to_run(&whole, asked, context);
    }
    asked.clean(&chosen)?;
    // A comma would join two patterns.
    let pattern = |line: &Line| format!("{}/{}", line.test, line.item).replace(',', "*");
    commands::rerun::run(
        RerunArgs {
            run,
            patterns: chosen.iter().map(pattern).collect(),
            failed: false,
            flaky: false,
            stale: false,
            all: false,
            verdict: Vec::new(),
            testpatt: None,
            downstream: asked.downstream,
            step: None,
            from_step: None,
            exec: ExecArgs::default(),
        },
        context,
    )
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
