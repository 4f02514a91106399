//! Runs between the database, the cold tier and other stores.

use super::super::Sqlite;
use super::{CHILD_ROOT, LAB, created, ended, fresh, with_output};
use crate::contract::{attempt, see};
use crate::{ItemFilter, RunFilter, RunName, RunPlace, Store as _, StoreError};
use muster_core::id::RunId;
use muster_core::outcome::Outcome;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

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
                "sqlite::tests::cold::move_between_the_tiers_without_end",
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
