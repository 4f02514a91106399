//! What is asked of one run costs the same however many others there are. Processor time of the same question to few
//! runs and to ten times as many is compared, the best of several tries each; how long anything takes is not asked.
//! `cargo xtask bench --only scale` measures the same for areas of any size.

use super::Sqlite;
use crate::contract::{attempt, record};
use crate::{HotLimits, ItemFilter, LabKey, RunFilter, RunName, Store as _};
use muster_core::change::{Change, RunPhase, RunRecord};
use muster_core::id::RunId;
use muster_core::outcome::Outcome;
use muster_core::plan::PlannedItems;
use muster_core::time::Time;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const LAB: LabKey = LabKey(1);
const FEW: u32 = 16;
const ITEMS: u32 = 150;
const TRIES: u32 = 15;
/// Ten times the runs may cost this much more, and so much more in any case.
const RATIO: u32 = 3;
const GRAIN: Duration = Duration::from_micros(100);

/// What is asked, and how; it asserts what it is answered.
type Question<'a> = (&'static str, Box<dyn Fn(&mut Records) + 'a>);

struct Records {
    _dir: TempDir,
    store: Sqlite,
    runs: u32,
}

fn run(id: u32) -> Arc<RunRecord> {
    let mut record = (*record(u128::from(id), "area", id)).clone();
    let tests = &mut Arc::make_mut(&mut record.plan).tests;
    tests.truncate(2);
    let PlannedItems::Listed(listed) = &mut tests[1].items else { unreachable!("`unit` lists its items") };
    let one = listed[0].clone();
    *listed = (0..ITEMS)
        .map(|i| muster_core::plan::PlannedItem { path: format!("{i}").into(), ..one.clone() })
        .collect();
    Arc::new(record)
}

fn records(runs: u32) -> Records {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Sqlite::open(&dir.path().join(".muster"), LAB).unwrap();
    for id in 1..=runs {
        let outcome = |i| if i % 50 == 7 { Outcome::Fail } else { Outcome::Pass };
        let mut changes = vec![Change::RunCreated(run(id))];
        changes.extend((1..=ITEMS).map(|i| attempt(u128::from(id), i, 1, outcome(i))));
        changes.push(ended(id));
        store.commit(&changes).unwrap();
    }
    Records { _dir: dir, store, runs }
}

fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[test]
fn what_is_asked_of_a_run_costs_the_same_beside_ten_times_as_many() {
    let (mut few, mut many) = (records(FEW), records(10 * FEW));
    let area = Some("area".to_owned());
    let newest = RunFilter { area, limit: 10, ..RunFilter::default() };
    let limits = HotLimits { runs: Some(FEW / 2), ..HotLimits::default() };
    let old = RunId(3);
    let questions: Vec<Question<'_>> = vec![
        ("open", Box::new(|r| drop(Sqlite::open(r.store.root(), LAB).unwrap()))),
        ("list the newest", Box::new(|r| assert_eq!(r.store.list_runs(&newest).unwrap().len(), 10))),
        (
            "find by number",
            Box::new(|r| drop(r.store.find_run("area", RunName::Number(3)).unwrap().unwrap())),
        ),
        ("failures", Box::new(|r| assert_eq!(r.store.list_failures(old).unwrap().len(), 3))),
        ("roll-up", Box::new(|r| drop(r.store.load_run(old, ItemFilter::All).unwrap()))),
        ("snapshot to go on with", Box::new(|r| drop(r.store.load_run_snapshot(old).unwrap()))),
        ("history", Box::new(|r| drop(r.store.list_history("area", "unit", Some("5"), None, 5).unwrap()))),
        (
            "to the cold tier and back",
            Box::new(|r| {
                r.store.reduce_run(old).unwrap();
                r.store.restore_run(old).unwrap();
            }),
        ),
        (
            "begin a run",
            Box::new(|r| {
                r.runs += 1;
                r.store.commit(&[Change::RunCreated(run(r.runs))]).unwrap();
            }),
        ),
        (
            "what is due, when all that was has gone",
            Box::new(|r| {
                for run in r.store.list_due("area", &limits, u32::MAX).unwrap() {
                    r.store.reduce_run(run).unwrap();
                }
                assert_eq!(r.store.list_due("area", &limits, 9).unwrap(), []);
            }),
        ),
        ("failures in the cold tier", Box::new(|r| assert_eq!(r.store.list_failures(old).unwrap().len(), 3))),
    ];
    compare(&mut few, &mut many, questions);
}

