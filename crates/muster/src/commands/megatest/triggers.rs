//! `[triggers]`: commands for when a test comes to a state or a status.
//!
//! Megatest leaves them running in the background. Here they end with the step they belong to, since an attempt
//! leaves no process behind.

use super::ezstep::now;
use super::job::Job;
use muster_formats::megatest::status::{State, Status};
use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Runs the commands for this state and status, one after the other.
pub(super) fn fire(job: &Job, state: &State, status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let get = |name: &str| job.env.get(name).map_or("", String::as_str);
    for (pattern, command) in &job.ticket.triggers {
        if !matches(pattern, state, status) {
            continue;
        }
        let run_dir = job.run_dir.to_string_lossy();
        let time = now().to_string();
        let arguments = [
            get("MUSTER_ADDRESS"),
            &run_dir,
            pattern,
            get("MUSTER_TEST"),
            &job.item,
            state.word(),
            status.word(),
            &time,
        ];
        let log = format!("last-trigger-{}.log", pattern.replace('/', "-"));
        let log = File::create(job.run_dir.join(log))?;
        let ended = Command::new("/bin/sh")
            // The command is a line with words of its own; what is added are words as they are.
            .args(["-c", &format!("{command} \"$@\""), "trigger"])
            .args(arguments)
            .current_dir(&job.run_dir)
            .env_clear()
            .envs(&job.env)
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

/// `STATE/STATUS`, `STATE/` or `/STATUS`.
fn matches(pattern: &str, state: &State, status: &Status) -> bool {
    let (of_state, of_status) = pattern.split_once('/').unwrap_or((pattern, ""));
    let fits = |wanted: &str, word: &str| wanted.is_empty() || wanted == word;
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
            ("/", false),
            ("", false),
        ];
        for (pattern, expected) in cases {
            assert_eq!(matches(pattern, &State::Completed, &Status::Fail), expected, "{pattern}");
        }
    }
}
