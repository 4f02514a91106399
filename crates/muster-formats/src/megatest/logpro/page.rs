//! The log as a page: each line with its number and a link to it, the lines that are some rule's in that rule's colour,
//! with links to the rule and to its lines before and behind; and what came of each rule.
//!
//! Written while the log is read, and never held: what came of all is at the end of the file and at the top of the
//! page. Nothing of it can become markup: every text is escaped, and the page's own policy lets nothing run and
//! nothing be loaded.

use super::evaluate::{Finding, Report};
use super::program::Program;
use super::rules::{Check, Kind, Place, Rule};
use maud::{Markup, html};
use memchr::memchr_iter;
use muster_core::text::{is_hidden, strip_ansi};
use std::io::{self, Write};

const STYLE: &str = include_str!("page.css");

/// Longest part of a line that is shown, in bytes.
// Limit: a browser must stay usable with a line of a megabyte.
const LINE_BYTES_MAX: usize = 16 << 10;

/// A page that is being written.
#[derive(Debug)]
pub struct Page<W> {
    out: W,
    /// What of the log may still be shown in full, in bytes.
    room: u64,
    /// Lines left out since the last one shown.
    left_out: u64,
    text: String,
}

impl<W: Write> Page<W> {
    /// Most of a log that a page shows in full, in bytes, where nothing else is said. Beyond it are only the lines that
    /// are some rule's.
    // Limit: what browsers open without complaint.
    pub const LOG_BYTES_MAX: u64 = 32 << 20;

    /// Begins a page that shows so much of the log.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(mut out: W, title: &str, log_bytes_max: u64) -> io::Result<Self> {
        let head = html! {
            (maud::DOCTYPE)
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
            title { (title) }
            style { (maud::PreEscaped(STYLE)) }
        };
        writeln!(out, "{}<body><pre>", head.into_string())?;
        Ok(Self { out, room: log_bytes_max, left_out: 0, text: String::new() })
    }

    /// Whole lines that are no rule's; the first has this number.
    pub(super) fn plain(&mut self, first: u64, lines: &[u8]) -> io::Result<()> {
        let mut from = 0;
        for (number, end) in (first..).zip(memchr_iter(b'\n', lines)) {
            if self.room == 0 {
                self.left_out += memchr_iter(b'\n', &lines[from..]).count() as u64;
                return Ok(());
            }
            self.one_plain(number, &lines[from..end])?;
            from = end + 1;
        }
        Ok(())
    }

    /// A line that is no rule's, without its end.
    pub(super) fn one_plain(&mut self, number: u64, line: &[u8]) -> io::Result<()> {
        if self.room == 0 {
            self.left_out += 1;
            return Ok(());
        }
        self.room = self.room.saturating_sub(line.len() as u64 + 1);
        write!(self.out, "<i id=\"{number}\"></i>")?;
        self.line_text(line)?;
        self.out.write_all(b"\n")
    }

    /// A line that is a rule's, counted already.
    pub(super) fn hit(
        &mut self,
        number: u64,
        line: &[u8],
        place: usize,
        rule: &Rule,
        finding: &Finding,
    ) -> io::Result<()> {
        self.say_left_out()?;
        self.room = self.room.saturating_sub(line.len() as u64 + 1);
        let bad = matches!(rule.check, Check::Value { .. }) && finding.values.last().is_some_and(|v| !v.good);
        let class = if bad { "value-bad" } else { word(rule) };
        let nth = finding.count;
        write!(self.out, "<i id=\"{number}\"></i><b class=\"{class}\" id=\"r{place}-{nth}\">")?;
        self.line_text(line)?;
        write!(self.out, " <a href=\"#r{place}\">{}</a>", word(rule))?;
        if nth > 1 {
            write!(self.out, "<a href=\"#r{place}-{}\">\u{2191}</a>", nth - 1)?;
        }
        // That there is a next one is not known yet; the last one's link leads nowhere.
        writeln!(self.out, "<a href=\"#r{place}-{}\">\u{2193}</a></b>", nth + 1)
    }

    fn say_left_out(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.left_out);
        if lines > 0 {
            writeln!(
                self.out,
                "<span class=\"left-out\">\u{2026} {lines} lines left out here \u{2026}</span>"
            )?;
        }
        Ok(())
    }

    fn line_text(&mut self, line: &[u8]) -> io::Result<()> {
        let cut = line.len() > LINE_BYTES_MAX;
        let line = &line[..line.len().min(LINE_BYTES_MAX)];
        // Most lines are harmless as they are.
        if line
            .iter()
            .all(|b| matches!(b, b'\t' | b' '..=b'~') && !matches!(b, b'<' | b'>' | b'&' | b'"' | b'\''))
        {
            self.out.write_all(line)?;
        } else {
            let text = String::from_utf8_lossy(line);
            self.text.clear();
            escape(&strip_ansi(&text), &mut self.text);
            self.out.write_all(self.text.as_bytes())?;
        }
        if cut { self.out.write_all("\u{2026}".as_bytes()) } else { Ok(()) }
    }

    /// The log has ended, and came to this.
    pub(super) fn finish(mut self, program: &Program, report: &Report) -> io::Result<()> {
        self.say_left_out()?;
        writeln!(self.out, "</pre>{}</body>", summary(program, report).into_string())?;
        self.out.flush()
    }
}

