//! What Rust's test harness prints: `--list --format terse`, and the report of a run with
//! `--test-threads=1` (format "pretty", the only stable one).
//!
//! Tests may write past the harness's capture, so a line `… ok` proves nothing by itself: a verdict
//! counts only once what follows it is the start of another test that was asked for, or, after the last
//! of them, the blank line and heading that end the list. What failing tests printed comes at the very end, after `failures:`.

use super::batch::{Book, Said};
use super::bytes::{find, rfind, take_line};
use super::item_log::ItemLog;
use super::{End, ItemEnd, LaunchItem, Reader, Reported};
use muster_core::attempt::Cause;
use muster_core::judge::first_useful_line;
use muster_core::outcome::Outcome;
use muster_core::output::{Stream, text};
use std::collections::HashMap;
use std::time::Duration;

/// Limit: a line longer than this is passed on in parts.
const LINE_MAX: usize = 64 << 10;

/// The exit code of a harness that ran to its end with failures.
const EXIT_FAILED: i32 = 101;

/// The names in a terse list, or `None` where this is no list: a harness of the binary's own.
pub(super) fn parse_list(stdout: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(stdout).ok()?;
    let summary = |l: &str| l.ends_with(" benchmarks") || l.ends_with(" benchmark");
    let lines = text.lines().filter(|l| !l.is_empty() && !summary(l));
    lines.map(|l| l.strip_suffix(": test").or_else(|| l.strip_suffix(": benchmark"))).collect()
}

/// Reads the report of one process.
pub(super) struct LibtestReader {
    names: HashMap<String, usize>,
    book: Book,
    line: Vec<u8>,
    /// `line` continues a line whose beginning was already taken.
    within_line: bool,
    section: Section,
    /// How many tests the harness said it runs, and how many have begun.
    planned: Option<usize>,
    begun: usize,
    /// The failed items, whose output comes at the end.
    failed: Vec<Failed>,
}

struct Failed {
    index: usize,
    started: Duration,
    ended: Duration,
    log: ItemLog,
}

enum Section {
    /// `test NAME ... VERDICT` lines.
    Tests { held: Option<Held> },
    /// Output of passed tests (`--show-output`), which is not looked at.
    Successes,
    /// `---- NAME stdout ----` blocks.
    Failures { current: Option<usize>, held: Vec<u8> },
    /// Nothing more is said about tests.
    Over,
}

/// A line that ends in a verdict, perhaps followed by a blank one: not yet believed.
struct Held {
    line: Vec<u8>,
    blank: bool,
    verdict: Verdict,
    at: Duration,
}

struct Verdict {
    outcome: Outcome,
    message: String,
    /// Length of what the test itself wrote on this line.
    noise: usize,
}

