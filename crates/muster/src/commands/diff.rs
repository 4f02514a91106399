//! `muster diff`: what one run has that another has not.

use super::typed::run_ref;
use crate::context::{Context, OutputMode};
use crate::records::Records;
use crate::terminal::style::{self, DIM, HEAD, paint};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::{text, why_item};
use clap::Args;
use muster_core::address::{RunRef, item_name};
use muster_core::outcome::ExitCode;
use muster_core::view::{ItemView, RunView};
use muster_formats::report::{Logs, words};
use muster_store::ItemFilter;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

/// Arguments of `muster diff`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit code 1 if something fails in the second run that was ok in the first, is new and fails, or has not
ended there; else 0.

Example: muster diff -2 -1     what the latest run changed")]
pub(crate) struct DiffArgs {
    /// The run before
    #[arg(value_name = "RUN1", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) before: RunRef,
    /// The run after
    #[arg(value_name = "RUN2", default_value = "latest", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) after: RunRef,
    /// Call an item slower or faster if its time changed by this factor
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5, value_parser = factor)]
    pub(crate) factor: f64,
}

fn factor(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|f: &f64| f.is_finite() && *f > 1.0)
        .ok_or_else(|| "a factor is above 1".to_owned())
}

/// Changes of less than this are noise whatever the factor.
const NOISE: Duration = Duration::from_millis(100);

/// What became of an item, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    NewlyFailing,
    StillFailing,
    Fixed,
    NewAndFailing,
    NotEnded,
    New,
    Gone,
    Changed,
    Slower,
    Faster,
}

impl Kind {
    /// Whether it keeps the second run from being as good as the first. What has not ended might be
    /// anything, so it does.
    fn is_worse(self) -> bool {
        matches!(self, Self::NewlyFailing | Self::NewAndFailing | Self::NotEnded)
    }

    fn title(self) -> &'static str {
        match self {
            Self::NewlyFailing => "newly failing",
            Self::StillFailing => "still failing",
            Self::Fixed => "fixed",
            Self::NewAndFailing => "new and failing",
            Self::NotEnded => "not ended",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Slower => "slower",
            Self::Faster => "faster",
        }
    }
}

#[derive(Serialize)]
struct Difference<'a> {
    kind: Kind,
    test: &'a str,
    item: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
    before_micros: Option<u64>,
    after_micros: Option<u64>,
    #[serde(skip)]
    views: (Option<&'a ItemView>, Option<&'a ItemView>),
}

#[derive(Serialize)]
struct JsonDiff<'a> {
    before: String,
    after: String,
    differences: &'a [Difference<'a>],
}

