//! `muster history`: how a test did over time.

use super::typed::address_text;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::records::Records;
use crate::terminal::chart::{median, percent, sparkline, wilson};
use crate::terminal::style::{self, DIM, HEAD, paint};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::{WIDTH_MAX, text};
use clap::Args;
use muster_core::address::item_name;
use muster_core::outcome::{ExitCode, Outcome, Verdict};
use muster_core::time::micros;
use muster_formats::report::words;
use muster_store::HistoryEntry;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

/// Arguments of `muster history`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
In the strip, each sign is a run, the latest at the right: `.` passed, F failed, T timed out, C crashed,
f flaky, s skipped, k known failure, X unexpected pass, E lab error, b blocked, - stopped, ? to be checked.

The flake rate is the part of runs in which the item passed only after it had failed, of those in which it
passed or failed, with the 95 % confidence interval (Wilson).")]
pub(crate) struct HistoryArgs {
    /// Which test, or one item of it: `TEST[/ITEM]`; without it, where the time of the latest run went
    #[arg(value_name = "TEST[/ITEM]", value_parser = address_text)]
    pub(crate) test: Option<String>,
    /// Look at this many runs at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
}

/// Limit: items listed; the least steady come first.
const ITEMS_MAX: usize = 40;

/// What one item did over several runs.
#[derive(Serialize)]
struct Past {
    item: String,
    runs: Vec<OneRun>,
    /// Runs in which it passed or failed.
    judged: u32,
    flaky: u32,
    flake_rate: Option<Rate>,
    failed: u32,
    median_micros: Option<u64>,
}

#[derive(Clone, Copy, Serialize)]
struct Rate {
    rate: f64,
    low: f64,
    high: f64,
}

#[derive(Serialize)]
struct OneRun {
    run: u32,
    target: String,
    verdict: Option<&'static str>,
    outcomes: Vec<&'static str>,
    duration_micros: u64,
    #[serde(skip)]
    judged: Option<Verdict>,
    #[serde(skip)]
    took: Duration,
    #[serde(skip)]
    started: muster_core::time::Time,
}

/// Shows the history.
pub(crate) fn run(args: &HistoryArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open(context)?;
    let Some(wanted) = &args.test else {
        return super::durations::tell(&records, context);
    };
    let (test, item) = match wanted.split_once('/') {
        Some((test, item)) => (test, Some(item)),
        None => (wanted.as_str(), None),
    };
    let entries = records.with(|s| s.list_history(records.area(), test, item, None, args.runs))?;
    if entries.is_empty() {
        return Err(Complaint::usage(format!("nothing is recorded of `{wanted}`"))
            .hint("`muster results` lists tests and items")
            .into());
    }
    let pasts = pasts(&entries);
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, &pasts)?;
            writeln!(out)?;
        }
        OutputMode::Human | OutputMode::Quiet => {
            let width = context.stdout_width();
            let lines = match pasts.as_slice() {
                [one] => of_one(test, one, width),
                all => of_many(test, all, width),
            };
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

/// By item, the least steady first; within it by run, the oldest first.
fn pasts(entries: &[HistoryEntry]) -> Vec<Past> {
    let mut items: BTreeMap<&str, BTreeMap<u32, Vec<&HistoryEntry>>> = BTreeMap::new();
    for entry in entries {
        items.entry(&entry.path).or_default().entry(entry.number).or_default().push(entry);
    }
    let mut pasts: Vec<Past> = items.into_iter().map(|(item, runs)| past(item, runs)).collect();
    pasts.sort_by_key(|p| std::cmp::Reverse((p.flaky, p.failed)));
    pasts
}

fn past(item: &str, runs: BTreeMap<u32, Vec<&HistoryEntry>>) -> Past {
    let runs: Vec<OneRun> = runs
        .into_iter()
        .filter_map(|(run, attempts)| {
            let (first, last) = (attempts.first()?, attempts.last()?);
            Some(OneRun {
                run,
                target: text::target(&first.target),
                verdict: first.verdict.map(Verdict::word),
                outcomes: attempts.iter().map(|a| a.outcome.word()).collect(),
                duration_micros: micros(last.duration),
                judged: first.verdict,
                took: last.duration,
                started: first.started,
            })
        })
        .collect();
    let n = |wanted: fn(Verdict) -> bool| {
        u32::try_from(runs.iter().filter(|r| r.judged.is_some_and(wanted)).count()).unwrap_or(u32::MAX)
    };
    let (judged, flaky, failed) = (n(is_judged), n(|v| v == Verdict::Flaky), n(is_failed));
    let flake_rate = (judged > 0).then(|| {
        let (low, high) = wilson(flaky, judged);
        Rate { rate: f64::from(flaky) / f64::from(judged), low, high }
    });
    let took: Vec<Duration> = good(&runs).map(|r| r.took).collect();
    Past {
        item: item.to_owned(),
        judged,
        flaky,
        flake_rate,
        failed,
        median_micros: median(&took).map(micros),
        runs,
    }
}

/// Runs whose duration tells how long the item takes: of a failure it may be anything.
fn good(runs: &[OneRun]) -> impl Iterator<Item = &OneRun> {
    let word = Outcome::Pass.word();
    runs.iter().filter(move |r| r.outcomes.last() == Some(&word))
}

/// It said something about the test.
fn is_judged(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Warn | Verdict::Flaky | Verdict::Check) || is_failed(verdict)
}