impl LibtestReader {
    pub(super) fn new(items: &[LaunchItem<'_>], log_max: usize) -> Self {
        Self {
            names: items.iter().enumerate().map(|(i, item)| (item.selector.to_owned(), i)).collect(),
            book: Book::new(items.len(), log_max),
            line: Vec::new(),
            within_line: false,
            section: Section::Tests { held: None },
            planned: None,
            begun: 0,
            failed: Vec::new(),
        }
    }

    /// Takes `test NAME ... ` off the front of the line if it starts a test that has not run.
    fn started(&self) -> Option<(usize, usize)> {
        let believable = match &self.section {
            Section::Tests { held } => held.is_some() || self.book.running().is_none(),
            Section::Successes | Section::Failures { .. } | Section::Over => false,
        };
        let rest = self.line.strip_prefix(b"test ").filter(|_| believable && !self.within_line)?;
        let mut from = 0;
        while let Some(at) = find(&rest[from..], b" ... ") {
            let end = from + at;
            let name = std::str::from_utf8(&rest[..end]).ok()?;
            let plain = [" - should panic", " - compile fail", " - compile"];
            let bare = plain.iter().find_map(|s| name.strip_suffix(s));
            let index = self.names.get(name).or_else(|| self.names.get(bare?));
            if let Some(index) = index.filter(|i| self.book.is_waiting(**i)) {
                return Some((*index, b"test ".len() + end + b" ... ".len()));
            }
            from = end + 1;
        }
        None
    }

    fn stdout(&mut self, at: Duration, mut bytes: &[u8], out: &mut Vec<Reported>) {
        while !bytes.is_empty() {
            take_line(&mut bytes, &mut self.line);
            if let Some((index, len)) = self.started() {
                self.believe(out);
                self.begun += 1;
                self.book.start(index, at, out);
                self.line.drain(..len);
                self.within_line = true;
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.whole_line(at, line, out);
                self.within_line = false;
            } else if self.line.len() > LINE_MAX {
                self.flush_held();
                let part = std::mem::take(&mut self.line);
                self.noise(at, &part);
                self.within_line = true;
            }
        }
    }

    fn whole_line(&mut self, at: Duration, line: Vec<u8>, out: &mut Vec<Reported>) {
        match &mut self.section {
            Section::Tests { held } => {
                if let Some(held) = held.as_mut().filter(|_| !self.within_line) {
                    if !held.blank && line == b"\n" {
                        held.blank = true;
                        return;
                    }
                    let next = match line.as_slice() {
                        b"failures:\n" => Some(Section::Failures { current: None, held: Vec::new() }),
                        b"successes:\n" => Some(Section::Successes),
                        l if l.starts_with(b"test result: ") => Some(Section::Over),
                        _ => None,
                    };
                    if let Some(next) =
                        next.filter(|_| held.blank && self.planned.is_none_or(|n| self.begun >= n))
                    {
                        self.believe(out);
                        self.section = next;
                        return;
                    }
                }
                self.flush_held();
                match verdict(&line).filter(|_| self.book.running().is_some()) {
                    Some(verdict) => {
                        self.section =
                            Section::Tests { held: Some(Held { line, blank: false, verdict, at }) };
                    }
                    None => self.noise(at, &line),
                }
            }
            Section::Successes => {
                if line == b"failures:\n" {
                    self.section = Section::Failures { current: None, held: Vec::new() };
                }
            }
            Section::Failures { .. } => self.failure_line(at, &line, out),
            Section::Over => {}
        }
    }

    /// The verdict that is held was one: its test has ended.
    fn believe(&mut self, out: &mut Vec<Reported>) {
        let Section::Tests { held } = &mut self.section else { return };
        let Some(Held { line, verdict, at, .. }) = held.take() else { return };
        self.book.push(Stream::Stdout, at, &line[..verdict.noise]);
        if verdict.outcome == Outcome::Fail {
            if let Some((index, started, log)) = self.book.take_running() {
                self.failed.push(Failed { index, started, ended: at, log });
            }
        } else {
            self.book.end_running(at, Said::new(verdict.outcome, verdict.message), out);
        }
    }

    /// The verdict that is held was the test's own talk.
    fn flush_held(&mut self) {
        let Section::Tests { held } = &mut self.section else { return };
        if let Some(held) = held.take() {
            self.book.push(Stream::Stdout, held.at, &held.line);
            if held.blank {
                self.book.push(Stream::Stdout, held.at, b"\n");
            }
        }
    }

    fn noise(&mut self, at: Duration, text: &[u8]) {
        if self.book.running().is_none() {
            if self.planned.is_none() {
                self.planned = planned(text);
            }
            if text == b"\n" || text.starts_with(b"running ") || text.starts_with(b"test result: ") {
                return;
            }
        }
        self.book.push(Stream::Stdout, at, text);
    }

    fn failure_line(&mut self, at: Duration, line: &[u8], out: &mut Vec<Reported>) {
        let heading = |prefix: &str, suffix: &str| -> Option<usize> {
            let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
            let name = text.strip_prefix(prefix)?.strip_suffix(suffix)?;
            let index = self.names.get(name)?;
            self.failed.iter().position(|f| f.index == *index)
        };
        let block = heading("---- ", " stdout ----");
        let listed = heading("    ", "").is_some();
        let Section::Failures { current, held } = &mut self.section else { return };
        if listed && held.ends_with(b"failures:\n") {
            self.section = Section::Over;
            self.end_failed(None, out);
            return;
        }
        let heading_line = line == b"failures:\n";
        if block.is_none() && (line == b"\n" || heading_line) {
            held.extend_from_slice(line);
            return;
        }
        let before = std::mem::take(held);
        let target = *current;
        if let Some(block) = block {
            *current = Some(block);
        }
        let Some(failed) = target.and_then(|t| self.failed.get_mut(t)) else { return };
        // A blank line before the next heading is the harness's.
        let before = if block.is_some() { before.strip_suffix(b"\n").unwrap_or(&before) } else { &before };
        failed.log.push(Stream::Stdout, failed.ended.min(at), before);
        if block.is_none() {
            failed.log.push(Stream::Stdout, failed.ended.min(at), line);
        }
    }

    /// Reports the failed items; `lost`: why their output did not come.
    fn end_failed(&mut self, lost: Option<&str>, out: &mut Vec<Reported>) {
        for failed in std::mem::take(&mut self.failed) {
            let log = failed.log.finish().log;
            let message = match (reason(&log), lost) {
                (Some(said), _) => said,
                (None, Some(lost)) => format!("it failed; what it printed was lost when the process {lost}"),
                (None, None) => "it failed and printed nothing".to_owned(),
            };
            let end = ItemEnd {
                outcome: Outcome::Fail,
                cause: Cause::Framework,
                message,
                started: failed.started,
                duration: failed.ended.saturating_sub(failed.started),
                steps: Vec::new(),
                log,
            };
            self.book.end(failed.index, end, out);
        }
    }
}

impl Reader for LibtestReader {
    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8], out: &mut Vec<Reported>) {
        match stream {
            Stream::Stdout => self.stdout(at, bytes, out),
            Stream::Stderr | Stream::Muster => self.book.push(stream, at, bytes),
        }
    }

    fn report(&mut self, _at: Duration, _bytes: &[u8], _out: &mut Vec<Reported>) {}

    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>) {
        let rest = std::mem::take(&mut self.line);
        if !rest.is_empty() {
            self.flush_held();
            self.noise(at, &rest);
        }
        let over = matches!(self.section, Section::Over);
        let all_good = self.failed.is_empty() && self.book.all_good();
        // The harness always ends with its summary. Where that is missing, a verdict that nothing
        // followed may be the test's own talk before it took the process down.
        self.flush_held();
        self.end_failed((!over).then(|| end.to_string()).as_deref(), out);
        let expected = *end == End::Exit(if all_good { 0 } else { EXIT_FAILED });
        self.book.close(end, expected, at, out);
    }
}

