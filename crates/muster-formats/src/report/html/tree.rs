//! Runs as a tree of plain pages: index → run → test → item, with logs. It needs no server and no script, works from
//! `file://`, and every link in it is relative.
//!
//! ```text
//! style.css
//! index.html            all runs
//! runs/7/index.html     a run: what failed, when what ran, its tests
//! runs/7/TEST/index.html   a test with its items; of a test without items, all about it
//! runs/7/TEST/ITEM.html    an item: attempts, steps, values, output
//! runs/7/TEST/ITEM-2.txt   output of attempt 2, where it is too long for a page
//! ```
//!
//! Nothing a test printed or was named becomes markup or a path.

use super::card::Cards;
use super::{Html, STYLE, badge, gantt::Lanes, gantt::gantt, tone};
use crate::report::text::{clean, one_line};
use crate::report::{Logs, text, words};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use muster_core::attempt::Output;
use muster_core::outcome::Verdict;
use muster_core::view::{ItemView, RunState, RunView, TestView};
use std::collections::HashSet;
use std::io;

/// The name of the file of styles, at the top of the tree.
pub const STYLE_FILE: &str = "style.css";

/// What is in it.
pub fn style() -> &'static str {
    STYLE
}

/// Pages load nothing but their style. What of it is a file is no host that a policy could name.
const POLICY: &str = "script-src 'none'; object-src 'none'; frame-src 'none'; connect-src 'none'; img-src 'none'; \
    form-action 'none'; base-uri 'none'";

/// A link to what is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is.
    pub title: String,
    /// Where it is, relative to the page, as URLs have it.
    pub href: String,
}

/// A run in the index.
#[derive(Clone, Debug)]
pub struct IndexRow<'a> {
    /// Without its tests.
    pub run: &'a RunView,
    /// Its directory below `runs`; empty where it has no pages.
    pub dir: String,
}

/// The pages of one run.
pub struct Tree<'a> {
    /// The run, with all its items.
    pub run: &'a RunView,
    /// What its attempts printed.
    pub logs: &'a dyn Logs,
    /// What more there is of an item; seen from the page of a test.
    pub links: &'a dyn Fn(&TestView, &ItemView) -> Vec<Link>,
    /// Whether items that plainly passed or were skipped have pages too, however many the run has.
    pub all_items: bool,
}

/// Most items of a run that all have pages; of more, those that passed or were skipped at once are rows only.
// Limit: a hundred thousand files of two lines each are worth nobody's disk.
pub const PAGES_MAX: usize = 5_000;

/// Bytes of one attempt's output in a page; all of a longer one is a file beside it.
// Limit: what a browser shows at once.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Most bytes of an output that are written to a file; the middle of a longer one is left out, and it says so.
const FILE_BYTES_MAX: usize = 256 << 20;

/// Failures that the page of a run lists; its table of tests leads to all.
const FAILURES_MAX: usize = 500;

/// The names of files for the names of tests and items, each once, whatever they are: readable as far as it can be.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn of(&mut self, name: &str) -> String {
        const CHARS_MAX: usize = 80;
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let slug: String = name.chars().map(plain).take(CHARS_MAX).collect();
        let slug = match slug.trim_start_matches(['.', '-']) {
            "" => "unnamed",
            slug => slug,
        };
        let mut candidate = slug.to_owned();
        let mut n = 2;
        // Not every file system tells `A` from `a`.
        while candidate.eq_ignore_ascii_case("index") || !self.0.insert(candidate.to_ascii_lowercase()) {
            candidate = format!("{slug}~{n}");
            n += 1;
        }
        candidate
    }
}

