//! Indexes that mean harm.

use super::*;
use crate::terminal::fixtures::run_of;
use muster_package::own::{About, Tree};
use serde_json::{Value, json};
use std::fs;

/// Puts an archive of a run with this index and one file beside what is there.
fn publish(dir: &Path, entries: &Value) -> Archive {
    let stage = dir.join("stage");
    fs::create_dir_all(stage.join("files/0")).unwrap();
    fs::write(stage.join("files/0/0"), "harm").unwrap();
    let index = json!({
        "version": 1, "run": "x", "area": "a", "number": 1, "name": "", "target": [], "saved": 0,
        "roots": ["/etc", "/home"], "entries": entries,
    });
    fs::write(stage.join(INDEX), index.to_string()).unwrap();
    let archive = Archive::create(&dir.join("archive")).unwrap();
    let about = About::new(Kind::Build, name_of(RunId(7)));
    archive.repository.build(&Tree::open(&stage).unwrap(), about).unwrap();
    archive
}

/// An archive of one run with this index and one file, and what restoring it below a directory comes to.
fn restored(entries: &Value) -> (tempfile::TempDir, Result<Restored, anyhow::Error>) {
    let dir = tempfile::tempdir().unwrap();
    let archive = publish(dir.path(), entries);
    let package = archive.newest(RunId(7)).unwrap().unwrap();
    let to = dir.path().join("to");
    fs::create_dir(&to).unwrap();
    let done = restore(&archive, &package, &Destination::Below(&to), &|_, _| true, dir.path());
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
fn an_index_that_lies_about_a_file_gives_none() {
    let lie = |key: &str, value: Value| {
        let mut entry = file("a");
        entry[key] = value;
        entry
    };
    let lies = [
        ("a file that is not there", json!([lie("file", json!(7))])),
        ("one whose number is none", json!([lie("file", json!(u32::MAX))])),
        ("another length", json!([lie("len", json!(5))])),
        ("one file at two places", json!([file("a"), file("b")])),
        ("a place that two have", json!([file("a"), lie("mtime", json!(6))])),
        ("a file below a file", json!([file("a"), file("a/b")])),
        ("a name with NUL", json!([file("a\0b")])),
        ("a name that no disk takes", json!([file(&"x".repeat(300))])),
        ("a number below none", json!([lie("file", json!(-1))])),
        ("something else", json!([lie("is", json!("device"))])),
        ("no list", json!("entries")),
    ];
    for (what, entries) in lies {
        let (dir, done) = restored(&entries);
        assert!(done.is_err(), "{what}");
        let there = fs::read_dir(dir.path().join("to")).unwrap().count();
        assert!(there <= 1, "{what}: at most the file that is no lie");
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(
            left, 3,
            "{what}: nothing is left beside the archive, what it was made of, and where it went"
        );
    }
    // A mode gives nobody's rights, and a time may be any.
    let odd = json!([{ "root": 0, "path": "a", "is": "file", "file": 0, "mode": u32::MAX, "mtime": i64::MIN, "len": 4 }]);
    let (_dir, done) = restored(&odd);
    assert_eq!(done.unwrap().files, 1);
}

#[test]
fn what_an_index_says_takes_nothing_away_behind_a_link() {
    let link = |to: &Path| json!({ "root": 0, "path": "out", "is": "link", "to": to });
    let dir = tempfile::tempdir().unwrap();
    let (own, outside) = (dir.path().join("own"), dir.path().join("outside"));
    fs::create_dir_all(&own).unwrap();
    fs::create_dir_all(&outside).unwrap();
    let victim = outside.join("victim");
    fs::write(&victim, "mine").unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
    fs::File::options().write(true).open(&victim).unwrap().set_modified(time).unwrap();
    std::os::unix::fs::symlink(&outside, own.join("out")).unwrap();
    let archive = publish(dir.path(), &json!([file("out/victim"), link(&outside)]));
    let run = run_of(7, Vec::new());
    let roots = [own.clone()];
    let saved = save(&archive, &run, &roots, dir.path(), Time(1), Some(&|_, _| true)).unwrap();
    assert_eq!(saved.bytes_written, 0, "it is believed to be saved already");
    assert!(!own.join("out").is_symlink(), "the link is the run's own, and went");
    assert!(victim.exists(), "what it led to is not");
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
    let refused = restore(&archive, &package, &there, &|_, _| true, dir.path());
    assert!(refused.is_err(), "`/home` is none of the run's");
    assert!(!own.exists());
}
