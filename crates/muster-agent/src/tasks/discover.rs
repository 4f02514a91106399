//! The question for a suite's or test's items: a conversation of commands and looks at files.
//!
//! Its commands are held to a limit of their own, not to that of the test's attempts: they may build the
//! whole program before they can say what tests there are.

use super::device::{DevicePlan, Said};
use super::glob;
use super::item_lines;
use super::job::{Job, Manner, add_usage};
use super::logs::Joined;
use super::prepared::{self, StepPlan, within};
use super::{STOPPED, ended, shell};
use crate::exec::{Next, ProcessEnd, Status, Task};
use muster_core::attempt::{AttemptResult, Cause, Output, Usage};
use muster_core::definition::{Command, DeviceFiles, Items, Kind, Line, Proceed};
use muster_core::exchange::{AttemptEnd, Found};
use muster_core::judge::first_useful_line;
use muster_core::outcome::Outcome;
use muster_core::output::{Frame, Stream, push};
use muster_core::time::Time;
use muster_formats::suite::{self, Answer, Ask, Discovery, DiscoveryError, End, SuiteCommand};
use std::path::PathBuf;
use std::time::Duration;

/// Least hard limit of a command of a discovery.
const LIMIT_MIN: Duration = Duration::from_secs(3600);

/// Most bytes of a command's answer.
// Limit: a listing of a million tests is well below; what is larger is no listing.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Bytes of standard error passed on: at least the end of it.
const STDERR_BYTES_MAX: usize = 256 << 10;

/// The question a unit asks.
pub(super) fn task(job: Job) -> Box<dyn Task> {
    let conversation: Box<dyn Discovery> = match &job.test.def.kind {
        Kind::Suite(suite) => suite::discovery(&job.test.def, suite),
        Kind::Steps { items: Items::Command(command), .. } => Box::new(ItemCommand(command.clone())),
        // Known items need no question; the answer is that there is nothing further to find.
        Kind::Steps { items: Items::None | Items::Listed(_), .. } => Box::new(Nothing),
    };
    // An item command of a test runs on the host, wherever the test's steps do.
    let on_device = matches!(job.test.def.kind, Kind::Suite(_));
    let around = prepared::around(&job.test.def, &job.prepared.area_dir).filter(|_| on_device);
    // A question leaves nothing that is worth having.
    let nothing = || StepPlan::of_device(DevicePlan::close(&DeviceFiles::default()));
    let around = around.map(|[open, _]| [open, nothing()]);
    Box::new(DiscoverTask {
        stage: if around.is_some() { Stage::Closed } else { Stage::Asking(Question::Command) },
        around,
        said: Said::default(),
        job,
        conversation,
        started: None,
        commands: 0,
        heard: Heard::default(),
        last_log: None,
        joined: Joined::default(),
        usage: Usage::default(),
        leaked: 0,
    })
}

struct DiscoverTask {
    job: Job,
    conversation: Box<dyn Discovery>,
    /// What comes before and after the conversation, where that is with a device.
    around: Option<[StepPlan; 2]>,
    stage: Stage,
    /// What the running step's process reports of its end, where it is one on the device.
    said: Said,
    started: Option<Time>,
    /// Commands started so far.
    commands: usize,
    /// What the running command has said.
    heard: Heard,
    /// Where the last command's log begins in the joined one.
    last_log: Option<u64>,
    joined: Joined,
    usage: Usage,
    leaked: u32,
}

/// Where a question stands.
enum Stage {
    /// The device has no directory for it.
    Closed,
    /// One is made, and what is to be there is brought.
    Opening,
    /// It is asked.
    Asking(Question),
    /// The directory is removed, and this is told then.
    Closing(Box<AttemptEnd>),
}

/// What is being run to answer.
enum Question {
    /// A command of the framework's.
    Command,
    /// The device is looked at for files.
    Files,
}

#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    report: Vec<u8>,
    too_much: bool,
}

