//! Small runs to record.

use muster_core::artifact::{Artifact, Artifacts};
use muster_core::attempt::{AttemptResult, Cause, Measured, Output, StepResult, Usage};
use muster_core::change::{Change, Expansion, ItemRecord, Placement, RunRecord, RunSpec, Supersede};
use muster_core::definition::{
    AreaLimits, Batch, Framework, Items, Kind, Line, Place, Step, SuiteDef, TestDef, UnexpectedPass,
};
use muster_core::digest::Digest;
use muster_core::exchange::Group;
use muster_core::id::{AttemptRef, ItemIx, RunId, TestIx, UnitId};
use muster_core::inputs::{Inputs, Package};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::plan::{Expected, Plan, PlannedItem, PlannedItems, PlannedTest, Wanted, Why};
use muster_core::select::Selection;
use muster_core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// What a run may be given.
fn inputs() -> Inputs {
    let package = |name: &str, root: &str| Package {
        url: format!("http://build/{name}"),
        name: name.to_owned(),
        digest: Digest([8; 32]),
        bytes: 9,
        root: root.to_owned(),
    };
    Inputs {
        build: Some(package("app.apk", "")),
        tests: Some(package("tests.tar.gz", "tests-1.2")),
        changeset: "1d2c3b".to_owned(),
        packages: Vec::new(),
        profilers: vec!["proc-sampler".to_owned()],
    }
}

/// A run of three tests: `build` (record 0), `unit` with the items `a`, `b/1` and `c` (records 1 to 3), and
/// the suite `suite`, whose items are still to be found (record 4 is the question).
pub fn record(id: u128, area: &str, number: u32) -> Arc<RunRecord> {
    let spec = RunSpec {
        name: format!("name {}", number % 3),
        area: area.to_owned(),
        target: vec![("os".to_owned(), ["linux", "bsd"][id as usize % 2].to_owned())],
        area_dir: "/area".to_owned(),
        host: "here".to_owned(),
        env: vec![("A".to_owned(), "b=c".to_owned())],
        limits: AreaLimits { jobs: Some(4), load_max: Some(1.5), ..AreaLimits::default() },
        unexpected_pass: UnexpectedPass::Report,
        selection: Selection { patterns: vec!["*".to_owned()], ..Selection::default() },
        failures_max: Some(7),
        trace_id: "0123456789abcdef0123456789abcdef".to_owned(),
        placement: Placement {
            user: ["ana", "ben"][id as usize % 2].to_owned(),
            selector: "labels.os == \"linux\"".to_owned(),
            source: Some(Digest([7; 32])),
            pools: Some(vec!["boards".to_owned(), "default".to_owned()]),
            priority: -3,
            start_within: Some(Duration::from_secs(7200)),
            supersede: Supersede::Waiting,
            retry_elsewhere: true,
        },
        inputs: inputs(),
        zone: muster_core::hours::Zone::default(),
        parts: Vec::new(),
    };
    let plan = Plan {
        tests: vec![
            planned("build", PlannedItems::Listed(vec![item("")])),
            planned("unit", PlannedItems::Listed(vec![item("a"), item("b/1"), item("c")])),
            planned("suite", PlannedItems::Found(Wanted::All)),
        ],
    };
    let created = Time(1_700_000_000_000_000 + id as u64);
    Arc::new(RunRecord { id: RunId(id), number, created, spec: Arc::new(spec), plan: Arc::new(plan) })
}

fn planned(name: &str, items: PlannedItems) -> PlannedTest {
    let kind = match items {
        PlannedItems::Found(_) => Kind::Suite(SuiteDef {
            framework: Framework::List {
                list: Line::Shell("ls".to_owned()),
                run: Line::Argv(vec!["run".to_owned(), "{item}".to_owned()]),
            },
            batch: Batch::Most(3),
            place: Place::Host,
        }),
        PlannedItems::Listed(_) => {
            Kind::Steps { steps: vec![Step::new("run", Line::Shell("true".to_owned()))], items: Items::None }
        }
    };
    let def = TestDef {
        priority: -1,
        tags: vec!["quick".to_owned()],
        owner: "ana".to_owned(),
        description: format!("checks {name}"),
        origin: "muster.toml:1".to_owned(),
        ..TestDef::new(name, kind)
    };
    PlannedTest { def: Arc::new(def), why: Why::Asked, items }
}

