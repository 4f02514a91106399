//! What the scripts of a running test call: `-step`, `-runstep`, `-test-status`, `-load-test-data` and the like.

use super::args::Args;
use super::code::Code;
use super::ezstep::{now, run_logged};
use super::job::Job;
use super::log::judge_by;
use super::record::{OwnStatus, Record, StepReport};
use super::{summary, told, waive};
use crate::context::Context;
use crate::error::Complaint;
use muster_core::outcome::ExitCode;
use std::io::{Read as _, Write as _};

/// Most bytes of test data at once.
// Limit: far more values than anyone looks at.
const DATA_BYTES_MAX: u64 = 16 << 20;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if std::env::var_os("MT_CMDINFO").is_none() {
        return Err(Complaint::usage("this is for the scripts of a running test: there is no MT_CMDINFO")
            .because(Code::OUTSIDE_A_TEST)
            .hint("in the run directory of a test, `. ./megatest.sh` sets its environment")
            .into());
    }
    if args.has("show-cmdinfo") {
        writeln!(context.stdout(), "{}", std::env::var("MT_CMDINFO").unwrap_or_default())?;
        return Ok(ExitCode::Passed);
    }
    let job = Job::find(false)?;
    let record = Record::of(&job.run_dir);
    if let Some(name) = args.get("runstep") {
        return run_step(name, args, &job, &record);
    }
    if let Some(name) = args.get("step") {
        return report_step(name, args, &record);
    }
    if args.has("load-test-data") {
        let mut text = String::new();
        std::io::stdin().take(DATA_BYTES_MAX).read_to_string(&mut text)?;
        if !text.trim().is_empty() {
            record.add_data(&text)?;
        }
    }
    if args.has("set-values") || args.has("value") {
        record.add_data(&data_line(args)?)?;
    }
    if args.has("summarize-items") {
        summary::write(&job, &above(&job))?;
    }
    if args.has("test-status") {
        let state = args.get("state").unwrap_or("COMPLETED").to_owned();
        let Some(status) = args.get("status").map(str::to_owned) else {
            return Err(Complaint::usage("`-test-status` needs a status")
                .because(Code::NO_STATUS)
                .hint("`:state COMPLETED :status PASS`")
                .into());
        };
        let comment = args.get("m").unwrap_or_default().to_owned();
        if status == "WAIVED" {
            waive::check_comment(&job.ticket, &comment)?;
        }
        let log = args.get("setlog").unwrap_or_default().to_owned();
        record.set_status(&OwnStatus { state, status, comment, log })?;
    } else if let Some(log) = args.get("setlog") {
        let status =
            record.status().unwrap_or(OwnStatus { state: "RUNNING".to_owned(), ..OwnStatus::default() });
        record.set_status(&OwnStatus { log: log.to_owned(), ..status })?;
    }
    if let Some(log) = args.get("set-toplog") {
        let top = if job.item.is_empty() { job.run_dir.clone() } else { above(&job) };
        let status = Record::of(&top)
            .status()
            .unwrap_or(OwnStatus { state: "RUNNING".to_owned(), ..OwnStatus::default() });
        Record::of(&top).set_status(&OwnStatus { log: log.to_owned(), ..status })?;
    }
    Ok(ExitCode::Passed)
}

/// The directory of the test above its items, in the tree of links.
fn above(job: &Job) -> std::path::PathBuf {
    let levels = job.item.split('/').count();
    job.link.ancestors().nth(levels).unwrap_or(&job.link).to_path_buf()
}

fn report_step(name: &str, args: &Args, record: &Record) -> Result<ExitCode, anyhow::Error> {
    let (Some(state), Some(status)) = (args.get("state"), args.get("status")) else {
        return Err(Complaint::usage("`-step` needs a state and a status")
            .because(Code::NO_STATUS)
            .hint("`megatest -step NAME :state start :status 0`, and the same with `end` after it")
            .into());
    };
    let report = StepReport {
        step: name.to_owned(),
        state: state.to_owned(),
        status: status.to_owned(),
        time: now(),
        comment: args.get("m").unwrap_or_default().to_owned(),
        log: args.get("setlog").unwrap_or_default().to_owned(),
    };
    record.add_step(&report)?;
    told::tell(&report)?;
    Ok(ExitCode::Passed)
}

fn run_step(name: &str, args: &Args, job: &Job, record: &Record) -> Result<ExitCode, anyhow::Error> {
    if args.rest.is_empty() {
        return Err(Complaint::usage("`-runstep` needs a command")
            .hint("`megatest -runstep NAME make all`")
            .into());
    }
    let log = format!("{name}.log");
    let step = |state: &str, status: String| StepReport {
        step: name.to_owned(),
        state: state.to_owned(),
        status,
        time: now(),
        comment: args.get("m").unwrap_or_default().to_owned(),
        log: log.clone(),
    };
    let tell = |report: StepReport| -> std::io::Result<()> {
        record.add_step(&report)?;
        told::tell(&report)
    };
    tell(step("start", "0".to_owned()))?;
    let code = run_logged(&args.rest.join(" "), &job.run_dir, &job.env, &log)?;
    let code = match args.get("logpro") {
        None => code,
        Some(rules) => judge_by(job, name, rules, &log, &mut std::io::stdout())?,
    };
    tell(step("end", code.to_string()))?;
    // The script is told by the same code; what it is not among ours is a plain failure.
    if code == 0 {
        return Ok(ExitCode::Passed);
    }
    std::process::exit(code.clamp(1, 255));
}

/// One line of test data out of `:category :variable :value :expected :tol :units :comment :status`.
fn data_line(args: &Args) -> Result<String, anyhow::Error> {
    if args.get("value").is_none() || args.get("variable").is_none() {
        return Err(Complaint::usage("test data needs `:variable` and `:value`").into());
    }
    let names = ["category", "variable", "value", "expected", "tol", "units", "comment", "status"];
    // With `-test-status` it is the test's.
    let names = if args.has("test-status") { &names[..7] } else { &names[..] };
    let field = |name: &&str| format!("\"{}\"", args.get(name).unwrap_or_default().replace('"', "\"\""));
    Ok(names.iter().map(field).collect::<Vec<_>>().join(","))
}
