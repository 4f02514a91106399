//! One HTML page that needs nothing else: no network, no server, no script to be read.
//!
//! What went wrong comes first, with its steps, values and output; what is fine is a compact table.
//! Limits keep the page usable: [`Html`] says which, and the page says what it left out.
//!
//! Nothing a test printed can become markup: `maud` escapes every text, and the page's own policy
//! (`Content-Security-Policy`) lets only its own script run, by digest, and lets nothing be loaded.

mod ansi;
mod card;
mod gantt;
mod table;
mod timeline;
mod tree;

pub use gantt::{Lanes, gantt};
pub use tree::{IndexRow, Link, PAGES_MAX, STYLE_FILE, Tree, index, listing, style};

use super::text::clean;
use super::words;
use super::{FinalReport, Logs};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use muster_core::outcome::Verdict;
use muster_core::view::{ItemView, RunState, RunView, TestView};
use std::io::{self, Write};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// SHA-256 of the script, as the page's policy names it. A test compares.
const SCRIPT_DIGEST: &str = "sha256-rdRK84XjgXMCosrp9P9D5vEaWHo+mnMeWEt6QqMOBvk=";

/// Writes the page.
#[derive(Clone, Copy, Debug)]
pub struct Html {
    /// Most items shown with all there is to know, the worst first; others are in the table only.
    pub cards_max: usize,
    /// Most bytes of one attempt's output.
    pub output_bytes_max: usize,
    /// Most bytes of output in all.
    pub outputs_bytes_max: usize,
    /// Most rows of items that are fine; the page counts the others.
    pub rows_max: usize,
}

impl Default for Html {
    fn default() -> Self {
        Self { cards_max: 1_000, output_bytes_max: 64 << 10, outputs_bytes_max: 16 << 20, rows_max: 50_000 }
    }
}

impl FinalReport for Html {
    fn write(&self, run: &RunView, logs: &dyn Logs, out: &mut dyn Write) -> io::Result<()> {
        let notable = card::Notable::of(run, self.cards_max);
        write(out, head(run))?;
        write(out, overview(run, &notable))?;
        let mut cards = card::Cards { run, logs, settings: self, outputs_bytes: 0 };
        card::section(&notable.bad, "failed", "Failed", &mut cards, out)?;
        card::section(&notable.flaky, "flaky", "Flaky", &mut cards, out)?;
        card::section(&notable.remarks, "remarks", "Worth a look", &mut cards, out)?;
        if notable.left_out > 0 {
            write(
                out,
                html! {
                    p.note { (notable.left_out) " more items are worth a look; they are in the table below only. "
                        code { "muster results " (clean(&run.address())) } " tells all." }
                },
            )?;
        }
        write(out, timeline::section(run))?;
        write(out, slowest(run))?;
        table::section(run, &notable, self.rows_max, out)?;
        write(
            out,
            html! {
                footer { "Muster, run " (words::run_uuid(run.id)) }
                script { (PreEscaped(SCRIPT)) }
            },
        )?;
        out.write_all(b"</main></body></html>\n")
    }
}

fn write(out: &mut dyn Write, markup: Markup) -> io::Result<()> {
    out.write_all(markup.into_string().as_bytes())
}

/// A verdict's badge; its class colours it.
fn badge(verdict: Option<Verdict>) -> Markup {
    let word = words::verdict_word(verdict);
    html! { span.badge.(tone(verdict)) { (word) } }
}

/// The family of colour a verdict is shown in.
fn tone(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Pass) => "pass",
        Some(Verdict::Skip | Verdict::NoItems | Verdict::KnownFailure) => "skip",
        Some(Verdict::Warn | Verdict::Flaky | Verdict::Check) => "warn",
        Some(Verdict::Cancelled | Verdict::PrerequisiteFailed) | None => "idle",
        Some(
            Verdict::UnexpectedPass | Verdict::Fail | Verdict::Timeout | Verdict::Crash | Verdict::Abort,
        ) => "fail",
        Some(Verdict::Error) => "error",
    }
}

/// `TEST/ITEM`, or the test's name where it has no items.
fn full_name(test: &TestView, item: &ItemView) -> String {
    let name = if item.path.is_empty() { test.name.clone() } else { format!("{}/{}", test.name, item.path) };
    clean(&name)
}

fn head(run: &RunView) -> Markup {
    let policy = format!("default-src 'none'; style-src 'unsafe-inline'; script-src '{SCRIPT_DIGEST}'");
    let title = format!("{} {}", clean(&run.address()), if run.has_passed() { "✓" } else { "✗" });
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="muster";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
        }
    };
    // The rest of the page is written piece by piece, so the document is left open here.
    let open = page.into_string();
    PreEscaped(format!("{}<body><main>\n", open.trim_end_matches("</html>")))
}

