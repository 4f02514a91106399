//! One step of a Megatest test, run as Megatest runs it: in the run directory, by bash, with its output in
//! `NAME.log` too, judged by rules for its log where there are some, and by what the test says of itself.

use super::job::Job;
use super::record::{OwnStatus, Record, StepReport};
use super::{launch, log, skip, subrun, triggers, waive};
use muster_core::definition::Tolerance;
use muster_core::outcome::Outcome;
use muster_formats::megatest::ezsteps::StepEnd;
use muster_formats::megatest::status::{State, Status};
use muster_formats::megatest::test_data::{Datum, Judged, decide, read_csv};
use muster_formats::megatest::{EXITS, SUBRUN};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The exit code by which Muster is told of an outcome.
pub(super) fn exit_of(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Fail | Outcome::Timeout | Outcome::Crash | Outcome::Cancelled => 1,
        other => {
            EXITS.iter().find(|(_, o)| *o == other).map_or(1, |(code, _)| u8::try_from(*code).unwrap_or(1))
        }
    }
}

/// What a test set itself to, where that is an end; `None`: it is left to the exit code.
fn of_own(own: &OwnStatus) -> Option<Status> {
    let (state, status) = (State::from(own.state.as_str()), Status::from(own.status.as_str()));
    let is_open = state.is_running() || state == State::NotStarted;
    let is_left =
        matches!(status, Status::Auto | Status::AutoWarn | Status::NotAvailable) || own.status.is_empty();
    (!is_open && !is_left).then_some(status)
}

/// What Muster is told of a status. Any text may be one; what Megatest does not count as ended well is a failure.
fn outcome_of(status: &Status) -> Outcome {
    status.outcome().unwrap_or(Outcome::Fail)
}

/// Runs a step of the test; the exit code is for Muster, which judges it by [`EXITS`].
pub(super) fn run(name: &str, command: &str, without_mt: bool) -> Result<u8, anyhow::Error> {
    // Where only some steps run, they do so in the run directory as it is.
    let only = std::env::var("MUSTER_ONLY_STEPS").ok();
    let only: Option<Vec<&str>> = only.as_deref().map(|steps| steps.split(' ').collect());
    let first = only.as_ref().map_or_else(|| is_first(name), |steps| steps.first() == Some(&name));
    let sets_up = first && only.is_none();
    let mut job = Job::find(sets_up)?;
    let mut out = io::stdout();
    if sets_up && let Some(why) = skip::reason(&job)? {
        triggers::fire(&job, &State::Completed, &Status::Skip, &mut out)?;
        // The last line says why.
        writeln!(out, "skipped: {why}")?;
        return Ok(exit_of(Outcome::Skip));
    }
    if without_mt {
        job.env.retain(|name, _| !name.starts_with("MT_"));
    }
    let record = Record::of(&job.run_dir);
    if let Some(steps) = only.as_ref().filter(|_| first) {
        record.go_on(job.env.get("MUSTER_ATTEMPT").map_or("1", String::as_str), steps)?;
    }
    if record.is_over() {
        writeln!(out, "not run: the test has been waived")?;
        return Ok(exit_of(Outcome::Pass));
    }
    if first {
        // Megatest goes through these one after the other; here they are one moment.
        for state in [State::Launched, State::RemoteHostStart, State::Running] {
            triggers::fire(&job, &state, &Status::NotAvailable, &mut out)?;
        }
    }
    let (code, came_to) = step(name, command, &job, &record, &mut out)?;
    let goes_on = matches!(outcome_of(&came_to), Outcome::Pass | Outcome::Warn);
    let last = only.as_ref().and_then(|steps| steps.last().copied()).unwrap_or(&job.ticket.last_step);
    if goes_on && name != last {
        return Ok(exit_of(outcome_of(&came_to)));
    }
    let end = conclude(code, came_to, &job, &record, &mut out)?;
    triggers::fire(&job, &end.state, &end.status, &mut out)?;
    if !end.said.is_empty() {
        writeln!(out, "{}", end.said)?;
    }
    // A command's own code is told as it was, where it cannot be taken for one of ours.
    let own_code = u8::try_from(end.code).ok().filter(|c| (1..240).contains(c));
    Ok(match (outcome_of(&end.status), own_code) {
        (Outcome::Fail, Some(code)) => code,
        (outcome, _) => exit_of(outcome),
    })
}

