//! Items of a suite in one process, told apart by the framework's report while it runs.

use super::device::Said;
use super::job::{Job, Manner};
use super::prepared::{self, StepPlan, within};
use super::{ended, shell, steps};
use crate::exec::{Limits, Next, ProcessEnd, Task};
use muster_core::attempt::{AttemptResult, Cause, Output, Usage};
use muster_core::definition::{Kind, PassRule, Proceed};
use muster_core::exchange::AttemptEnd;
use muster_core::judge::{CompiledRule, Evidence};
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use muster_core::time::Time;
use muster_formats::suite::{self, End, ItemEnd, Judge, Launch, LaunchItem, Reader, Reported};
use std::sync::Arc;
use std::time::Duration;

/// Output of a process that is kept beside what the reader keeps for each item.
// Limit: only looked at where the reader says nothing.
const OWN_OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// A unit of a suite.
pub(super) fn task(job: Job) -> Box<dyn Task> {
    let Kind::Suite(suite) = &job.test.def.kind else { return Box::new(Refused(job, "it is no suite")) };
    let Some(group) = job.first().and_then(|a| job.test.groups.get(a.group as usize)) else {
        return Box::new(Refused(job, "its items are of a group that the suite does not have"));
    };
    let items: Vec<LaunchItem<'_>> = job.unit.attempts.iter().map(LaunchItem::from).collect();
    let launch = suite::launch(&job.test.def, suite, group, &items);
    let Launch { line, dir, env, unset, report, judge } = launch;
    let around = prepared::around(&job.test.def, &job.prepared.area_dir);
    // What a launch says about the contract's variables (an item's name in its framework) wins.
    let (own, contract): (Vec<_>, Vec<_>) = env.into_iter().partition(|(n, _)| !n.starts_with("MUSTER_"));
    let here = if dir.is_empty() { job.prepared.dir.clone() } else { within(&job.prepared.area_dir, &dir) };
    let mut plan = StepPlan {
        name: String::new(),
        argv: shell::argv(&line),
        dir: here,
        env: own,
        unset,
        last_env: contract,
        timeout: None,
        proceed: Proceed::Passed,
        device: None,
        seat: 0,
        logpro: None,
    };
    if around.is_some() {
        let there = if dir.is_empty() { job.test.def.dir.clone() } else { dir };
        plan = plan.on_device(there, report);
    }
    match judge {
        Judge::Process(pass) => {
            let rule = compiled(&job, &pass);
            steps::of_process(job, plan, around, rule)
        }
        Judge::Reader(reader) => {
            let open = vec![true; job.unit.attempts.len()];
            let rule = job.prepared.rule.clone();
            let report = report || around.is_some();
            Box::new(BatchTask {
                job,
                plan,
                around,
                report,
                reader,
                rule,
                open,
                running: Vec::new(),
                started: None,
                said: Said::default(),
                stage: Stage::Running,
            })
        }
    }
}

/// The test's compiled rule with what a launch made of it: as a rule only the expected output differs.
fn compiled(job: &Job, pass: &PassRule) -> Result<Arc<CompiledRule>, String> {
    let own = job.prepared.rule.as_ref().map_err(Clone::clone)?;
    let rule = own.rule();
    if rule == pass {
        return Ok(Arc::clone(own));
    }
    if (&rule.exit, &rule.log, &rule.measures) == (&pass.exit, &pass.log, &pass.measures) {
        return Ok(Arc::new(own.with_stdout(pass.stdout.clone())));
    }
    CompiledRule::new(pass).map(Arc::new).map_err(|e| e.to_string())
}

