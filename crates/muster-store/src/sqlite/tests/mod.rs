//! What only a database and files can get wrong: full disks, damage, several processes, sudden death.

mod cold;
mod damage;
mod fixtures;
mod removal;

use super::{Sqlite, open, run_dir};
use crate::contract::{Records, all, attempt, record, see};
use crate::segment;
use crate::{ItemFilter, LabKey, RunFilter, RunLock, Store, StoreError};
use muster_core::attempt::Output;
use muster_core::change::{Change, RunPhase, SentUnit};
use muster_core::id::{DeviceId, ItemIx, LeaseId, RunId, UnitId};
use muster_core::outcome::Outcome;
use removal::removal;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

const LAB: LabKey = LabKey(1);

fn fresh() -> (TempDir, PathBuf, Sqlite) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(".muster");
    let store = Sqlite::open(&root, LAB).unwrap();
    (dir, root, store)
}

fn created(run: u32) -> Change {
    Change::RunCreated(record(u128::from(run), "area", run))
}

fn ended(run: u32) -> Change {
    let phase = RunPhase::Ended { at: muster_core::time::Time(7) };
    Change::RunState { run: RunId(u128::from(run)), phase }
}

fn with_output(run: u32, number: u16, bytes: Vec<u8>) -> Change {
    let mut change = attempt(u128::from(run), 0, number, Outcome::Pass);
    let Change::AttemptEnded { result, .. } = &mut change else { unreachable!() };
    Arc::make_mut(result).output = Output::Inline(bytes);
    change
}

/// The output of an attempt of a run's first item, as it is kept.
fn kept_output(store: &mut Sqlite, run: u32, nth: usize) -> Output {
    store.list_attempts(RunId(u128::from(run)), ItemIx(0)).unwrap()[nth].result.output.clone()
}

/// Asks everything; only what is said matters, not what the answer is.
fn ask_everything(store: &mut Sqlite) -> Result<(), StoreError> {
    store.load_snapshot()?;
    store.list_durations("area", &[])?;
    store.list_history("area", "unit", None, None, 9)?;
    for run in store.list_runs(&RunFilter::default())? {
        for attempt in store.load_run(run.id, ItemFilter::All)?.all_items().flat_map(|(_, i)| &i.attempts) {
            store.read_output(run.id, &attempt.result.output)?;
        }
        assert!(run.counts.total() >= run.counts.failed());
        store.list_failures(run.id)?;
        store.list_late_evidence(run.id)?;
        store.load_run_snapshot(run.id)?;
    }
    Ok(())
}

