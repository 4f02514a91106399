//! Folders, packages and programs for the tests.

use muster_package::autotest::{Built, Limits, Location, PackageName, Source, Sources, build, upload};
use muster_package::exclude::Exclude;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is kept for readers to be tried with.
pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/autotest").join(name)
}

/// Writes files below a directory, with the directories they are in.
pub(crate) fn files(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

pub(crate) fn source(name: &str, dir: &Path) -> Source {
    Source {
        name: name.parse::<PackageName>().unwrap(),
        dir: dir.to_owned(),
        exclude: Exclude::default(),
        extra: vec![],
    }
}

/// Builds a package of a folder into a directory.
pub(crate) fn built(name: &str, from: &Path, into: &Path) -> Built {
    let source = source(name, from);
    fs::create_dir_all(into).unwrap();
    build(&source, &into.join(source.name.file())).unwrap()
}

/// Runs a program that must succeed, and returns what it printed.
pub(crate) fn said(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (cargo xtask setup)"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Repositories in this order, with tries that follow each other at once.
pub(crate) fn sources<'a>(locations: impl IntoIterator<Item = &'a str>) -> Sources {
    Sources::new(locations.into_iter().map(|l| l.parse::<Location>().unwrap()), limits())
}

pub(crate) fn limits() -> Limits {
    Limits { tries: 3, pause: Duration::from_millis(1), ..Limits::default() }
}

/// A repository of one test, published as people do it.
pub(crate) fn published(repository: &Path, name: &str, text: &str) -> Built {
    let dir = tempfile::tempdir().unwrap();
    let package: PackageName = name.parse().unwrap();
    files(&dir.path().join("from"), &[(&format!("{}.py", package.name()), text)]);
    let built = built(name, &dir.path().join("from"), dir.path());
    let location = Location::Dir(repository.to_owned());
    upload(&location, &[dir.path().join(package.file())], 0, &limits()).unwrap();
    built
}

pub(crate) fn package(name: &str) -> PackageName {
    name.parse().unwrap()
}
