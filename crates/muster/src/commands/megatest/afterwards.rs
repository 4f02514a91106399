//! What an area asks for when a run has ended: triggers for ends that no process of a test sees (a time limit, a kill, a
//! prerequisite that failed), and pages of tests with items (`[testrollup]`).

use super::list_runs::{Line, lines, ticket_of};
use super::triggers::{self, Record};
use crate::context::RECORDS;
use muster_core::change::RunSnapshot;
use muster_core::definition::TestDef;
use muster_core::id::RunId;
use muster_core::outcome::Verdict;
use muster_core::view::RunView;
use muster_formats::megatest::ticket::Ticket;
use muster_store::{ItemFilter, Store};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The directory in which it is noted what was done for a run that was executed on this machine.
pub(crate) fn book_of(area: &Path, number: u32) -> PathBuf {
    area.join(RECORDS).join("runs").join(number.to_string())
}

/// The same for a run of a lab, whose numbers are the lab's own.
pub(crate) fn book_of_lab(area: &Path, run: RunId) -> PathBuf {
    area.join(RECORDS).join("lab").join(run.to_string())
}

/// Does it, and says to `out` what went wrong, which decides nothing about the run. `book`: the directory in which it is
/// noted what was done, so that it is not done twice.
///
/// # Errors
/// The records cannot be read, or a directory cannot be written to.
pub(crate) fn of_run(
    store: &mut dyn Store,
    run: RunId,
    area: &Path,
    book: &Path,
    out: &mut dyn Write,
) -> Result<(), anyhow::Error> {
    let snapshot = store.load_run_snapshot(run)?;
    let is_own = |dir: &str| fs::canonicalize(dir).is_ok_and(|dir| Some(dir) == fs::canonicalize(area).ok());
    if !is_own(&snapshot.record.spec.area_dir) {
        return Ok(());
    }
    let tests = &snapshot.record.plan.tests;
    let tickets: HashMap<&str, (&TestDef, Ticket)> =
        tests.iter().filter_map(|t| Some((t.def.name.as_str(), (&*t.def, ticket_of(&t.def.env)?)))).collect();
    let has_triggers = tickets.values().any(|(_, t)| !t.triggers.is_empty());
    let has_pages = tickets.values().any(|(_, t)| t.rollup.is_some());
    if !has_triggers && !has_pages {
        return Ok(());
    }
    let view = store.load_run(run, ItemFilter::All)?;
    let name = if view.name.is_empty() { format!("run-{}", view.number) } else { view.name.clone() };
    let first = tests.first().and_then(|t| ticket_of(&t.def.env));
    let all = lines(&view, &snapshot.record.spec, first.as_ref(), &name);
    let after = Afterwards { view: &view, snapshot: &snapshot, area, book, name };
    if has_triggers {
        after.triggers(&all, &tickets, out)?;
    }
    for line in all.iter().filter(|l| l.is_top) {
        if let Some((def, ticket)) = tickets.get(line.test.as_str())
            && let Some(command) = &ticket.rollup
        {
            after.page(line, def, ticket, command, out)?;
        }
    }
    Ok(())
}

struct Afterwards<'a> {
    view: &'a RunView,
    snapshot: &'a RunSnapshot,
    area: &'a Path,
    book: &'a Path,
    /// The run's.
    name: String,
}

impl Afterwards<'_> {
    /// The variables of a test, for a command that is none of its own.
    fn env(&self, def: &TestDef, ticket: &Ticket, item: &str, dir: &Path) -> BTreeMap<String, String> {
        let process =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let mut env: BTreeMap<String, String> = process.filter(|(k, _)| !k.starts_with("MUSTER_")).collect();
        env.extend(self.snapshot.record.spec.env.iter().chain(&def.env).cloned());
        let path = env.get("PATH").cloned().unwrap_or_default();
        let own = crate::local::megatest::program(self.area);
        let own = own.parent().unwrap_or(self.area).display().to_string();
        env.extend(
            [
                ("MT_RUNNAME", self.name.clone()),
                ("MT_RUNPATH", format!("{}/{}/{}", ticket.link_tree, ticket.target, self.name)),
                ("MT_ITEMPATH", item.to_owned()),
                ("MT_TEST_RUN_DIR", dir.display().to_string()),
                ("PATH", format!("{own}:{path}:{}:.", ticket.source)),
            ]
            .map(|(k, v)| (k.to_owned(), v)),
        );
        env
    }

    /// Triggers for what ended without its test, each once.
    fn triggers(
        &self,
        all: &[Line],
        tickets: &HashMap<&str, (&TestDef, Ticket)>,
        out: &mut dyn Write,
    ) -> Result<(), anyhow::Error> {
        let ended_unseen: HashMap<(&str, &str), usize> = self
            .view
            .all_items()
            .filter(|(_, i)| !i.discovery)
            .filter(|(_, i)| {
                matches!(
                    i.verdict,
                    Some(
                        Verdict::Timeout
                            | Verdict::Crash
                            | Verdict::Error
                            | Verdict::Cancelled
                            | Verdict::PrerequisiteFailed
                    )
                )
            })
            .map(|(t, i)| ((t.name.as_str(), i.path.as_str()), i.attempts.len()))
            .collect();
        fs::create_dir_all(self.book)?;
        let mut book = File::options().create(true).read(true).append(true).open(self.book.join("fired"))?;
        // Several may watch the end of a run on a lab.
        book.lock()?;
        let mut known = String::new();
        book.read_to_string(&mut known)?;
        let known: HashSet<&str> = known.lines().collect();
        for line in all.iter().filter(|l| !l.is_top) {
            let Some(attempts) = ended_unseen.get(&(line.test.as_str(), line.item.as_str())) else {
                continue;
            };
            let Some((def, ticket)) = tickets.get(line.test.as_str()) else { continue };
            let item = if line.item.is_empty() { String::new() } else { format!("/{}", line.item) };
            let address = format!("{}/{}{item}#{attempts}", self.view.address(), line.test);
            let entry = format!("{address} {}/{}", line.state, line.status);
            if ticket.triggers.is_empty() || known.contains(entry.as_str()) {
                continue;
            }
            let dir = fs::canonicalize(&line.run_dir).unwrap_or_else(|_| self.book.to_owned());
            let env = self.env(def, ticket, &line.item, &dir);
            let record = Record {
                commands: &ticket.triggers,
                address: &address,
                test: &line.test,
                item: &line.item,
                dir: &dir,
                env: &env,
            };
            triggers::fire_for(&record, &line.state, &line.status, out)?;
            writeln!(book, "{entry}")?;
        }
        Ok(())
    }

    /// The page of a test's items, which a command of the area's makes in the directory above theirs.
    fn page(
        &self,
        line: &Line,
        def: &TestDef,
        ticket: &Ticket,
        command: &str,
        out: &mut dyn Write,
    ) -> Result<(), anyhow::Error> {
        let dir: &PathBuf = &line.run_dir;
        // Nothing of it has run.
        if !dir.is_dir() {
            return Ok(());
        }
        let log = File::create(dir.join("last-rollup.log"))?;
        let ended = Command::new("/bin/sh")
            .args(["-c", command])
            .current_dir(dir)
            .env_clear()
            .envs(self.env(def, ticket, "", dir))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status();
        match ended {
            Ok(ended) if !ended.success() => {
                writeln!(out, "the roll-up of `{}` by `{command}` ended with {ended}", line.test)?;
            }
            Ok(_) => {}
            Err(e) => writeln!(out, "the roll-up of `{}` cannot be started: {e}", line.test)?,
        }
        Ok(())
    }
}