/// The index: all runs, in the order given.
pub fn index(area: &str, rows: &[IndexRow<'_>]) -> String {
    let body = html! {
        header { h1 { (clean(area)) } p.meta { span { b { (rows.len()) } " runs" } } }
        table.items {
            tr { th {} th { "run" } th { "name" } th { "target" } th { "started" } th.time { "took" } th { "items" } }
            @for IndexRow { run, dir } in rows {
                tr {
                    td { (run_badge(run)) }
                    td.name {
                        @if dir.is_empty() { (clean(&run.address())) }
                        @else { a href={ "runs/" (dir) "/index.html" } { (clean(&run.address())) } }
                    }
                    td { (clean(&run.name)) }
                    td { (target(run)) }
                    td.where { (words::timestamp(run.started)) }
                    td.time { (took(run)) }
                    td { (counts(run)) }
                }
            }
        }
    };
    page(area, 0, &html! {}, &body)
}

/// A page that is a table alone, beside a tree: where the style is, seen from it, headings, and rows of texts with what
/// they link to, if to anything.
pub fn listing(
    title: &str,
    style: &str,
    headings: &[&str],
    rows: &[Vec<(String, Option<String>)>],
) -> String {
    let body = html! {
        header { h1 { (clean(title)) } }
        table.items {
            tr { @for heading in headings { th { (heading) } } }
            @for row in rows {
                tr { @for (text, href) in row {
                    td { @if let Some(href) = href { a href=(href) { (clean(text)) } } @else { (clean(text)) } }
                } }
            }
        }
    };
    styled(title, style, &html! {}, &body)
}

impl Tree<'_> {
    /// Writes the pages: each with its path below the run's directory.
    ///
    /// # Errors
    /// What `put` says.
    pub fn write(&self, put: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let few = self.all_items || self.run.items as usize <= PAGES_MAX;
        let has_page = |item: &ItemView| {
            few || !matches!(item.verdict, Some(Verdict::Pass | Verdict::Skip)) || item.attempts.len() > 1
        };
        let mut names = Names::default();
        let dirs: Vec<String> = self.run.tests.iter().map(|t| names.of(&t.name)).collect();
        let mut failures = Vec::new();
        for (test, dir) in self.run.tests.iter().zip(&dirs) {
            let items: Vec<&ItemView> = test.items.iter().filter(|i| words::is_shown(i)).collect();
            let mut names = Names::default();
            // Where there is but one, and it is the test itself, its page is the test's.
            let is_single = matches!(items.as_slice(), [one] if one.path.is_empty());
            let name = |item: &&ItemView| match (is_single, has_page(item)) {
                (true, _) => "index".to_owned(),
                (false, true) => names.of(words::item_name(test, item)),
                (false, false) => String::new(),
            };
            let files: Vec<String> = items.iter().map(name).collect();
            for (item, file) in items.iter().zip(&files).filter(|(_, file)| !file.is_empty()) {
                self.item(test, item, dir, file, is_single, put)?;
                if item.verdict.is_some_and(|v| !v.is_ok()) {
                    failures.push((*item, test, format!("{dir}/{file}.html")));
                }
            }
            if !is_single {
                let list = self.test(test, &items, &files);
                put(&format!("{dir}/index.html"), list.as_bytes())?;
            }
        }
        put("index.html", self.index(&dirs, &mut failures).as_bytes())
    }

    fn index(&self, dirs: &[String], failures: &mut Vec<(&ItemView, &TestView, String)>) -> String {
        let run = self.run;
        failures.sort_by_key(|(item, ..)| std::cmp::Reverse(item.verdict));
        let lanes = if run.tests.len() <= 60 { Lanes::Tests } else { Lanes::Devices };
        let body = html! {
            header {
                h1 { (run_badge(run)) " " (clean(&run.address())) @if !run.name.is_empty() { " " small { (clean(&run.name)) } } }
                p.meta {
                    @for (key, value) in &run.target { span { (clean(key)) "=" b { (clean(value)) } } }
                    @if !run.host.is_empty() { span { "on " b { (clean(&run.host)) } } }
                    @if !run.inputs.changeset.is_empty() { span { "of " b { (clean(&run.inputs.changeset)) } } }
                    span { time { (words::timestamp(run.started)) } }
                    @if run.ended.is_some() { span { "took " b { (took(run)) } } }
                    span { b { (run.tests.len()) } " tests, " b { (run.items) } " items: " (counts(run)) }
                }
            }
            @if !failures.is_empty() {
                h2 { "Not ok " span.count { (failures.len()) } }
                table.items {
                    @for (item, test, href) in failures.iter().take(FAILURES_MAX) {
                        tr {
                            td { (badge(item.verdict)) }
                            td.name { a href=(href) { (super::full_name(test, item)) } }
                            td.time { (item_time(item)) }
                            td.why { (one_line(&words::headline(item), 200)) }
                        }
                    }
                }
                @if failures.len() > FAILURES_MAX { p.note { (failures.len() - FAILURES_MAX) " more are on the pages of their tests." } }
            }
            h2 { "Tests " span.count { (run.tests.len()) } }
            table.items {
                @for (test, dir) in run.tests.iter().zip(dirs) {
                    tr {
                        td { (badge(test.verdict)) }
                        td.name { a href={ (dir) "/index.html" } { (clean(&test.name)) } }
                        td.few { (few(test)) }
                        td.why { (one_line(&test.description, 200)) }
                    }
                }
            }
            @if let Some(drawing) = gantt(run, lanes) { h2 { "When what ran" } div style="overflow-x:auto" { (PreEscaped(drawing)) } }
            footer { "Muster, run " (words::run_uuid(run.id)) }
        };
        page(&run.address(), 2, &html! { a href="../../index.html" { (clean(&run.area)) } }, &body)
    }

    fn way(&self, test: Option<&TestView>) -> Markup {
        html! {
            a href="../../../index.html" { (clean(&self.run.area)) } " / "
            a href="../index.html" { (self.run.number) @if !self.run.name.is_empty() { " " (clean(&self.run.name)) } }
            @if let Some(test) = test { " / " a href="index.html" { (clean(&test.name)) } }
        }
    }

    fn test(&self, test: &TestView, items: &[&ItemView], files: &[String]) -> String {
        let body = html! {
            header { h1 { (badge(test.verdict)) " " (clean(&test.name)) } (about(test)) p.few { (few(test)) } }
            @if files.iter().any(String::is_empty) { p.note { "Items that passed at once have no pages of their own in a run as large as this." } }
            table.items {
                @for (item, file) in items.iter().zip(files) {
                    tr {
                        td { (badge(item.verdict)) }
                        td.name {
                            @let name = clean(words::item_name(test, item));
                            @if file.is_empty() { (name) } @else { a href={ (file) ".html" } { (name) } }
                        }
                        td.time { (item_time(item)) }
                        td.where {
                            @if let Some(last) = item.last() { (clean(&last.device)) @if item.attempts.len() > 1 { " ×" (item.attempts.len()) } }
                        }
                        td.why { @if item.verdict != Some(Verdict::Pass) { (one_line(&words::headline(item), 200)) } }
                    }
                }
            }
        };
        page(&words::address(self.run, &test.name, "", 0), 3, &self.way(None), &body)
    }

    fn item(
        &self,
        test: &TestView,
        item: &ItemView,
        dir: &str,
        file: &str,
        is_single: bool,
        put: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let settings =
            Html { output_bytes_max: OUTPUT_BYTES_MAX, outputs_bytes_max: usize::MAX, ..Html::default() };
        let mut cards = Cards { run: self.run, logs: self.logs, settings: &settings, outputs_bytes: 0 };
        let address = words::address(self.run, &test.name, &item.path, 0);
        let mut whole = Vec::new();
        for attempt in item.attempts.iter().filter(|a| bytes(&a.result.output) > OUTPUT_BYTES_MAX as u64) {
            let name = format!("{file}-{}.txt", attempt.number);
            let log = self.logs.log(&attempt.result.output, FILE_BYTES_MAX);
            put(&format!("{dir}/{name}"), clean(&text::plain(&log, |_| true)).as_bytes())?;
            whole.push((attempt.number, name));
        }
        let headline = clean(&words::headline(item));
        let links = (self.links)(test, item);
        let body = html! {
            header {
                h1 { (badge(item.verdict)) " " (super::full_name(test, item)) @if item.discovery { " " small { "discovery of items" } } }
                @if is_single { (about(test)) }
                @if !headline.is_empty() && item.verdict != Some(Verdict::Pass) { p.message { (text::shorten(&headline, 4_000)) } }
                @if !links.is_empty() { p.meta { @for link in &links { span { a href=(link.href) { (clean(&link.title)) } } } } }
            }
            @for (n, attempt) in item.attempts.iter().rev().enumerate() {
                (cards.attempt(&address, attempt, n == 0, item.attempts.len()))
            }
            @for (number, name) in &whole {
                p { a href=(name) { "all output of attempt " (number) } }
            }
        };
        let way = self.way((!is_single).then_some(test));
        put(&format!("{dir}/{file}.html"), page(&address, 3, &way, &body).as_bytes())
    }
}

