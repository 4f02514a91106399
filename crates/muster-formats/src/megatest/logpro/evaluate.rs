//! A log, fed piece by piece, against a program; and what comes of it.

use super::page::Page;
use super::program::{Matches, Program};
use super::rules::{Check, HookEvent, Kind, Rule};
use crate::megatest::status::Status;
use memchr::{memchr, memchr_iter, memrchr};
use muster_core::attempt::Measured;
use muster_core::output::{Stream, frames};
use muster_core::text::one_line;
use std::collections::HashSet;
use std::io::{self, Write};

/// Longest part of a line that is looked at, in bytes.
// Limit: a log without line feeds must not be held in memory.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Most lines of a rule that are kept with their text.
// Limit: a person looks at the first few; the page has them all.
const HITS_MAX: usize = 20;

/// Most values of a rule that are kept.
// Limit: a log that is nothing but values must not fill the record.
const VALUES_MAX: usize = 1_000;

/// Longest text kept of a line, in characters.
// Limit: a few lines of a terminal.
const TEXT_CHARS_MAX: usize = 400;

/// A log on its way through a program.
#[derive(Debug)]
pub struct Evaluation<'p, W> {
    program: &'p Program,
    page: Option<Page<W>>,
    /// For standard output and standard error: the beginning of a line whose end has not come.
    open_lines: [Vec<u8>; 2],
    lines: u64,
    /// For each section of the rules: whether it is open.
    sections: Vec<bool>,
    report: Report,
    matches: Matches,
}

/// What a log came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// How many lines it has.
    pub lines: u64,
    /// For each rule, in their order.
    pub findings: Vec<Finding>,
    /// For each trigger, in their order.
    pub triggers: Vec<TriggerReport>,
    /// The hooks that are due, in the order in which they became so.
    pub fired: Vec<Fired>,
    /// What all of it comes to.
    pub status: Status,
    /// What decided, in a line for people. Empty for a plain pass.
    pub message: String,
    /// Finding out whether a trigger fired would have taken too long on some line.
    pub undecided: bool,
}

/// What came of a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Its day is over: it took no lines.
    pub expired: bool,
    /// The lines that are its own.
    pub count: u64,
    /// It is as it should be.
    pub held: bool,
    /// The first of its lines.
    pub hits: Vec<Hit>,
    /// The first of its values.
    pub values: Vec<Value>,
    /// How many values were as expected.
    pub passed: u64,
    /// How many were not, or were no numbers.
    pub failed: u64,
    /// Lines where finding out would have taken too long.
    pub gave_up: u64,
}

/// A line that is some rule's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its number, from 1.
    pub line: u64,
    /// Its text, shortened.
    pub text: String,
}

/// A value found in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The line, from 1.
    pub line: u64,
    /// As it was written.
    pub text: String,
    /// The number, where it is one.
    pub number: Option<f64>,
    /// It is as expected.
    pub good: bool,
}

/// What came of a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriggerReport {
    /// The lines that it had.
    pub count: u64,
    /// The first of them; 0 where there is none.
    pub first: u64,
}

/// A hook that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// The command, as it was written.
    pub command: String,
    /// What made it due: the rule's description.
    pub rule: String,
    /// The line.
    pub line: u64,
}

impl Program {
    /// What a log comes to that is at hand as a whole.
    pub fn evaluate(&self, log: &[u8]) -> Report {
        let mut evaluation = Evaluation::<io::Sink>::new(self, None);
        let done = evaluation.feed(Stream::Stdout, log).and_then(|()| evaluation.finish());
        done.expect("no page, so nothing that could fail to be written")
    }
}

impl<'p, W: Write> Evaluation<'p, W> {
    /// A log of which nothing has come yet, and the page to write it to.
    pub fn new(program: &'p Program, page: Option<Page<W>>) -> Self {
        let rules = program.rules();
        let findings = program.expired.iter().map(|&expired| Finding { expired, ..Finding::default() });
        let report = Report {
            findings: findings.collect(),
            triggers: vec![TriggerReport::default(); rules.triggers.len()],
            ..Report::default()
        };
        Self {
            program,
            page,
            open_lines: [Vec::new(), Vec::new()],
            lines: 0,
            sections: vec![false; rules.sections.len()],
            report,
            matches: Matches::default(),
        }
    }