pub(super) fn item(path: &str) -> PlannedItem {
    PlannedItem {
        path: path.into(),
        vars: vec![("V".to_owned(), path.to_owned())].into(),
        selector: "".into(),
        group: 0,
        timeout: Some(Duration::from_millis(1500)),
        skip: None,
        expected: Expected::default(),
        micros: Some(12),
    }
}

/// Items found for a test.
pub fn expansion(run: u128, test: u32, first: u32, paths: &[&str]) -> Expansion {
    let group = Group { name: "g".to_owned(), argv: vec!["x".to_owned()], batch_max: 3, ..Group::default() };
    Expansion {
        run: RunId(run),
        test: TestIx(test),
        first: ItemIx(first),
        groups: vec![group].into(),
        items: paths.iter().map(|p| item(p)).collect(),
    }
}

/// An attempt's result with something in every field.
pub fn result(outcome: Outcome, micros: u64, output: Output) -> AttemptResult {
    AttemptResult {
        outcome,
        cause: if outcome.is_good() { Cause::Exit(0) } else { Cause::LogRule("panicked".to_owned()) },
        message: if outcome.is_good() { String::new() } else { "line 3: é".to_owned() },
        started: Time(1_700_000_000_000_000 + micros),
        duration: Duration::from_micros(micros),
        usage: Usage {
            user_micros: 1,
            system_micros: 2,
            memory_peak_bytes: 3 << 20,
            read_bytes: 4,
            write_bytes: u64::MAX,
        },
        steps: vec![StepResult {
            name: "run".to_owned(),
            outcome,
            exit: Some(-1),
            duration: Duration::from_nanos(1),
            output_from: 5,
            message: "m".to_owned(),
        }],
        measures: vec![Measured {
            name: "speed".to_owned(),
            value: 0.1,
            expected: Some(-2.5),
            tolerance: "<=".to_owned(),
            units: "m/s".to_owned(),
            good: Some(true),
        }],
        output,
        leaked: 2,
        artifacts: None,
    }
}

/// An attempt that failed and left files.
pub fn with_artifacts(run: u128, item: u32, number: u16) -> Change {
    let mut ended = attempt(run, item, number, Outcome::Fail);
    if let Change::AttemptEnded { result, .. } = &mut ended {
        Arc::make_mut(result).artifacts = Some(Box::new(artifacts()));
    }
    ended
}

fn artifacts() -> Artifacts {
    let mut kept = Artifacts::new("work/t#1".to_owned());
    let file = |path: &str, digest| Artifact { path: path.to_owned(), bytes: 3, digest };
    kept.files = vec![file("core", None), file("out/count", Some(Digest([7; 32])))];
    kept.leave_out("link", "it is a symbolic link");
    kept.unnamed = 2;
    kept
}

/// An attempt that ended and gave its item the verdict that goes with its outcome.
pub fn attempt(run: u128, item: u32, number: u16, outcome: Outcome) -> Change {
    Change::AttemptEnded {
        attempt: AttemptRef { run: RunId(run), item: ItemIx(item), attempt: number },
        unit: UnitId(u64::from(number)),
        device: "slot-1".into(),
        result: Arc::new(result(
            outcome,
            1000 * u64::from(number),
            Output::Inline(b"\x01\x00\x02hi".to_vec()),
        )),
        record: ItemRecord {
            attempts: number,
            tries: number,
            lab_errors: 0,
            failed: !outcome.is_good(),
            verdict: Some(Verdict::from(outcome)),
            reason: String::new(),
            failed_on: Vec::new(),
        },
    }
}