fn bytes(output: &Output) -> u64 {
    match output {
        Output::None => 0,
        Output::Inline(log) => log.len() as u64,
        Output::File { path: _, len } | Output::Segment { offset: _, len } => *len,
    }
}

/// A page that is so many directories below the top.
fn page(title: &str, depth: usize, way: &Markup, body: &Markup) -> String {
    styled(title, &("../".repeat(depth) + STYLE_FILE), way, body)
}

fn styled(title: &str, style: &str, way: &Markup, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="muster";
                title { (clean(title)) }
                link rel="stylesheet" href=(style);
            }
            body { main { @if !way.0.is_empty() { nav { (way) } } (body) } }
        }
    };
    page.into_string() + "\n"
}

fn run_badge(run: &RunView) -> Markup {
    let (word, class) = match (run.state, run.is_ok()) {
        (RunState::Active, _) => ("running", "idle"),
        (RunState::Stopped, _) => ("stopped", "fail"),
        (RunState::Ended, true) => ("passed", "pass"),
        (RunState::Ended, false) => ("failed", "fail"),
    };
    html! { span.badge.(class) { (word) } }
}

fn about(test: &TestView) -> Markup {
    html! {
        p.meta {
            @if !test.description.is_empty() { span { (clean(&test.description)) } }
            @if !test.owner.is_empty() { span { "owner " b { (clean(&test.owner)) } } }
            @for tag in &test.tags { span.tag { (clean(tag)) } }
            @if !test.origin.is_empty() { span { code { (clean(&test.origin)) } } }
        }
    }
}