/// Runs the step's command, or the sub-run that it is, and gives its exit code and what it came to.
fn step(
    name: &str,
    command: &str,
    job: &Job,
    record: &Record,
    out: &mut dyn io::Write,
) -> Result<(i32, Status), anyhow::Error> {
    let asked = job.ticket.subrun.as_ref().filter(|_| name == SUBRUN);
    let log = match asked {
        None => format!("{name}.log"),
        Some(asked) => subrun::log_of(asked, job)?,
    };
    report(record, name, &log, "start", "0", "")?;
    let (code, status) = match asked {
        None => {
            let code = match launch::launcher(job) {
                Some(launcher) => launch::run(launcher, name, command, job, &log)?,
                None => run_logged(command, &job.run_dir, &job.env, &log)?,
            };
            (code, StepEnd::Exit(code).status())
        }
        Some(asked) => subrun::run(asked, job, &log, out)?,
    };
    let came_to = match log::judge(job, name, &log, out)? {
        Some(code) => StepEnd::Logpro(code).status(),
        // A script's exit code is the test's status.
        None if name == "runscript" => Status::of_logpro_exit(code),
        None => status,
    };
    report(record, name, &log, "end", &code.to_string(), came_to.word())?;
    Ok((code, came_to))
}

/// What a test comes to.
struct End {
    state: State,
    status: Status,
    /// The exit code behind it, where it is one.
    code: i32,
    /// The last line of the log, for people.
    said: String,
}

/// Puts together what the last step came to, what the test says of itself, its data and its waivers.
fn conclude(
    code: i32,
    came_to: Status,
    job: &Job,
    record: &Record,
    out: &mut dyn io::Write,
) -> Result<End, anyhow::Error> {
    let own = record.status();
    let data_status = own.as_ref().map_or_else(|| came_to.clone(), |own| Status::from(own.status.as_str()));
    // Data decide what nothing else has decided: a step that failed has said why.
    let open = matches!(came_to, Status::Pass | Status::Warn);
    let decided = bring_data(record, &data_status, open)?;
    let concluded = own.as_ref().and_then(|own| match (of_own(own), &decided) {
        (Some(status), _) => Some((own, status)),
        // The data can fail what its exit code does not.
        (None, Status::Fail) if open => Some((own, decided.clone())),
        (None, Status::Warn) if came_to == Status::Pass => Some((own, decided.clone())),
        (None, _) => None,
    });
    let mut end = match concluded {
        Some((own, status)) => {
            let comment = if own.comment.is_empty() { String::new() } else { format!(": {}", own.comment) };
            let said = format!("the test set itself to {}/{}{comment}", own.state, own.status);
            End { state: State::from(own.state.as_str()), status, code: 0, said }
        }
        None => End { state: State::Completed, status: came_to, code, said: String::new() },
    };
    let waived = match end.status {
        Status::Fail => waive::again(job, out)?,
        // Rules for a log may say so.
        Status::Waived if own.is_none() => Some(String::new()),
        _ => None,
    };
    if let Some(comment) = waived {
        let log = own.map(|own| own.log).unwrap_or_default();
        let (state, status) = ("COMPLETED".to_owned(), "WAIVED".to_owned());
        record.set_status(&OwnStatus { state, status, comment, log })?;
        record.set_over()?;
        end = End { state: State::Completed, status: Status::Waived, code: 0, said: String::new() };
    }
    Ok(end)
}