    /// The next frames of a framed log. Muster's own remarks are none of the log.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn feed_frames(&mut self, log: &[u8]) -> io::Result<()> {
        frames(log).try_for_each(|frame| self.feed(frame.stream, frame.text))
    }

    /// The next piece of a stream, cut anywhere. A line is whole also where the other stream came in between.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let place = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
            Stream::Muster => return Ok(()),
        };
        let mut bytes = bytes;
        if !self.open_lines[place].is_empty() {
            let end = memchr(b'\n', bytes);
            let mut line = std::mem::take(&mut self.open_lines[place]);
            keep(&mut line, &bytes[..end.unwrap_or(bytes.len())]);
            let Some(end) = end else {
                self.open_lines[place] = line;
                return Ok(());
            };
            line.push(b'\n');
            self.block(&line)?;
            line.clear();
            self.open_lines[place] = line;
            bytes = &bytes[end + 1..];
        }
        let whole = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        self.block(&bytes[..whole])?;
        keep(&mut self.open_lines[place], &bytes[whole..]);
        Ok(())
    }

    /// The log has ended.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn finish(mut self) -> io::Result<Report> {
        for mut line in std::mem::take(&mut self.open_lines) {
            if !line.is_empty() {
                line.push(b'\n');
                self.block(&line)?;
            }
        }
        self.report.lines = self.lines;
        self.report.conclude(self.program);
        if let Some(page) = self.page {
            page.finish(self.program, &self.report)?;
        }
        Ok(self.report)
    }

    /// Whole lines.
    fn block(&mut self, block: &[u8]) -> io::Result<()> {
        // With carriage returns in it, the ends of lines are not where the automaton sees them.
        if !self.program.skips() || memchr(b'\r', block).is_some() {
            let mut from = 0;
            for end in memchr_iter(b'\n', block) {
                let line = &block[from..end];
                self.line(line.strip_suffix(b"\r").unwrap_or(line))?;
                from = end + 1;
            }
            return Ok(());
        }
        let mut from = 0;
        while from < block.len() {
            let candidate = self.program.next_candidate(block, from);
            let start =
                candidate.map(|at| memrchr(b'\n', &block[from..at]).map_or(from, |feed| from + feed + 1));
            let start = start.unwrap_or(block.len());
            self.plain(&block[from..start])?;
            if start >= block.len() {
                break;
            }
            let end = memchr(b'\n', &block[candidate.unwrap_or(start)..]);
            let end = end.map_or(block.len(), |feed| candidate.unwrap_or(start) + feed);
            self.line(&block[start..end])?;
            from = end + 1;
        }
        Ok(())
    }

    /// Lines that match nothing.
    fn plain(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Some(page) = &mut self.page {
            page.plain(self.lines + 1, lines)?;
        }
        self.lines += memchr_iter(b'\n', lines).count() as u64;
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.lines += 1;
        let line = &line[..line.len().min(LINE_BYTES_MAX)];
        let mut matches = std::mem::take(&mut self.matches);
        self.program.matches(line, &mut matches);
        let owner = self.credit(line, &matches);
        self.matches = matches;
        let Some(page) = &mut self.page else { return Ok(()) };
        match owner {
            None => page.one_plain(self.lines, line),
            Some(rule) => {
                let finding = &self.report.findings[rule];
                page.hit(self.lines, line, rule, &self.program.rules().rules[rule], finding)
            }
        }
    }

    /// Credits a line to its triggers and to the first rule that wants it; which that is.
    fn credit(&mut self, line: &[u8], matches: &Matches) -> Option<usize> {
        let (program, report) = (self.program, &mut self.report);
        for &trigger in &matches.triggers {
            let trigger = &mut report.triggers[trigger];
            trigger.count += 1;
            trigger.first = if trigger.count == 1 { self.lines } else { trigger.first };
        }
        // Which sections end with this line. A trigger that both begins and ends a section does so in turn.
        let fired = |triggers: &[usize]| triggers.iter().any(|t| matches.triggers.contains(t));
        let mut ending = Vec::new();
        for (section, (start, end)) in program.bounds.iter().enumerate() {
            let was_open = self.sections[section];
            self.sections[section] |= fired(start);
            if fired(end) && (was_open || start != end) {
                ending.push(section);
            }
        }
        for &gave_up in &matches.gave_up {
            match gave_up {
                Some(rule) => report.findings[rule].gave_up += 1,
                None => report.undecided = true,
            }
        }
        let owner = matches.rules.iter().copied().find(|rule| program.applies(*rule, &self.sections));
        for section in ending {
            self.sections[section] = false;
        }
        let rule = owner?;
        let finding = &mut report.findings[rule];
        finding.count += 1;
        if finding.hits.len() < HITS_MAX {
            finding.hits.push(Hit { line: self.lines, text: shown(line) });
        }
        if let Check::Value { expected, tolerance, .. } = program.rules().rules[rule].check {
            let text = program.captured(rule, line).unwrap_or_default();
            let number = text.trim().parse().ok().filter(|n: &f64| n.is_finite());
            let good = number.is_some_and(|n| tolerance.holds(n, expected));
            *(if good { &mut finding.passed } else { &mut finding.failed }) += 1;
            if finding.values.len() < VALUES_MAX {
                let text = one_line(&text, TEXT_CHARS_MAX);
                finding.values.push(Value { line: self.lines, text, number, good });
            }
        }
        let first = finding.count == 1;
        report.hooks(program, rule, first, self.lines);
        Some(rule)
    }
}

