//! Runs and files that are taken away, and what was cut off meanwhile.

use super::super::{Sqlite, run_dir};
use super::{created, fresh, with_output};
use crate::{Extent, LabKey, Leftover, LockError, Removal, RunFilter, RunLock, Store as _, StoreError};
use muster_core::id::RunId;
use muster_core::time::Time;
use std::fs;

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

pub(super) fn removal(files: Vec<Leftover>) -> Removal {
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