fn is_first(name: &str) -> bool {
    let text = std::env::var(muster_formats::megatest::ticket::TICKET_VARIABLE).unwrap_or_default();
    muster_formats::megatest::ticket::Ticket::parse(&text).is_ok_and(|t| t.first_step == name)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn report(
    record: &Record,
    step: &str,
    log: &str,
    state: &str,
    status: &str,
    comment: &str,
) -> io::Result<()> {
    record.add_step(&StepReport {
        step: step.to_owned(),
        state: state.to_owned(),
        status: status.to_owned(),
        time: now(),
        comment: comment.to_owned(),
        log: log.to_owned(),
    })
}

/// Runs a command with its output in a file of the run directory and on standard output, and gives its exit
/// code. What the command leaves running in the background holds nobody up.
pub(super) fn run_logged(
    command: &str,
    dir: &Path,
    env: &BTreeMap<String, String>,
    log: &str,
) -> Result<i32, anyhow::Error> {
    let path = dir.join(log);
    let file = File::create(&path)?;
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let mut child = Command::new(shell)
        .args(["-c", command])
        .current_dir(dir)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let mut reader = File::open(&path)?;
    let mut pause = Duration::from_micros(500);
    loop {
        let ended = child.try_wait()?;
        let brought = bring(&mut reader)?;
        if let Some(status) = ended {
            return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        if brought == 0 {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        } else {
            pause = Duration::from_micros(500);
        }
    }
}

/// Brings what is new in a file to standard output.
pub(super) fn bring(reader: &mut File) -> io::Result<u64> {
    let mut out = io::stdout().lock();
    let mut buffer = [0; 64 << 10];
    let mut brought = 0;
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            out.flush()?;
            return Ok(brought);
        }
        out.write_all(&buffer[..n])?;
        brought += n as u64;
    }
}

/// Hands test data to Muster, and says what they make of this status. Expectations go with them only where they
/// decide: Muster judges what it is given. `open`: nothing else has failed the test.
fn bring_data(record: &Record, status: &Status, open: bool) -> Result<Status, anyhow::Error> {
    let text = record.data();
    let Some(path) = std::env::var_os("MUSTER_MEASURES").filter(|_| !text.is_empty()) else {
        return Ok(status.clone());
    };
    let (data, errors) = read_csv(&text);
    let mut out = io::stdout();
    for error in errors {
        writeln!(out, "test data: {error}")?;
    }
    let decides = open && matches!(status, Status::Auto | Status::AutoWarn);
    let mut lines = String::new();
    for value in data.iter().filter_map(Datum::measured) {
        let mut line = serde_json::json!({ "name": value.name, "value": value.value, "units": value.units });
        let tolerance = Tolerance::parse(&value.tolerance);
        if let (true, Some(expected), Some(tolerance)) = (decides, value.expected, tolerance)
            // Who wrote the line may have said otherwise, and that counts.
            && value.good == Some(tolerance.holds(value.value, expected))
        {
            line["expected"] = expected.into();
            line["tolerance"] = match tolerance {
                Tolerance::Within(most) => most.into(),
                compared => compared.written().into(),
            };
        }
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    // What decides nothing hides nothing: the last lines are what people are shown of a failure.
    for failed in data.iter().filter(|d| decides && d.judged() == Judged::Fail) {
        writeln!(
            out,
            "test data: {} is {}, expected {} ({})",
            failed.name(),
            failed.value,
            failed.expected,
            if failed.tolerance.is_empty() { "exactly" } else { &failed.tolerance }
        )?;
    }
    fs::write(path, lines)?;
    Ok(decide(status, &data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_the_codes_that_the_definition_s_rule_knows() {
        for (code, outcome) in EXITS {
            assert_eq!(i32::from(exit_of(outcome)), code);
        }
        assert_eq!(exit_of(Outcome::Pass), 0);
    }

    #[test]
    fn a_status_counts_once_the_test_says_it_has_ended() {
        let own = |state: &str, status: &str| {
            of_own(&OwnStatus { state: state.to_owned(), status: status.to_owned(), ..OwnStatus::default() })
                .map(|status| outcome_of(&status))
        };
        assert_eq!(own("RUNNING", "FAIL"), None);
        assert_eq!(own("COMPLETED", "PASS"), Some(Outcome::Pass));
        assert_eq!(own("COMPLETED", "AUTO"), None);
        assert_eq!(own("COMPLETED", "BOZZLEBLONKED"), Some(Outcome::Fail));
    }
}
