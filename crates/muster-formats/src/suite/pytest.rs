//! `pytest`: asked and run through a small plug-in of ours, which reports in JSON on a pipe.
//!
//! The plug-in is handed to Python in a variable (`python -c` runs it), so nothing is written to disk and
//! nothing needs to be importable. It leaves the project's own configuration, conftest files and
//! plug-ins in force; it only keeps the items that were asked for, and one process per batch.

mod reader;

use super::template::shown;
use super::{Answer, Ask, Discovery, DiscoveryError, End, Judge, Launch, LaunchItem, SuiteCommand, paths};
use muster_core::definition::{Batch, Line};
use muster_core::exchange::{Found, FoundItem, Group};
use reader::Event;
pub(super) use reader::PytestReader;
use std::collections::HashSet;

/// The plug-in.
const PLUGIN: &str = include_str!("pytest/plugin.py");
/// The variable that carries it, so that command lines stay readable; tests do not see it.
const PLUGIN_ENV: &str = "MUSTER_PYTEST_PLUGIN";
/// Given to `python -c`.
const BOOT: &str = "import os; exec(os.environ.pop('MUSTER_PYTEST_PLUGIN'))";
/// Limit: longest sum of node ids in one command line.
const NAMES_BYTES_MAX: usize = 100_000;
/// Limit: most items of one process where nobody says otherwise.
const BATCH_MAX: u32 = 1000;
/// Limit: characters of one text of a report, where the test's own limit is larger.
const TEXT_MAX: usize = 4 << 20;

pub(super) struct PytestDiscovery {
    python: Python,
    args: Vec<String>,
    batch: Batch,
}

/// The interpreter to run the plug-in with.
struct Python {
    argv: Vec<String>,
    /// `pytest` was named as a program, not as a module.
    script: bool,
}

impl Python {
    /// What stands before pytest's own arguments: `python3 -m pytest`, an interpreter alone, or a
    /// `pytest` script, beside which there is the interpreter it was installed for.
    fn of(command: &[String]) -> Self {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Self { argv: vec!["python3".to_owned()], script: false },
            [front @ .., "-m", "pytest"] => {
                let argv = if front.is_empty() { &["python3"][..] } else { front };
                Self { argv: argv.iter().map(|a| (*a).to_owned()).collect(), script: false }
            }
            [front @ .., last] => match last.rsplit('/').next() {
                Some("pytest" | "py.test") => {
                    let dir = last.rfind('/').map_or("", |i| &last[..=i]);
                    // Within `uv run`, `poetry run` and the like, and in a virtual environment, `python`
                    // is the environment's; elsewhere only `python3` is sure to be there.
                    let name = if dir.is_empty() && front.is_empty() { "python3" } else { "python" };
                    let mut argv: Vec<String> = front.iter().map(|a| (*a).to_owned()).collect();
                    argv.push(format!("{dir}{name}"));
                    Self { argv, script: true }
                }
                _ => Self { argv: command.to_vec(), script: false },
            },
        }
    }

    /// The group's argv: all up to the items. The last one is the plug-in's configuration.
    fn with_plugin(&self, limit: usize) -> Vec<String> {
        let config = serde_json::json!({ "script": self.script, "limit": limit });
        let mut argv = self.argv.clone();
        argv.extend(["-c".to_owned(), BOOT.to_owned(), config.to_string()]);
        argv
    }
}

impl PytestDiscovery {
    pub(super) fn new(command: &[String], args: &[String], batch: Batch) -> Self {
        Self { python: Python::of(command), args: args.to_vec(), batch }
    }

    /// The command as a person would have typed it.
    fn shown(&self) -> String {
        let mut argv = self.python.argv.clone();
        argv.extend(["-m", "pytest", "--collect-only", "-q"].map(str::to_owned));
        argv.extend(self.args.iter().cloned());
        shown(&Line::Argv(argv))
    }

