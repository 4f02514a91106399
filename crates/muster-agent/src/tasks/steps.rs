//! One attempt that is judged by its processes: a command, ordered steps, or a suite's item whose
//! framework reports nothing.

use super::device::{DevicePlan, Said};
use super::ended;
use super::job::{Job, Manner, add_usage};
use super::logs::Joined;
use super::prepared::StepPlan;
use crate::exec::{Next, ProcessEnd, Status, Task};
use muster_core::attempt::{AttemptResult, Cause, Measured, Output, StepResult, Usage};
use muster_core::definition::{MeasureRule, Proceed};
use muster_core::exchange::AttemptEnd;
use muster_core::judge::{CompiledRule, Ended, Evidence, Progress, describe, with_told};
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use muster_core::part::Part;
use muster_core::time::Time;
use std::borrow::Cow;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a file of expected output.
// Limit: it is read into memory for each comparison.
const EXPECTED_BYTES_MAX: u64 = 64 << 20;

/// A test with steps.
pub(super) fn of_test(job: Job) -> Box<dyn Task> {
    let steps = Arc::clone(&job.prepared.steps);
    let rule = job.prepared.rule.clone();
    Box::new(StepsTask::new(job, steps, rule))
}

/// An item with a process of its own, judged by this rule. `around`: what comes before and after it on the device.
pub(super) fn of_process(
    job: Job,
    plan: StepPlan,
    around: Option<[StepPlan; 2]>,
    rule: Result<Arc<CompiledRule>, String>,
) -> Box<dyn Task> {
    let steps: Arc<[StepPlan]> = match around {
        None => Arc::new([plan]),
        Some([open, close]) => Arc::new([open, StepPlan { name: "run".to_owned(), ..plan }, close]),
    };
    Box::new(StepsTask::new(job, steps, rule))
}

struct StepsTask {
    job: Job,
    steps: Arc<[StepPlan]>,
    rule: Result<Arc<CompiledRule>, String>,
    /// Where only some of the steps run: which, and what the others came to.
    part: Option<Arc<Part>>,
    /// When its first process started.
    started: Option<Time>,
    /// When its hard limit ends. It begins with the first step of the test's own.
    deadline: Option<Time>,
    /// What the running step's process reports, where the step runs on the device.
    said: Said,
    /// The place of the step that runs.
    current: usize,
    /// The limit the running step was given, and whose it is.
    limit: Option<Limit>,
    progress: Progress,
    results: Vec<StepResult>,
    joined: Joined,
    usage: Usage,
    leaked: u32,
    /// Values that rules have found in logs.
    measures: Vec<Measured>,
    /// The message of the step that decides so far.
    message: String,
}

/// A step's hard limit as it was written.
#[derive(Clone, Copy)]
enum Limit {
    /// What is left of the attempt's, which is this.
    Attempt(Duration),
    /// Its own.
    Step(Duration),
}

impl StepsTask {
    fn new(job: Job, steps: Arc<[StepPlan]>, rule: Result<Arc<CompiledRule>, String>) -> Self {
        let part = job.first().and_then(|attempt| attempt.part.clone());
        Self {
            job,
            steps,
            rule,
            part,
            started: None,
            deadline: None,
            said: Said::default(),
            current: 0,
            limit: None,
            progress: Progress::default(),
            results: Vec::new(),
            joined: Joined::default(),
            usage: Usage::default(),
            leaked: 0,
            measures: Vec::new(),
            message: String::new(),
        }
    }

    /// Whether its parts are shown as steps.
    fn has_steps(&self) -> bool {
        self.steps.len() > 1 || self.steps.first().is_some_and(|s| !s.name.is_empty())
    }

    fn is_slow(&self) -> bool {
        self.job.first().is_some_and(|a| a.slow)
    }

    fn begin(&mut self) -> Next {
        if let Err(why) = &self.rule {
            return self.give_up(why.clone());
        }
        if self.job.unit.attempts.len() != 1 {
            return self.give_up("a test with steps runs one attempt at a time".to_owned());
        }
        if !self.is_at(|device| matches!(device, DevicePlan::Open { .. })) {
            self.start_clock();
        }
        if let Some(part) = self.part.clone() {
            let names: Vec<String> = part.run.iter().map(|name| format!("`{name}`")).collect();
            let (run, attempt) = (names.join(", "), part.attempt);
            // Whoever reads of a file that is not there, reads why.
            let files =
                if part.files.is_empty() { ", of whose working directory nothing is kept" } else { "" };
            self.joined
                .remark(Duration::ZERO, &format!("goes on from attempt {attempt}{files}; runs again: {run}"));
            self.measures = part.measures.iter().filter(|m| self.is_of_step(m)).cloned().collect();
            self.current = self.pass_over(0);
        }
        self.start_step()
    }

