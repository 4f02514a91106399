//! What Megatest's switches do with runs that are there: `-lock`, `-unlock`, `-set-state-status`, `-remove-runs`,
//! `-remove-keep`, `-set-run-status`, `-get-run-status`. Every name is a pattern, and there may be many runs.

use super::args::Args;
use super::list_runs::{Line, lines, name_of, target_of, ticket_of};
use super::record::{Record, SubRunOf};
use crate::commands::archive::{self, MegatestArchive};
use crate::commands::runs::kill::kill;
use crate::commands::runs::remove::{RemoveArgs, of_items, whole};
use crate::commands::runs::tell;
use crate::commands::typed::long_duration;
use crate::context::Context;
use crate::error::Complaint;
use crate::keeper::{Chosen, Keeper};
use crate::local::megatest::is_area;
use crate::local::session::now;
use muster_core::note::{NoteKind, Spot};
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::select::Selection;
use muster_core::select::testpatt::{TestPatt, part_matches};
use muster_core::view::{RunState, RunView};
use muster_formats::megatest::status::{State, Status, verdict};
use muster_store::ItemFilter;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

/// The switches.
const SWITCHES: [&str; 8] = [
    "kill-runs",
    "lock",
    "unlock",
    "set-state-status",
    "remove-runs",
    "remove-keep",
    "set-run-status",
    "get-run-status",
];

/// Whether one of them was given.
pub(super) fn is_meant(args: &Args) -> bool {
    SWITCHES.iter().any(|s| args.has(s))
}

/// Does it.
pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let action = SWITCHES.into_iter().find(|s| args.has(s)).expect("the caller has looked");
    let target = needed(args, action, &["target", "reqtarg"])?;
    let names = match action {
        "remove-keep" => args.get("runname").unwrap_or("%"),
        _ => needed(args, action, &["runname"])?,
    };
    let testpatt = match action {
        "set-state-status" | "remove-runs" | "kill-runs" => Some(needed(args, action, &["testpatt"])?),
        _ => args.get("testpatt"),
    };
    let mut keeper = match Keeper::open(context) {
        Ok(keeper) => keeper,
        // Where nothing was run, nothing matches.
        Err(e) if e.downcast_ref::<Complaint>().is_some_and(|c| c.code() == ExitCode::NothingRan) => {
            return Ok(ExitCode::Passed);
        }
        Err(e) => return Err(e),
    };
    let matches = |patterns: &str, text: &str| patterns.split(',').any(|p| part_matches(p.trim(), text));
    let runs: Vec<RunView> = keeper
        .all()?
        .into_iter()
        .filter(|run| matches(target, &target_of(run)) && matches(names, &name_of(run)))
        .collect();
    let reason = args.get("m").unwrap_or_default();
    match action {
        "lock" | "unlock" => {
            let lock = action == "lock";
            for run in runs.iter().filter(|run| run.said.locked.is_some() != lock) {
                keeper.lock(run, lock, reason)?;
                tell(context, &format!("{}/{} is {action}ed", target_of(run), name_of(run)))?;
            }
            Ok(ExitCode::Passed)
        }
        "set-run-status" => {
            let word = args.get("set-run-status").unwrap_or_default();
            runs.iter().try_for_each(|run| keeper.call(run, word))?;
            Ok(ExitCode::Passed)
        }
        "get-run-status" => {
            let mut out = context.stdout();
            for run in &runs {
                let said = keeper.store().load_run(run.id, ItemFilter::Failed)?.said;
                let called = said.notes.iter().rev().find_map(|note| match &note.what {
                    NoteKind::Called { word } => Some(word.clone()),
                    _ => None,
                });
                writeln!(out, "{}", called.unwrap_or_else(|| super::list_runs::status(run).to_owned()))?;
            }
            Ok(ExitCode::Passed)
        }
        "remove-keep" => remove_all_but(&mut keeper, runs, args, context),
        _ => {
            let patt = TestPatt::new(testpatt.unwrap_or("%"));
            let mut code = ExitCode::Passed;
            for run in &runs {
                // One that is locked is left alone, and the others are done.
                if let Err(locked) = keeper.must_be_open(run) {
                    writeln!(context.stderr(), "megatest: {locked}")?;
                    code = ExitCode::Usage;
                    continue;
                }
                let all = records(&mut keeper, run)?;
                // Megatest kills by setting this state.
                let kills = args.get("set-state-status").is_some_and(|s| s.starts_with("KILLREQ"));
                if action == "kill-runs" || (kills && run.state == RunState::Active) {
                    kill_of(&mut keeper, run, &patt, reason, context)?;
                    continue;
                }
                let filters = filters(args);
                let hit =
                    |line: &&Line| !line.is_top && patt.matches(&line.test, &line.item) && filters(line);
                let chosen: Vec<Chosen> = all.iter().filter(hit).map(chosen).collect();
                let is_all = chosen.len() == all.iter().filter(|line| !line.is_top).count();
                // What is a run of another area is done there first.
                let subs = all.iter().filter(hit).filter_map(|line| Record::of(&line.run_dir).subrun());
                if !pass_down(action, subs, args, context)? {
                    code = ExitCode::Usage;
                    continue;
                }
                if action == "set-state-status" {
                    set(&mut keeper, run, chosen, args, reason)?;
                } else if is_all || !chosen.is_empty() {
                    let removal = removal(args.has("keep-records"), reason);
                    if is_all {
                        whole(&mut keeper, run, &removal, context)?;
                    } else {
                        of_items(&mut keeper, run, &chosen, &removal, context)?;
                    }
                }
            }
            Ok(code)
        }
    }
}

