//! What of runs is in which table.

use super::Cell;
use crate::megatest::status::{State, Status, of_verdict};
use crate::report::words;
use muster_core::address::Address;
use muster_core::outcome::Verdict;
use muster_core::view::{AttemptView, ItemView, RunState, RunView, TestView};
use std::borrow::Cow;
use std::time::Duration;

/// A table of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// A row for each run.
    Runs,
    /// A row for each item of a run.
    Results,
    /// A row for each step of an attempt.
    Steps,
    /// A row for each measured value.
    Data,
}

const RUNS: [&str; 15] = [
    "address",
    "run",
    "name",
    "target",
    "keys",
    "state",
    "result",
    "started",
    "ended",
    "seconds",
    "host",
    "items",
    "build",
    "tests",
    "changeset",
];
const RESULTS: [&str; 22] = [
    "address",
    "run",
    "name",
    "target",
    "test",
    "item",
    "verdict",
    "state",
    "status",
    "message",
    "attempts",
    "device",
    "started",
    "seconds",
    "user_seconds",
    "system_seconds",
    "memory_bytes",
    "read_bytes",
    "written_bytes",
    "owner",
    "tags",
    "origin",
];
const STEPS: [&str; 10] =
    ["address", "run", "test", "item", "attempt", "step", "outcome", "exit", "seconds", "message"];
