//! `muster history` without a test: where the time of the latest run went, beside what is usual.

use crate::context::{Context, OutputMode};
use crate::records::Records;
use crate::terminal::style::{self, DIM, HEAD, paint};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text;
use muster_core::address::RunRef;
use muster_core::outcome::{ExitCode, Outcome};
use muster_core::plan::History as _;
use muster_core::time::micros;
use muster_core::view::RunView;
use muster_formats::report::words;
use muster_store::{Durations, ItemFilter};
use serde::Serialize;
use std::io::Write as _;
use std::time::Duration;

/// Limit: tests listed for people, the longest first; JSON has all.
const TESTS_MAX: usize = 40;

/// How long a test's items took together, in their last attempts.
#[derive(Debug, PartialEq, Serialize)]
struct TestTime {
    test: String,
    items: usize,
    micros: u64,
    /// What those of its items usually take of which it is known, together.
    usual_micros: Option<u64>,
    /// What these took now, as far as they passed: to be held against it.
    known_micros: u64,
    longest: String,
    longest_micros: u64,
}

impl TestTime {
    /// By which factor it took longer than usual; `None` where too little is known.
    fn factor(&self) -> Option<f64> {
        let usual = self.usual_micros.filter(|usual| *usual > 0)?;
        Some(self.known_micros as f64 / usual as f64)
    }
}

/// Tells it.
pub(super) fn tell(records: &Records, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let head = records.find_run(&RunRef::LATEST)?;
    let run = records.load(&head, ItemFilter::All)?;
    let usual = records.with(|s| s.list_durations(&run.area, &run.target))?;
    let times = times(&run, &usual);
    let mut out = context.stdout();
    if context.output == OutputMode::Json {
        serde_json::to_writer(&mut out, &times)?;
        writeln!(out)?;
        return Ok(ExitCode::Passed);
    }
    for line in lines(&run, &times, context.stdout_width()) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::Passed)
}

fn times(run: &RunView, usual: &Durations) -> Vec<TestTime> {
    let mut times = Vec::new();
    for test in &run.tests {
        let mut time = TestTime {
            test: test.name.clone(),
            items: 0,
            micros: 0,
            usual_micros: None,
            known_micros: 0,
            longest: String::new(),
            longest_micros: 0,
        };
        for (item, last) in test.items.iter().filter_map(|i| Some((i, i.last()?))) {
            let took = micros(last.result.duration);
            time.items += 1;
            time.micros += took;
            if took >= time.longest_micros {
                (time.longest_micros, time.longest) = (took, item.path.clone());
            }
            // Of a failure the time may be anything.
            if let (Outcome::Pass, Some(usual)) = (last.result.outcome, usual.micros(&test.name, &item.path))
            {
                *time.usual_micros.get_or_insert(0) += u64::from(usual);
                time.known_micros += took;
            }
        }
        if time.items > 0 {
            times.push(time);
        }
    }
    times.sort_by_key(|t| std::cmp::Reverse(t.micros));
    times
}

fn lines(run: &RunView, times: &[TestTime], width: usize) -> Vec<String> {
    let short = |micros: u64| words::duration(Duration::from_micros(micros));
    let total: u64 = times.iter().map(|t| t.micros).sum();
    let target = text::target(&run.target);
    let target = if target.is_empty() { target } else { format!(" for {target}") };
    let mut lines = vec![format!(
        "{}{target}  {} of tests, {}",
        paint(HEAD, run.address()),
        short(total),
        text::plural(times.len() as u64, "test", "tests")
    )];
    let mut table = Table::new(&[
        ("test", Column::Shrink),
        ("took", Column::Right),
        ("share", Column::Right),
        ("than usual", Column::Right),
        ("items", Column::Right),
        ("longest item", Column::Shrink),
    ]);
    for time in times.iter().take(TESTS_MAX) {
        let factor = time.factor().map(|f| match f {
            f if f >= 1.5 => Cell::new(format!("×{f:.1}"), style::BAD),
            f if f <= 1.0 / 1.5 => Cell::new(format!("÷{:.1}", 1.0 / f.max(1e-3)), style::GOOD),
            _ => Cell::new("as ever", DIM),
        });
        let longest = if time.items > 1 {
            format!("{} {}", short(time.longest_micros), time.longest)
        } else {
            String::new()
        };
        table.row(vec![
            time.test.as_str().into(),
            short(time.micros).into(),
            format!("{:.0} %", time.micros as f64 * 100.0 / total.max(1) as f64).into(),
            factor.unwrap_or_else(|| "".into()),
            text::count(time.items as u64).into(),
            Cell::new(longest, DIM),
        ]);
    }
    lines.extend(table.lines(width));
    if times.len() > TESTS_MAX {
        lines.push(paint(
            DIM,
            format!("and {} more, shorter ones", text::count((times.len() - TESTS_MAX) as u64)),
        ));
    }
    lines
}