    fn found(&self, end: &End, stdout: &[u8], stderr: &[u8], report: &[u8]) -> Result<Found, DiscoveryError> {
        let mut items: Vec<FoundItem> = Vec::new();
        let mut seen = HashSet::new();
        let mut broken = 0;
        let mut finished = false;
        let mut add = |id: String, skip: Option<String>| {
            if seen.insert(id.clone()) {
                items.push(FoundItem { path: paths::clean(&id), selector: id, skip, ..FoundItem::default() });
            }
        };
        for line in report.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let event = serde_json::from_slice(line)
                .map_err(|e| DiscoveryError::Unreadable { command: self.shown(), detail: e.to_string() })?;
            match event {
                Event::Item { id } => add(id, None),
                // A module that skips itself, or cannot be imported, is an item of its own: running it
                // tells why, and the others are not held up by it.
                Event::Collect { id, outcome, message, .. } if !id.is_empty() => {
                    let skipped = outcome == "skipped";
                    broken += usize::from(!skipped);
                    add(id, skipped.then_some(message));
                }
                Event::End { .. } => finished = true,
                _ => {}
            }
        }
        // 5: nothing was collected; 2 (and 1): a module could not be.
        let fine = matches!(end, End::Exit(0 | 5)) || (broken > 0 && matches!(end, End::Exit(1 | 2)));
        if !(fine && finished) {
            let detail =
                super::tail(if stderr.iter().any(|b| !b.is_ascii_whitespace()) { stderr } else { stdout });
            return Err(DiscoveryError::Failed { command: self.shown(), end: end.clone(), detail });
        }
        let longest = items.iter().map(|i| i.selector.len()).max().unwrap_or(0) + 1;
        let fitting = u32::try_from(NAMES_BYTES_MAX / longest).unwrap_or(BATCH_MAX).max(1);
        let batch_max = match self.batch {
            Batch::Single => 1,
            Batch::Auto => fitting.min(BATCH_MAX),
            Batch::Most(n) => fitting.min(n.max(1)),
        };
        let group = Group { name: "pytest".to_owned(), batch_max, ..Group::default() };
        Ok(Found { groups: vec![group], items })
    }
}

impl Discovery for PytestDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        if let Some(Answer::Ran { end, stdout, stderr, report }) = answer {
            return Ask::Done(self.found(&end, &stdout, &stderr, &report));
        }
        let mut argv = self.python.with_plugin(TEXT_MAX);
        argv.push("0".to_owned());
        argv.extend(["--collect-only", "-q"].map(str::to_owned));
        argv.extend(self.args.iter().cloned());
        let env = vec![(PLUGIN_ENV.to_owned(), PLUGIN.to_owned())];
        Ask::Run(SuiteCommand { report: true, env, ..SuiteCommand::plain(Line::Argv(argv)) })
    }
}

pub(super) fn launch(
    command: &[String],
    args: &[String],
    group: &Group,
    items: &[LaunchItem<'_>],
    log_max: usize,
) -> Launch {
    let mut argv = Python::of(command).with_plugin(log_max.min(TEXT_MAX));
    argv.push(items.len().to_string());
    argv.extend(items.iter().map(|i| i.selector.to_owned()));
    // A module of others that cannot be imported must not keep these from running.
    argv.push("--continue-on-collection-errors".to_owned());
    argv.extend(args.iter().cloned());
    let mut env = group.env.clone();
    env.push((PLUGIN_ENV.to_owned(), PLUGIN.to_owned()));
    Launch {
        line: Line::Argv(argv),
        dir: group.dir.clone(),
        env,
        unset: Vec::new(),
        report: true,
        judge: Judge::Reader(Box::new(PytestReader::new(items, log_max))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_found_in_every_way_to_name_pytest() {
        let of = |words: &[&str]| {
            let p = Python::of(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
            format!("{} {}", p.argv.join(" "), p.script)
        };
        assert_eq!(of(&[]), "python3 false");
        assert_eq!(of(&["python3.12", "-X", "dev", "-m", "pytest"]), "python3.12 -X dev false");
        assert_eq!(of(&["-m", "pytest"]), "python3 false");
        assert_eq!(of(&["pytest"]), "python3 true");
        assert_eq!(of(&["venv/bin/pytest"]), "venv/bin/python true");
        assert_eq!(of(&["uv", "run", "pytest"]), "uv run python true");
        assert_eq!(of(&["venv/bin/python"]), "venv/bin/python false");
    }
}