impl DiscoverTask {
    /// Goes on with the conversation until a command has to be run or it is over.
    fn go_on(&mut self, mut answer: Option<Answer>) -> Next {
        loop {
            answer = match self.conversation.next(answer.take()) {
                Ask::Run(command) => return self.run(&command),
                Ask::Glob { patterns, dir, executable } if self.around.is_some() => {
                    let shown = format!("looks for {}", patterns.join(" "));
                    let plan = DevicePlan::List { patterns, dir: self.dir_there(&dir), executable };
                    self.stage = Stage::Asking(Question::Files);
                    return self.start(&StepPlan::of_device(("", plan)), false, &shown);
                }
                Ask::Glob { patterns, dir, executable } => {
                    match glob::files(&self.dir(&dir), &patterns, executable) {
                        Ok(files) => Some(Answer::Files(files)),
                        Err(e) => return self.fail(Outcome::Fail, Cause::Lab(e.to_string()), e.to_string()),
                    }
                }
                Ask::Existing { paths, dir } => Some(Answer::Files(glob::existing(&self.dir(&dir), paths))),
                Ask::Done(Ok(found)) => return self.found(found),
                Ask::Done(Err(error)) => return self.failed(&error),
            };
        }
    }

    fn dir_there(&self, dir: &str) -> String {
        if dir.is_empty() { self.job.test.def.dir.clone() } else { dir.to_owned() }
    }

    fn dir(&self, dir: &str) -> PathBuf {
        let prepared = &self.job.prepared;
        if dir.is_empty() { prepared.dir.clone() } else { within(&prepared.area_dir, dir) }
    }

    fn run(&mut self, command: &SuiteCommand) -> Next {
        let mut plan = StepPlan {
            name: String::new(),
            argv: shell::argv(&command.line),
            dir: self.dir(&command.dir),
            env: command.env.clone(),
            unset: command.unset.clone(),
            last_env: Vec::new(),
            timeout: None,
            proceed: Proceed::Passed,
            device: None,
            seat: 0,
            logpro: None,
        };
        if self.around.is_some() {
            plan = plan.on_device(self.dir_there(&command.dir), command.report);
        }
        self.stage = Stage::Asking(Question::Command);
        self.start(&plan, command.report, &format!("runs {}", shown(&command.line)))
    }

    /// Starts a process. `report`: the framework reports on a pipe; `shown`: what it does.
    fn start(&mut self, plan: &StepPlan, report: bool, shown: &str) -> Next {
        let own = self.job.first().and_then(|a| a.timeout.or(self.job.test.def.limits.timeout));
        let mut limits = self.job.limits(Some(own.unwrap_or(LIMIT_MIN).max(LIMIT_MIN)), false);
        limits.silence = None;
        let manner = Manner {
            limits,
            spill: Some(self.job.place.file(self.commands)),
            report: report || plan.device.is_some(),
            deadline: None,
        };
        let at = self.started.map_or(Duration::ZERO, |started| self.job.now().since(started));
        self.last_log = Some(self.joined.len());
        self.joined.remark(at, shown);
        self.commands += 1;
        self.heard = Heard::default();
        match self.job.process(plan, manner) {
            Ok(spec) => Next::Run(spec),
            Err(why) => self.fail(Outcome::Error, Cause::Lab(why.clone()), why),
        }
    }

