//! A place to call the program in, that nothing outside can change.

use muster_core::attempt::{AttemptResult, Cause, Measured, Output, StepResult, Usage};
use muster_core::change::{Change, ItemRecord, Placement, RunPhase, RunRecord, RunSpec};
use muster_core::definition::{
    After, AfterMode, AreaLimits, FlakyPolicy, ItemDef, Items, Kind, Line, Retries, Step, TestDef,
    UnexpectedPass,
};
use muster_core::id::{AttemptRef, ItemIx, RunId, UnitId};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::output::{Frame, Stream, push};
use muster_core::plan::{Expected, Plan, PlannedItem, PlannedItems, PlannedTest, Why};
use muster_core::select::Selection;
use muster_core::time::Time;
use muster_store::{LabKey, Sqlite, Store as _};
use std::path::PathBuf;
use std::process::{Command, Output as Said};
use std::sync::Arc;
use std::time::Duration;

/// 2026-11-20 18:00:00 UTC.
const START: Time = Time(1_795_197_600_000_000);

/// A directory with an area, and a home.
pub(crate) struct TestEnv {
    root: tempfile::TempDir,
}

impl TestEnv {
    /// An area that has a configuration and no records.
    pub(crate) fn new() -> Self {
        let env = Self { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(env.area()).unwrap();
        std::fs::create_dir_all(env.root.path().join("home")).unwrap();
        env.write("muster.toml", "[area]\nname = \"demo\"\n\n[test.boot]\nrun = \"true\"\n");
        env
    }

    pub(crate) fn area(&self) -> PathBuf {
        self.root.path().join("area")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Writes a file of the area.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.area().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The program, about to be called in the area.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command
            .args(args)
            .current_dir(self.area())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "UTC")
            .env("COLUMNS", "100");
        command
    }

    /// Calls it, and returns what came out of it in one text.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        self.tell(&self.command(args).output().unwrap())
    }

    pub(crate) fn tell(&self, said: &Said) -> String {
        let clean = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.replace(&*self.root.path().to_string_lossy(), "ROOT")
        };
        let (out, err) = (clean(&said.stdout), clean(&said.stderr));
        let mut all = out;
        if !err.is_empty() {
            all.push_str("--- stderr\n");
            all.push_str(&err);
        }
        let code = said.status.code().map_or_else(|| said.status.to_string(), |c| c.to_string());
        format!("{all}--- exit {code}\n")
    }

    /// Records two runs: number 1, in which `net/ping` passes and `net/tls` flakes, and number 2 `rc1`,
    /// in which `net/ping` fails, so that `deploy` is not run.
    pub(crate) fn seed(&self) {
        let root = self.area().join(".muster");
        let mut store = Sqlite::open(&root, LabKey(7)).unwrap();
        record(&mut store, 1, "", Outcome::Pass);
        record(&mut store, 2, "rc1", Outcome::Fail);
    }

    /// Records a third run that its process left behind.
    pub(crate) fn seed_killed(&self) {
        let root = self.area().join(".muster");
        let mut store = Sqlite::open(&root, LabKey(9)).unwrap();
        let record = run_record(3, "");
        store.commit(&[Change::RunCreated(Arc::new(record))]).unwrap();
    }
}

fn test_def(name: &str, items: &[&str], after: Vec<After>) -> TestDef {
    let items = match items {
        [""] => Items::None,
        all => {
            Items::Listed(all.iter().map(|p| ItemDef { path: (*p).to_owned(), vars: Vec::new() }).collect())
        }
    };
    let step = Step::new("run", Line::Shell("true".to_owned()));
    TestDef {
        after,
        retries: Retries { count: 1, delay: Duration::ZERO, flaky: FlakyPolicy::Pass, on: Vec::new() },
        tags: vec!["smoke".to_owned()],
        owner: "ana".to_owned(),
        description: format!("checks {name}"),
        origin: "muster.toml:4".to_owned(),
        ..TestDef::new(name, Kind::Steps { steps: vec![step], items })
    }
}

fn planned(def: TestDef, items: &[&str], why: Why) -> PlannedTest {
    let item = |path: &&str| PlannedItem {
        path: (*path).into(),
        vars: Arc::new([]),
        selector: "".into(),
        group: 0,
        timeout: None,
        skip: None,
        expected: Expected::default(),
        micros: None,
    };
    PlannedTest { def: Arc::new(def), why, items: PlannedItems::Listed(items.iter().map(item).collect()) }
}

const NET: [&str; 2] = ["ping", "tls"];

