//! `[triggers]`: commands for when a test comes to a state or a status.
//!
//! Megatest leaves them running in the background. Here they end with the step they belong to, since an attempt
//! leaves no process behind. Ends that no process of the test sees are told by [`super::afterwards`].

use super::ezstep::now;
use super::job::Job;
use muster_core::select::testpatt::part_matches;
use muster_formats::megatest::status::{State, Status};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// A record of a test whose state or status has changed.
pub(super) struct Record<'a> {
    pub(super) commands: &'a [(String, String)],
    pub(super) address: &'a str,
    pub(super) test: &'a str,
    pub(super) item: &'a str,
    /// Where the commands run, and leave their logs.
    pub(super) dir: &'a Path,
    pub(super) env: &'a BTreeMap<String, String>,
}

/// Runs the commands for what a test has come to, one after the other.
pub(super) fn fire(job: &Job, state: &State, status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let get = |name: &str| job.env.get(name).map_or("", String::as_str);
    let record = Record {
        commands: &job.ticket.triggers,
        address: get("MUSTER_ADDRESS"),
        test: get("MUSTER_TEST"),
        item: &job.item,
        dir: &job.run_dir,
        env: &job.env,
    };
    fire_for(&record, state, status, out)
}

/// The same for any record.
pub(super) fn fire_for(
    record: &Record<'_>,
    state: &State,
    status: &Status,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (pattern, command) in record.commands {
        if !matches(pattern, state, status) {
            continue;
        }
        let dir = record.dir.to_string_lossy();
        let time = now().to_string();
        let arguments =
            [record.address, &dir, pattern, record.test, record.item, state.word(), status.word(), &time];
        let log = format!("last-trigger-{}.log", pattern.replace('/', "-"));
        let log = File::create(record.dir.join(log))?;
        let ended = Command::new("/bin/sh")
            // The command is a line with words of its own; what is added are words as they are.
            .args(["-c", &format!("{command} \"$@\""), "trigger"])
            .args(arguments)
            .current_dir(record.dir)
            .env_clear()
            .envs(record.env)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status();
        // A trigger does not decide about its test.
        match ended {
            Ok(ended) if !ended.success() => writeln!(out, "the trigger `{pattern}` ended with {ended}")?,
            Ok(_) => {}
            Err(e) => writeln!(out, "the trigger `{pattern}` cannot be started: {e}")?,
        }
    }
    Ok(())
}

/// `STATE/STATUS`, `STATE/` or `/STATUS`; each may be a pattern, `/PREQ%`.
pub(super) fn matches(pattern: &str, state: &State, status: &Status) -> bool {
    let (of_state, of_status) = pattern.split_once('/').unwrap_or((pattern, ""));
    let fits = |wanted: &str, word: &str| wanted.is_empty() || part_matches(wanted, word);
    !(of_state.is_empty() && of_status.is_empty())
        && fits(of_state, state.word())
        && fits(of_status, status.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_for_a_state_a_status_or_both() {
        let cases = [
            ("COMPLETED/", true),
            ("COMPLETED", true),
            ("/FAIL", true),
            ("COMPLETED/FAIL", true),
            ("COMPLETED/PASS", false),
            ("RUNNING/", false),
            ("COMPLETED/%", true),
            ("/F%", true),
            ("/PREQ%", false),
            ("~COMPLETED/", false),
            ("/", false),
            ("", false),
        ];
        for (pattern, expected) in cases {
            assert_eq!(matches(pattern, &State::Completed, &Status::Fail), expected, "{pattern}");
        }
    }
}