    fn command_ended(&mut self, end: ProcessEnd) -> Next {
        let ProcessEnd { status, started, duration: _, usage, leaked, log } = end;
        let began = *self.started.get_or_insert(started);
        add_usage(&mut self.usage, usage);
        self.leaked += leaked;
        let log = self.job.place.own(log);
        self.joined.add(&self.job.place, &log, started.since(began));
        let Heard { stdout, stderr, report, too_much } = std::mem::take(&mut self.heard);
        let stage = std::mem::replace(&mut self.stage, Stage::Closed);
        if let Stage::Closing(end) = stage {
            // What it was to remove is removed before the device is used the next time.
            return self.finish(*end);
        }
        if status == Status::Stopped {
            return self.fail(Outcome::Cancelled, Cause::Stopped(STOPPED.to_owned()), STOPPED.to_owned());
        }
        if too_much {
            let why = format!("it printed more than {} MiB", ANSWER_BYTES_MAX >> 20);
            return self.fail(Outcome::Fail, Cause::Lab(why.clone()), why);
        }
        let told = if self.around.is_some() { self.said.end(&status) } else { None };
        let end = told.unwrap_or_else(|| ended(status));
        match (stage, end) {
            (Stage::Opening, End::Exit(0)) => self.go_on(None),
            (Stage::Opening, end) => self.lab_failed("what brings files to the device", end),
            (Stage::Asking(Question::Files), End::Exit(0)) => {
                let text = String::from_utf8_lossy(&stdout);
                self.stage = Stage::Asking(Question::Files);
                self.go_on(Some(Answer::Files(text.lines().map(str::to_owned).collect())))
            }
            (Stage::Asking(Question::Files), end) => {
                self.lab_failed("what looks for files on the device", end)
            }
            (stage @ Stage::Asking(Question::Command), end) => {
                self.stage = stage;
                self.go_on(Some(Answer::Ran { end, stdout, stderr, report }))
            }
            // Nothing else runs for it.
            (Stage::Closed | Stage::Closing(_), _) => self.go_on(None),
        }
    }

    fn lab_failed(&mut self, what: &str, end: End) -> Next {
        let why = match end {
            End::NotStarted(why) => why,
            end => format!("{what} {end}"),
        };
        self.fail(Outcome::Error, Cause::Lab(why.clone()), why)
    }

    fn found(&mut self, found: Found) -> Next {
        let result = self.result(Outcome::Pass, Cause::Exit(0), String::new());
        self.tell(AttemptEnd::Found(result, found))
    }

    /// The framework has no answer: a build that fails is the test's failure, not the lab's.
    fn failed(&mut self, error: &DiscoveryError) -> Next {
        let (outcome, cause) = match error {
            DiscoveryError::Failed { end, .. } => match end.judgement() {
                (Outcome::Pass, cause) => (Outcome::Fail, cause),
                other => other,
            },
            DiscoveryError::Unreadable { .. } => (Outcome::Error, Cause::Lab(error.to_string())),
            DiscoveryError::Definition { detail } => (Outcome::Fail, Cause::Lab(detail.clone())),
        };
        let message = match error {
            DiscoveryError::Failed { command, end, detail } => {
                let line = useful_line_of(detail).or_else(|| {
                    let from = usize::try_from(self.last_log.unwrap_or(0)).unwrap_or(0);
                    first_useful_line(self.joined.frames().get(from..).unwrap_or_default())
                });
                match line {
                    Some(line) => format!("`{command}` {end}: {line}"),
                    None => format!("`{command}` {end}"),
                }
            }
            DiscoveryError::Unreadable { .. } | DiscoveryError::Definition { .. } => {
                error.to_string().lines().next().unwrap_or_default().to_owned()
            }
        };
        self.fail(outcome, cause, message)
    }

    fn fail(&mut self, outcome: Outcome, cause: Cause, message: String) -> Next {
        let result = self.result(outcome, cause, message);
        self.tell(AttemptEnd::Ran(result))
    }

    fn result(&mut self, outcome: Outcome, cause: Cause, message: String) -> AttemptResult {
        let started = self.started.unwrap_or_else(|| self.job.now());
        let frames = std::mem::take(&mut self.joined).into_frames();
        let part = self.commands;
        // What still runs has a file of its own.
        self.commands += 1;
        AttemptResult {
            outcome,
            cause,
            message,
            started,
            duration: self.job.now().since(started),
            usage: self.usage,
            steps: Vec::new(),
            measures: Vec::new(),
            output: self.job.place.keep(frames, part).unwrap_or(Output::None),
            leaked: self.leaked,
            artifacts: None,
        }
    }

