//! `autotest`: control files of Autotest, each a job of a client. Each control file is an item, each of the tests
//! that it runs a step of it.
//!
//! The command prints the job's status log, as `muster autoserv` does; what else it prints is left to people.

use super::batch::with_last_words;
use super::bytes::take_line;
use super::item_log::ItemLog;
use super::{Answer, Ask, Discovery, End, ItemEnd, Judge, Launch, LaunchItem, Reader, Reported, paths};
use crate::status_log::{Ended, Status, StatusLog};
use muster_core::attempt::{Cause, StepResult};
use muster_core::definition::Line;
use muster_core::exchange::{Found, FoundItem, Group};
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use std::time::Duration;

/// Limit: a line longer than this is none of a status log.
const LINE_MAX: usize = 64 << 10;

pub(super) struct ControlDiscovery {
    controls: Vec<String>,
    command: Vec<String>,
}

impl ControlDiscovery {
    pub(super) fn new(controls: &[String], command: &[String]) -> Self {
        Self { controls: controls.to_vec(), command: command.to_vec() }
    }
}

impl Discovery for ControlDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        let Some(Answer::Files(files)) = answer else {
            return Ask::Glob { patterns: self.controls.clone(), dir: String::new(), executable: false };
        };
        let item =
            |file: String| FoundItem { path: paths::clean(&file), selector: file, ..FoundItem::default() };
        let mut items: Vec<FoundItem> = files.into_iter().map(item).collect();
        paths::make_unique(&mut items);
        let group = Group { argv: self.command.clone(), batch_max: 1, ..Group::default() };
        Ask::Done(Ok(Found { groups: vec![group], items }))
    }
}