/// Appends to a line that has not ended, as much of it as is looked at.
fn keep(line: &mut Vec<u8>, more: &[u8]) {
    let room = LINE_BYTES_MAX.saturating_sub(line.len());
    line.extend_from_slice(&more[..more.len().min(room)]);
}

/// A line as it is kept.
fn shown(line: &[u8]) -> String {
    // Limit: four bytes make at most one character.
    let head = &line[..line.len().min(TEXT_CHARS_MAX * 4 + 4)];
    one_line(&String::from_utf8_lossy(head), TEXT_CHARS_MAX)
}

impl Report {
    /// The values, each with a name of its own: what its rule is about, and for further ones of a rule their number.
    /// Those that are no numbers are left out.
    pub fn measures(&self, program: &Program) -> Vec<Measured> {
        let mut names = HashSet::new();
        let mut all = Vec::new();
        for (rule, finding) in program.rules().rules.iter().zip(&self.findings) {
            let Check::Value { expected, tolerance, .. } = rule.check else { continue };
            for (nth, value) in (1..).zip(&finding.values) {
                let Some(number) = value.number else { continue };
                let name = match nth {
                    1 => name(rule),
                    nth => format!("{} #{nth}", name(rule)),
                };
                if names.insert(name.clone()) {
                    all.push(Measured {
                        name,
                        value: number,
                        expected: Some(expected),
                        tolerance: tolerance.written(),
                        units: String::new(),
                        good: Some(value.good),
                    });
                }
            }
        }
        all
    }

    /// logpro's exit code.
    pub fn exit_code(&self) -> u8 {
        self.status.logpro_exit().unwrap_or(1)
    }

