//! What only a database and files can get wrong: full disks, damage, several processes, sudden death.

use super::{Sqlite, open, run_dir};
use crate::contract::{Records, all, attempt, record, see};
use crate::segment;
use crate::{
    Extent, ItemFilter, LabKey, Leftover, LockError, Mem, Removal, RunFilter, RunLock, RunName, RunPlace,
    Store, StoreError,
};
use muster_core::attempt::Output;
use muster_core::change::{Change, ItemRecord, MoveTo, Moved, Placement, RunPhase, RunSpec, SentUnit};
use muster_core::event::LabEvent;
use muster_core::id::{DeviceId, ItemIx, LeaseId, RunId, UnitId};
use muster_core::inputs::Inputs;
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use rusqlite::Connection;
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
fn damage_to_a_segment_is_told_with_its_place_and_hurts_nothing_else() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1), with_output(1, 1, vec![1; 2000]), with_output(1, 2, vec![2; 3000])]).unwrap();
    let path = run_dir(&root, 1).join(segment::FILE);
    let whole = fs::read(&path).unwrap();
    let (first, second) = (kept_output(&mut store, 1, 0), kept_output(&mut store, 1, 1));
    assert_eq!(second, Output::Segment { offset: 2016, len: 3000 });

    let mut flipped = whole.clone();
    flipped[2016 + 16 + 1500] ^= 1;
    fs::write(&path, &flipped).unwrap();
    let error = store.read_output(RunId(1), &second).unwrap_err().to_string();
    assert!(error.contains("output.seg") && error.contains("the entry at offset 2016"), "{error}");
    assert_eq!(store.read_output(RunId(1), &first).unwrap(), [1; 2000]);
    let faults = store.check().unwrap();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].place, "area/1/build/#2");

    for len in [0, 2015, 2016, 2020, 2032, 5031] {
        fs::write(&path, &whole[..len]).unwrap();
        let error = store.read_output(RunId(1), &second).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        store.read_output_range(RunId(1), &second, 10, 10).unwrap_err();
    }
    fs::remove_file(&path).unwrap();
    let error = store.read_output(RunId(1), &second).unwrap_err();
    assert!(matches!(error, StoreError::OutputGone { .. }), "{error}");
    // A reference that no writer made asks for no memory.
    for (offset, len) in [(u64::MAX, 1), (0, u64::MAX), (1, u64::MAX - 10)] {
        fs::write(&path, &whole).unwrap();
        store.read_output(RunId(1), &Output::Segment { offset, len }).unwrap_err();
    }
}

#[test]
fn a_torn_tail_of_a_segment_is_written_after() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1), with_output(1, 1, vec![1; 2000])]).unwrap();
    let path = run_dir(&root, 1).join(segment::FILE);
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(b"MSEGtorn");
    fs::write(&path, torn).unwrap();
    drop(store);
    let mut store = Sqlite::open(&root, LAB).unwrap();
    store.commit(&[with_output(1, 2, vec![2; 2000])]).unwrap();
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn files_of_output_are_read_from_the_runs_directory_and_nowhere_else() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1)]).unwrap();
    let dir = run_dir(&root, 1);
    fs::create_dir_all(dir.join("out")).unwrap();
    fs::write(dir.join("out/a.log"), b"0123456789").unwrap();
    fs::write(root.join("secret"), b"0123456789").unwrap();
    let file = |path: &str, len| Output::File { path: path.to_owned(), len };
    assert_eq!(store.read_output(RunId(1), &file("out/a.log", 10)).unwrap(), b"0123456789");
    // It may have grown since; what was recorded is what is shown.
    assert_eq!(store.read_output(RunId(1), &file("out/a.log", 4)).unwrap(), b"0123");
    assert_eq!(store.read_output_range(RunId(1), &file("out/a.log", 10), 8, 9).unwrap(), b"89");
    for path in ["../../secret", "/etc/passwd", "out/../../../secret", ""] {
        let error = store.read_output(RunId(1), &file(path, 1)).unwrap_err();
        assert!(matches!(error, StoreError::OutputOutside { .. }), "{path}: {error}");
    }
    let error = store.read_output(RunId(1), &file("out/a.log", 11)).unwrap_err();
    assert!(matches!(error, StoreError::OutputGone { .. }), "{error}");
    let error = store.read_output(RunId(1), &file("out/b.log", 1)).unwrap_err();
    assert!(matches!(error, StoreError::OutputGone { .. }), "{error}");
}