pub(super) fn launch(group: &Group, items: &[LaunchItem<'_>], log_max: usize) -> Launch {
    let mut argv = group.argv.clone();
    argv.push(items.first().map_or("", |i| i.selector).to_owned());
    Launch {
        line: Line::Argv(argv),
        dir: group.dir.clone(),
        env: group.env.clone(),
        unset: Vec::new(),
        report: false,
        judge: Judge::Reader(Box::new(JobReader {
            job: StatusLog::default(),
            log: ItemLog::new(Duration::ZERO, log_max),
            steps: Vec::new(),
            statuses: Vec::new(),
            line: Vec::new(),
            step_from: 0,
            started: false,
        })),
    }
}

struct JobReader {
    job: StatusLog,
    log: ItemLog,
    steps: Vec<StepResult>,
    /// As the log has them; the steps have what they mean here.
    statuses: Vec<Status>,
    line: Vec<u8>,
    /// Where the next step began.
    step_from: u64,
    started: bool,
}

impl JobReader {
    fn start(&mut self, out: &mut Vec<Reported>) {
        if !self.started {
            self.started = true;
            out.push(Reported::Started { index: 0, at: Duration::ZERO });
        }
    }

    fn whole_line(&mut self, at: Duration) {
        let line = std::mem::take(&mut self.line);
        self.log.push(Stream::Stdout, at, &line);
        let text = String::from_utf8_lossy(&line);
        if let Some(ended) = self.job.line(text.trim_end_matches(['\n', '\r'])) {
            self.statuses.push(ended.status);
            self.steps.push(step(ended, self.step_from));
            self.step_from = self.log.mark();
        }
    }

    /// What the job came to: what it says itself, made worse by what its tests say.
    fn sum(&self) -> Result<(Outcome, String), String> {
        let Some((job, why)) = self.job.job() else {
            return Err("its status log breaks off".to_owned());
        };
        let of = |outcome| self.steps.iter().zip(&self.statuses).find(|(step, _)| step.outcome == outcome);
        let told = |(step, status): (&StepResult, &Status)| {
            let message = if step.message.is_empty() { String::new() } else { format!(": {}", step.message) };
            format!("{} {}{message}", step.name, status.word())
        };
        let worst = [Outcome::Abort, Outcome::Fail, Outcome::Warn].into_iter().find_map(of);
        let own = job.outcome();
        Ok(match worst {
            _ if own == Outcome::Abort => (Outcome::Abort, format!("the job was aborted: {why}")),
            Some(worst) => (worst.0.outcome, told(worst)),
            None if self.steps.is_empty() && own == Outcome::Pass => {
                (Outcome::Fail, "the job ran no test".to_owned())
            }
            None if !self.steps.is_empty() && self.steps.iter().all(|s| s.outcome == Outcome::Skip) => {
                (Outcome::Skip, of(Outcome::Skip).map_or(String::new(), told))
            }
            None => (own, why.to_owned()),
        })
    }
}

fn step(ended: Ended, output_from: u64) -> StepResult {
    StepResult {
        name: ended.name,
        outcome: ended.status.outcome(),
        exit: None,
        duration: Duration::from_secs(ended.seconds),
        output_from,
        message: super::shorten(&ended.message).into_owned(),
    }
}

impl Reader for JobReader {
    fn output(&mut self, stream: Stream, at: Duration, mut bytes: &[u8], out: &mut Vec<Reported>) {
        self.start(out);
        if stream != Stream::Stdout {
            self.log.push(stream, at, bytes);
            return;
        }
        while !bytes.is_empty() {
            take_line(&mut bytes, &mut self.line);
            if self.line.ends_with(b"\n") || self.line.len() > LINE_MAX {
                self.whole_line(at);
            }
        }
    }

    fn report(&mut self, _at: Duration, _bytes: &[u8], _out: &mut Vec<Reported>) {}

    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>) {
        self.start(out);
        if !self.line.is_empty() {
            self.whole_line(at);
        }
        let sum = self.sum();
        let log = std::mem::replace(&mut self.log, ItemLog::new(at, 0)).finish();
        let (by_end, cause) = end.judgement();
        let (outcome, cause, message) = match (by_end, sum) {
            // Who runs the job may know more than its log: a failure of one with a good log is a failure.
            (Outcome::Pass, Ok((outcome, message))) => (outcome, Cause::Framework, message),
            (Outcome::Fail, Ok((outcome, message))) if !outcome.is_good() => {
                (outcome, Cause::Framework, message)
            }
            // What runs the job says that it could not.
            (_, Err(why)) if matches!(end, End::Exit(3)) => {
                let said = with_last_words(&why, &log.log);
                (Outcome::Error, Cause::Lab(said.clone()), said)
            }
            (Outcome::Pass, Err(why)) => (Outcome::Fail, Cause::Framework, why),
            (outcome, _) => (outcome, cause, with_last_words(&format!("the process {end}"), &log.log)),
        };
        let message = super::shorten(&message).into_owned();
        let mut steps = std::mem::take(&mut self.steps);
        for step in &mut steps {
            step.output_from = log.place(step.output_from);
        }
        let end =
            ItemEnd { outcome, cause, message, started: Duration::ZERO, duration: at, steps, log: log.log };
        out.push(Reported::Ended { index: 0, end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a job comes to that printed this and ended so.
    fn job(log: &str, end: &End) -> ItemEnd {
        let group = Group { argv: vec!["muster".into(), "autoserv".into()], ..Group::default() };
        let launch = launch(&group, &[LaunchItem { path: "t/control", selector: "t/control" }], 1 << 20);
        assert_eq!(launch.line, Line::Argv(["muster", "autoserv", "t/control"].map(str::to_owned).into()));
        let Judge::Reader(mut reader) = launch.judge else { panic!("a reader judges") };
        let mut out = Vec::new();
        for piece in log.as_bytes().chunks(7) {
            reader.output(Stream::Stdout, Duration::from_millis(1), piece, &mut out);
        }
        reader.ended(end, Duration::from_secs(2), &mut out);
        match out.pop() {
            Some(Reported::Ended { end, .. }) => end,
            other => panic!("{other:?}"),
        }
    }

    fn log(tests: &[(&str, &str, &str)], job: &str) -> String {
        let mut log = String::from("START\t----\t----\ttimestamp=1\t\n");
        for (name, status, why) in tests {
            let lines = [
                format!("\tSTART\t{name}\t{name}\ttimestamp=2\t\n"),
                format!("\t\t{status}\t{name}\t{name}\ttimestamp=4\t{why}\n"),
                format!("\tEND {status}\t{name}\t{name}\ttimestamp=5\t\n"),
            ];
            log.extend(lines);
        }
        log + job
    }

    const GOOD: &str = "END GOOD\t----\t----\ttimestamp=6\t\n";

    #[test]
    fn a_job_is_as_good_as_the_worst_of_its_tests() {
        let told = |tests: &[(&str, &str, &str)], code| {
            let end = job(&log(tests, GOOD), &End::Exit(code));
            format!("{}: {}", end.outcome, end.message)
        };
        assert_eq!(told(&[("a", "GOOD", "completed")], 0), "pass: ");
        assert_eq!(told(&[("a", "GOOD", ""), ("b", "FAIL", "no"), ("c", "WARN", "")], 1), "fail: b FAIL: no");
        assert_eq!(told(&[("a", "ERROR", "it has a bug")], 1), "fail: a ERROR: it has a bug");
        assert_eq!(told(&[("a", "GOOD", ""), ("b", "WARN", "slow")], 0), "warn: b WARN: slow");
        assert_eq!(told(&[("a", "TEST_NA", "no such bus")], 0), "skip: a TEST_NA: no such bus");
        assert_eq!(told(&[("a", "TEST_NA", ""), ("b", "GOOD", "")], 0), "pass: ");
        assert_eq!(told(&[], 0), "fail: the job ran no test");
    }

    #[test]
    fn tests_are_steps_with_their_own_times_and_reasons() {
        let end = job(&log(&[("a", "GOOD", "fine"), ("b", "FAIL", "no")], GOOD), &End::Exit(1));
        let steps: Vec<_> =
            end.steps.iter().map(|s| (&*s.name, s.outcome, &*s.message, s.duration)).collect();
        let three = Duration::from_secs(3);
        assert_eq!(steps, [("a", Outcome::Pass, "fine", three), ("b", Outcome::Fail, "no", three)]);
        assert!(end.steps[0].output_from < end.steps[1].output_from);
    }

    #[test]
    fn a_job_that_breaks_off_or_is_aborted_is_no_success() {
        let broken = log(&[("a", "GOOD", "")], "");
        assert_eq!(job(&broken, &End::Exit(0)).outcome, Outcome::Fail);
        assert_eq!(
            job(&broken, &End::Exit(3)).outcome,
            Outcome::Error,
            "what runs jobs says that it could not"
        );
        assert_eq!(job(&broken, &End::Signal(9)).outcome, Outcome::Crash);
        let aborted = log(&[("a", "GOOD", "")], "END ABORT\t----\t----\ttimestamp=6\tno disk\n");
        let end = job(&aborted, &End::Exit(1));
        assert_eq!((end.outcome, &*end.message), (Outcome::Abort, "the job was aborted: no disk"));
        let good = log(&[("a", "GOOD", "")], GOOD);
        assert_eq!(job(&good, &End::Exit(1)).outcome, Outcome::Fail, "who runs it knows more");
    }
}