/// Compares.
pub(crate) fn run(args: &DiffArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open(context)?;
    let before = records.load(&records.find_run(&args.before)?, ItemFilter::All)?;
    let after = records.load(&records.find_run(&args.after)?, ItemFilter::All)?;
    let differences = differences(&before, &after, args.factor);
    let worse = differences.iter().any(|d| d.kind.is_worse());
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            let diff =
                JsonDiff { before: before.address(), after: after.address(), differences: &differences };
            serde_json::to_writer(&mut out, &diff)?;
            writeln!(out)?;
        }
        OutputMode::Human | OutputMode::Quiet => {
            let logs = records.into_logs(&after);
            let quiet = context.output == OutputMode::Quiet;
            for line in lines(&before, &after, &differences, quiet, &logs, context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(if worse { ExitCode::Failed } else { ExitCode::Passed })
}

/// Items with a verdict, by test and path.
fn by_name(run: &RunView) -> BTreeMap<(&str, &str), &ItemView> {
    run.all_items()
        .filter(|(_, i)| !i.discovery || i.verdict.is_some_and(|v| !v.is_ok()))
        .map(|(t, i)| ((t.name.as_str(), i.path.as_str()), i))
        .collect()
}

fn differences<'a>(before: &'a RunView, after: &'a RunView, factor: f64) -> Vec<Difference<'a>> {
    let (old, new) = (by_name(before), by_name(after));
    let mut names: Vec<_> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let mut all: Vec<Difference<'a>> = names
        .into_iter()
        .filter_map(|name| {
            let (was, is) = (old.get(&name).copied(), new.get(&name).copied());
            let kind = kind(was, is, factor)?;
            let word = |i: Option<&ItemView>| i.map(|i| words::verdict_word(i.verdict));
            let micros = |i: Option<&ItemView>| i.and_then(took).map(muster_core::time::micros);
            Some(Difference {
                kind,
                test: name.0,
                item: name.1,
                before: word(was),
                after: word(is),
                before_micros: micros(was),
                after_micros: micros(is),
                views: (was, is),
            })
        })
        .collect();
    all.sort_by_key(|d| d.kind);
    all
}

fn took(item: &ItemView) -> Option<Duration> {
    item.last().map(|a| a.result.duration)
}

fn kind(was: Option<&ItemView>, is: Option<&ItemView>, factor: f64) -> Option<Kind> {
    let bad = |i: &ItemView| i.verdict.is_some_and(|v| !v.is_ok());
    match (was, is) {
        (None, None) => None,
        (None, Some(is)) => Some(if bad(is) { Kind::NewAndFailing } else { Kind::New }),
        (Some(_), None) => Some(Kind::Gone),
        // Its run was killed, stopped, or goes on: nobody knows.
        (Some(was), Some(is)) if is.verdict.is_none() => was.verdict.map(|_| Kind::NotEnded),
        (Some(was), Some(is)) => match (bad(was), bad(is)) {
            (false, true) => Some(Kind::NewlyFailing),
            (true, true) => Some(Kind::StillFailing),
            (true, false) => Some(Kind::Fixed),
            _ if was.verdict != is.verdict => Some(Kind::Changed),
            _ => {
                let (a, b) = (took(was)?, took(is)?);
                if b > a.mul_f64(factor) && b - a > NOISE {
                    Some(Kind::Slower)
                } else if a > b.mul_f64(factor) && a - b > NOISE {
                    Some(Kind::Faster)
                } else {
                    None
                }
            }
        },
    }
}

fn lines(
    before: &RunView,
    after: &RunView,
    differences: &[Difference<'_>],
    quiet: bool,
    logs: &dyn Logs,
    width: usize,
) -> Vec<String> {
    let mut lines = Vec::new();
    if !quiet {
        let side = |run: &RunView| {
            let target = text::target(&run.target);
            let target = if target.is_empty() { target } else { format!(" for {target}") };
            format!("{}{target}", run.address())
        };
        lines.push(format!("{} → {}", paint(HEAD, side(before)), paint(HEAD, side(after))));
    }
    for group in differences.chunk_by(|a, b| a.kind == b.kind) {
        let kind = group[0].kind;
        if quiet && !kind.is_worse() {
            continue;
        }
        lines.push(format!("{} ({})", paint(HEAD, kind.title()), text::count(group.len() as u64)));
        let mut table =
            Table::new(&[("", Column::Left), ("", Column::Shrink), ("", Column::Left), ("", Column::Cut)]);
        for d in group {
            let shown = d.views.1.or(d.views.0);
            let (label, style) = match shown.and_then(|i| i.verdict) {
                Some(v) => (style::label(v), style::of(v)),
                None => ("OPEN", style::INFO),
            };
            let change = match (kind, d.views) {
                (Kind::Slower | Kind::Faster, (Some(a), Some(b))) => times(a, b),
                (Kind::New | Kind::NewAndFailing | Kind::Gone, _) => String::new(),
                _ if d.before == d.after => String::new(),
                _ => format!("was {}", d.before.unwrap_or_default()),
            };
            let told = match (kind, d.views.1) {
                (Kind::NewlyFailing | Kind::StillFailing | Kind::NewAndFailing, Some(i)) => why_item(i, logs),
                _ => String::new(),
            };
            table.row(vec![
                Cell::new(label, style),
                item_name(d.test, d.item).into(),
                Cell::new(change, DIM),
                Cell::new(told, DIM),
            ]);
        }
        lines.extend(table.lines(width.saturating_sub(2)).into_iter().map(|l| format!("  {l}")));
    }
    if !quiet {
        let same = by_name(after).len() - differences.iter().filter(|d| d.views.1.is_some()).count();
        lines.push(paint(DIM, text::plural(same as u64, "item is as it was", "items are as they were")));
    }
    lines
}

/// `1.2s → 3.4s (×2.8)`.
fn times(was: &ItemView, is: &ItemView) -> String {
    match (took(was), took(is)) {
        (Some(a), Some(b)) => {
            let factor = b.as_secs_f64() / a.as_secs_f64().max(1e-6);
            let short = |f: f64| if f < 9.95 { format!("{f:.1}") } else { format!("{f:.0}") };
            let factor = if factor >= 1.0 {
                format!("×{}", short(factor))
            } else {
                format!("÷{}", short(1.0 / factor))
            };
            format!("{} → {} ({factor})", words::duration(a), words::duration(b))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::fixtures::{item, run_of, test};
    use expect_test::expect;
    use muster_core::outcome::Verdict;
    use muster_formats::report::InlineLogs;

    #[test]
    fn each_way_an_item_can_change_has_its_heading() {
        let slow = |name: &str, ms| {
            let mut i = item(name, Verdict::Pass);
            let last = i.attempts.last_mut().unwrap();
            std::sync::Arc::make_mut(&mut last.result).duration = Duration::from_millis(ms);
            i
        };
        let before = run_of(
            1,
            vec![test(
                "t",
                vec![
                    item("breaks", Verdict::Pass),
                    item("broken", Verdict::Fail),
                    item("mended", Verdict::Crash),
                    item("old", Verdict::Pass),
                    item("runs", Verdict::Pass),
                    item("skips", Verdict::Pass),
                    slow("slows", 100),
                    slow("speeds", 5_000),
                    slow("jitters", 1),
                ],
            )],
        );
        let after = run_of(
            2,
            vec![test(
                "t",
                vec![
                    item("breaks", Verdict::Fail),
                    item("broken", Verdict::Timeout),
                    item("mended", Verdict::Pass),
                    item("fresh", Verdict::Pass),
                    item("rotten", Verdict::Fail),
                    ItemView { verdict: None, attempts: Vec::new(), ..item("runs", Verdict::Pass) },
                    item("skips", Verdict::Skip),
                    slow("slows", 900),
                    slow("speeds", 50),
                    slow("jitters", 50),
                ],
            )],
        );
        let all = differences(&before, &after, 1.5);
        let told = lines(&before, &after, &all, false, &InlineLogs, 80).join("\n");
        expect![[r#"
            demo/1 for linux → demo/2 for linux
            newly failing (1)
              FAIL  t/breaks  was pass  exit code 1: error: it is broken
            still failing (1)
              TIMEOUT  t/broken  was fail  did not end within 10s: error: it is broken
            fixed (1)
              PASS  t/mended  was crash
            new and failing (1)
              FAIL  t/rotten  exit code 1: error: it is broken
            not ended (1)
              OPEN  t/runs  was pass
            new (1)
              PASS  t/fresh
            gone (1)
              PASS  t/old
            changed (1)
              SKIP  t/skips  was pass
            slower (1)
              PASS  t/slows  100ms → 900ms (×9.0)
            faster (1)
              PASS  t/speeds  5s → 50ms (÷100)
            1 item is as it was"#]]
        .assert_eq(&anstream::adapter::strip_str(&told).to_string());
    }
}
