//! `tap`: programs that print TAP. Each program is an item, each test point a step of it.

use super::batch::with_last_words;
use super::bytes::take_line;
use super::item_log::ItemLog;
use super::{Answer, Ask, Discovery, End, ItemEnd, Judge, Launch, LaunchItem, Reader, Reported, paths};
use crate::tap_read::{Directive, Heard, Point, Sum, TapReader};
use muster_core::attempt::{Cause, StepResult};
use muster_core::definition::Line;
use muster_core::exchange::{Found, FoundItem, Group};
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use std::time::Duration;

/// Limit: a line longer than this is not TAP.
const LINE_MAX: usize = 64 << 10;

pub(super) struct TapDiscovery {
    programs: Vec<String>,
    interpreter: Vec<String>,
}

impl TapDiscovery {
    pub(super) fn new(programs: &[String], interpreter: &[String]) -> Self {
        Self { programs: programs.to_vec(), interpreter: interpreter.to_vec() }
    }
}

impl Discovery for TapDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        let Some(Answer::Files(files)) = answer else {
            let executable = self.interpreter.is_empty();
            return Ask::Glob { patterns: self.programs.clone(), dir: String::new(), executable };
        };
        let item =
            |file: String| FoundItem { path: paths::clean(&file), selector: file, ..FoundItem::default() };
        let mut items: Vec<FoundItem> = files.into_iter().map(item).collect();
        paths::make_unique(&mut items);
        let group = Group { argv: self.interpreter.clone(), batch_max: 1, ..Group::default() };
        Ask::Done(Ok(Found { groups: vec![group], items }))
    }
}

pub(super) fn launch(group: &Group, items: &[LaunchItem<'_>], log_max: usize) -> Launch {
    let file = items.first().map_or("", |i| i.selector);
    let mut argv = group.argv.clone();
    // Without `/` a program would be looked up in `PATH`.
    argv.push(if argv.is_empty() && !file.contains('/') { format!("./{file}") } else { file.to_owned() });
    Launch {
        line: Line::Argv(argv),
        dir: group.dir.clone(),
        env: group.env.clone(),
        unset: Vec::new(),
        report: false,
        judge: Judge::Reader(Box::new(ProgramReader::new(log_max))),
    }
}

struct ProgramReader {
    tap: TapReader,
    log: ItemLog,
    steps: Vec<StepResult>,
    line: Vec<u8>,
    /// The current line was too long and is not looked at.
    overlong: bool,
    /// Where, and when, the next step began.
    step_from: (u64, Duration),
    started: bool,
}

impl ProgramReader {
    fn new(log_max: usize) -> Self {
        Self {
            tap: TapReader::default(),
            log: ItemLog::new(Duration::ZERO, log_max),
            steps: Vec::new(),
            line: Vec::new(),
            overlong: false,
            step_from: (0, Duration::ZERO),
            started: false,
        }
    }

    fn start(&mut self, out: &mut Vec<Reported>) {
        if !self.started {
            self.started = true;
            out.push(Reported::Started { index: 0, at: Duration::ZERO });
        }
    }

    fn whole_line(&mut self, at: Duration) {
        let line = std::mem::take(&mut self.line);
        self.log.push(Stream::Stdout, at, &line);
        if std::mem::take(&mut self.overlong) {
            return;
        }
        match self.tap.line(&String::from_utf8_lossy(&line)) {
            Heard::Point(point) => {
                let (from, began) = self.step_from;
                self.steps.push(step(point, from, at.saturating_sub(began)));
                self.step_from = (self.log.mark(), at);
            }
            Heard::Message(message) => {
                if let Some(last) = self.steps.last_mut().filter(|s| s.message.is_empty()) {
                    last.message = message;
                }
            }
            Heard::Nothing => {}
        }
    }
}

fn step(point: Point, output_from: u64, duration: Duration) -> StepResult {
    let (outcome, message) = match (point.ok, point.directive) {
        (true, Directive::None) => (Outcome::Pass, String::new()),
        (false, Directive::None) => (Outcome::Fail, String::new()),
        (true, Directive::Skip(why)) => (Outcome::Skip, why),
        (false, Directive::Skip(why)) => (Outcome::Fail, why),
        (true, Directive::Todo(why)) => (Outcome::Warn, said("passed although TODO", &why)),
        (false, Directive::Todo(why)) => (Outcome::Pass, said("failed as expected, TODO", &why)),
    };
    let name = if point.description.is_empty() { point.number.to_string() } else { point.description };
    StepResult { name, outcome, exit: None, duration, output_from, message }
}

fn said(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

impl Reader for ProgramReader {
    fn output(&mut self, stream: Stream, at: Duration, mut bytes: &[u8], out: &mut Vec<Reported>) {
        self.start(out);
        if stream != Stream::Stdout {
            self.log.push(stream, at, bytes);
            return;
        }
        while !bytes.is_empty() {
            take_line(&mut bytes, &mut self.line);
            if self.line.ends_with(b"\n") {
                self.whole_line(at);
            } else if self.line.len() > LINE_MAX {
                let part = std::mem::take(&mut self.line);
                self.log.push(Stream::Stdout, at, &part);
                self.overlong = true;
            }
        }
    }

    fn report(&mut self, _at: Duration, _bytes: &[u8], _out: &mut Vec<Reported>) {}

    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>) {
        self.start(out);
        if !self.line.is_empty() {
            self.whole_line(at);
        }
        let sum = self.tap.sum();
        let log = std::mem::replace(&mut self.log, ItemLog::new(at, 0)).finish();
        let (by_end, cause) = end.judgement();
        let framework = Cause::Framework;
        let (outcome, cause, message) = match (by_end, sum) {
            (_, Sum::BailOut(why)) => (Outcome::Abort, framework, said("Bail out!", &why)),
            (Outcome::Pass, Sum::Pass) => {
                let warned = self.steps.iter().find(|s| s.outcome == Outcome::Warn);
                match warned {
                    Some(s) => (Outcome::Warn, framework, format!("{}: {}", s.name, s.message)),
                    None => (Outcome::Pass, framework, String::new()),
                }
            }
            (Outcome::Pass, Sum::SkipAll(why)) => (Outcome::Skip, framework, why),
            (Outcome::Pass | Outcome::Fail, Sum::Fail(why)) => {
                let first = self.steps.iter().find(|s| s.outcome == Outcome::Fail);
                let first = first
                    .map(|s| if s.message.is_empty() { s.name.clone() } else { said(&s.name, &s.message) });
                (Outcome::Fail, framework, first.map_or(why.clone(), |f| format!("{why}: {f}")))
            }
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