/// The value of one of these switches.
fn needed<'a>(args: &'a Args, action: &str, switches: &[&str]) -> Result<&'a str, anyhow::Error> {
    switches.iter().find_map(|s| args.get(s)).ok_or_else(|| {
        Complaint::usage(format!("`-{action}` needs `-{}`", switches[0]))
            .hint("`%` stands for any text: `-target % -runname % -testpatt %`")
            .into()
    })
}

fn removal(keep_records: bool, reason: &str) -> RemoveArgs {
    let (runs, reason) = (Vec::new(), reason.to_owned());
    RemoveArgs { runs, keep_records, testpatt: None, dry_run: false, reason }
}

/// The records of a run, as they are listed.
fn records(keeper: &mut Keeper, run: &RunView) -> Result<Vec<Line>, anyhow::Error> {
    let whole = keeper.store().load_run(run.id, ItemFilter::All)?;
    let snapshot = keeper.store().load_run_snapshot(run.id)?;
    let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
    Ok(lines(&whole, &snapshot.record.spec, ticket.as_ref(), &name_of(run)))
}

/// `-state` and `-status`: only records in one of these.
fn filters<'a>(args: &'a Args) -> impl Fn(&Line) -> bool + use<'a> {
    let list = |switch: &str| -> Option<Vec<&'a str>> {
        let given = args.get(switch)?;
        Some(given.split(',').map(str::trim).collect())
    };
    let (states, statuses) = (list("state"), list("status"));
    move |line| {
        states.as_ref().is_none_or(|all| all.contains(&line.state.word()))
            && statuses.as_ref().is_none_or(|all| all.contains(&line.status.word()))
    }
}

fn chosen(line: &Line) -> Chosen {
    let spot = Spot { test: line.test.clone(), item: line.item.clone() };
    // Only whether it has one counts here.
    let open = line.state == State::NotStarted && line.status == Status::NotAvailable;
    Chosen { spot, verdict: (!open).then(|| verdict(&line.state, &line.status).unwrap_or(Verdict::Fail)) }
}

/// Does the same with sub-runs; whether that was done to all.
fn pass_down(
    action: &str,
    subs: impl Iterator<Item = SubRunOf>,
    args: &Args,
    context: &Context,
) -> Result<bool, anyhow::Error> {
    let mut is_done = true;
    for sub in subs {
        let area = sub.area.display();
        if !is_area(&sub.area) {
            let own = format!("`muster -C {area} runs`");
            writeln!(context.stderr(), "megatest: the sub-run {} is left to {own}", sub.run_name)?;
            continue;
        }
        let mut words = vec!["-start-dir".to_owned(), area.to_string(), format!("-{action}")];
        words.extend(args.get(action).filter(|value| !value.is_empty()).map(str::to_owned));
        words.extend(args.has("keep-records").then(|| "-keep-records".to_owned()));
        let reason = args.get("m").unwrap_or("with the run that it is a part of");
        for (switch, value) in [
            ("-target", sub.target.as_str()),
            ("-runname", &sub.run_name),
            ("-testpatt", "%"),
            ("-m", reason),
        ] {
            words.extend([switch.to_owned(), value.to_owned()]);
        }
        if super::do_as_told(words)? != ExitCode::Passed {
            writeln!(context.stderr(), "megatest: the sub-run {} in {area} is left alone", sub.run_name)?;
            is_done = false;
        }
    }
    Ok(is_done)
}

/// What of the run is under way and matches.
fn kill_of(
    keeper: &mut Keeper,
    run: &RunView,
    patt: &TestPatt,
    reason: &str,
    context: &Context,
) -> Result<(), anyhow::Error> {
    if run.state != RunState::Active {
        return Ok(());
    }
    let mut chosen = keeper.choose(run, &Selection::default())?;
    chosen.retain(|c| c.verdict.is_none() && patt.matches(&c.spot.test, &c.spot.item));
    if chosen.is_empty() {
        return Ok(());
    }
    let killed = kill(keeper, run, chosen, reason)?;
    tell(context, &format!("{}/{}: {killed} killed", target_of(run), name_of(run)))
}

