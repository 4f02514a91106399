//! Definitions, runs and results in few words, for tests of the lab, the store, the agent and the shell.
//!
//! Everything returned is plain data with public fields; what a test is about it sets itself.

use muster_core::attempt::{AttemptResult, Cause};
use muster_core::change::{Placement, RunRecord, RunSpec};
use muster_core::definition::{AreaDef, Command, ItemDef, Items, Kind, Line, Step, TestDef};
use muster_core::id::RunId;
use muster_core::outcome::Outcome;
use muster_core::plan::{History, PlanError, plan};
use muster_core::select::Selection;
use muster_core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// A command line.
pub fn command(line: &str) -> Command {
    Command { line: Line::Shell(line.to_owned()), dir: None, env: Vec::new() }
}

/// A test that runs `true` once, comes after nothing and is never tried again.
pub fn test(name: &str) -> TestDef {
    TestDef { origin: format!("{name}.toml:1"), ..TestDef::new(name.to_owned(), steps(Items::None)) }
}

/// One step named `run` for each of these items.
pub fn steps(items: Items) -> Kind {
    Kind::Steps { steps: vec![Step::new("run", command("true").line)], items }
}

/// Listed items with these paths.
pub fn listed<S: AsRef<str>>(paths: impl IntoIterator<Item = S>) -> Items {
    let item = |path: S| ItemDef { path: path.as_ref().to_owned(), vars: Vec::new() };
    Items::Listed(paths.into_iter().map(item).collect())
}

/// An area named `area` of these tests.
pub fn area(tests: Vec<TestDef>) -> AreaDef {
    AreaDef { name: "area".to_owned(), tests, ..AreaDef::default() }
}

/// What a run of an area was asked for.
pub fn spec(area: &AreaDef, selection: Selection) -> RunSpec {
    RunSpec {
        name: String::new(),
        area: area.name.clone(),
        target: area.target.clone(),
        area_dir: "/area".to_owned(),
        host: "host".to_owned(),
        env: area.env.clone(),
        limits: area.limits.clone(),
        unexpected_pass: area.unexpected_pass,
        selection,
        failures_max: None,
        trace_id: "0".repeat(32),
        placement: Placement::default(),
        inputs: muster_core::inputs::Inputs::default(),
        zone: muster_core::hours::Zone::default(),
        parts: Vec::new(),
    }
}

/// The record of a run of an area: its spec, and its plan with no `skip-when` that holds.
///
/// # Errors
/// If the area cannot be planned.
pub fn run_record(
    area: &AreaDef,
    number: u32,
    created: Time,
    spec: RunSpec,
    history: &dyn History,
) -> Result<RunRecord, PlanError> {
    let plan = plan(area, &spec.selection, history, &|_| Ok(false))?;
    let id = RunId(u128::from(number));
    Ok(RunRecord { id, number, created, spec: Arc::new(spec), plan: Arc::new(plan) })
}

/// What an attempt came to, with the cause that goes with it and nothing else to tell.
pub fn result(outcome: Outcome, started: Time, duration: Duration) -> AttemptResult {
    let cause = match outcome {
        Outcome::Pass | Outcome::Warn | Outcome::Check => Cause::Exit(0),
        Outcome::Skip => Cause::Exit(77),
        Outcome::Fail | Outcome::Abort => Cause::Exit(1),
        Outcome::Error => Cause::Exit(99),
        Outcome::Timeout => Cause::HardLimit(duration),
        Outcome::Crash => Cause::Signal(11),
        Outcome::Cancelled => Cause::Stopped("stopped".to_owned()),
    };
    let message = if outcome == Outcome::Pass { String::new() } else { format!("it said {outcome}") };
    AttemptResult { message, ..AttemptResult::bare(outcome, cause, started, duration) }
}

/// An attempt that could not be run for a fault of the lab's.
pub fn lab_error(started: Time, duration: Duration) -> AttemptResult {
    AttemptResult {
        cause: Cause::Lab("no such device".to_owned()),
        message: "no such device".to_owned(),
        ..result(Outcome::Error, started, duration)
    }
}
