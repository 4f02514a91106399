//! The items that are worth a person's time, each with all that is known about it.

use super::{Html, ansi, badge, write};
use crate::report::words::{self, Drawer};
use crate::report::{Logs, text};
use maud::{Markup, html};
use muster_core::artifact::Artifacts;
use muster_core::attempt::{Cause, Measured, StepResult};
use muster_core::outcome::Verdict;
use muster_core::view::{AttemptView, ItemView, RunView, TestView};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// An item with where it is: its test's and its own place.
pub(super) struct Entry<'a> {
    pub(super) at: (usize, usize),
    test: &'a TestView,
    item: &'a ItemView,
}

/// The items with cards, sorted into sections, the worst first.
pub(super) struct Notable<'a> {
    pub(super) bad: Vec<Entry<'a>>,
    pub(super) flaky: Vec<Entry<'a>>,
    pub(super) remarks: Vec<Entry<'a>>,
    /// Items that would have had a card but for the limit.
    pub(super) left_out: usize,
    /// The places of all that have cards.
    pub(super) places: BTreeSet<(usize, usize)>,
}

impl<'a> Notable<'a> {
    pub(super) fn of(run: &'a RunView, cards_max: usize) -> Self {
        let (mut bad, mut flaky, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        for (t, test) in run.tests.iter().enumerate() {
            for (i, item) in test.items.iter().enumerate() {
                let entry = Entry { at: (t, i), test, item };
                match words::drawer(item.verdict, run.unexpected_pass) {
                    Drawer::Failed | Drawer::Error if item.verdict.is_some() => bad.push(entry),
                    Drawer::Failed | Drawer::Error => {}
                    Drawer::Good | Drawer::Skipped => match item.verdict {
                        Some(Verdict::Flaky) => flaky.push(entry),
                        _ if words::is_notable(item) => remarks.push(entry),
                        _ => {}
                    },
                }
            }
        }
        bad.sort_by_key(|e| std::cmp::Reverse(e.item.verdict));
        remarks.sort_by_key(|e| std::cmp::Reverse(e.item.verdict));
        let mut room = cards_max;
        let mut left_out = 0;
        for list in [&mut bad, &mut flaky, &mut remarks] {
            left_out += list.len().saturating_sub(room);
            list.truncate(room);
            room -= list.len();
        }
        let places = [&bad, &flaky, &remarks].into_iter().flatten().map(|e| e.at).collect();
        Self { bad, flaky, remarks, left_out, places }
    }
}

/// What cards are made from, and how much output they have already shown.
pub(super) struct Cards<'a> {
    pub(super) run: &'a RunView,
    pub(super) logs: &'a dyn Logs,
    pub(super) settings: &'a Html,
    pub(super) outputs_bytes: usize,
}

/// Limit: cards that are open from the beginning; more would be scrolled past anyway.
const OPEN_MAX: usize = 10;

