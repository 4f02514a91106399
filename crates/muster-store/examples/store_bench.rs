//! What records cost: commits in batches, and queries of a large run.
//!
//! `cargo run --release -p muster-store --features contract --example store_bench [ITEMS]`, or, for a store
//! of many large runs (150 bytes a result), `… --example store_bench many RUNS ITEMS`
//!
//! The sqlite backend is measured in the temporary directory and, where there is one, in memory
//! (`/dev/shm`): there a sync costs nothing, so what remains is our own part. Times are of the wall and,
//! in brackets, of the processor, which is what to look at on a busy machine.

#![expect(clippy::print_stdout, reason = "a report is what it is for")]

use muster_core::attempt::{AttemptResult, Cause, Output, Usage};
use muster_core::change::{Change, ItemRecord, RunPhase, RunRecord};
use muster_core::id::{AttemptRef, DeviceId, ItemIx, LeaseId, RunId, UnitId};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::plan::{PlannedItem, PlannedItems};
use muster_core::time::Time;
use muster_store::contract::record;
use muster_store::{ItemFilter, LabKey, Mem, RunFilter, RunName, Sqlite, Store};
use std::fmt;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LAB: LabKey = LabKey(1);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, many, runs, items] = args.as_slice()
        && many == "many"
    {
        let number = |text: &str| text.parse().expect("RUNS and ITEMS are numbers");
        let dir = tempfile::tempdir().expect("a directory can be made");
        return many_runs(&dir.path().join("many"), number(runs), number(items));
    }
    let items: u32 = std::env::args().nth(1).map_or(100_000, |a| a.parse().expect("ITEMS is a number"));
    println!("## mem");
    commits(&mut |name| Box::new(Mem::new(LabKey(name.len() as u64))), items);
    for place in [std::env::temp_dir(), "/dev/shm".into()] {
        if !place.is_dir() {
            continue;
        }
        let dir = tempfile::tempdir_in(&place).expect("a directory can be made there");
        println!("## sqlite in {}", place.display());
        let open = |name: &str| -> Box<dyn Store> {
            Box::new(Sqlite::open(&dir.path().join(name), LAB).expect("records can be opened"))
        };
        commits(&mut |name| open(name), items);
        opening(&dir.path().join("1000"));
        queries(&mut *open("1000"), items);
        many_runs(&dir.path().join("many"), 2000, 50);
    }
}

/// A run of one test with so many items.
fn run(id: u128, items: u32) -> Arc<RunRecord> {
    let mut record = (*record(id, "area", id as u32)).clone();
    let tests = &mut Arc::make_mut(&mut record.plan).tests;
    tests.truncate(2);
    let PlannedItems::Listed(listed) = &mut tests[1].items else { unreachable!("`unit` lists its items") };
    let one = listed[0].clone();
    *listed = (0..items)
        .map(|i| PlannedItem { path: format!("group/{:02}/case {i:06}", i % 50).into(), ..one.clone() })
        .collect();
    Arc::new(record)
}

/// An attempt of a no-op test that prints a line; one in a thousand fails.
fn ended(run: u128, item: u32) -> Change {
    let outcome = if item % 1000 == 7 { Outcome::Fail } else { Outcome::Pass };
    let result = AttemptResult {
        outcome,
        cause: Cause::Exit(0),
        message: String::new(),
        started: Time(1_700_000_000_000_000 + u64::from(item)),
        duration: Duration::from_micros(400 + u64::from(item % 97)),
        usage: Usage { user_micros: 300, system_micros: 200, memory_peak_bytes: 1 << 20, ..Usage::default() },
        steps: Vec::new(),
        measures: Vec::new(),
        output: Output::Inline(b"\x01\x00\x06hello\n".to_vec()),
        leaked: 0,
        artifacts: None,
    };
    Change::AttemptEnded {
        attempt: AttemptRef { run: RunId(run), item: ItemIx(item + 1), attempt: 1 },
        unit: UnitId(u64::from(item)),
        device: "slot-1".into(),
        result: Arc::new(result),
        record: ItemRecord {
            attempts: 1,
            tries: 1,
            verdict: Some(Verdict::from(outcome)),
            failed: outcome == Outcome::Fail,
            ..ItemRecord::default()
        },
    }
}

/// As a lab commits: units sent, results back. Items come in an order that is not that of the plan.
fn commits(open: &mut dyn FnMut(&str) -> Box<dyn Store>, items: u32) {
    for batch in [1, 100, 500, 1000] {
        let mut store = open(&batch.to_string());
        let n = if batch == 1 { items.min(500) } else { items };
        let record = run(1, items);
        let lease = LeaseId(1);
        let leased = Change::LeaseGranted { lease, devices: vec![DeviceId(1)] };
        let first = [Change::RunCreated(record), leased];
        let created = timed(|| store.commit(&first).expect("a run can be created"));
        let shuffled = |i: u32| (u64::from(i) * 7919 % u64::from(n)) as u32;
        let (mut results, mut sends) = (Took::default(), Took::default());
        for first in (0..n).step_by(batch as usize) {
            let list: Vec<u32> = (first..n.min(first + batch)).map(shuffled).collect();
            let sent: Vec<Change> = list
                .iter()
                .map(|i| Change::Sent {
                    lease,
                    units: vec![muster_core::change::SentUnit {
                        unit: UnitId(u64::from(*i)),
                        run: RunId(1),
                        attempts: vec![(ItemIx(i + 1), 1)],
                    }],
                })
                .collect();
            let changes: Vec<Change> = list.iter().map(|i| ended(1, *i)).collect();
            sends += timed(|| store.commit(&sent).expect("units can be sent"));
            results += timed(|| store.commit(&changes).expect("results can be committed"));
        }
        let per_second = |t: Duration| f64::from(n) / t.as_secs_f64();
        println!(
            "commits of {batch:>4}: {:>9.0} ({:>9.0}) results/s, {:>9.0} ({:>9.0}) units sent/s; \
             creating the run {created}",
            per_second(results.wall),
            per_second(results.cpu),
            per_second(sends.wall),
            per_second(sends.cpu),
        );
    }
}

