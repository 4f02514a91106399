//! Rules for the log of a step: evaluated here, with the page and the data that logpro writes too.

use super::job::Job;
use super::record::Record;
use muster_core::output::Stream;
use muster_formats::megatest::logpro::{Evaluation, Page, Program, Report, Rules};
use muster_formats::megatest::test_data::{of_dat, write_csv};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::process::{Command, Stdio};

/// Judges the log of a step by `STEP.logpro`, and gives logpro's exit code. `None`: there are no rules for it.
pub(super) fn judge(
    job: &Job,
    step: &str,
    log: &str,
    out: &mut dyn Write,
) -> Result<Option<i32>, anyhow::Error> {
    let file = format!("{step}.logpro");
    match job.run_dir.join(&file).is_file() {
        true => judge_by(job, step, &file, log, out).map(Some),
        false => Ok(None),
    }
}

/// Judges a log by these rules.
pub(super) fn judge_by(
    job: &Job,
    step: &str,
    file: &str,
    log: &str,
    out: &mut dyn Write,
) -> Result<i32, anyhow::Error> {
    let path = job.run_dir.join(file);
    let text = match fs::read(&path) {
        // Old rules have comments in other encodings; the bytes that are no UTF-8 are shown as such.
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => {
            // As logpro ends when its rules cannot be read.
            writeln!(out, "error: the rule file `{file}` cannot be read: {e}")?;
            return Ok(1);
        }
    };
    let today = jiff::Zoned::now().date();
    let made =
        Rules::read(&[(file, &text)]).and_then(|rules| Program::new(rules, today).map_err(|p| vec![p]));
    let program = match made {
        Ok(program) => program,
        Err(problems) => {
            for problem in problems {
                writeln!(out, "{problem}")?;
            }
            // As logpro ends when its rules cannot be read.
            return Ok(1);
        }
    };
    let report = evaluate(job, step, log, &program)?;
    let dat = report.dat(&program);
    Record::of(&job.run_dir).add_data(&write_csv(&of_dat(step, &dat)))?;
    fs::write(job.run_dir.join(format!("{step}.dat")), dat)?;
    for fired in &report.fired {
        // A rule file is as much the test's own as its scripts are.
        let status = Command::new("/bin/sh")
            .args(["-c", &fired.command])
            .current_dir(&job.run_dir)
            .env_clear()
            .envs(&job.env)
            .stdin(Stdio::null())
            .status();
        if let Err(e) = status {
            writeln!(out, "the hook `{}` cannot be run: {e}", fired.command)?;
        }
    }
    if !report.message.is_empty() {
        writeln!(out, "{file}: {}: {}", report.status, report.message)?;
    }
    Ok(i32::from(report.exit_code()))
}

fn evaluate(job: &Job, step: &str, log: &str, program: &Program) -> io::Result<Report> {
    let html = BufWriter::new(File::create(job.run_dir.join(format!("{step}.html")))?);
    let page = Page::new(html, step, Page::<BufWriter<File>>::LOG_BYTES_MAX)?;
    let mut evaluation = Evaluation::new(program, Some(page));
    let mut file = File::open(job.run_dir.join(log))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return evaluation.finish();
        }
        evaluation.feed(Stream::Stdout, &buffer[..n])?;
    }
}