pub(super) fn section(
    entries: &[Entry<'_>],
    id: &str,
    title: &str,
    cards: &mut Cards<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    write(out, html! { h2 #(id) { (title) " " span.count { (entries.len()) } } })?;
    for (n, entry) in entries.iter().enumerate() {
        let open = id == "failed" && n < OPEN_MAX;
        write(out, cards.card(entry, open))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The id of an item's card, for links from the table.
pub(super) fn anchor((test, item): (usize, usize)) -> String {
    format!("t{test}i{item}")
}

impl Cards<'_> {
    fn card(&mut self, entry: &Entry<'_>, open: bool) -> Markup {
        let Entry { at, test, item } = *entry;
        let address = words::address(self.run, &test.name, &item.path, 0);
        let headline = text::clean(&words::headline(item));
        let name = super::full_name(test, item);
        html! {
            details.card.(super::tone(item.verdict)) #(anchor(at)) open[open] data-verdict=(words::verdict_word(item.verdict)) {
                summary {
                    (badge(item.verdict)) " " span.name { (name) } @if item.discovery { " " small { "discovery of items" } }
                    @if !headline.is_empty() { div.headline { (text::shorten(&headline, 2_000)) } }
                }
                div.body {
                    @if !test.description.is_empty() || !test.owner.is_empty() || !test.tags.is_empty() || !test.origin.is_empty() {
                        p.meta {
                            @if !test.description.is_empty() { span { (text::clean(&test.description)) } }
                            @if !test.owner.is_empty() { span { "owner " b { (text::clean(&test.owner)) } } }
                            @for tag in &test.tags { span.tag { (text::clean(tag)) } }
                            @if !test.origin.is_empty() { span { code { (text::clean(&test.origin)) } } }
                        }
                    }
                    @for (n, attempt) in item.attempts.iter().rev().enumerate() {
                        (self.attempt(&address, attempt, n == 0, item.attempts.len()))
                    }
                    p.commands { code { "muster log " (shell(&address)) } code { "muster why " (shell(&address)) } }
                }
            }
        }
    }

    pub(super) fn attempt(&mut self, address: &str, attempt: &AttemptView, open: bool, of: usize) -> Markup {
        let result = &attempt.result;
        let usage = &result.usage;
        let cpu = std::time::Duration::from_micros(usage.user_micros + usage.system_micros);
        // Where there is no message, the cause is the headline already.
        let told = result.message.is_empty()
            || text::clean(&words::cause(&result.cause)).contains(&text::clean(&result.message));
        let told = told && open && !result.outcome.is_good();
        let body = html! {
            p.meta {
                @if of > 1 { span { "attempt " b { (attempt.number) } ": " b { (result.outcome) } } }
                @if !told { span { (cause_markup(&result.cause)) } }
                span { "took " b { (words::duration(result.duration)) } }
                span { "on " b { (text::clean(&attempt.device)) } }
                span { time { (words::timestamp(result.started)) } }
                @if !cpu.is_zero() { span { "cpu " (words::duration(cpu)) } }
                @if usage.memory_peak_bytes > 0 { span { "memory " (words::bytes(usage.memory_peak_bytes)) } }
                @if result.leaked > 0 { span.bad { (result.leaked) " processes left behind" } }
            }
            @if of > 1 && !result.message.is_empty() { p.message { (text::clean(&result.message)) } }
            (steps(&result.steps))
            (measures(&result.measures))
            @if let Some(kept) = &result.artifacts { (artifacts(&format!("{address}#{}", attempt.number), kept)) }
            (self.output(address, attempt))
        };
        if open {
            return body;
        }
        html! {
            details.attempt {
                summary { "attempt " (attempt.number) ": " (result.outcome) " — " (text::one_line(&words::attempt_headline(result), 200)) }
                (body)
            }
        }
    }

    fn output(&mut self, address: &str, attempt: &AttemptView) -> Markup {
        let max = self.settings.output_bytes_max;
        if self.outputs_bytes >= self.settings.outputs_bytes_max {
            return html! {
                p.note { "The page's limit for output is reached: " code { "muster log " (shell(&format!("{address}#{}", attempt.number))) } }
            };
        }
        let log = text::cut_frames(&self.logs.log(&attempt.result.output, max), max);
        self.outputs_bytes += log.len();
        let log = ansi::log(&log);
        html! { @if !log.0.is_empty() { pre.log tabindex="0" { (log) } } }
    }
}

/// An address as it can be pasted into a shell. What cannot be seen is not in it: better a command that
/// finds nothing than one that is not what it looks like.
fn shell(address: &str) -> String {
    words::shell_word(&text::clean(address)).into_owned()
}

fn cause_markup(cause: &Cause) -> Markup {
    let say = |what: &str, why: &str| html! { (what) " " (text::clean(why)) };
    match cause {
        Cause::LogRule(rule) => say("log rule", rule),
        Cause::Lab(why) => say("the lab failed:", why),
        Cause::Exit(_)
        | Cause::Signal(_)
        | Cause::HardLimit(_)
        | Cause::SilenceLimit(_)
        | Cause::Output
        | Cause::Measure(_)
        | Cause::Framework
        | Cause::Stopped(_)
        | Cause::Rule(_) => html! { (text::clean(&words::cause(cause))) },
    }
}

fn steps(steps: &[StepResult]) -> Markup {
    html! {
        @if !steps.is_empty() {
            table.steps {
                tr { th { "step" } th { "outcome" } th { "exit" } th { "time" } th {} }
                @for step in steps {
                    tr {
                        td { (text::clean(&step.name)) }
                        td { (badge(Some(step.outcome.into()))) }
                        td.time { @if let Some(exit) = step.exit { (exit) } }
                        td.time { (words::duration(step.duration)) }
                        td { (text::clean(&step.message)) }
                    }
                }
            }
        }
    }
}

/// Limit: files of an attempt that are named; the command lists them all.
const ARTIFACTS_MAX: usize = 50;

fn artifacts(address: &str, kept: &Artifacts) -> Markup {
    html! {
        table.steps {
            tr { th { "kept: " (words::artifacts(kept)) } th { "size" } }
            @for file in kept.files.iter().take(ARTIFACTS_MAX) {
                tr { td { (text::clean(&file.path)) } td.time { (words::bytes(file.bytes)) } }
            }
            @if kept.files.len() > ARTIFACTS_MAX { tr { td { "and " (kept.files.len() - ARTIFACTS_MAX) " more" } td {} } }
            @for left in &kept.left_out {
                tr.bad { td { (text::clean(&left.path)) " is left out: " (text::clean(&left.why)) } td {} }
            }
        }
        p.commands { code { "muster artifacts " (shell(address)) } }
    }
}

fn measures(measures: &[Measured]) -> Markup {
    html! {
        @if !measures.is_empty() {
            table.steps {
                tr { th { "measured" } th { "value" } th { "expected" } th { "tolerance" } th {} }
                @for m in measures {
                    tr.bad[m.good == Some(false)] {
                        td { (text::clean(&m.name)) }
                        td.time { (m.value) " " (text::clean(&m.units)) }
                        td.time { @if let Some(expected) = m.expected { (expected) } }
                        td { (text::clean(&m.tolerance)) }
                        td { @match m.good { Some(true) => "✓", Some(false) => "✗ out of tolerance", None => "" } }
                    }
                }
            }
        }
    }
}
