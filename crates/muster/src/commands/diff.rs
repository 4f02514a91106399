//! `muster diff`: what one run has that another has not.

use super::typed::run_ref;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::area::hostname;
use crate::local::session::now;
use crate::records::Records;
use crate::terminal::style::{self, DIM, HEAD, paint};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::{text, why_item};
use crate::whole_file;
use clap::{Args, ValueEnum};
use muster_core::address::{RunRef, item_name};
use muster_core::outcome::{ExitCode, Outcome};
use muster_core::view::{ItemView, RunView};
use muster_formats::compare::{self, Comparison, Difference, Earlier, Kind, Letter, took};
use muster_formats::report::{Logs, words};
use muster_store::ItemFilter;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `muster diff`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
An item is slower or faster if its time is off by four times its usual spread and by a tenth, beside the run before
and beside the median of earlier runs for the same target. Of what has been run fewer than five times, a change by
half is told. Changes of up to 100 ms never are.

Exit code 1 if something fails in the second run that was ok in the first, is new and fails, or has not
ended there; else 0.

Examples: muster diff -2 -1                                 what the latest run changed
          muster diff nightly -1 --format html -o diff.html
          muster diff -2 -1 --format mail --to team@example.org | sendmail -t")]
pub(crate) struct DiffArgs {
    /// The run before
    #[arg(value_name = "RUN1", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) before: RunRef,
    /// The run after
    #[arg(value_name = "RUN2", default_value = "latest", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) after: RunRef,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// How runs are compared and what is told of it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct HowArgs {
    /// Call an item slower or faster if its time changed by this factor, whatever it usually takes
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub(crate) factor: Option<f64>,
    /// What to print [default: text, or what `--output` says]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
    /// Write it to this file, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// With `--format mail`: to whom; may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = compare::address)]
    pub(crate) to: Vec<String>,
    /// With `--format mail`: from whom [default: `muster` at this host]
    #[arg(long, value_name = "ADDRESS", value_parser = compare::address)]
    pub(crate) from: Option<String>,
}

/// What a comparison is told as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
    /// A page that needs nothing else
    Html,
    /// A mail message with text and HTML, ready for `sendmail -t`; nothing is sent
    Mail,
}

fn factor(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|f: &f64| f.is_finite() && *f > 1.0)
        .ok_or_else(|| "a factor is above 1".to_owned())
}

/// Runs that are asked how long items usually take.
// Limit: what is older says little of today.
const HISTORY_RUNS: u32 = 20;

/// Items of a kind that a page or letter lists; it counts the others.
// Limit: a letter is read by people, and servers of mail refuse those of tens of megabytes.
const ROWS_MAX: usize = 1_000;

/// Compares.
pub(crate) fn run(args: &DiffArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open(context)?;
    let before = records.find_run(&args.before)?;
    let after = records.find_run(&args.after)?;
    tell(records, &before, &after, &args.how, context)
}

/// Compares two runs, of which only the heads are given, and tells what came of it.
///
/// # Errors
/// The records cannot be read, or the file cannot be written.
pub(crate) fn tell(
    records: Records,
    before: &RunView,
    after: &RunView,
    how: &HowArgs,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let format = how.format.unwrap_or(match context.output {
        OutputMode::Json => Format::Json,
        OutputMode::Human | OutputMode::Quiet => Format::Text,
    });
    if format != Format::Mail && (how.from.is_some() || !how.to.is_empty()) {
        return Err(Complaint::usage("`--to` and `--from` are of a letter").hint("`--format mail`").into());
    }
    let before = records.load(before, ItemFilter::All)?;
    let after = records.load(after, ItemFilter::All)?;
    let mut trouble = None;
    let found = Comparison::new(&before, &after, how.factor, |test| {
        // What runs for another target take says nothing of these.
        if before.target != after.target {
            return Earlier::new();
        }
        earlier(&records, &after, test).unwrap_or_else(|e| {
            trouble.get_or_insert(e);
            Earlier::new()
        })
    });
    if let Some(error) = trouble {
        return Err(error);
    }
    let worse = found.is_worse();
    let logs = records.into_logs(&after);
    let quiet = context.output == OutputMode::Quiet;
    let bytes = match format {
        Format::Json => format!("{}\n", serde_json::to_string(&found)?).into_bytes(),
        Format::Html => compare::page(&found, ROWS_MAX).into_bytes(),
        Format::Mail => letter(&found, how, &logs)?,
        Format::Text => {
            let lines = lines(&found, quiet, &logs, context.stdout_width());
            let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
            // Colours are for terminals.
            if how.out.is_some() { plain(&text) } else { text }.into_bytes()
        }
    };
    whole_file::write_or_print(how.out.as_deref(), &bytes, context)?;
    Ok(if worse { ExitCode::Failed } else { ExitCode::Passed })
}