fn overview(run: &RunView, notable: &card::Notable<'_>) -> Markup {
    let waiting = run.items.saturating_sub(run.counts.total());
    let shown: Vec<Verdict> = Verdict::ALL.into_iter().rev().filter(|v| run.counts.get(*v) > 0).collect();
    let total = f64::from(run.counts.total() + waiting).max(1.0);
    let (word, class) = match (run.state, run.is_ok()) {
        (RunState::Active, _) => ("running", "idle"),
        (RunState::Stopped, _) => ("stopped", "fail"),
        (RunState::Ended, true) => ("passed", "pass"),
        (RunState::Ended, false) => ("failed", "fail"),
    };
    let ran = run.all_items().any(|(_, i)| !i.attempts.is_empty());
    let parts = [
        ("failed", "Failed", !notable.bad.is_empty()),
        ("flaky", "Flaky", !notable.flaky.is_empty()),
        ("remarks", "Worth a look", !notable.remarks.is_empty()),
        ("timeline", "Timeline", ran),
        ("slowest", "Slowest", ran),
        ("tests", "All tests", true),
    ];
    html! {
        header {
            h1 { span.verdict.(class) { (word) } " " (clean(&run.address())) @if !run.name.is_empty() { " " small { (clean(&run.name)) } } }
            p.meta {
                @for (key, value) in &run.target { span { (clean(key)) "=" b { (clean(value)) } } }
                @if !run.host.is_empty() { span { "on " b { (clean(&run.host)) } } }
                @if let Some(build) = &run.inputs.build { span { "build " b title=(build.digest) { (clean(&build.name)) } } }
                @if let Some(tests) = &run.inputs.tests { span { "tests " b title=(tests.digest) { (clean(&tests.name)) } } }
                @if !run.inputs.changeset.is_empty() { span { "of " b { (clean(&run.inputs.changeset)) } } }
                span { time { (words::timestamp(run.started)) } }
                @if let Some(ended) = run.ended { span { "took " b { (words::duration(ended.since(run.started))) } } }
                span { b { (run.tests.len()) } " tests, " b { (run.items) } " items" }
            }
            div.bar role="img" aria-label="items by verdict" {
                @for verdict in &shown {
                    i.(tone(Some(*verdict))) style={ "width:" (format!("{:.3}", f64::from(run.counts.get(*verdict)) * 100.0 / total)) "%" } {}
                }
            }
            div.chips {
                @for verdict in &shown {
                    button.chip.(tone(Some(*verdict))) type="button" data-verdict=(verdict.word()) aria-pressed="false" {
                        b { (run.counts.get(*verdict)) } " " (verdict)
                    }
                }
                @if waiting > 0 {
                    button.chip.idle type="button" data-verdict="not-ended" aria-pressed="false" { b { (waiting) } " not ended" }
                }
            }
        }
        div.tools {
            nav {
                @for (id, title, there) in parts { @if there { a href={ "#" (id) } { (title) } } }
            }
            div.scripted {
                input #search type="search" placeholder="Search tests, items, messages  ( / )" aria-label="Search";
                button type="button" data-fold="open" { "Expand all" }
                button type="button" data-fold="close" { "Collapse all" }
                span #found aria-live="polite" {}
            }
        }
    }
}

fn slowest(run: &RunView) -> Markup {
    let mut items: Vec<(std::time::Duration, &TestView, &ItemView)> = run
        .all_items()
        .filter(|(_, i)| words::is_shown(i))
        .filter_map(|(t, i)| Some((i.last()?.result.duration, t, i)))
        .collect();
    items.sort_by_key(|(duration, ..)| std::cmp::Reverse(*duration));
    items.truncate(10);
    let Some((longest, ..)) = items.first() else { return html! {} };
    let longest = longest.as_secs_f64().max(1e-6);
    html! {
        section #slowest {
            h2 { "Slowest" }
            table.slowest {
                @for (duration, test, item) in &items {
                    tr {
                        td.time { (words::duration(*duration)) }
                        td.gauge { i style={ "width:" (format!("{:.1}", duration.as_secs_f64() * 100.0 / longest)) "%" } {} }
                        td { (full_name(test, item)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_digest_of_the_script() {
        let program = "import base64,hashlib,sys; print('sha256-'+base64.b64encode(hashlib.sha256(sys.stdin.buffer.read()).digest()).decode())";
        let mut python = std::process::Command::new("python3")
            .args(["-c", program])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("this test needs python3: apt-get install python3");
        python.stdin.take().unwrap().write_all(SCRIPT.as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), SCRIPT_DIGEST);
    }
}