    /// Whether a value was found in the log of a step, and not told by the test.
    fn is_of_step(&self, measured: &Measured) -> bool {
        let step = measured.name.split_once('/').map(|(step, _)| step);
        self.steps.iter().any(|s| s.logpro.is_some() && step == Some(s.name.as_str()))
    }

    /// The place of the next step that runs, from this one on. Those that do not keep what they came to.
    fn pass_over(&mut self, from: usize) -> usize {
        let Some(part) = self.part.clone() else { return from };
        let steps = Arc::clone(&self.steps);
        for (place, step) in steps.iter().enumerate().skip(from) {
            if part.run.contains(&step.name) {
                return place;
            }
            for kept in &part.kept {
                let rest = kept.name.strip_prefix(step.name.as_str());
                if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                    continue;
                }
                if kept.name == step.name {
                    let before = self.progress.outcome;
                    let cause = kept.exit.map_or(Cause::Framework, Cause::Exit);
                    // Whoever asks for a step has it, whatever those before it came to.
                    self.progress.receive_step(kept.outcome, cause, step.proceed);
                    if self.progress.outcome != before {
                        self.message = format!("step `{}`: {}", step.name, kept.message);
                    }
                }
                let output_from = self.joined.len();
                self.results.push(StepResult { output_from, ..kept.clone() });
            }
        }
        steps.len()
    }

    /// The attempt's hard limit counts from now.
    fn start_clock(&mut self) {
        let hard = self.job.first().and_then(|a| self.job.hard_limit(a));
        self.deadline = hard.map(|limit| self.job.now() + limit);
    }

    /// Whether the current step does this on the device.
    fn is_at(&self, what: impl Fn(&DevicePlan) -> bool) -> bool {
        self.steps.get(self.current).and_then(|s| s.device.as_ref()).is_some_and(what)
    }

    /// Whether the current step moves files to or from the device, which is none of the test's time.
    fn moves_files(&self) -> bool {
        self.is_at(|device| device.own_limit().is_some())
    }

    /// Starts the current step.
    fn start_step(&mut self) -> Next {
        let Some(plan) = self.steps.get(self.current).cloned() else {
            return self.give_up("the test has no steps".to_owned());
        };
        let slow = self.is_slow();
        let deadline = self.deadline.filter(|_| !self.moves_files());
        let left = deadline.map(|at| at.since(self.job.now()));
        let whole = self.job.first().and_then(|a| self.job.hard_limit(a));
        let own = super::environment::stretched(plan.timeout, slow);
        let (timeout, limit) = match (own, left, whole) {
            (Some(own), Some(left), _) if own <= left => (Some(own), Some(Limit::Step(own))),
            (_, Some(left), Some(whole)) => (Some(left), Some(Limit::Attempt(whole))),
            (own, _, _) => (own, own.map(Limit::Step)),
        };
        self.limit = limit;
        if timeout.is_some_and(|t| t.is_zero()) {
            // The steps before used it up, to the last moment.
            return self.step_ended(ProcessEnd {
                status: Status::HardLimit(Duration::ZERO),
                started: self.job.now(),
                duration: Duration::ZERO,
                usage: Usage::default(),
                leaked: 0,
                log: Output::None,
            });
        }
        let mut limits = self.job.limits(timeout, slow);
        limits.silence = limits.silence.filter(|_| !self.moves_files());
        let manner = Manner {
            limits,
            spill: Some(self.job.place.file(self.current)),
            report: plan.device.is_some(),
            deadline,
        };
        match self.job.process(&plan, manner) {
            Ok(spec) => Next::Run(spec),
            Err(why) => self.give_up(why),
        }
    }

    fn step_ended(&mut self, end: ProcessEnd) -> Next {
        let ProcessEnd { status, started, duration, usage, leaked, log } = end;
        let began = *self.started.get_or_insert(started);
        let log = self.job.place.own(log);
        add_usage(&mut self.usage, usage);
        self.leaked += leaked;
        let told = if self.is_at(|_| true) { self.said.end(&status) } else { None };
        let ended = match (told.unwrap_or_else(|| ended(status)), self.limit) {
            (Ended::HardLimit(_), Some(Limit::Attempt(limit) | Limit::Step(limit))) => {
                Ended::HardLimit(limit)
            }
            (other, _) => other,
        };
        // Past the attempt's limit no step may begin, whatever the steps say.
        let out_of_time = matches!((&ended, self.limit), (Ended::HardLimit(_), Some(Limit::Attempt(_))));
        let Ok(rule) = self.rule.clone() else { return Next::Done };
        let (mut outcome, mut cause) = rule.of_end(&ended);
        if !self.has_steps() {
            self.progress.receive_step(outcome, cause, Proceed::Passed);
            return self.finish(&rule, log, began, started + duration);
        }
        let proceed = self.proceed();
        let name = self.steps[self.current].name.clone();
        let at = started.since(began);
        let from = self.joined.len();
        self.joined.remark(at, &format!("step {name}"));
        self.joined.add(&self.job.place, &log, at);
        let exit = match cause {
            Cause::Exit(code) => Some(code),
            _ => None,
        };
        if let Some(judge) = self.steps[self.current].logpro.clone() {
            let page = self.job.in_work_dir(&format!("{name}.html"));
            let frames = &self.joined.frames()[from as usize..];
            let (judged, page) = judge.judge(frames, outcome, cause, page.as_deref());
            (outcome, cause) = (judged.outcome, judged.cause);
            let of_step = |m: Measured| Measured { name: format!("{name}/{}", m.name), ..m };
            self.measures.extend(judged.measures.into_iter().map(of_step));
            if let Err(e) = page {
                self.joined.remark(at + duration, &format!("the page of the log cannot be written: {e}"));
            }
        }
        let frames = &self.joined.frames()[from as usize..];
        let message = describe(outcome, &cause, frames);
        let worst_before = self.progress.outcome;
        let first = self.results.is_empty();
        let goes_on = self.progress.receive_step(outcome, cause, proceed);
        if first || self.progress.outcome != worst_before {
            self.message =
                if message.is_empty() { String::new() } else { format!("step `{name}`: {message}") };
        }
        self.results.push(StepResult { name, outcome, exit, duration, output_from: from, message });
        if self.is_at(|device| matches!(device, DevicePlan::Open { .. })) {
            self.start_clock();
        }
        let goes_on = goes_on && !out_of_time;
        self.current = match &self.part {
            None => self.next_step(outcome, goes_on),
            // No device has anything to be closed: such a test runs whole.
            Some(_) => {
                let next = self.pass_over(self.current + 1);
                if goes_on { next } else { self.steps.len() }
            }
        };
        if self.current < self.steps.len() {
            return self.start_step();
        }
        let frames = std::mem::take(&mut self.joined).into_frames();
        let log = self.job.place.keep(frames, self.steps.len()).unwrap_or_default();
        self.finish(&rule, log, began, started + duration)
    }

    /// When the step after the current one runs. That files cannot be brought back is the lab's fault, and
    /// no reason to call a test that failed something else.
    fn proceed(&self) -> Proceed {
        let closes = self.is_at(|device| matches!(device, DevicePlan::Close { .. }));
        if closes && !self.progress.outcome.is_good() {
            return Proceed::Ignored;
        }
        self.steps[self.current].proceed
    }

    /// The place of the step that runs after the current one, which came to this.
    fn next_step(&self, outcome: Outcome, goes_on: bool) -> usize {
        let next = self.current + 1;
        if goes_on {
            return next;
        }
        // Files are brought back whatever came of the test, but not from a device that could not be opened,
        // and not when everything is to end. What was opened last is closed first.
        let opens = |step: &&StepPlan| matches!(step.device, Some(DevicePlan::Open { .. }));
        let opened = self.steps.iter().take(self.current).filter(opens).count();
        let closes = self.steps.len() - opened;
        if next <= closes && outcome != Outcome::Cancelled { closes } else { self.steps.len() }
    }

    /// Judges the attempt and tells its end.
    fn finish(&mut self, rule: &CompiledRule, mut log: Output, started: Time, at: Time) -> Next {
        let (mut left, looked) = self.job.look();
        if let Some(part) = &self.part {
            // What is measured anew comes behind, and takes its place.
            let told = part.measures.iter().filter(|m| !self.is_of_step(m));
            left.measures = lines_of(told, &rule.rule().measures) + &left.measures;
        }
        let mut lost = looked.err().unwrap_or_default();
        let mut remark = String::new();
        let frames = if rule.needs_log(self.progress.outcome) || self.job.prepared.logpro.is_some() {
            self.job.place.read(&log).unwrap_or_else(|e| {
                lost = format!("its output cannot be read: {e}");
                Cow::Borrowed(&[])
            })
        } else {
            Cow::Borrowed(&[][..])
        };
        if let Some(judge) = self.job.prepared.logpro.clone() {
            let page = self.job.in_work_dir("logpro.html");
            let Progress { outcome, cause, .. } = self.progress.clone();
            let (judged, page) = judge.judge(&frames, outcome, cause, page.as_deref());
            if judged.cause != self.progress.cause {
                self.message = describe(judged.outcome, &judged.cause, &frames);
            }
            (self.progress.outcome, self.progress.cause) = (judged.outcome, judged.cause);
            self.measures.extend(judged.measures);
            if let Err(e) = page {
                remark = format!("the page of the log cannot be written: {e}");
            }
            left.files |= self.progress.outcome != Outcome::Pass;
        }
        let expected = rule.expected_file().map(|path| read_expected(&self.job.prepared.area_dir, path));
        let judgement = rule.judge(&Evidence {
            outcome: self.progress.outcome,
            cause: &self.progress.cause,
            log: &frames,
            expected: expected.as_ref().map(|text| text.as_deref().map_err(String::as_str)),
            measures: &left.measures,
        });
        drop(frames);
        if !remark.is_empty() {
            self.job.place.remark(&mut log, at.since(started), &remark);
        }
        let by_steps = judgement.outcome == self.progress.outcome && judgement.cause == self.progress.cause;
        let mut result = AttemptResult {
            outcome: judgement.outcome,
            cause: judgement.cause,
            message: if by_steps && self.has_steps() {
                std::mem::take(&mut self.message)
            } else {
                judgement.message
            },
            started,
            duration: at.since(started),
            usage: self.usage,
            steps: with_told(std::mem::take(&mut self.results), &left.steps, judgement.outcome),
            measures: judgement.measures.into_iter().chain(std::mem::take(&mut self.measures)).collect(),
            output: Output::None,
            leaked: self.leaked,
            artifacts: None,
        };
        if !lost.is_empty() && result.outcome < Outcome::Error {
            result.outcome = Outcome::Error;
            result.cause = Cause::Lab(lost.clone());
            result.message = lost;
        }
        for told in self.job.told_by_profilers() {
            self.job.place.remark(&mut log, result.duration, &told);
        }
        result.output = log;
        self.job.leave(&left, 0, &mut result);
        self.tell(result)
    }

    fn give_up(&mut self, why: String) -> Next {
        let result = self.job.error(why);
        self.tell(result)
    }

    fn tell(&mut self, result: AttemptResult) -> Next {
        let last = self.job.first().map(|a| (a.attempt, AttemptEnd::Ran(result)));
        self.job.end(last);
        Next::Done
    }
}