/// `running 12 tests`.
fn planned(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let number = text
        .strip_prefix("running ")?
        .strip_suffix(" tests")
        .or(text.strip_prefix("running ")?.strip_suffix(" test"));
    number?.parse().ok()
}

/// The verdict a line ends in.
fn verdict(line: &[u8]) -> Option<Verdict> {
    let text = line.strip_suffix(b"\n")?;
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // `--report-time` adds ` <0.003s>`.
    let text = match text.ends_with(b"s>").then(|| rfind(text, b" <")).flatten() {
        Some(at) => &text[..at],
        None => text,
    };
    let of = |outcome, message: &str, noise| Some(Verdict { outcome, message: message.to_owned(), noise });
    for (word, outcome) in [
        (&b"ok"[..], Outcome::Pass),
        (b"FAILED", Outcome::Fail),
        (b"FAILED (time limit exceeded)", Outcome::Fail),
    ] {
        if let Some(noise) = text.strip_suffix(word) {
            return of(outcome, "", noise.len());
        }
    }
    // An ignored test does not run, so nothing can stand before the word.
    if text == b"ignored" {
        return of(Outcome::Skip, "#[ignore]", 0);
    }
    if let Some(reason) = text.strip_prefix(b"ignored, ") {
        return of(Outcome::Skip, &String::from_utf8_lossy(reason), 0);
    }
    rfind(text, b"bench: ").and_then(|at| of(Outcome::Pass, &String::from_utf8_lossy(&text[at..]), at))
}

/// What the harness itself says of a test that should have panicked, else what a person should read first
/// of what the test printed.
fn reason(log: &[u8]) -> Option<String> {
    let printed = text(log, |s| s != Stream::Muster);
    let printed = String::from_utf8_lossy(&printed);
    let harness = printed.lines().rev().find_map(|l| l.strip_prefix("note: "));
    match harness.filter(|said| said.starts_with("test did not panic")) {
        Some(said) => Some(super::shorten(said).into_owned()),
        None => first_useful_line(log),
    }
}