#[test]
fn a_database_that_is_not_ours_is_refused_and_left_alone() {
    let (_dir, root, store) = fresh();
    drop(store);
    let db = root.join(open::FILE);

    let conn = Connection::open(&db).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    for error in [Sqlite::open(&root, LAB).err().unwrap(), Sqlite::open_to_read(&root).err().unwrap()] {
        assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("newer Muster"), "{error}");
    }

    fs::remove_file(&db).unwrap();
    let conn = Connection::open(&db).unwrap();
    conn.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    drop(conn);
    let error = Sqlite::open(&root, LAB).err().unwrap();
    assert!(error.to_string().contains("another program's database"), "{error}");

    let text = b"this is no database, it only has its name".repeat(200);
    fs::write(&db, &text).unwrap();
    for error in [Sqlite::open(&root, LAB).err().unwrap(), Sqlite::open_to_read(&root).err().unwrap()] {
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("muster.db") && said.contains("move `.muster` away"), "{said}");
    }
    assert_eq!(fs::read(&db).unwrap(), text);
}

/// Records with something in every table, in one file without a log.
fn whole_database(dir: &Path) -> Vec<u8> {
    let root = dir.join("whole");
    let mut store = Sqlite::open(&root, LAB).unwrap();
    for run in 1..20 {
        let fail = attempt(u128::from(run), 1, 1, Outcome::Fail);
        store.commit(&[created(run), with_output(run, 1, vec![1; 900]), fail]).unwrap();
    }
    store.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(store);
    fs::read(root.join(open::FILE)).unwrap()
}

#[test]
fn a_cut_database_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole_database(dir.path());
    let mut refused = 0;
    // At least a page is missing: zeros in place of a page's end may happen to be free space.
    for len in (0..whole.len() - 4096).step_by(whole.len() / 23) {
        let root = dir.path().join(len.to_string());
        fs::create_dir(&root).unwrap();
        fs::write(root.join(open::FILE), &whole[..len]).unwrap();
        let outcome = Sqlite::open(&root, LAB).and_then(|mut store| {
            ask_everything(&mut store)?;
            store.commit(&[created(99)])?;
            assert_ne!(store.check()?, [], "{len} of {} bytes pass for whole", whole.len());
            Ok(())
        });
        if let Err(error) = outcome {
            assert!(matches!(error, StoreError::Damaged { .. }), "{len} bytes: {error}");
            refused += 1;
        }
    }
    assert!(refused > 15, "only {refused} were refused");
}

#[test]
fn a_database_with_wrong_bytes_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole_database(dir.path());
    let root = dir.path().join("wrong");
    let mut noise = 1u64;
    for round in 0..150 {
        let mut wrong = whole.clone();
        for _ in 0..=round % 4 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (noise >> 20) as usize % wrong.len();
            wrong[at] ^= (noise >> 8) as u8 | 1;
        }
        fs::create_dir(&root).unwrap();
        fs::write(root.join(open::FILE), &wrong).unwrap();
        if let Ok(mut store) = Sqlite::open(&root, LAB) {
            // Damage to a value may go unseen; what matters is that every answer is one.
            drop(ask_everything(&mut store));
            drop(store.commit(&[attempt(1, 2, 1, Outcome::Pass)]));
            drop(store.check());
        }
        fs::remove_dir_all(&root).unwrap();
    }
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

/// Not a test of its own: the process that is killed below.
#[test]
#[ignore = "run by `a_run_is_whole_wherever_the_process_died_that_moved_it_between_the_tiers`"]
fn move_between_the_tiers_without_end() {
    let Some(root) = std::env::var_os(CHILD_ROOT) else { return };
    let mut store = Sqlite::open(Path::new(&root), LAB).unwrap();
    for n in 1.. {
        store.reduce_run(RunId(1)).unwrap();
        store.restore_run(RunId(1)).unwrap();
        println!("moved {n}");
    }
}