    /// Tells the end, after what it used of the device was given back.
    fn tell(&mut self, end: AttemptEnd) -> Next {
        let stopped = matches!(&end, AttemptEnd::Ran(result) if result.outcome == Outcome::Cancelled);
        match (self.around.clone(), &self.stage) {
            (Some([_, close]), Stage::Asking(_)) if !stopped => {
                self.stage = Stage::Closing(Box::new(end));
                self.start(&close, false, "tidies up on the device")
            }
            _ => self.finish(end),
        }
    }

    fn finish(&mut self, end: AttemptEnd) -> Next {
        let (left, _) = self.job.look();
        // What a listing leaves behind is of no use to anyone.
        self.job.clear(&left);
        let last = self.job.first().map(|a| (a.attempt, end));
        self.job.end(last);
        Next::Done
    }
}

impl Task for DiscoverTask {
    fn id(&self) -> u64 {
        self.job.unit.id.0
    }

    fn next(&mut self, ended: Option<ProcessEnd>) -> Next {
        match ended {
            None => match self.around.clone() {
                None => self.go_on(None),
                Some([open, _]) => {
                    self.stage = Stage::Opening;
                    self.start(&open, false, "brings files to the device")
                }
            },
            Some(end) => self.command_ended(end),
        }
    }

    fn output(&mut self, stream: Stream, _: Duration, bytes: &[u8]) {
        match stream {
            Stream::Stdout => add(&mut self.heard.stdout, bytes, &mut self.heard.too_much),
            Stream::Stderr => {
                let stderr = &mut self.heard.stderr;
                stderr.extend_from_slice(bytes);
                // Cut seldom, so that each byte is moved a bounded number of times.
                if stderr.len() > 2 * STDERR_BYTES_MAX {
                    stderr.drain(..stderr.len() - STDERR_BYTES_MAX);
                }
            }
            Stream::Muster => {}
        }
    }

    fn report(&mut self, _: Duration, bytes: &[u8]) {
        let bytes = if self.around.is_some() { self.said.take_in(bytes) } else { bytes };
        add(&mut self.heard.report, bytes, &mut self.heard.too_much);
    }
}

fn add(to: &mut Vec<u8>, bytes: &[u8], too_much: &mut bool) {
    if to.len() + bytes.len() > ANSWER_BYTES_MAX {
        *too_much = true;
    } else {
        to.extend_from_slice(bytes);
    }
}

fn useful_line_of(text: &str) -> Option<String> {
    let mut log = Vec::new();
    push(&mut log, Frame { stream: Stream::Stderr, at_millis: 0, text: text.as_bytes() });
    first_useful_line(&log)
}

fn shown(line: &Line) -> String {
    match line {
        Line::Shell(text) => text.clone(),
        Line::Argv(argv) => argv.join(" "),
    }
}

/// Items that a command of the user's prints.
struct ItemCommand(Command);

impl Discovery for ItemCommand {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        let Self(command) = self;
        match answer {
            Some(Answer::Ran { end: End::Exit(0), stdout, .. }) => {
                Ask::Done(item_lines::parse(&stdout).map_err(|e| DiscoveryError::Definition {
                    detail: format!("`{}`: {e}", suite::shown(&command.line)),
                }))
            }
            Some(Answer::Ran { end, stderr, .. }) => Ask::Done(Err(DiscoveryError::Failed {
                command: suite::shown(&command.line),
                end,
                detail: String::from_utf8_lossy(&stderr).into_owned(),
            })),
            None | Some(Answer::Files(_)) => Ask::Run(SuiteCommand {
                line: command.line.clone(),
                dir: command.dir.clone().unwrap_or_default(),
                env: command.env.clone(),
                unset: Vec::new(),
                report: false,
            }),
        }
    }
}

/// No question.
struct Nothing;

impl Discovery for Nothing {
    fn next(&mut self, _: Option<Answer>) -> Ask {
        Ask::Done(Ok(Found::default()))
    }
}
