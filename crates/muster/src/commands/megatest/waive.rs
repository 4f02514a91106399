//! `[waivers]`: a test that fails as it did when somebody waived it is waived again, with the old comment.
//!
//! What decides is in `muster_formats`; here the run before, the files of both runs, and commands that compare them.

use super::job::Job;
use super::list_runs::{lines, ticket_of};
use crate::error::Complaint;
use crate::wiring::open_for_reading;
use muster_core::view::RunView;
use muster_formats::megatest::logpro::Program;
use muster_formats::megatest::status::Status;
use muster_formats::megatest::ticket::Ticket;
use muster_formats::megatest::waivers::{Before, Waiver, carry_over, comment_fits, passes};
use muster_store::{ItemFilter, RunFilter};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs that are looked at for the one before.
// Limit: a waiver that is older than this many runs is to be said again.
const RUNS_MAX: u32 = 200;
/// Files of a run directory.
// Limit: each is compared by its name with those of the other run.
const FILES_MAX: usize = 100_000;

/// Whether the comment of a waiver says what the area asks for.
///
/// # Errors
/// It does not, or the pattern cannot be used.
pub(super) fn check_comment(ticket: &Ticket, comment: &str) -> Result<(), anyhow::Error> {
    let Some(pattern) = &ticket.waiver_comment else { return Ok(()) };
    let fits = comment_fits(pattern, comment)
        .map_err(|why| Complaint::usage(format!("`waivercommentpatt` cannot be used: {why}")))?;
    if fits {
        return Ok(());
    }
    Err(Complaint::usage(format!("a waiver's comment has to match `{pattern}`, which `{comment}` does not"))
        .hint("`-m TEXT`; the pattern is `waivercommentpatt` of `[setup]`")
        .into())
}

/// The run directory and the record of the test in the run before, for the same target.
struct Earlier {
    run: String,
    dir: PathBuf,
    record: Before,
}

/// The comment with which this failure of the test is waived again; `None` where it is not. Says why to `out`.
pub(super) fn again(job: &Job, out: &mut dyn Write) -> Result<Option<String>, anyhow::Error> {
    let ticket = &job.ticket;
    if ticket.waivers.is_empty() {
        return Ok(None);
    }
    fn texts(all: &[(String, String)]) -> Vec<(&str, &str)> {
        all.iter().map(|(name, line)| (name.as_str(), line.as_str())).collect()
    }
    let Ok(waivers) = Waiver::read(&texts(&ticket.waivers), &texts(&ticket.waiver_rules)) else {
        // They were told when the area was read.
        return Ok(None);
    };
    let earlier = match earlier(job) {
        Ok(Some(earlier)) => earlier,
        Ok(None) => return Ok(None),
        // That it failed counts more than that nobody knows whether it was waived.
        Err(error) => {
            writeln!(out, "it is not waived: earlier runs cannot be looked at: {error:#}")?;
            return Ok(None);
        }
    };
    let mut why = Vec::new();
    let carried = carry_over(&Status::Fail, Some(&earlier.record), &waivers, |waiver| {
        match holds(waiver, job, &earlier.dir) {
            Ok(()) => true,
            Err(reason) => {
                why.push(reason);
                false
            }
        }
    });
    match carried {
        Ok(comment) => {
            let names: Vec<&str> = waivers.iter().map(|w| w.name.as_str()).collect();
            let names = names.join(", ");
            writeln!(out, "waived again, as in run `{}`, by {names}: {comment}", earlier.run)?;
            Ok(Some(comment))
        }
        Err(_) => {
            for reason in why {
                writeln!(out, "it was waived in run `{}` and is not again: {reason}", earlier.run)?;
            }
            Ok(None)
        }
    }
}