#[test]
fn a_run_is_whole_wherever_the_process_died_that_moved_it_between_the_tiers() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1)]).unwrap();
    let many = (1..200).map(|n| with_output(1, n, vec![n as u8; 500]));
    store.commit(&many.chain([ended(1)]).collect::<Vec<_>>()).unwrap();
    let before = see(&mut store, &["area"]);
    for round in 0..8_u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sqlite::tests::move_between_the_tiers_without_end",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_ROOT, &root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        lines.filter(|l| l.contains("moved ")).take(1 + round as usize % 3).for_each(drop);
        // Somewhere in the midst of a step, another one each time.
        std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 900));
        child.kill().unwrap();
        child.wait().unwrap();

        let mut store = Sqlite::open(&root, LAB).unwrap();
        store.restore_run(RunId(1)).unwrap();
        assert_eq!(see(&mut store, &["area"]), before, "round {round}");
        store.reduce_run(RunId(1)).unwrap();
        let after = store.load_run(RunId(1), ItemFilter::All).unwrap();
        assert_eq!(after.counts.total(), 1, "round {round}");
        assert_eq!(store.check().unwrap(), []);
    }
    store.restore_run(RunId(1)).unwrap();
    store.compact().unwrap();
    assert_eq!(fs::read_dir(root.join("cold")).unwrap().count(), 0, "nothing is left behind");
    assert_eq!(see(&mut store, &["area"]), before);
}

#[test]
fn files_of_the_cold_tier_that_no_row_speaks_of_change_nothing_and_go() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1), with_output(1, 1, vec![1; 500]), ended(1), created(2), ended(2)]).unwrap();
    store.reduce_run(RunId(1)).unwrap();
    let cold = root.join("cold");
    let file = cold.join("1-1.db.zst");
    // As if the process had died before it said that the run is there, and another while it wrote.
    fs::copy(&file, cold.join("2-2.db.zst")).unwrap();
    fs::write(cold.join("2-2.db.zst.new"), "half").unwrap();
    let before = see(&mut store, &["area"]);
    store.reduce_run(RunId(2)).unwrap();
    store.restore_run(RunId(2)).unwrap();
    fs::copy(&file, cold.join("2-2.db.zst")).unwrap();
    store.compact().unwrap();
    assert_eq!(see(&mut store, &["area"]), before);
    let left: Vec<_> = fs::read_dir(&cold).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["1-1.db.zst"]);
}