/// A unit that cannot be run at all.
struct Refused(Job, &'static str);

impl Task for Refused {
    fn next(&mut self, _: Option<ProcessEnd>) -> Next {
        let Self(job, why) = self;
        for attempt in &job.unit.attempts {
            job.ears().finished(job.unit.id, attempt.attempt, AttemptEnd::Ran(job.error((*why).to_owned())));
        }
        job.end(None);
        Next::Done
    }

    fn output(&mut self, _: Stream, _: Duration, _: &[u8]) {}

    fn report(&mut self, _: Duration, _: &[u8]) {}
}

struct BatchTask {
    job: Job,
    plan: StepPlan,
    report: bool,
    reader: Box<dyn Reader>,
    rule: Result<Arc<CompiledRule>, String>,
    /// Items that have no end yet.
    open: Vec<bool>,
    /// Items that have begun, with when their limits end.
    running: Vec<(usize, Option<Time>)>,
    /// When the process was started, as far as is known while it runs.
    started: Option<Time>,
    /// What comes before and after the process on the device.
    around: Option<[StepPlan; 2]>,
    /// What the running step's process reports of its end, where it is one on the device.
    said: Said,
    stage: Stage,
}

/// What runs.
enum Stage {
    /// What brings files to the device.
    Opening,
    /// The framework.
    Running,
    /// What brings files back, after the framework's process. The item that ended last is told with them.
    Closing { process: Box<ProcessEnd>, last: Option<Box<(usize, ItemEnd)>> },
}

impl BatchTask {
    fn is_alone(&self) -> bool {
        self.open.len() == 1
    }

    fn begin(&mut self) -> Next {
        match self.around.clone() {
            None => self.start(),
            Some([open, _]) => self.move_files(&open, Stage::Opening),
        }
    }

    /// Brings files to the device or back, which is none of the test's time.
    fn move_files(&mut self, plan: &StepPlan, stage: Stage) -> Next {
        self.stage = stage;
        let limits = Limits { silence: None, ..self.job.limits(plan.timeout, false) };
        let spec = self.job.process(plan, Manner { limits, spill: None, report: true, deadline: None });
        match spec {
            Ok(spec) => Next::Run(spec),
            Err(why) => self.refuse(&why),
        }
    }

    /// The first item is told that the lab failed; those behind it were not reached, and are given out again.
    fn refuse(&mut self, why: &str) -> Next {
        let error = AttemptEnd::Ran(self.job.error(why.to_owned()));
        if let Some(first) = self.job.first() {
            self.job.ears().finished(self.job.unit.id, first.attempt, error);
        }
        self.job.end(None);
        Next::Done
    }

    /// Files were brought to the device, or could not be.
    fn opened(&mut self, process: &ProcessEnd) -> Next {
        match self.said.end(&process.status).unwrap_or_else(|| ended(process.status.clone())) {
            End::Exit(0) => self.start(),
            End::Stopped(_) => {
                self.job.end(None);
                Next::Done
            }
            End::NotStarted(why) => self.refuse(&why),
            end @ (End::Exit(_) | End::Signal(_) | End::HardLimit(_) | End::SilenceLimit(_)) => {
                self.refuse(&format!("what brings files to the device {end}"))
            }
        }
    }

    fn start(&mut self) -> Next {
        self.stage = Stage::Running;
        let limits: Vec<Option<Duration>> =
            self.job.unit.attempts.iter().map(|a| self.job.hard_limit(a)).collect();
        // Each item has its own limit, watched while it runs; the process has all of them together.
        let hard = limits.iter().copied().sum::<Option<Duration>>();
        let slow = self.job.unit.attempts.iter().any(|a| a.slow);
        let mut process_limits = self.job.limits(hard, slow);
        process_limits.output_bytes_max = process_limits.output_bytes_max.min(OWN_OUTPUT_BYTES_MAX);
        let now = self.job.now();
        self.started = Some(now);
        let manner = Manner {
            limits: process_limits,
            spill: None,
            report: self.report,
            deadline: hard.map(|limit| now + limit),
        };
        let plan = self.plan.clone();
        let spec = self
            .rule
            .as_ref()
            .map(|_| ())
            .map_err(Clone::clone)
            .and_then(|()| self.job.process(&plan, manner));
        match spec {
            Ok(spec) => Next::Run(spec),
            Err(why) => {
                for attempt in &self.job.unit.attempts {
                    let end = AttemptEnd::Ran(self.job.error(why.clone()));
                    self.job.ears().finished(self.job.unit.id, attempt.attempt, end);
                }
                self.job.end(None);
                Next::Done
            }
        }
    }

    /// Passes on what the reader found out while the process runs.
    fn receive(&mut self, reported: Vec<Reported>) {
        for (index, end) in self.take_in(reported) {
            self.tell_item(index, end);
        }
    }

    /// Notes what the reader found out; the ends that are new.
    fn take_in(&mut self, reported: Vec<Reported>) -> Vec<(usize, ItemEnd)> {
        let mut ends = Vec::new();
        for one in reported {
            match one {
                Reported::Started { index, .. } => self.item_started(index),
                Reported::Ended { index, end } if self.open.get(index) == Some(&true) => {
                    self.open[index] = false;
                    if !self.is_alone() {
                        self.running.retain(|(i, _)| *i != index);
                        self.tell_deadline();
                    }
                    ends.push((index, end));
                }
                // Only the first end of an item counts.
                Reported::Ended { .. } => {}
            }
        }
        ends
    }

    fn item_started(&mut self, index: usize) {
        let Some(attempt) = self.job.unit.attempts.get(index) else { return };
        if self.is_alone() {
            return;
        }
        self.job.ears().started(self.job.unit.id, attempt.attempt);
        let limit = self.job.hard_limit(attempt).map(|limit| self.job.now() + limit);
        // The one before runs no more, even where its end is told only when the process ends.
        self.running.clear();
        self.running.push((index, limit));
        self.tell_deadline();
    }

    fn tell_deadline(&self) {
        let next = self.running.iter().filter_map(|(_, at)| *at).min();
        self.job.ears().set_deadline(self.job.slot, self.job.unit.id, next);
    }

    fn tell_item(&self, index: usize, end: ItemEnd) {
        let Some(attempt) = self.job.unit.attempts.get(index) else { return };
        let result = self.result(index, end, "", None);
        self.job.ears().finished(self.job.unit.id, attempt.attempt, AttemptEnd::Ran(result));
    }

    /// The record of an item. The test's own log and measure rules may make its outcome worse.
    fn result(
        &self,
        index: usize,
        end: ItemEnd,
        measures: &str,
        process: Option<&ProcessEnd>,
    ) -> AttemptResult {
        let ItemEnd { mut outcome, mut cause, mut message, started, duration, steps, log } = end;
        let mut values = Vec::new();
        if let Ok(rule) = &self.rule
            && (!rule.rule().log.is_empty() || !rule.rule().measures.is_empty() || !measures.is_empty())
        {
            let judgement = rule.with_stdout(None).judge(&Evidence {
                outcome,
                cause: &cause,
                log: &log,
                expected: None,
                measures,
            });
            if (judgement.outcome, &judgement.cause) != (outcome, &cause) {
                (outcome, cause, message) = (judgement.outcome, judgement.cause, judgement.message);
            }
            values = judgement.measures;
        }
        let began = process.map(|p| p.started).or(self.started).unwrap_or_default();
        let alone = process.filter(|_| self.is_alone());
        let (output, problem) = match self.job.place.keep(log, index) {
            Ok(output) => (output, None),
            Err(e) => (Output::None, Some(format!("its output cannot be written: {e}"))),
        };
        if let Some(why) = problem.filter(|_| outcome < Outcome::Error) {
            (outcome, cause, message) = (Outcome::Error, Cause::Lab(why.clone()), why);
        }
        AttemptResult {
            outcome,
            cause,
            message,
            started: began + started,
            // With a process of its own an item took as long as that.
            duration: alone.map_or(duration, |p| p.duration),
            usage: alone.map_or_else(Usage::default, |p| p.usage),
            steps,
            measures: values,
            output,
            leaked: process.map_or(0, |p| p.leaked),
            artifacts: None,
        }
    }

    fn process_ended(&mut self, mut process: ProcessEnd) -> Next {
        let end = self.end_of(&process);
        process.log = self.job.place.own(process.log);
        let mut reported = Vec::new();
        self.reader.ended(&end, process.duration, &mut reported);
        let mut ends = self.take_in(reported);
        if self.open.iter().all(|open| *open) && !self.open.is_empty() {
            // A reader always blames someone; if it did not, the unit would be given out for ever.
            self.open[0] = false;
            ends.push((0, unreported(&end, &process)));
        }
        let last = ends.pop();
        for (index, end) in ends {
            self.tell_item(index, end);
        }
        match self.around.clone() {
            // Files are brought back whatever came of the tests, but not when everything is to end.
            Some([_, close]) if !matches!(end, End::Stopped(_)) => {
                let last = last.map(Box::new);
                self.move_files(&close, Stage::Closing { process: Box::new(process), last })
            }
            Some(_) | None => self.finish(&process, last, None),
        }
    }

    /// Files were brought back, or could not be.
    fn closed(&mut self, closing: &ProcessEnd, process: &ProcessEnd, last: Option<(usize, ItemEnd)>) -> Next {
        let lost = match self.said.end(&closing.status).unwrap_or_else(|| ended(closing.status.clone())) {
            End::Exit(0) | End::Stopped(_) => None,
            End::NotStarted(why) => Some(why),
            end => Some(format!("what brings files back from the device {end}")),
        };
        self.finish(process, last, lost)
    }

    /// Tells the end of the last item, and the unit's. `lost`: why files could not be brought back.
    fn finish(&mut self, process: &ProcessEnd, last: Option<(usize, ItemEnd)>, lost: Option<String>) -> Next {
        let Some((index, end)) = last else {
            let (left, _) = self.job.look();
            self.job.clear(&left);
            self.job.end(None);
            return Next::Done;
        };
        let alone = self.is_alone();
        let (left, _) = self.job.look();
        let measures = if alone { left.measures.as_str() } else { "" };
        let mut result = self.result(index, end, measures, Some(process));
        if let Some(why) = lost.filter(|_| result.outcome.is_good()) {
            // That is the lab's fault, and no reason to call an item that failed something else.
            (result.outcome, result.cause, result.message) = (Outcome::Error, Cause::Lab(why.clone()), why);
        }
        self.job.leave(&left, index, &mut result);
        let last = self.job.unit.attempts.get(index).map(|a| (a.attempt, AttemptEnd::Ran(result)));
        self.job.end(last);
        Next::Done
    }

    /// How the process ended. A stop that was asked for because an item reached its limit is that limit.
    fn end_of(&mut self, process: &ProcessEnd) -> End {
        let told = if self.around.is_some() { self.said.end(&process.status) } else { None };
        let end = told.unwrap_or_else(|| ended(process.status.clone()));
        if self.is_alone() || !matches!(end, End::Stopped(_) | End::HardLimit(_)) {
            return end;
        }
        let now = self.job.now();
        let over = self.running.iter().find(|(_, at)| at.is_some_and(|at| at <= now));
        let limit = over.and_then(|(index, _)| self.job.hard_limit(self.job.unit.attempts.get(*index)?));
        limit.map_or(end, End::HardLimit)
    }
}

/// The end of an item about which its framework said nothing at all.
fn unreported(end: &End, process: &ProcessEnd) -> ItemEnd {
    let (outcome, cause) = match end.judgement() {
        (Outcome::Pass, _) => (Outcome::Error, Cause::Lab("the framework did not report it".to_owned())),
        other => other,
    };
    let log = match &process.log {
        Output::Inline(frames) => frames.clone(),
        Output::None | Output::File { .. } | Output::Segment { .. } => Vec::new(),
    };
    ItemEnd {
        message: muster_core::judge::describe(outcome, &cause, &log),
        outcome,
        cause,
        started: Duration::ZERO,
        duration: process.duration,
        steps: Vec::new(),
        log,
    }
}

impl Task for BatchTask {
    fn id(&self) -> u64 {
        self.job.unit.id.0
    }

    fn next(&mut self, ended: Option<ProcessEnd>) -> Next {
        match ended {
            None => self.begin(),
            Some(end) => match std::mem::replace(&mut self.stage, Stage::Running) {
                Stage::Opening => self.opened(&end),
                Stage::Running => self.process_ended(end),
                Stage::Closing { process, last } => self.closed(&end, &process, last.map(|last| *last)),
            },
        }
    }

    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8]) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        let mut reported = Vec::new();
        self.reader.output(stream, at, bytes, &mut reported);
        self.receive(reported);
    }

    fn report(&mut self, at: Duration, bytes: &[u8]) {
        let bytes = if self.around.is_some() { self.said.take_in(bytes) } else { bytes };
        if !matches!(self.stage, Stage::Running) || bytes.is_empty() {
            return;
        }
        let mut reported = Vec::new();
        self.reader.report(at, bytes, &mut reported);
        self.receive(reported);
    }
}