/// What the test was in the newest earlier run for the target that has it.
fn earlier(job: &Job) -> Result<Option<Earlier>, anyhow::Error> {
    let get = |name: &str| job.env.get(name).map_or("", String::as_str);
    let mut store = open_for_reading(Path::new(get("MUSTER_AREA_DIR")))?;
    let own: u32 = get("MUSTER_RUN").parse().unwrap_or(u32::MAX);
    let filter =
        RunFilter { area: Some(get("MUSTER_AREA").to_owned()), limit: RUNS_MAX, ..RunFilter::default() };
    let is_before = |run: &RunView| {
        let target: Vec<&str> = run.target.iter().map(|(_, value)| value.as_str()).collect();
        run.number < own && target.join("/") == job.ticket.target
    };
    for head in store.list_runs(&filter)?.into_iter().filter(is_before) {
        let view = store.load_run(head.id, ItemFilter::Item(get("MUSTER_TEST"), &job.item))?;
        let has_ended = view.all_items().any(|(_, i)| !i.discovery && !i.attempts.is_empty());
        if !has_ended {
            continue;
        }
        let snapshot = store.load_run_snapshot(head.id)?;
        let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
        let run = if head.name.is_empty() { format!("run-{}", head.number) } else { head.name.clone() };
        let all = lines(&view, &snapshot.record.spec, ticket.as_ref(), &run);
        let Some(line) = all.into_iter().find(|l| !l.is_top && l.item == job.item) else { continue };
        let record = Before { state: line.state, status: line.status, comment: line.comment };
        // What runs now may have run in that directory, in a run of the same name.
        let dir = fs::canonicalize(&line.run_dir).unwrap_or(line.run_dir);
        return Ok((dir != job.run_dir).then_some(Earlier { run, dir, record }));
    }
    Ok(None)
}

/// Whether the files of a waiver are as they were.
///
/// # Errors
/// Why they are not.
fn holds(waiver: &Waiver, job: &Job, before: &Path) -> Result<(), String> {
    let list = |dir: &Path| {
        files(dir).map_err(|e| format!("waiver `{}`: `{}` cannot be read: {e}", waiver.name, dir.display()))
    };
    let (then, now) = (list(before)?, list(&job.run_dir)?);
    fn texts(all: &[String]) -> Vec<&str> {
        all.iter().map(String::as_str).collect()
    }
    for file in waiver.pairs(&texts(&then), &texts(&now))? {
        let (old, new) = (before.join(file), job.run_dir.join(file));
        let is_alike = match waiver.command(&old.to_string_lossy(), &new.to_string_lossy()) {
            Some(line) => succeeds(&line, job),
            None => is_alike(waiver, &old, &new, job),
        };
        match is_alike {
            Ok(true) => {}
            Ok(false) => return Err(format!("waiver `{}`: `{file}` differs", waiver.name)),
            Err(why) => return Err(format!("waiver `{}`: `{file}`: {why}", waiver.name)),
        }
    }
    Ok(())
}

fn succeeds(line: &str, job: &Job) -> Result<bool, String> {
    let ended = Command::new("/bin/sh")
        .args(["-c", line])
        .current_dir(&job.run_dir)
        .env_clear()
        .envs(&job.env)
        .stdin(Stdio::null())
        .status();
    ended.map(|e| e.success()).map_err(|e| format!("`{line}` cannot be run: {e}"))
}

/// Whether two files do not differ; where there are rules of the waiver's name, they look at what `diff` says.
fn is_alike(waiver: &Waiver, old: &Path, new: &Path, job: &Job) -> Result<bool, String> {
    let name = format!("{}.logpro", waiver.name);
    let rules = match fs::read(job.run_dir.join(&name)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => {
            let read = |path: &Path| fs::read(path).map_err(|e| e.to_string());
            return Ok(read(old)? == read(new)?);
        }
    };
    let now = i64::try_from(super::ezstep::now()).unwrap_or(i64::MAX);
    let program = Program::read(&[(&name, &rules)], now)?;
    let diff = Command::new("diff").arg(old).arg(new).stdin(Stdio::null()).output();
    let diff = diff.map_err(|e| format!("`diff` cannot be run: {e}"))?;
    match diff.status.code() {
        Some(0 | 1) => Ok(passes(&diff.stdout, Some(&program))),
        _ => Err(format!("`diff` failed: {}", String::from_utf8_lossy(&diff.stderr).trim())),
    }
}

/// The files of a run directory, relative to it, but for Muster's own.
fn files(dir: &Path) -> io::Result<Vec<String>> {
    let (mut found, mut dirs) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = dirs.pop() {
        for entry in fs::read_dir(dir.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                if entry.file_name() != ".muster" {
                    dirs.push(path);
                }
            } else if let Some(text) = path.to_str() {
                found.push(text.to_owned());
            }
            if found.len() + dirs.len() > FILES_MAX {
                return Err(io::Error::other(format!("it has more than {FILES_MAX} files")));
            }
        }
    }
    Ok(found)
}