/// Time of the wall and of this thread on the processor.
#[derive(Clone, Copy, Default)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2?} ({:.2?})", self.wall, self.cpu)
    }
}

impl AddAssign for Took {
    fn add_assign(&mut self, more: Self) {
        self.wall += more.wall;
        self.cpu += more.cpu;
    }
}

fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn timed<T>(what: impl FnOnce() -> T) -> Took {
    let (wall, began) = (Instant::now(), cpu());
    drop(what());
    Took { wall: wall.elapsed(), cpu: cpu() - began }
}

/// The best of several, as others use the machine too.
fn best<T>(mut what: impl FnMut() -> T) -> Took {
    let all: Vec<Took> = (0..5).map(|_| timed(&mut what)).collect();
    let least = |part: fn(&Took) -> Duration| all.iter().map(part).min().expect("five of them");
    Took { wall: least(|t| t.wall), cpu: least(|t| t.cpu) }
}

fn opening(existing: &Path) {
    println!("open existing: {}", best(|| Sqlite::open(existing, LAB).expect("it is there")));
    println!("open to read: {}", best(|| Sqlite::open_to_read(existing).expect("it is there")));
    let mut n = 0;
    let fresh = best(|| {
        n += 1;
        Sqlite::open(&existing.with_file_name(format!("new {n}")), LAB).expect("it can be made")
    });
    println!("make and open: {fresh}");
}

fn queries(store: &mut dyn Store, items: u32) {
    let run = RunId(1);
    println!("{items} items:");
    println!("  failures: {}", best(|| store.list_failures(run).expect("failures")));
    println!("  snapshot: {}", best(|| store.load_snapshot().expect("a snapshot")));
    println!("  durations: {}", best(|| store.list_durations("area", &[]).expect("durations")));
    println!("  view, all: {}", best(|| store.load_run(run, ItemFilter::All).expect("a view")));
    println!("  view, not ok: {}", best(|| store.load_run(run, ItemFilter::NotOk).expect("a view")));
    let item = ItemFilter::Item("unit", "group/00/case 000100");
    println!("  view, one item: {}", best(|| store.load_run(run, item).expect("a view")));
    println!("  attempts: {}", best(|| store.list_attempts(run, ItemIx(5)).expect("attempts")));
    let history = best(|| store.list_history("area", "unit", Some("group/00/case 000100"), None, 5));
    println!("  history of an item: {history}");
}

/// What depends on how much there is.
fn many_runs(dir: &Path, runs: u32, items: u32) {
    let mut store = Sqlite::open(dir, LAB).expect("records can be opened");
    for id in 1..=u128::from(runs) {
        let mut changes = vec![Change::RunCreated(run(id, items))];
        changes.extend((0..items).map(|i| ended(id, i)));
        changes.push(Change::RunState { run: RunId(id), phase: RunPhase::Ended { at: Time(1) } });
        store.commit(&changes).expect("a run can be recorded");
    }
    println!("{runs} runs of {items} items:");
    let reopened = || Sqlite::open(dir, LAB).expect("records can be opened");
    let all = RunFilter { area: Some("area".to_owned()), limit: runs, ..RunFilter::default() };
    println!("  open and list all: {}", best(|| reopened().list_runs(&all).expect("a list")));
    println!("  latest: {}", best(|| store.find_run("area", RunName::Latest).expect("a run")));
    let mut nth = 0;
    let failures = best(|| {
        nth += 1;
        reopened().list_failures(RunId(u128::from(runs * nth / 6 + 1))).expect("failures")
    });
    println!("  open and list the failures of one: {failures}");
    println!("  durations: {}", best(|| store.list_durations("area", &[]).expect("durations")));
    let case = Some("group/03/case 000003");
    let history = best(|| store.list_history("area", "unit", case, None, 50).expect("history"));
    println!("  history of an item in 50 runs: {history}");
    drop(store);
    let mut id = u128::from(runs);
    let mut start = |dir: &Path| {
        best(|| {
            id += 1;
            let mut store = Sqlite::open(dir, LAB).expect("records can be opened");
            store.commit(&[Change::RunCreated(run(id, 50))]).expect("a run can be recorded");
        })
    };
    println!("  open and create a run: {}", start(dir));
    println!("  the same with an empty store: {}", start(&dir.with_file_name("empty")));
}
