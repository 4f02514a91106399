//! `[subrun]`: a test that is a run of another area, or of other tests of its own.
//!
//! The run is recorded in that area like any other; the test comes to what the run comes to. It is a child of the test's
//! step, so whatever ends the test ends the run, which then records what it was stopped in.

use super::ezstep::{now, run_logged};
use super::job::Job;
use super::list_runs::{lines, ticket_of};
use super::mtutil::Contour;
use super::record::{Record, StepReport, SubRunOf};
use super::told;
use crate::context::FILE;
use crate::local::megatest::is_area;
use crate::wiring::open_for_reading;
use muster_core::outcome::ExitCode;
use muster_core::view::RunState;
use muster_formats::megatest::rollup::RollUp;
use muster_formats::megatest::status::{State, Status};
use muster_formats::megatest::ticket::SubRun;
use muster_store::{ItemFilter, RunFilter};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How deep runs are in each other. It goes to tests under a name of Megatest's, which Muster passes on.
const DEPTH: &str = "MT_SUBRUN_DEPTH";
// Limit: an area that runs itself would do so for ever.
const DEPTH_MAX: u32 = 8;

/// The name of the file for what the run prints.
pub(super) fn log_of(asked: &SubRun, job: &Job) -> Result<String, anyhow::Error> {
    let named = job.expanded(&asked.log)?;
    let name = Path::new(&named).file_name().map(|n| n.to_string_lossy().into_owned());
    Ok(name.unwrap_or_else(|| "subrun.log".to_owned()))
}

/// Runs it to its end, and gives the exit code of the command and what the run came to.
pub(super) fn run(
    asked: &SubRun,
    job: &Job,
    log: &str,
    out: &mut dyn Write,
) -> Result<(i32, Status), anyhow::Error> {
    let text = |asked: &str, other: &str| -> Result<String, anyhow::Error> {
        Ok(if asked.is_empty() { other.to_owned() } else { job.expanded(asked)? })
    };
    let get = |name: &str| job.env.get(name).map_or("", String::as_str);
    let home = get("MT_RUN_AREA_HOME");
    let area = place(&text(&asked.area, home)?, job, home);
    let start = if asked.start_dir.is_empty() {
        area.clone()
    } else {
        place(&text(&asked.start_dir, home)?, job, home)
    };
    let run_name = text(&asked.run_name, get("MT_RUNNAME"))?;
    let depth: u32 = get(DEPTH).parse().unwrap_or(0);
    let Some(found) = start.ancestors().find(|dir| is_area(dir) || dir.join(FILE).is_file()) else {
        writeln!(out, "error: there is no area at `{}` for the sub-run", start.display())?;
        return Ok((2, Status::Fail));
    };
    // An area of Muster's own need not have targets.
    let usual = if is_area(found) { job.ticket.target.as_str() } else { "" };
    let target = text(&asked.target, usual)?;
    let is_own = fs::canonicalize(found).ok() == fs::canonicalize(home).ok();
    if is_own && target == job.ticket.target && run_name == get("MT_RUNNAME") {
        writeln!(
            out,
            "error: the sub-run would be the run that it is a part of; `[subrun]` can name a `run-name`"
        )?;
        return Ok((2, Status::Fail));
    }
    if depth >= DEPTH_MAX {
        writeln!(out, "error: sub-runs are in each other more than {DEPTH_MAX} deep")?;
        return Ok((2, Status::Fail));
    }
    let record = Record::of(&job.run_dir);
    let mut made = SubRunOf { area: found.to_owned(), target, run_name, number: None };
    record.set_subrun(&made)?;
    leave_links(&made, job)?;
    let mut words = vec!["megatest".to_owned(), "-start-dir".to_owned(), start.display().to_string()];
    // What of it ended badly before is run again with the test; a run that is new runs as a whole.
    words.extend(["-run", "-rerun-clean", "-runname"].map(str::to_owned));
    words.push(made.run_name.clone());
    if !made.target.is_empty() {
        words.extend(["-target".to_owned(), made.target.clone()]);
    }
    for (switch, value) in
        [("-testpatt", &asked.testpatt), ("-modepatt", &asked.modepatt), ("-tagexpr", &asked.tagexpr)]
    {
        if !value.is_empty() {
            words.extend([switch.to_owned(), job.expanded(value)?]);
        }
    }
    if !asked.contour.is_empty() {
        let name = job.expanded(&asked.contour)?;
        match Contour::find(found, &name) {
            Ok(contour) => words.extend(contour.selector(&words)),
            Err(why) => {
                writeln!(out, "error: {why} in `{}`", found.display())?;
                return Ok((2, Status::Fail));
            }
        }
        words.extend(["-contour".to_owned(), name]);
    }
    let line: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    let mut env = job.env.clone();
    env.retain(|name, _| !name.starts_with("MT_") && !name.starts_with("MUSTER_"));
    env.insert(DEPTH.to_owned(), (depth + 1).to_string());
    let why = job.expanded(&asked.message)?;
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    writeln!(out, "sub-run `{}` for {} in {}{why}", made.run_name, made.target, made.area.display())?;
    let code = run_logged(&line.join(" "), &job.run_dir, &env, log)?;
    // Of a run that was never begun, or not to its end, the record is that of an earlier time.
    let was_run = [ExitCode::Passed, ExitCode::Failed, ExitCode::Outstanding, ExitCode::NothingRan];
    if !was_run.iter().any(|c| *c as i32 == code) {
        writeln!(out, "error: the sub-run could not be run, exit code {code}")?;
        return Ok((code, Status::Fail));
    }
    let Some((number, state, status)) = came_to(&made)? else {
        writeln!(out, "error: the sub-run has left no record, and exit code {code}")?;
        return Ok((code, Status::Fail));
    };
    made.number = Some(number);
    record.set_subrun(&made)?;
    writeln!(
        out,
        "sub-run {number} of {} is {state}/{status}; muster -C {} results {number}",
        made.area.display(),
        made.area.display()
    )?;
    let area_name = made.area.file_name().unwrap_or_default().to_string_lossy();
    told::tell(&StepReport {
        step: format!("{area_name}/{number}"),
        state: "end".to_owned(),
        status: status.word().to_owned(),
        time: now(),
        comment: format!("sub-run: muster -C {} results {number}", made.area.display()),
        log: log.to_owned(),
    })?;
    let has_ended = state == State::Completed;
    Ok((code, if has_ended { status } else { Status::Fail }))
}