impl Task for StepsTask {
    fn id(&self) -> u64 {
        self.job.unit.id.0
    }

    fn next(&mut self, ended: Option<ProcessEnd>) -> Next {
        match ended {
            None => self.begin(),
            Some(end) => self.step_ended(end),
        }
    }

    fn output(&mut self, _: Stream, _: Duration, _: &[u8]) {}

    fn report(&mut self, _: Duration, bytes: &[u8]) {
        // Of a step of the test's own nothing but its end is listened to.
        let _reported = self.said.take_in(bytes);
    }
}

/// Measured values as a test writes them; what a rule expects is not said twice.
fn lines_of<'a>(values: impl Iterator<Item = &'a Measured>, rules: &[MeasureRule]) -> String {
    let mut lines = String::new();
    for Measured { name, value, expected, tolerance, units, good: _ } in values {
        let mut line = serde_json::json!({ "name": name, "value": value, "units": units });
        if let Some(expected) = expected.filter(|_| !rules.iter().any(|rule| rule.name == *name)) {
            line["expected"] = expected.into();
            line["tolerance"] = tolerance.as_str().into();
        }
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    lines
}

/// The text of a file of expected output, relative to the area.
fn read_expected(area_dir: &Path, path: &str) -> Result<String, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = fs::File::open(area_dir.join(path))?;
        let mut bytes = Vec::new();
        file.take(EXPECTED_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| e.to_string())?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}
