//! Indexes that mean harm.

use super::*;
use muster_package::own::{About, Tree};
use serde_json::{Value, json};
use std::fs;

/// An archive of one run with this index and one file, and what restoring it below a directory comes to.
fn restored(entries: &Value) -> (tempfile::TempDir, Result<Restored, anyhow::Error>) {
    let dir = tempfile::tempdir().unwrap();
    let stage = dir.path().join("stage");
    fs::create_dir_all(stage.join("files/0")).unwrap();
    fs::write(stage.join("files/0/0"), "harm").unwrap();
    let index = json!({
        "version": 1, "run": "x", "area": "a", "number": 1, "name": "", "target": [], "saved": 0,
        "roots": ["/etc", "/home"], "entries": entries,
    });
    fs::write(stage.join(INDEX), index.to_string()).unwrap();
    let archive = Archive::create(&dir.path().join("archive")).unwrap();
    let about = About::new(Kind::Build, name_of(RunId(7)));
    let upload = archive.repository.build(&Tree::open(&stage).unwrap(), about).unwrap();
    let to = dir.path().join("to");
    fs::create_dir(&to).unwrap();
    let done = restore(&archive, &upload.package, &Destination::Below(&to), &|_| true, dir.path());
    (dir, done.map(|(_, restored)| restored))
}

fn file(path: &str) -> Value {
    json!({ "root": 0, "path": path, "is": "file", "file": 0, "mode": 0o4755, "mtime": 5, "len": 4 })
}

#[test]
fn an_index_leads_nowhere_but_into_the_directory_that_was_named() {
    for path in ["../out", "/etc/out", "a/../../out", "", "."] {
        let (dir, done) = restored(&json!([file(path)]));
        assert!(done.is_err(), "{path}");
        assert!(!dir.path().join("out").exists(), "{path}");
    }
    let (_dir, done) = restored(&json!([{ "root": 9, "path": "a", "is": "dir", "mode": 0 }]));
    assert!(done.is_err(), "a directory that is none");
    // A link comes after all files, whatever the order says, and is in the way of what would go through it.
    let link = json!({ "root": 0, "path": "sub", "is": "link", "to": "/tmp" });
    let (dir, done) = restored(&json!([link, file("sub/out")]));
    assert!(done.is_err());
    assert_eq!(fs::read_to_string(dir.path().join("to/sub/out")).unwrap(), "harm");
}

#[test]
fn what_was_saved_becomes_nobody_elses_program() {
    use std::os::unix::fs::MetadataExt as _;
    let (dir, done) = restored(&json!([file("a/b")]));
    assert_eq!(done.unwrap().files, 1);
    let meta = fs::metadata(dir.path().join("to/a/b")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o755, 5), "no set-user-id");
}

#[test]
fn an_archive_can_only_restore_to_directories_of_its_run() {
    let (dir, _) = restored(&json!([file("a")]));
    let archive = Archive::open(&dir.path().join("archive")).unwrap();
    let package = archive.list().unwrap().remove(0).1;
    let own = dir.path().join("own");
    let there = Destination::There(std::slice::from_ref(&own));
    let refused = restore(&archive, &package, &there, &|_| true, dir.path());
    assert!(refused.is_err(), "`/home` is none of the run's");
    assert!(!own.exists());
}