fn is_failed(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Fail | Verdict::Timeout | Verdict::Crash | Verdict::Abort => true,
        Verdict::Pass
        | Verdict::Skip
        | Verdict::KnownFailure
        | Verdict::Warn
        | Verdict::Flaky
        | Verdict::Check
        | Verdict::NoItems
        | Verdict::Cancelled
        | Verdict::PrerequisiteFailed
        | Verdict::UnexpectedPass
        | Verdict::Error => false,
    }
}

/// The strip of an item's runs, the latest at the right.
fn strip(past: &Past, max: usize) -> String {
    last(&past.runs, max)
        .iter()
        .map(|r| match r.judged {
            Some(verdict) => paint(style::of(verdict), style::sign(verdict)),
            None => "·".to_owned(),
        })
        .collect()
}

fn last<T>(all: &[T], max: usize) -> &[T] {
    &all[all.len().saturating_sub(max)..]
}

fn rate(past: &Past) -> String {
    match past.flake_rate {
        None => String::new(),
        Some(Rate { rate, low, high }) => format!("{} [{} – {}]", percent(rate), percent(low), percent(high)),
    }
}

fn of_one(test: &str, past: &Past, width: usize) -> Vec<String> {
    let name = item_name(test, &past.item);
    let columns = width.min(WIDTH_MAX).saturating_sub(12).max(10);
    let shown = last(&past.runs, columns);
    let took: Vec<Duration> = shown.iter().map(|r| r.took).collect();
    let mut lines = vec![
        format!(
            "{}  {}, {} failed, {} flaky",
            paint(HEAD, text::visible(&name)),
            text::plural(past.runs.len() as u64, "run", "runs"),
            past.failed,
            past.flaky
        ),
        format!("{}  {}", paint(DIM, "came to   "), strip(past, columns)),
        format!("{}  {}", paint(DIM, "took      "), sparkline(&took)),
    ];
    let (least, most) = (took.iter().min(), took.iter().max());
    if let (Some(least), Some(most)) = (least, most) {
        let middle = past.median_micros.map(|m| words::duration(Duration::from_micros(m)));
        let middle = middle.map(|m| format!(", median when it passed {m}")).unwrap_or_default();
        lines.push(format!(
            "{}  {} to {}{middle}",
            paint(DIM, "          "),
            words::duration(*least),
            words::duration(*most)
        ));
    }
    if past.flake_rate.is_some() {
        lines.push(format!("{}  {}, of {} judged", paint(DIM, "flake rate"), rate(past), past.judged));
    }
    lines.push(String::new());
    let mut table = Table::new(&[
        ("run", Column::Right),
        ("started", Column::Left),
        ("target", Column::Left),
        ("came to", Column::Left),
        ("took", Column::Right),
        ("attempts", Column::Left),
    ]);
    for run in past.runs.iter().rev().take(10) {
        let (label, style) = run.judged.map_or(("OPEN", style::INFO), |v| (style::label(v), style::of(v)));
        let attempts = if run.outcomes.len() > 1 { run.outcomes.join(", ") } else { String::new() };
        table.row(vec![
            run.run.to_string().into(),
            Cell::new(text::moment(run.started), DIM),
            run.target.as_str().into(),
            Cell::new(label, style),
            words::duration(run.took).into(),
            attempts.into(),
        ]);
    }
    lines.extend(table.lines(width));
    lines
}

fn of_many(test: &str, pasts: &[Past], width: usize) -> Vec<String> {
    let runs: std::collections::BTreeSet<u32> =
        pasts.iter().flat_map(|p| p.runs.iter().map(|r| r.run)).collect();
    let unsteady = pasts.iter().filter(|p| p.flaky + p.failed > 0).count();
    let mut lines = vec![format!(
        "{}  {} in {}, {} of them failed or flaked",
        paint(HEAD, text::visible(test)),
        text::plural(pasts.len() as u64, "item", "items"),
        text::plural(runs.len() as u64, "run", "runs"),
        text::count(unsteady as u64)
    )];
    let longest = pasts.iter().map(|p| p.runs.len()).max().unwrap_or_default();
    let columns = longest.clamp("runs".len(), (width.min(WIDTH_MAX) / 4).clamp(8, 30));
    let mut table = Table::new(&[
        ("item", Column::Shrink),
        ("median", Column::Right),
        ("failed", Column::Right),
        ("flake rate, 95 %", Column::Left),
    ]);
    for past in pasts.iter().take(ITEMS_MAX) {
        let item = if past.item.is_empty() { "(itself)" } else { &past.item };
        let middle =
            past.median_micros.map(|m| words::duration(Duration::from_micros(m))).unwrap_or_default();
        table.row(vec![
            item.into(),
            Cell::new(middle, DIM),
            if past.failed > 0 { Cell::new(past.failed.to_string(), style::BAD) } else { "".into() },
            Cell::new(rate(past), if past.flaky > 0 { style::WARN } else { DIM }),
        ]);
    }
    // The strips have a colour for each sign, which cells have not.
    let rows = table.lines(width.saturating_sub(columns + 2));
    for (n, row) in rows.into_iter().enumerate() {
        let strip = match n.checked_sub(1) {
            None => pad_strip(&paint(HEAD, "runs"), columns),
            Some(at) => pad_strip(&strip(&pasts[at], columns), columns),
        };
        lines.push(format!("{strip}  {row}"));
    }
    if pasts.len() > ITEMS_MAX {
        lines.push(paint(
            DIM,
            format!("and {} more, steadier ones", text::count((pasts.len() - ITEMS_MAX) as u64)),
        ));
    }
    lines
}

fn pad_strip(strip: &str, columns: usize) -> String {
    text::pad_left(strip, columns)
}