/// `-set-state-status STATE,STATUS`. What has not started is to run; what is no word of Megatest's is a failure to
/// Muster, as it is where a test says it of itself.
fn set(
    keeper: &mut Keeper,
    run: &RunView,
    chosen: Vec<Chosen>,
    args: &Args,
    reason: &str,
) -> Result<(), anyhow::Error> {
    let given = args.get("set-state-status").unwrap_or_default();
    let Some((state, status)) = given.split_once(',') else {
        return Err(Complaint::usage(format!("`-set-state-status {given}` is not STATE,STATUS"))
            .hint("for instance `-set-state-status COMPLETED,PASS`, or `NOT_STARTED,n/a` to run it again")
            .into());
    };
    let (state, status) = (State::from(state.trim()), Status::from(status.trim()));
    let to = match (&state, &status) {
        (State::NotStarted, Status::NotAvailable) => None,
        (state, status) => Some(verdict(state, status).unwrap_or(Verdict::Fail)),
    };
    let word = if to.is_none() { String::new() } else { format!("{state}/{status}") };
    let spots: Vec<Spot> = chosen.into_iter().map(|c| c.spot).collect();
    if spots.is_empty() {
        return Ok(());
    }
    keeper.set(run, spots, to, &word, reason)
}

/// `-remove-keep N`: of each target the N newest runs stay.
fn remove_all_but(
    keeper: &mut Keeper,
    runs: Vec<RunView>,
    args: &Args,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let given = args.get("remove-keep").unwrap_or_default();
    let keep: usize = given
        .parse()
        .map_err(|_| Complaint::usage(format!("`-remove-keep {given}` is no number of runs to keep")))?;
    let age: Option<Duration> = match args.get("age") {
        None => None,
        Some(text) => {
            let of =
                |part: &str| long_duration(part.trim()).map_err(|e| Complaint::usage(format!("`-age`: {e}")));
            let parts: Result<Vec<_>, _> = text.split(',').map(of).collect();
            Some(parts?.into_iter().sum())
        }
    };
    let actions: Vec<&str> = args.get("actions").unwrap_or("print").split(',').map(str::trim).collect();
    if let Some(other) = actions.iter().find(|a| !matches!(**a, "print" | "remove-runs" | "archive")) {
        return Err(Complaint::usage(format!("`-actions {other}` is not done by `-remove-keep`"))
            .hint("`print`, `archive` and `remove-runs` are")
            .into());
    }
    let mut of_target: BTreeMap<String, usize> = BTreeMap::new();
    let at = now();
    let mut code = ExitCode::Passed;
    // The newest come first.
    for run in runs {
        let newer = of_target.entry(target_of(&run)).or_default();
        *newer += 1;
        let young = age.is_some_and(|age| at.since(run.started) < age);
        if *newer <= keep || young || run.state == RunState::Active {
            continue;
        }
        if actions.contains(&"print") {
            writeln!(context.stdout(), "{}/{}", target_of(&run), name_of(&run))?;
        }
        if !actions.contains(&"remove-runs") && !actions.contains(&"archive") {
            continue;
        }
        if let Err(locked) = keeper.must_be_open(&run) {
            writeln!(context.stderr(), "megatest: {locked}")?;
            continue;
        }
        if let Some(before) = args.get("precmd") {
            // The run it is for is said as Megatest says it to what it starts.
            let status = Command::new("/bin/sh")
                .args(["-c", before])
                .env("MT_TARGET", target_of(&run))
                .env("MT_RUNNAME", name_of(&run))
                .status()?;
            if !status.success() {
                writeln!(
                    context.stderr(),
                    "megatest: `{before}` failed ({status}): {} stays",
                    run.address()
                )?;
                code = ExitCode::Failed;
                continue;
            }
        }
        if actions.contains(&"archive") {
            // As Megatest has it: saved, and removed from where they were.
            let one = std::slice::from_ref(&run);
            if let Err(error) = archive::for_megatest(MegatestArchive::SaveRemove, one, None, context) {
                writeln!(context.stderr(), "megatest: {} stays: {error:#}", run.address())?;
                code = ExitCode::Failed;
                continue;
            }
        }
        if actions.contains(&"remove-runs") {
            let removal = removal(args.has("keep-records"), args.get("m").unwrap_or_default());
            whole(keeper, &run, &removal, context)?;
        }
    }
    Ok(code)
}