#[test]
fn a_damaged_file_of_the_cold_tier_is_named_and_hurts_no_other_run() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1), with_output(1, 1, vec![1; 500]), ended(1), created(2), ended(2)]).unwrap();
    store.reduce_run(RunId(1)).unwrap();
    let file = root.join("cold/1-1.db.zst");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 0x10;
    for damaged in [Some(&whole[..middle]), Some(&flipped), Some(&[]), None] {
        match damaged {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let error = store.load_run(RunId(1), ItemFilter::All).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == file), "{error}");
        let refused = store.commit(&[attempt(1, 1, 1, Outcome::Pass)]).unwrap_err();
        assert!(matches!(&refused, StoreError::Damaged { path, .. } if *path == file), "{refused}");
        assert_eq!(store.list_runs(&RunFilter::default()).unwrap().len(), 2);
        store.load_run(RunId(2), ItemFilter::All).unwrap();
        assert_eq!(store.check().unwrap().len(), 1);
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn a_run_that_another_store_takes_in_is_the_same_there_and_leaves_a_word_here() {
    let (_dir, root, mut here) = fresh();
    let (_other, _, mut there) = fresh();
    there.commit(&[created(9)]).unwrap();
    let failed = attempt(1, 2, 1, Outcome::Crash);
    here.commit(&[created(1), with_output(1, 1, vec![3; 500]), failed, ended(1), created(2)]).unwrap();
    let file = root.join("moving");
    assert!(matches!(here.export_run(RunId(2), &file), Err(StoreError::NotOver { .. })));
    let early = here.stamp_run(RunId(1)).unwrap();
    here.reduce_run(RunId(1)).unwrap();
    let stays = RunPlace { dir: "/there".into(), area: "other area".to_owned(), number: 7 };
    let refused = here.leave_for(RunId(1), &stays, muster_core::time::Time(5), &early).unwrap_err();
    assert!(matches!(refused, StoreError::RunAlive { .. }), "it was changed meanwhile: {refused}");
    let seen = here.stamp_run(RunId(1)).unwrap();
    here.export_run(RunId(1), &file).unwrap();
    let number = there.reserve_number("other area").unwrap();
    let place = RunPlace { dir: "/there".into(), area: "other area".to_owned(), number };
    assert_eq!(there.import_run(&file, &place).unwrap(), RunId(1));
    let twice = there.import_run(&file, &place).unwrap_err();
    assert!(matches!(twice, StoreError::Contradiction { run: RunId(1), .. }), "{twice}");

    let mut expected = here.load_run(RunId(1), ItemFilter::All).unwrap();
    (expected.area, expected.number) = (place.area.clone(), place.number);
    assert_eq!(there.load_run(RunId(1), ItemFilter::All).unwrap(), expected);
    assert_eq!(there.list_failures(RunId(1)).unwrap(), here.list_failures(RunId(1)).unwrap());
    let snapshot = there.load_run_snapshot(RunId(1)).unwrap();
    assert_eq!(
        (snapshot.record.spec.area.as_str(), snapshot.record.spec.area_dir.as_str()),
        ("other area", "/there")
    );
    there.restore_run(RunId(1)).unwrap();
    assert_eq!(there.load_run(RunId(1), ItemFilter::All).unwrap(), expected);
    assert_eq!(there.list_failures(RunId(1)).unwrap(), here.list_failures(RunId(1)).unwrap());
    assert_eq!(there.check().unwrap(), []);

    assert_eq!(there.measure_run(RunId(1)).unwrap(), here.measure_run(RunId(1)).unwrap());
    here.leave_for(RunId(1), &place, muster_core::time::Time(5), &seen).unwrap();
    assert!(matches!(here.load_run(RunId(1), ItemFilter::All), Err(StoreError::UnknownRun { .. })));
    let moved = here.find_moved("area", RunName::Number(1)).unwrap().unwrap();
    assert_eq!((moved.run, &moved.place), (RunId(1), &place));
    assert_eq!(here.find_moved("area", RunName::Name("name 1")).unwrap(), Some(moved.clone()));
    assert_eq!(here.list_moved("area").unwrap(), [moved]);
    assert_eq!(here.find_moved("area", RunName::Number(2)).unwrap(), None);
    fs::write(&file, "nonsense").unwrap();
    assert!(matches!(here.import_run(&file, &place), Err(StoreError::Damaged { .. })));
    assert_eq!(here.check().unwrap(), []);
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
fn a_run_that_is_being_executed_is_not_deleted() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1), with_output(1, 1, vec![1; 2000])]).unwrap();
    let dir = store.run_dir(1).unwrap();
    let lock = RunLock::acquire(&dir).unwrap();
    let error = store.remove_run(RunId(1), &removal(Vec::new())).unwrap_err();
    assert!(matches!(error, StoreError::RunAlive { pid: Some(_), .. }), "{error}");
    assert!(matches!(RunLock::acquire(&dir), Err(LockError::Held { .. })));
    drop(lock);
    store.remove_run(RunId(1), &removal(Vec::new())).unwrap();
    store.finish_removals().unwrap();
    assert!(!run_dir(&root, 1).exists());
}

fn removal(files: Vec<Leftover>) -> Removal {
    Removal { by: "ana".to_owned(), at: Time(1), reason: String::new(), extent: Extent::Run, files }
}

