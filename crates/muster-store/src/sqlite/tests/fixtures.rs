//! Records of older versions.

use super::super::{Sqlite, open, run_dir};
use super::{LAB, created, ended, fresh, with_output};
use crate::contract::{attempt, see};
use crate::segment;
use crate::{Mem, RunName, Store as _};
use muster_core::change::{Change, ItemRecord, MoveTo, Moved, Placement, RunSpec};
use muster_core::event::LabEvent;
use muster_core::id::{DeviceId, ItemIx, LeaseId, RunId};
use muster_core::inputs::Inputs;
use muster_core::note::{NoteKind, Spot, noted};
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the fixture holds.
fn fixture() -> Vec<Vec<Change>> {
    let mut late = with_output(1, 9, b"late".to_vec());
    if let Change::AttemptEnded { attempt, result, .. } = late {
        let (lease, at) = (LeaseId(3), Time(4));
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
                    at: Time(5),
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
            at: Time(6),
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

/// What version 12 had and 11 had not: what people say of runs. Made before there were the indexes of 13.
#[test]
fn records_of_version_12_can_be_read_and_gone_on_with() {
    let mut changes = fixture();
    let note = |run, text: &str, what| noted(RunId(run), "ana", Time(8), text, what);
    let comment = NoteKind::Comment { on: Some(Spot { test: "unit".to_owned(), item: "a".to_owned() }) };
    changes.push(vec![note(2, "flaky", comment), note(1, "evidence", NoteKind::Locked)]);
    go_on_with("store-12", &changes);
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