#[test]
fn a_full_disk_leaves_nothing_half_done() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1)]).unwrap();
    let pages: i64 = store.conn.query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    let set_max = |store: &Sqlite, max: i64| {
        store.conn.query_row(&format!("PRAGMA max_page_count = {max}"), [], |_| Ok(())).unwrap();
    };
    set_max(&store, pages + 5);
    let mut filled = 0;
    let error = loop {
        let changes: Vec<Change> = (1..=10).map(|n| with_output(1, filled * 10 + n, vec![7; 1000])).collect();
        let before = see(&mut store, &["area"]);
        match store.commit(&changes) {
            Ok(()) => filled += 1,
            Err(error) => {
                assert_eq!(see(&mut store, &["area"]), before);
                break error;
            }
        }
    };
    assert!(matches!(&error, StoreError::Full { path } if path.starts_with(&root)), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    // Room is made, and the very same changes are taken.
    set_max(&store, 1 << 20);
    let again: Vec<Change> = (1..=10).map(|n| with_output(1, filled * 10 + n, vec![7; 1000])).collect();
    store.commit(&again).unwrap();
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn an_output_that_cannot_be_written_fails_the_whole_commit() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1)]).unwrap();
    let in_the_way = run_dir(&root, 1).join(segment::FILE);
    fs::create_dir_all(&in_the_way).unwrap();
    let before = see(&mut store, &["area"]);
    let changes = [attempt(1, 1, 1, Outcome::Pass), with_output(1, 1, vec![1; 5000])];
    let error = store.commit(&changes).unwrap_err();
    assert!(matches!(&error, StoreError::Io { path, .. } if *path == in_the_way), "{error}");
    assert_eq!(see(&mut store, &["area"]), before);
    fs::remove_dir(&in_the_way).unwrap();
    store.commit(&changes).unwrap();
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn readers_wait_for_no_writer_and_change_nothing() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1), attempt(1, 0, 1, Outcome::Pass)]).unwrap();
    let mut reader = Sqlite::open_to_read(&root).unwrap();
    let before = see(&mut reader, &["area"]);
    // A writer in the midst of its transaction.
    store.conn.execute_batch("BEGIN IMMEDIATE; DELETE FROM records;").unwrap();
    assert_eq!(see(&mut reader, &["area"]), before);
    assert_eq!(see(&mut Sqlite::open_to_read(&root).unwrap(), &["area"]), before);
    store.conn.execute_batch("ROLLBACK").unwrap();
    store.commit(&[attempt(1, 1, 1, Outcome::Pass)]).unwrap();
    assert_eq!(reader.list_runs(&RunFilter::default()).unwrap()[0].counts.total(), 2);

    let refused = [
        reader.commit(&[created(2)]).err(),
        reader.remove_run(RunId(1), &removal(Vec::new())).err(),
        reader.compact().err(),
        reader.adopt_run(RunId(1)).err(),
        reader.reserve_number("area").err(),
        reader.delete_lab().err(),
    ];
    for error in refused.map(Option::unwrap) {
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    }
}

#[test]
fn reading_where_there_are_no_records_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(".muster");
    let error = Sqlite::open_to_read(&root).err().unwrap();
    assert!(matches!(error, StoreError::NoStore { .. }), "{error}");
    assert!(!root.exists());
}

#[test]
fn several_writers_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(".muster");
    std::thread::scope(|scope| {
        for lab in 1..=4 {
            let root = &root;
            scope.spawn(move || {
                let mut store = Sqlite::open(root, LabKey(lab)).unwrap();
                let number = store.reserve_number("area").unwrap();
                store.commit(&[Change::RunCreated(record(u128::from(lab), "area", number))]).unwrap();
                for n in 1..=10 {
                    let big = vec![lab as u8; 2000];
                    store.commit(&[with_output(lab as u32, n, big)]).unwrap();
                }
            });
        }
    });
    let mut store = Sqlite::open(&root, LAB).unwrap();
    let runs = store.list_runs(&RunFilter::default()).unwrap();
    let mut numbers: Vec<u32> = runs.iter().map(|r| r.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for run in 1..=4 {
        assert_eq!(store.list_attempts(RunId(run), ItemIx(0)).unwrap().len(), 10);
        let last = kept_output(&mut store, run as u32, 9);
        assert_eq!(store.read_output(RunId(run), &last).unwrap(), [run as u8; 2000]);
    }
    assert_eq!(store.check().unwrap(), []);
}

const CHILD_ROOT: &str = "MUSTER_STORE_TEST_ROOT";

/// Not a test of its own: the process that is killed below.
#[test]
#[ignore = "run by `what_was_committed_survives_the_death_of_the_process`"]
fn commit_without_end() {
    let Some(root) = std::env::var_os(CHILD_ROOT) else { return };
    let mut store = Sqlite::open(Path::new(&root), LAB).unwrap();
    store.commit(&[created(1)]).unwrap();
    for n in 1.. {
        store.commit(&[with_output(1, n, vec![n as u8; 1000 + usize::from(n)])]).unwrap();
        println!("committed {n}");
    }
}