const DATA: [&str; 12] = [
    "address",
    "run",
    "test",
    "item",
    "attempt",
    "category",
    "variable",
    "value",
    "expected",
    "tolerance",
    "units",
    "status",
];

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Runs, Self::Results, Self::Steps, Self::Data];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Results => "results",
            Self::Steps => "steps",
            Self::Data => "data",
        }
    }

    /// Whether it is made of a run's head alone.
    pub fn needs_items(self) -> bool {
        self != Self::Runs
    }

    /// Its columns. The first names the row.
    pub fn columns(self) -> Vec<Cow<'static, str>> {
        let fixed: &[&'static str] = match self {
            Self::Runs => &RUNS,
            Self::Results => &RESULTS,
            Self::Steps => &STEPS,
            Self::Data => &DATA,
        };
        let counts = Verdict::ALL.iter().filter(|_| self == Self::Runs).map(|v| v.word());
        fixed.iter().copied().chain(counts).map(Cow::Borrowed).collect()
    }

    /// The rows that a run has in it.
    ///
    /// # Errors
    /// Those of `row`; nothing follows them.
    pub fn rows<E>(self, run: &RunView, mut row: impl FnMut(&[Cell]) -> Result<(), E>) -> Result<(), E> {
        if self == Self::Runs {
            return row(&of_run(run));
        }
        for (test, item) in run.all_items().filter(|(_, i)| words::is_shown(i)) {
            match self {
                Self::Runs => {}
                Self::Results => row(&of_item(run, test, item))?,
                Self::Steps => {
                    for attempt in &item.attempts {
                        for (n, step) in (1..).zip(&attempt.result.steps) {
                            let mut cells = of_attempt(run, test, item, attempt, &format!(":{n}"));
                            cells.extend([
                                step.name.as_str().into(),
                                step.outcome.word().into(),
                                step.exit.map_or(Cell::Empty, |exit| Cell::Number(exit.into())),
                                step.duration.into(),
                                step.message.as_str().into(),
                            ]);
                            row(&cells)?;
                        }
                    }
                }
                Self::Data => {
                    for attempt in &item.attempts {
                        for (n, m) in (1..).zip(&attempt.result.measures) {
                            let (category, variable) = m.name.split_once('/').unwrap_or(("", &m.name));
                            let mut cells = of_attempt(run, test, item, attempt, &format!(":{n}"));
                            cells.extend([
                                category.into(),
                                variable.into(),
                                Cell::Number(m.value),
                                m.expected.map_or(Cell::Empty, Cell::Number),
                                m.tolerance.as_str().into(),
                                m.units.as_str().into(),
                                m.good.map_or(Cell::Empty, |good| if good { "pass" } else { "fail" }.into()),
                            ]);
                            row(&cells)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn target(run: &RunView) -> String {
    run.target.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("/")
}

fn of_run(run: &RunView) -> Vec<Cell> {
    let keys: Vec<&str> = run.target.iter().map(|(key, _)| key.as_str()).collect();
    let (state, result) = match run.state {
        RunState::Active => ("active", ""),
        RunState::Stopped => ("stopped", if run.is_ok() { "" } else { "failed" }),
        RunState::Ended => ("ended", if run.is_ok() { "passed" } else { "failed" }),
    };
    let named = |name: Option<&String>| name.map_or(Cell::Empty, |n| n.as_str().into());
    let mut cells = vec![
        run.address().into(),
        Cell::Whole(run.number.into()),
        run.name.as_str().into(),
        target(run).into(),
        keys.join("/").into(),
        state.into(),
        result.into(),
        Cell::Time(run.started),
        run.ended.map_or(Cell::Empty, Cell::Time),
        run.ended.map_or(Cell::Empty, |ended| ended.since(run.started).into()),
        run.host.as_str().into(),
        Cell::Whole(run.items.into()),
        named(run.inputs.build.as_ref().map(|b| &b.name)),
        named(run.inputs.tests.as_ref().map(|t| &t.name)),
        run.inputs.changeset.as_str().into(),
    ];
    cells.extend(Verdict::ALL.map(|verdict| Cell::Whole(run.counts.get(verdict).into())));
    cells
}

fn of_item(run: &RunView, test: &TestView, item: &ItemView) -> Vec<Cell> {
    let last = item.last();
    let result = last.map(|a| &a.result);
    let usage = result.map(|r| r.usage);
    let (state, status) = item.verdict.map_or((State::NotStarted, Status::NotAvailable), of_verdict);
    let message = match item.verdict {
        Some(Verdict::Pass) => String::new(),
        _ => words::headline(item).into_owned(),
    };
    let micros = |n: Option<u64>| n.map_or(Cell::Empty, |n| Duration::from_micros(n).into());
    let whole = |n: Option<u64>| n.map_or(Cell::Empty, Cell::Whole);
    vec![
        Address::of_item(&run.area, run.number, &test.name, &item.path).to_string().into(),
        Cell::Whole(run.number.into()),
        run.name.as_str().into(),
        target(run).into(),
        test.name.as_str().into(),
        item.path.as_str().into(),
        words::verdict_word(item.verdict).into(),
        state.word().into(),
        status.word().into(),
        message.into(),
        Cell::Whole(item.attempts.len() as u64),
        last.map_or(Cell::Empty, |a| a.device.as_str().into()),
        result.map_or(Cell::Empty, |r| Cell::Time(r.started)),
        result.map_or(Cell::Empty, |r| r.duration.into()),
        micros(usage.map(|u| u.user_micros)),
        micros(usage.map(|u| u.system_micros)),
        whole(usage.map(|u| u.memory_peak_bytes)),
        whole(usage.map(|u| u.read_bytes)),
        whole(usage.map(|u| u.write_bytes)),
        test.owner.as_str().into(),
        test.tags.join(" ").into(),
        test.origin.as_str().into(),
    ]
}

/// The cells that say which attempt it is; the first has this behind it.
fn of_attempt(
    run: &RunView,
    test: &TestView,
    item: &ItemView,
    attempt: &AttemptView,
    behind: &str,
) -> Vec<Cell> {
    let address = words::address(run, &test.name, &item.path, attempt.number);
    vec![
        format!("{address}{behind}").into(),
        Cell::Whole(run.number.into()),
        test.name.as_str().into(),
        item.path.as_str().into(),
        Cell::Whole(attempt.number.into()),
    ]
}