fn run_record(number: u32, name: &str) -> RunRecord {
    let after = vec![After { test: "net".to_owned(), mode: AfterMode::Passed }];
    let plan = Plan {
        tests: vec![
            planned(test_def("net", &NET, Vec::new()), &NET, Why::Asked),
            planned(test_def("deploy", &[""], after), &[""], Why::Asked),
        ],
    };
    let spec = RunSpec {
        name: name.to_owned(),
        area: "demo".to_owned(),
        target: vec![("os".to_owned(), "linux".to_owned())],
        area_dir: "/area".to_owned(),
        host: "box".to_owned(),
        env: Vec::new(),
        limits: AreaLimits::default(),
        unexpected_pass: UnexpectedPass::Fail,
        selection: Selection::default(),
        failures_max: None,
        trace_id: "0".repeat(32),
        placement: Placement::default(),
        inputs: muster_core::inputs::Inputs::default(),
        zone: muster_core::hours::Zone::default(),
        parts: Vec::new(),
    };
    RunRecord {
        id: RunId(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number)),
        number,
        created: START + Duration::from_secs(u64::from(number) * 60),
        spec: Arc::new(spec),
        plan: Arc::new(plan),
    }
}

fn record(store: &mut Sqlite, number: u32, name: &str, ping: Outcome) {
    let run = run_record(number, name);
    let (id, created) = (run.id, run.created);
    store.commit(&[Change::RunCreated(Arc::new(run))]).unwrap();
    let ended = |item: u32, attempt: u16, outcome: Outcome, verdict: Option<Verdict>| Change::AttemptEnded {
        attempt: AttemptRef { run: id, item: ItemIx(item), attempt },
        unit: UnitId(u64::from(number * 100 + item * 10) + u64::from(attempt)),
        device: "slot-1".into(),
        result: Arc::new(result(outcome, created, u64::from(number))),
        record: ItemRecord {
            attempts: attempt,
            tries: attempt,
            failed: attempt > 1 || !outcome.is_good(),
            verdict,
            ..ItemRecord::default()
        },
    };
    let mut changes = vec![ended(0, 1, ping, Some(ping.into()))];
    if number == 1 {
        changes.push(ended(1, 1, Outcome::Fail, None));
        changes.push(ended(1, 2, Outcome::Pass, Some(Verdict::Flaky)));
    } else {
        changes.push(ended(1, 1, Outcome::Pass, Some(Verdict::Pass)));
    }
    if ping == Outcome::Pass {
        changes.push(ended(2, 1, Outcome::Pass, Some(Verdict::Pass)));
    } else {
        let blocked = ItemRecord {
            verdict: Some(Verdict::PrerequisiteFailed),
            reason: "`net` came to `fail`".to_owned(),
            ..ItemRecord::default()
        };
        changes.push(Change::ItemSet { run: id, item: ItemIx(2), record: blocked });
    }
    let at = created + Duration::from_millis(12_400);
    changes.push(Change::RunState { run: id, phase: RunPhase::Ended { at } });
    store.commit(&changes).unwrap();
}

fn result(outcome: Outcome, created: Time, scale: u64) -> AttemptResult {
    let mut log = Vec::new();
    let mut say = |stream, at_millis, text: &str| {
        push(&mut log, Frame { stream, at_millis, text: text.as_bytes() });
    };
    say(Stream::Stdout, 3, "looking\n");
    let found = log_end(&mut say, outcome);
    AttemptResult {
        outcome,
        cause: Cause::Exit(i32::from(!outcome.is_good())),
        message: String::new(),
        started: created + Duration::from_secs(1),
        duration: Duration::from_millis(340 * scale),
        usage: Usage {
            user_micros: 12_000,
            system_micros: 3_000,
            memory_peak_bytes: 9 << 20,
            ..Usage::default()
        },
        steps: vec![
            StepResult {
                name: "look".to_owned(),
                outcome: Outcome::Pass,
                exit: Some(0),
                duration: Duration::from_millis(4),
                output_from: 0,
                message: String::new(),
            },
            StepResult {
                name: "judge".to_owned(),
                outcome,
                exit: Some(i32::from(!outcome.is_good())),
                duration: Duration::from_millis(300),
                // Behind the first frame: stream, time, length, text.
                output_from: 3 + "looking\n".len() as u64,
                message: String::new(),
            },
        ],
        measures: vec![Measured {
            name: "round-trip".to_owned(),
            value: 1.5,
            expected: Some(1.0),
            tolerance: "0.5".to_owned(),
            units: "ms".to_owned(),
            good: Some(true),
        }],
        output: if found { Output::Inline(log) } else { Output::None },
        leaked: 0,
        artifacts: None,
    }
}

fn log_end(say: &mut impl FnMut(Stream, u64, &str), outcome: Outcome) -> bool {
    if outcome.is_good() {
        say(Stream::Stdout, 1_250, "\x1b[32mfine\x1b[0m\n");
    } else {
        say(Stream::Stderr, 1_250, "error: host is down\n");
    }
    true
}