    /// The hooks that a rule's line makes due.
    fn hooks(&mut self, program: &Program, rule: usize, first: bool, line: u64) {
        let Rule { check, hook, description, .. } = &program.rules().rules[rule];
        let event = match check {
            Check::Lines { kind: Kind::Error, .. } => Some(HookEvent::FirstError),
            Check::Lines { kind: Kind::Warning, .. } => Some(HookEvent::FirstWarning),
            Check::Value { .. } => Some(HookEvent::Value),
            Check::Lines { .. } => None,
        };
        // One for each value, as far as values are kept; the others once in a log.
        let is_value = matches!(check, Check::Value { .. });
        let due = if is_value { self.findings[rule].values.len() < VALUES_MAX } else { first };
        if !due {
            return;
        }
        let first_of_event = |event: HookEvent| {
            !program.rules().rules.iter().zip(&self.findings).enumerate().any(|(i, (r, finding))| {
                i != rule
                    && finding.count > 0
                    && matches!(
                        (event, r.check),
                        (HookEvent::FirstError, Check::Lines { kind: Kind::Error, .. })
                            | (HookEvent::FirstWarning, Check::Lines { kind: Kind::Warning, .. })
                    )
            })
        };
        let general = program.rules().hooks.iter().filter(|h| Some(h.event) == event);
        let general = general.filter(|h| h.event == HookEvent::Value || first_of_event(h.event));
        let commands: Vec<String> = general.map(|h| h.command.clone()).chain(hook.clone()).collect();
        self.fired.extend(commands.into_iter().map(|command| Fired {
            command,
            rule: description.clone(),
            line,
        }));
    }

    /// Weighs all findings.
    fn conclude(&mut self, program: &Program) {
        let mut worst = (Status::Pass, String::new());
        let mut weigh = |status: Status, message: String| {
            if precedence(&status) > precedence(&worst.0) {
                worst = (status, message);
            }
        };
        let rules = program.rules();
        for (rule, finding) in rules.rules.iter().zip(&mut self.findings) {
            if finding.expired {
                finding.held = true;
                continue;
            }
            if finding.gave_up > 0 {
                weigh(
                    Status::Fail,
                    format!(
                        "{}: {} lines could not be decided; the pattern is too costly",
                        name(rule),
                        finding.gave_up
                    ),
                );
            }
            let status = match rule.check {
                Check::Value { .. } => {
                    finding.held = finding.failed == 0 && finding.passed > 0;
                    Status::Fail
                }
                Check::Lines { kind, op, number } => {
                    finding.held = op.holds(finding.count, number);
                    match kind {
                        Kind::Error | Kind::Required => Status::Fail,
                        Kind::Warning | Kind::RequiredWarn => Status::Warn,
                        Kind::Check => Status::Check,
                        Kind::Abort => Status::Abort,
                        Kind::Skip => Status::Skip,
                        Kind::Waive => Status::Waived,
                        Kind::Ignore | Kind::Note => continue,
                    }
                }
            };
            if !finding.held {
                weigh(status, why(rule, finding));
            }
        }
        for (trigger, fired) in rules.triggers.iter().zip(&self.triggers) {
            if trigger.required && fired.count == 0 {
                weigh(Status::Fail, format!("the trigger `{}` never fired", trigger.name));
            }
        }
        if self.undecided {
            weigh(Status::Fail, "a trigger could not be decided; its pattern is too costly".to_owned());
        }
        (self.status, self.message) = worst;
    }
}

/// Which of several statuses a log gets: the highest.
fn precedence(status: &Status) -> u8 {
    match status {
        Status::Skip => 6,
        Status::Abort => 5,
        Status::Check => 4,
        Status::Fail => 3,
        Status::Warn => 2,
        Status::Waived => 1,
        _ => 0,
    }
}

fn name(rule: &Rule) -> String {
    if rule.description.is_empty() { rule.source.to_string() } else { rule.description.clone() }
}

/// Why a rule does not hold.
fn why(rule: &Rule, finding: &Finding) -> String {
    let name = name(rule);
    match rule.check {
        Check::Value { expected, tolerance, .. } => match finding.values.iter().find(|v| !v.good) {
            Some(value) => format!("{name}: {} is not {}", value.text, tolerance.expects(expected)),
            None => format!("{name}: there is no such value"),
        },
        Check::Lines { op, number, .. } => match finding.hits.first() {
            // The line says more than any count of lines.
            Some(hit) if op.holds(0, number) => format!("{name}: {}", hit.text),
            _ => format!("{name}: {} lines, wanted {} {number}", finding.count, op.word()),
        },
    }
}
