//! Files that were cut, changed or put there by somebody else.

use super::super::{Sqlite, open, run_dir};
use super::{LAB, ask_everything, created, fresh, kept_output, with_output};
use crate::contract::attempt;
use crate::segment;
use crate::{Store as _, StoreError};
use muster_core::attempt::Output;
use muster_core::id::RunId;
use muster_core::outcome::Outcome;
use rusqlite::Connection;
use std::fs;
use std::path::Path;

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