/// Runs in which nothing happened: more than are looked at for how long items take.
const HEADS: u32 = 250;

#[test]
fn a_run_is_found_by_name_and_target_without_a_look_at_all_others() {
    let heads = |runs: u32| {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Sqlite::open(&dir.path().join(".muster"), LAB).unwrap();
        let created = |id: u32| {
            let mut record = (*record(u128::from(id), "area", id)).clone();
            let spec = Arc::make_mut(&mut record.spec);
            spec.name = if id == 4 { String::new() } else { format!("nightly {id}") };
            if id == 5 {
                spec.target[0].1 = "beos".to_owned();
            }
            Change::RunCreated(Arc::new(record))
        };
        let mut changes: Vec<Change> = (1..=runs).map(created).collect();
        changes.extend([attempt(5, 1, 1, Outcome::Pass), ended(5), ended(6)]);
        store.commit(&changes).unwrap();
        store.reduce_run(RunId(6)).unwrap();
        Records { _dir: dir, store, runs }
    };
    let (mut few, mut many) = (heads(HEADS), heads(10 * HEADS));
    let once = vec![("os".to_owned(), "beos".to_owned())];
    let called = |name: &str| RunFilter { called: Some(name.to_owned()), ..RunFilter::default() };
    let numbers = |r: &mut Records, name: &str| {
        r.store.list_runs(&called(name)).unwrap().iter().map(|run| run.number).collect::<Vec<_>>()
    };
    let questions: Vec<Question<'_>> = vec![
        (
            "find by a name",
            Box::new(|r| {
                assert_eq!(r.store.find_run("area", RunName::Name("nightly 3")).unwrap().unwrap().number, 3);
                assert_eq!(r.store.find_run("area", RunName::Name("weekly")).unwrap(), None);
            }),
        ),
        (
            "list those that are called so",
            Box::new(|r| {
                assert_eq!(numbers(r, "nightly 3"), [3]);
                assert_eq!((numbers(r, "run-3"), numbers(r, "run-4")), (vec![], vec![4]));
            }),
        ),
        (
            "how long items take for a target of one old run",
            Box::new(|r| assert_eq!(r.store.list_durations("area", &once).unwrap().len(), 1)),
        ),
        ("what is in the cold tier", Box::new(|r| assert_eq!(r.store.list_cold().unwrap().len(), 1))),
    ];
    compare(&mut few, &mut many, questions);
}

fn ended(run: u32) -> Change {
    Change::RunState { run: RunId(u128::from(run)), phase: RunPhase::Ended { at: Time(u64::from(run)) } }
}

/// Asks both each of these; the second must not need much longer.
fn compare(few: &mut Records, many: &mut Records, questions: Vec<Question<'_>>) {
    for (name, ask) in questions {
        // Once before it counts, and in turn, so that what else goes on here is noise for both.
        ask(few);
        ask(many);
        let mut best = [Duration::MAX; 2];
        for _ in 0..TRIES {
            for (best, records) in best.iter_mut().zip([&mut *few, &mut *many]) {
                let begin = cpu();
                ask(records);
                *best = (*best).min(cpu() - begin);
            }
        }
        let [short, long] = best;
        assert!(
            long <= short * RATIO + GRAIN,
            "{name}: {short:?} of few runs, {long:?} of ten times as many"
        );
    }
}