/// A directory: absolute, in the run directory, or in the area.
fn place(path: &str, job: &Job, home: &str) -> PathBuf {
    let here = job.run_dir.join(path);
    if here.is_dir() { here } else { Path::new(home).join(path) }
}

/// `subrun-area` and `testconfig.subrun` in the run directory, as Megatest leaves them.
fn leave_links(told: &SubRunOf, job: &Job) -> Result<(), anyhow::Error> {
    let link = job.run_dir.join("subrun-area");
    drop(fs::remove_file(&link));
    std::os::unix::fs::symlink(&told.area, &link)?;
    let text = format!(
        "[subrun]\nrun-area {}\ntarget {}\nrun-name {}\n",
        told.area.display(),
        told.target,
        told.run_name
    );
    Ok(fs::write(job.run_dir.join("testconfig.subrun"), text)?)
}

/// The run's number, and its tests rolled up; `None` where there is no such run.
fn came_to(told: &SubRunOf) -> Result<Option<(u32, State, Status)>, anyhow::Error> {
    // Without records there is no run either.
    let Ok(mut store) = open_for_reading(&told.area) else { return Ok(None) };
    let filter = RunFilter { limit: u32::MAX, ..RunFilter::default() };
    let is_it = |view: &muster_core::view::RunView| {
        let target: Vec<&str> = view.target.iter().map(|(_, value)| value.as_str()).collect();
        view.name == told.run_name && target.join("/") == told.target
    };
    let Some(head) = store.list_runs(&filter)?.into_iter().find(is_it) else { return Ok(None) };
    let view = store.load_run(head.id, ItemFilter::All)?;
    let snapshot = store.load_run_snapshot(head.id)?;
    let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
    let mut tests = RollUp::default();
    let all = lines(&view, &snapshot.record.spec, ticket.as_ref(), &told.run_name);
    for line in all.iter().filter(|l| l.is_top || l.item.is_empty()) {
        tests.add(&line.state, &line.status);
    }
    let (state, status) = tests.test().unwrap_or_default();
    // What was stopped on the way has not come to anything.
    let state = if view.state == RunState::Ended { state } else { State::Incomplete };
    Ok(Some((head.number, state, status)))
}
