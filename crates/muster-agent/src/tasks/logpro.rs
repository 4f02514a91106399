//! Logs judged by logpro's rules, on the agent: where the log is.
//!
//! What the rules say comes to the exit code as other pass rules do: it may only make it worse, and a skip counts while
//! all is well. Where the test says that the exit code does not count, the rules alone decide.
//!
//! Of what did not plainly pass, a page of the log is written to the attempt's working directory and kept with what the
//! attempt left there. Of the rest it can be had from the log at any time (`muster logpro`).

use muster_core::attempt::{Cause, Measured};
use muster_core::definition::LogproRules;
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use muster_formats::megatest::logpro::{Evaluation, Page, Program, Report};
use std::fs::{self, File};
use std::io::{self, BufWriter, Sink};
use std::path::Path;

/// Rules ready for use.
#[derive(Clone, Debug)]
pub(super) struct LogJudge {
    /// The rules, or what is wrong with them.
    program: Result<Program, String>,
    exit_counts: bool,
}

/// What a log makes of an attempt or step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) cause: Cause,
    pub(super) measures: Vec<Measured>,
}

impl LogJudge {
    pub(super) fn new(rules: &LogproRules, now: Time) -> Self {
        let files: Vec<(&str, &str)> =
            rules.files.iter().map(|f| (f.path.as_str(), f.text.as_str())).collect();
        let program = Program::read(&files, i64::try_from(now.0 / 1_000_000).unwrap_or(i64::MAX));
        Self { program, exit_counts: rules.exit_counts }
    }

    /// What this log makes of what came to this otherwise. The page goes to `page`, with what cannot be written of it
    /// told as the error.
    pub(super) fn judge(
        &self,
        log: &[u8],
        outcome: Outcome,
        cause: Cause,
        page: Option<&Path>,
    ) -> (Judged, io::Result<()>) {
        let so_far = Judged { outcome, cause, measures: Vec::new() };
        // What was stopped or never ran has shown nothing that rules could be about.
        let exited = matches!(so_far.cause, Cause::Exit(_));
        if matches!(outcome, Outcome::Cancelled | Outcome::Error) && !exited {
            return (so_far, Ok(()));
        }
        let program = match &self.program {
            Ok(program) => program,
            Err(why) => {
                let judged = Judged {
                    outcome: outcome.max(Outcome::Fail),
                    cause: Cause::LogRule(why.clone()),
                    ..so_far
                };
                return (judged, Ok(()));
            }
        };
        let report = evaluate(program, log, None::<Page<Sink>>).unwrap_or_default();
        let said = report.status.outcome().unwrap_or(Outcome::Fail);
        let start = if exited && !self.exit_counts { Outcome::Pass } else { outcome };
        let decides = match said {
            Outcome::Skip => start.is_good(),
            said => said > start,
        };
        let mut judged = Judged { outcome: start, measures: report.measures(program), ..so_far };
        if decides {
            judged.outcome = said;
            judged.cause = Cause::LogRule(report.message);
        }
        let written = match page.filter(|_| judged.outcome != Outcome::Pass) {
            Some(path) => write_page(program, log, path),
            None => Ok(()),
        };
        (judged, written)
    }
}

fn evaluate<W: io::Write>(program: &Program, log: &[u8], page: Option<Page<W>>) -> io::Result<Report> {
    let mut evaluation = Evaluation::new(program, page);
    evaluation.feed_frames(log)?;
    evaluation.finish()
}

fn write_page(program: &Program, log: &[u8], path: &Path) -> io::Result<()> {
    // A file that the test put there makes way; through a link that it put there nothing is written.
    let _none_there = fs::remove_file(path);
    let file = BufWriter::with_capacity(64 << 10, File::create_new(path)?);
    let title = path.file_stem().unwrap_or_default().to_string_lossy();
    let page = Page::new(file, &title, Page::<File>::LOG_BYTES_MAX)?;
    evaluate(program, log, Some(page)).map(drop)
}