#[test]
fn what_was_committed_survives_the_death_of_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(".muster");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite::tests::commit_without_end", "--ignored", "--nocapture"])
        .env(CHILD_ROOT, &root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = lines.filter_map(|l| l.rsplit_once("committed ")?.1.parse::<usize>().ok());
    let enough = said.by_ref().find(|n| *n >= 60).unwrap();
    child.kill().unwrap();
    let last = said.last().unwrap_or(enough);
    child.wait().unwrap();

    let mut store = Sqlite::open(&root, LAB).unwrap();
    let attempts = store.list_attempts(RunId(1), ItemIx(0)).unwrap();
    // One more may have been committed without the word of it having come out.
    assert!(attempts.len() == last || attempts.len() == last + 1, "{} of {last}", attempts.len());
    assert_eq!(store.check().unwrap(), []);
    let next = attempts.len() as u16 + 1;
    store.commit(&[with_output(1, next, vec![0; 2000])]).unwrap();
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn ten_thousand_tests_make_a_handful_of_files() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1)]).unwrap();
    for thousand in 0..10 {
        let big = |n: u16| {
            with_output(1, thousand * 1000 + n, vec![1; if n.is_multiple_of(10) { 1500 } else { 20 }])
        };
        store.commit(&(1..=1000).map(big).collect::<Vec<_>>()).unwrap();
    }
    let mut found: Vec<String> = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => found.push(entry.path().strip_prefix(&root).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    assert_eq!(found, [".gitignore", "muster.db", "muster.db-shm", "muster.db-wal", "runs/1/output.seg"]);
    assert_eq!(fs::read_to_string(root.join(".gitignore")).unwrap(), "*\n");
}

#[test]
fn compacting_removes_directories_of_no_run_unless_somebody_is_there() {
    let (_dir, root, mut store) = fresh();
    let numbers: Vec<u32> = (0..3).map(|_| store.reserve_number("area").unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    store.commit(&[created(1)]).unwrap();
    let _starting = RunLock::acquire(&run_dir(&root, 3)).unwrap();
    store.compact().unwrap();
    let exists = |n| run_dir(&root, n).exists();
    assert_eq!([exists(1), exists(2), exists(3)], [true, false, true]);
}

#[test]
fn the_unit_of_an_attempt_is_found_until_its_result_is_there() {
    let (_dir, root, mut store) = fresh();
    let attempts = vec![(ItemIx(0), 1), (ItemIx(1), 1)];
    let unit = SentUnit { unit: UnitId(7), run: RunId(1), attempts };
    let lease = LeaseId(1);
    let leased = Change::LeaseGranted { lease, devices: vec![DeviceId(1)] };
    store.commit(&[created(1), leased, Change::Sent { lease, units: vec![unit] }]).unwrap();
    let mut reader = Sqlite::open_to_read(&root).unwrap();
    let mut find = |item, number| reader.find_unit(RunId(1), ItemIx(item), number).unwrap();
    assert_eq!(
        [find(0, 1), find(1, 1), find(1, 2), find(2, 1)],
        [Some(UnitId(7)), Some(UnitId(7)), None, None]
    );
    store.commit(&[attempt(1, 0, 1, Outcome::Pass)]).unwrap();
    assert_eq!([find(0, 1), find(1, 1)], [None, Some(UnitId(7))]);
    store.commit(&[Change::LeaseEnded { lease }]).unwrap();
    assert_eq!(find(1, 1), None);
}

/// As on a network file system.
struct WithoutLog(TempDir);

impl Records for WithoutLog {
    fn open(&self, lab: LabKey) -> Box<dyn Store> {
        let root = self.0.path().join(".muster");
        if !root.exists() {
            open::create(&root, &root.join(open::FILE), false).unwrap();
        }
        Box::new(Sqlite::open(&root, lab).unwrap())
    }
}

#[test]
fn the_contract_holds_without_a_write_ahead_log() {
    for case in all() {
        println!("{}", case.name);
        let records = WithoutLog(tempfile::tempdir().unwrap());
        (case.check)(&records);
        assert!(!records.0.path().join(".muster/muster.db-wal").exists());
    }
}