#[test]
fn a_removal_that_was_cut_off_anywhere_is_finished_and_takes_nothing_else() {
    let (dir, root, mut store) = fresh();
    store.commit(&[created(1), with_output(1, 1, vec![1; 2000])]).unwrap();
    let at = |name: &str| dir.path().join(name);
    for made in ["disk/run/test", "disk/other", "links"] {
        fs::create_dir_all(at(made)).unwrap();
    }
    fs::write(at("disk/run/test/log"), "x").unwrap();
    fs::write(at("disk/other/log"), "x").unwrap();
    std::os::unix::fs::symlink(at("disk/other"), at("disk/run/test/elsewhere")).unwrap();
    std::os::unix::fs::symlink(at("disk/run/test"), at("links/test")).unwrap();
    let files = vec![
        Leftover::Link(at("links/test")),
        Leftover::Tree(at("disk/run/test")),
        Leftover::Empty(at("disk/run")),
        Leftover::Empty(at("disk")),
        // None of these is what it was taken for.
        Leftover::Link(at("disk/other")),
        Leftover::Tree(at("never")),
    ];
    store.remove_run(RunId(1), &removal(files)).unwrap();
    drop(store);
    // Gone for all who look, although nothing has been taken away; and cut off once more, in the middle.
    let mut store = Sqlite::open(&root, LabKey(2)).unwrap();
    assert_eq!(store.list_runs(&RunFilter::default()).unwrap(), []);
    assert!(at("disk/run/test/log").exists() && run_dir(&root, 1).exists());
    fs::rename(at("disk/run/test"), at("disk/run/.removed-1-test")).unwrap();
    store.finish_removals().unwrap();
    for gone in ["disk/run", "links/test", ".muster/runs/1"] {
        assert!(fs::symlink_metadata(at(gone)).is_err(), "{gone}");
    }
    assert!(at("disk/other/log").exists());
    // Done once: what comes to lie there later is somebody else's.
    fs::create_dir_all(at("disk/run/test")).unwrap();
    store.finish_removals().unwrap();
    assert!(at("disk/run/test").exists());
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn what_cannot_be_removed_keeps_nothing_else_and_never_takes_what_is_new() {
    let (dir, root, mut store) = fresh();
    store.commit(&[created(1), created(2)]).unwrap();
    let at = |name: &str| dir.path().join(name);
    for made in ["disk/stuck/test", "disk/one", "disk/two"] {
        fs::create_dir_all(at(made)).unwrap();
    }
    // Nothing can be renamed to this, whoever asks.
    let endless = at("disk/stuck").join("x".repeat(300));
    let tree = |name: &str| Leftover::Tree(at(name));
    let first = vec![Leftover::Tree(endless.clone()), tree("disk/one"), Leftover::Empty(at("disk/stuck"))];
    store.remove_run(RunId(1), &removal(first)).unwrap();
    store.remove_run(RunId(2), &removal(vec![tree("disk/two")])).unwrap();
    assert!(store.is_to_lose_files(1).unwrap());
    // It was cut off when a name was free, and somebody has it now.
    fs::rename(at("disk/one"), at("disk/.removed-1-one")).unwrap();
    fs::create_dir_all(at("disk/one/new")).unwrap();
    let failed = store.finish_removals().unwrap_err();
    assert!(failed.to_string().contains("remove"), "{failed}");
    for gone in ["disk/.removed-1-one", "disk/two", ".muster/runs/1", ".muster/runs/2"] {
        assert!(fs::symlink_metadata(at(gone)).is_err(), "{gone}");
    }
    assert!(at("disk/one/new").exists() && !store.is_to_lose_files(1).unwrap());
    // Only what failed is tried again.
    fs::create_dir_all(at("disk/two")).unwrap();
    fs::create_dir_all(run_dir(&root, 1)).unwrap();
    store.finish_removals().unwrap_err();
    assert!(at("disk/two").exists() && run_dir(&root, 1).exists() && at("disk/stuck/test").exists());
}

#[test]
fn what_is_appended_while_old_outputs_go_stays() {
    let (_dir, root, mut store) = fresh();
    store.commit(&[created(1), with_output(1, 1, vec![1; 20_000])]).unwrap();
    store.remove_run(RunId(1), &Removal { extent: Extent::Files, ..removal(Vec::new()) }).unwrap();
    let path = run_dir(&root, 1).join("output.seg");
    let mut held = fs::read(&path).unwrap();
    assert!(held.iter().any(|byte| *byte != 0));
    held.fill(0);
    held.extend(b"new");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"new").unwrap();
    store.finish_removals().unwrap();
    assert!(fs::read(&path).unwrap() == held, "only the old ones are gone");
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

/// What the fixture holds.
fn fixture() -> Vec<Vec<Change>> {
    let mut late = with_output(1, 9, b"late".to_vec());
    if let Change::AttemptEnded { attempt, result, .. } = late {
        let (lease, at) = (muster_core::id::LeaseId(3), muster_core::time::Time(4));
        late = Change::LateEvidence { attempt, lease, at, result };
    }
    vec![
        vec![created(1), created(2), attempt(1, 1, 1, Outcome::Fail), attempt(1, 1, 2, Outcome::Pass)],
        vec![with_output(1, 1, vec![9; 3000]), attempt(1, 2, 1, Outcome::Timeout), late],
        vec![
            Change::Expanded(crate::contract::expansion(2, 2, 5, &["x0", "x1"])),
            attempt(2, 4, 1, Outcome::Pass),
            attempt(2, 6, 1, Outcome::Crash),
        ],
        // Of version 7.
        vec![
            Change::RunMoved {
                run: RunId(2),
                moved: Moved {
                    by: "ana".to_owned(),
                    reason: "release".to_owned(),
                    at: muster_core::time::Time(5),
                    to: MoveTo::Before(RunId(1)),
                },
            },
            Change::ItemSet {
                run: RunId(2),
                item: ItemIx(0),
                record: ItemRecord {
                    lab_errors: 1,
                    failed_on: vec![DeviceId(3), DeviceId(1)],
                    ..ItemRecord::default()
                },
            },
        ],
        // Of version 8.
        vec![Change::Happened {
            at: muster_core::time::Time(6),
            event: LabEvent::RunCreated {
                run: RunId(2),
                address: "area/2".to_owned(),
                user: "ana".to_owned(),
            },
        }],
        // Of version 10.
        vec![crate::contract::with_artifacts(2, 1, 1)],
    ]
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/compat");

/// Versions 4 and later can be read for ever. Where this fails because a type of the core has changed, its blob
/// needs a new form beside the old one (`rows`), or the new field a default. Until the first release the fixture
/// may be made anew instead: `MUSTER_MAKE_FIXTURE=store-10 cargo test -p muster-store records_of_version_10`.
#[test]
fn records_of_version_4_can_be_read_and_gone_on_with() {
    // It knew nothing that is fetched.
    go_on_with("store-4", &before_version_7(|spec| spec.inputs = Inputs::default()));
}

#[test]
fn records_of_version_7_can_be_read_and_gone_on_with() {
    go_on_with("store-7", &before_profilers()[..4]);
}

#[test]
fn records_of_version_8_can_be_read_and_gone_on_with() {
    go_on_with("store-8", &before_profilers()[..5]);
}

#[test]
fn records_of_version_10_can_be_read_and_gone_on_with() {
    go_on_with("store-10", &before_profilers());
}

/// A file of the cold tier, made by version 11 as above (`MUSTER_MAKE_FIXTURE=store-11`), can be read for ever
/// too.
#[test]
fn a_run_that_version_11_put_into_the_cold_tier_can_be_read_and_gone_on_with() {
    let fixture = Path::new(FIXTURES).join("store-11");
    let mut changes = self::fixture();
    changes.push(vec![ended(1)]);
    let (_dir, root, mut store) = fresh();
    if std::env::var("MUSTER_MAKE_FIXTURE").is_ok_and(|wanted| wanted == "store-11") {
        changes.iter().for_each(|changes| store.commit(changes).unwrap());
        store.reduce_run(RunId(1)).unwrap();
        store.compact().unwrap();
        drop(store);
        for (from, to) in fixture_files(&root, &fixture) {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    } else {
        drop(store);
    }
    fs::remove_dir_all(&root).unwrap();
    for (to, from) in fixture_files(&root, &fixture) {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
    let mut store = Sqlite::open(&root, LAB).unwrap();
    let mut expected = Mem::new(LAB);
    changes.iter().for_each(|changes| expected.commit(changes).unwrap());
    expected.reduce_run(RunId(1)).unwrap();
    assert_eq!(see(&mut store, &["area"]), see(&mut expected, &["area"]));
    store.commit(&[attempt(1, 3, 1, Outcome::Pass)]).unwrap();
    expected.commit(&[attempt(1, 3, 1, Outcome::Pass)]).unwrap();
    assert_eq!(see(&mut store, &["area"]), see(&mut expected, &["area"]));
    assert_eq!(store.check().unwrap(), []);
}

/// The files of records and where they are in a fixture.
fn fixture_files(root: &Path, fixture: &Path) -> [(PathBuf, PathBuf); 3] {
    let cold = "cold/1-1.db.zst";
    [
        (root.join(open::FILE), fixture.join(open::FILE)),
        (run_dir(root, 1).join(segment::FILE), fixture.join(segment::FILE)),
        (root.join(cold), fixture.join(cold)),
    ]
}

/// What the fixtures held that knew no profilers.
fn before_profilers() -> Vec<Vec<Change>> {
    let mut changes = fixture();
    for record in changes.iter_mut().flatten() {
        if let Change::RunCreated(record) | Change::RunReplanned(record) = record {
            Arc::make_mut(&mut Arc::make_mut(record).spec).inputs.profilers.clear();
        }
    }
    changes
}

/// What the fixtures held that knew who had asked and which devices were wanted, and nothing of the queue.
fn before_version_7(change: impl Fn(&mut RunSpec)) -> Vec<Vec<Change>> {
    let mut changes = fixture();
    changes.truncate(3);
    for record in changes.iter_mut().flatten() {
        if let Change::RunCreated(record) | Change::RunReplanned(record) = record {
            let spec = Arc::make_mut(&mut Arc::make_mut(record).spec);
            let Placement { user, selector, source, .. } = std::mem::take(&mut spec.placement);
            spec.placement = Placement { user, selector, source, ..Placement::default() };
            change(spec);
        }
    }
    changes
}

/// Reads a fixture, which holds these changes, and writes to it.
fn go_on_with(name: &str, changes: &[Vec<Change>]) {
    let fixture = &Path::new(FIXTURES).join(name);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(".muster");
    if std::env::var("MUSTER_MAKE_FIXTURE").is_ok_and(|wanted| wanted == name) {
        let mut store = Sqlite::open(&root, LAB).unwrap();
        changes.iter().for_each(|changes| store.commit(changes).unwrap());
        store.compact().unwrap();
        drop(store);
        fs::create_dir_all(fixture).unwrap();
        fs::copy(root.join(open::FILE), fixture.join(open::FILE)).unwrap();
        fs::copy(run_dir(&root, 1).join(segment::FILE), fixture.join(segment::FILE)).unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
    fs::create_dir_all(run_dir(&root, 1)).unwrap();
    fs::copy(fixture.join(open::FILE), root.join(open::FILE)).unwrap();
    fs::copy(fixture.join(segment::FILE), run_dir(&root, 1).join(segment::FILE)).unwrap();

    let mut store = Sqlite::open(&root, LAB).unwrap();
    let mut expected = Mem::new(LAB);
    changes.iter().for_each(|changes| expected.commit(changes).unwrap());
    assert_eq!(see(&mut store, &["area"]), see(&mut expected, &["area"]));
    assert_eq!(store.list_happened(LAB, 0, 99).unwrap(), expected.list_happened(LAB, 0, 99).unwrap());
    assert_eq!(store.check().unwrap(), []);
    store.commit(&[attempt(1, 3, 1, Outcome::Pass)]).unwrap();
    assert_eq!(store.find_run("area", RunName::Number(1)).unwrap().unwrap().counts.total(), 4);
}