/// Text that can be nothing but text, and shows what terminals would hide.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\r' => out.push('\u{240d}'),
            c if is_hidden(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

fn word(rule: &Rule) -> &'static str {
    match rule.check {
        Check::Lines { kind, .. } => kind.word(),
        Check::Value { .. } => "value",
    }
}

fn summary(program: &Program, report: &Report) -> Markup {
    let rules = program.rules();
    let status = report.status.word();
    html! {
        section id="summary" {
            h1 { span class={ "status " (status) } { (status) } " " (report.message) }
            p { "logpro exit code " (report.exit_code()) ", " (report.lines) " lines" }
            @for remark in &rules.remarks { p { b { "remark: " } (remark) } }
            table {
                tr { th { "rule" } th { "came to" } th { "wanted" } th { "found" } th { "of" } th { "where" } }
                @for (i, (rule, finding)) in rules.rules.iter().zip(&report.findings).enumerate() {
                    tr id={ "r" (i) } { (row(i, rule, finding)) }
                }
            }
            @if !rules.triggers.is_empty() {
                table {
                    tr { th { "trigger" } th { "fired" } th { "first at line" } }
                    @for (trigger, fired) in rules.triggers.iter().zip(&report.triggers) {
                        tr {
                            td { (trigger.name) @if trigger.required && fired.count == 0 { " " span.kind.error { "missing" } } }
                            td.number { (fired.count) }
                            td.number { @if fired.count > 0 { a href={ "#" (fired.first) } { (fired.first) } } }
                        }
                    }
                }
            }
            @if !report.fired.is_empty() {
                table {
                    tr { th { "hook that was due (not run)" } th { "by" } th { "line" } }
                    @for fired in report.fired.iter().take(100) {
                        tr { td { code { (fired.command) } } td { (fired.rule) } td.number { a href={ "#" (fired.line) } { (fired.line) } } }
                    }
                }
            }
        }
    }
}

fn row(i: usize, rule: &Rule, finding: &Finding) -> Markup {
    let came_to = match (finding.expired, finding.held, rule.check) {
        (true, _, _) => "expired",
        (_, true, _) => "ok",
        (_, false, Check::Lines { kind: Kind::Ignore | Kind::Note, .. }) => {
            "more or fewer; nothing comes of it"
        }
        (_, false, _) => "not ok",
    };
    let patterns: Vec<String> = rule.patterns.iter().map(super::Pattern::written).collect();
    html! {
        td { span class={ "kind " (word(rule)) } { (word(rule)) } " " (rule.description) }
        td { @if came_to == "not ok" { span.kind.error { (came_to) } } @else { (came_to) } }
        td { (wanted(rule)) }
        td {
            (finding.count)
            @if finding.count > 0 { " " a href={ "#r" (i) "-1" } { "first" } }
            @if finding.count > 1 { " " a href={ "#r" (i) "-" (finding.count) } { "last" } }
            @for value in finding.values.iter().take(10) {
                " " a.value-bad[!value.good] href={ "#" (value.line) } { (value.text) }
            }
            @if finding.gave_up > 0 { " " span.kind.error { (finding.gave_up) " lines not decided" } }
        }
        td { code { (patterns.join(" ")) } }
        td { (if rule.place == Place::In { "" } else { "not in " }) (rule.section) ", " (rule.source) }
    }
}

/// What a rule wants, in a few words.
pub(super) fn wanted(rule: &Rule) -> String {
    match rule.check {
        Check::Lines { op, number, .. } => format!("{} {number}", op.word()),
        Check::Value { expected, tolerance, .. } => tolerance.expects(expected),
    }
}