fn few(test: &TestView) -> Markup {
    html! {
        @for verdict in Verdict::ALL.into_iter().rev().filter(|v| test.counts.get(*v) > 0) {
            span.(tone(Some(verdict))) { (test.counts.get(verdict)) " " (verdict) }
        }
    }
}

fn counts(run: &RunView) -> Markup {
    let waiting = run.items.saturating_sub(run.counts.total());
    html! {
        span.few {
            @for verdict in Verdict::ALL.into_iter().rev().filter(|v| run.counts.get(*v) > 0) {
                span.(tone(Some(verdict))) { (run.counts.get(verdict)) " " (verdict) }
            }
            @if waiting > 0 { span.idle { (waiting) " not ended" } }
        }
    }
}

fn target(run: &RunView) -> String {
    clean(&run.target.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join("/"))
}

fn took(run: &RunView) -> String {
    run.ended.map(|ended| words::duration(ended.since(run.started))).unwrap_or_default()
}

fn item_time(item: &ItemView) -> String {
    item.last().map(|a| words::duration(a.result.duration)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_unique_and_lead_nowhere_else() {
        let mut names = Names::default();
        let made: Vec<String> =
            ["a/b", "a-b", "A-B", "..", "../../etc/passwd", "", "index", "Index", "ü", &"x".repeat(300)]
                .map(|n| names.of(n))
                .to_vec();
        let mut unique: Vec<String> = made.iter().map(|n| n.to_ascii_lowercase()).collect();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), made.len(), "{made:?}");
        for name in &made {
            assert!(!name.contains('/') && !name.starts_with('.') && name.len() < 100, "{name}");
            assert!(!name.eq_ignore_ascii_case("index"), "{name}");
        }
        assert_eq!(made[0], "a-b");
    }
}