/// What good attempts of a test took in runs before this one, for its target.
fn earlier(records: &Records, run: &RunView, test: &str) -> Result<Earlier, anyhow::Error> {
    let history = records.with(|s| s.list_history(&run.area, test, None, Some(run.id), HISTORY_RUNS))?;
    let mut earlier = Earlier::new();
    for entry in history.into_iter().filter(|e| e.outcome == Outcome::Pass && e.target == run.target) {
        earlier.entry(entry.path.to_string()).or_default().push(entry.duration);
    }
    Ok(earlier)
}

/// Columns of the text of a letter.
const LETTER_WIDTH: usize = 78;

fn letter(found: &Comparison<'_>, how: &HowArgs, logs: &dyn Logs) -> Result<Vec<u8>, anyhow::Error> {
    let from = how.from.clone().or_else(|| compare::address(&format!("muster@{}", hostname())).ok());
    let from = from.unwrap_or_else(|| "muster@localhost".to_owned());
    let target = text::target(&found.after.target);
    let target = if target.is_empty() { target } else { format!(" for {target}") };
    let (before, after, date) = (found.before, found.after, now());
    let letter = Letter {
        from: &from,
        to: &how.to,
        subject: text::visible(&format!("{}{target}: {}", after.address(), found.headline())).into_owned(),
        date,
        id: format!("diff.{:x}.{:x}.{}", before.id.0, after.id.0, date.0),
        text: plain(&(lines(found, false, logs, LETTER_WIDTH).join("\n") + "\n")),
        html: compare::page(found, ROWS_MAX),
    };
    Ok(compare::message(&letter)?)
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn lines(found: &Comparison<'_>, quiet: bool, logs: &dyn Logs, width: usize) -> Vec<String> {
    let Comparison { before, after, differences, same } = found;
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
            let shown = d.after.or(d.before);
            let (label, style) = match shown.and_then(|i| i.verdict) {
                Some(v) => (style::label(v), style::of(v)),
                None => ("OPEN", style::INFO),
            };
            let told = match (kind, d.after) {
                (Kind::NewlyFailing | Kind::StillFailing | Kind::NewAndFailing, Some(i)) => why_item(i, logs),
                (Kind::Slower | Kind::Faster, _) => usually(d),
                _ => String::new(),
            };
            table.row(vec![
                Cell::new(label, style),
                item_name(d.test, d.item).into(),
                Cell::new(change(d), DIM),
                Cell::new(told, DIM),
            ]);
        }
        lines.extend(table.lines(width.saturating_sub(2)).into_iter().map(|l| format!("  {l}")));
    }
    if !quiet {
        lines.push(paint(DIM, text::plural(*same as u64, "item is as it was", "items are as they were")));
    }
    lines
}

fn change(d: &Difference<'_>) -> String {
    let word = |i: Option<&ItemView>| i.map(|i| words::verdict_word(i.verdict));
    match (d.kind, d.before, d.after) {
        (Kind::Slower | Kind::Faster, Some(a), Some(b)) => times(a, b),
        (Kind::New | Kind::NewAndFailing | Kind::Gone, ..) => String::new(),
        _ if word(d.before) == word(d.after) => String::new(),
        _ => format!("was {}", word(d.before).unwrap_or_default()),
    }
}

fn usually(d: &Difference<'_>) -> String {
    d.usual.map_or_else(String::new, |usual| {
        let short = |micros| words::duration(Duration::from_micros(micros));
        format!(
            "usually {} ± {}, in {}",
            short(usual.median_micros),
            short(usual.spread_micros),
            text::plural(usual.samples as u64, "run", "runs")
        )
    })
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
        let found = Comparison::new(&before, &after, None, |_| Earlier::new());
        let told = lines(&found, false, &InlineLogs, 80).join("\n");
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
