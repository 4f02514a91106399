//! Autotest itself, in the last release that was published: its packager, its package manager, its client.
//!
//! They are for Python 2.7, which few systems still have; `cargo xtask setup` looks for one and says what to do.

use crate::site::Python;
use crate::world::{built, files, limits, package, published, said, sources};
use muster_package::autotest::{
    Autodir, Checksums, How, Location, Options, Source, build, tree, upload, verify,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const HINT: &str = "cargo xtask setup; it needs a Python 2.7: PYTHON2 names one, or `pyenv install 2.7.18`";

/// Where the set-up put it: `python`, and the unpacked release.
fn release() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("autotest");
    assert!(dir.join("release/client/job.py").exists(), "Autotest is not in {}: {HINT}", dir.display());
    dir
}

fn python2() -> Command {
    let mut python = Command::new(release().join("python"));
    python.arg("-B").env_remove("PYTHONPATH").env("AUTOTEST_TOP_PATH", "/nowhere");
    python
}

/// A server's tree of its own, with a test.
fn server(dir: &Path) -> PathBuf {
    let top = dir.join("top");
    fs::create_dir(&top).unwrap();
    for part in
        ["client", "server", "utils", "__init__.py", "common.py", "global_config.ini", "shadow_config.ini"]
    {
        said(Command::new("cp").arg("-r").arg(release().join("release").join(part)).arg(&top));
    }
    let test = "from autotest.client import test\n\
        class sleeptest(test.test):\n\
        \x20   version = 1\n\
        \x20   def run_once(self, seconds=0):\n\
        \x20       self.write_perf_keyval({'slept': seconds})\n";
    files(&top.join("client/tests"), &[("sleeptest/sleeptest.py", test)]);
    fs::create_dir_all(top.join("client/site_tests")).unwrap();
    top
}

fn packager(top: &Path, repository: &Path, args: &[&str]) {
    let mut packager = python2();
    packager.arg(top.join("utils/packager.py")).args(args).arg("-r").arg(repository);
    said(&mut packager);
}

/// The package manager of an unmodified client, that installs one test.
fn client_installs(client: &Path, autodir: &Path, name: &str, url: &str) -> String {
    let code = "import os, sys\n\
        client, autodir, name, url = sys.argv[1:]\n\
        sys.path.insert(0, client)\n\
        import common\n\
        from autotest.client.shared import base_packages\n\
        pm = base_packages.BasePackageManager(autodir, repo_urls=[url])\n\
        pm.install_pkg(name, 'test', os.path.join(autodir, 'packages'), os.path.join(autodir, 'tests', name))\n\
        print open(os.path.join(autodir, 'tests', name, '.checksum')).read()";
    let stamp = said(python2().arg("-c").arg(code).arg(client).arg(autodir).arg(name).arg(url));
    stamp.trim().to_owned()
}

#[test]
fn muster_reads_what_the_packager_published_and_the_packager_keeps_what_muster_did() {
    let dir = tempfile::tempdir().unwrap();
    let (top, repository) = (server(dir.path()), dir.path().join("r"));
    packager(&top, &repository, &["upload", "-t", "sleeptest"]);
    let at = Location::Dir(repository.clone());
    let list = || Checksums::read(&fs::read(repository.join("packages.checksum")).unwrap()).unwrap();
    assert_eq!(list().1, [], "nothing is strange about its list");
    assert_eq!(verify(&at, &list().0, &limits()).unwrap(), []);
    let autodir = Autodir::open(&dir.path().join("autotest")).unwrap();
    let mut from = sources([repository.to_str().unwrap()]);
    let installed = autodir.install(&package("test:sleeptest"), &mut from, &Options::default()).unwrap();
    let mut there = tree::listing(&installed.dir).unwrap();
    there.remove(".checksum");
    assert_eq!(there, tree::listing(&top.join("client/tests/sleeptest")).unwrap());

    published(&repository, "dep:ours", "1");
    // A packager with no list of its own begins with that of the repository.
    fs::remove_file(top.join("packages.checksum")).unwrap();
    let config = top.join("global_config.ini");
    let text = fs::read_to_string(&config).unwrap();
    let location = format!("[PACKAGES]\nfetch_location: {}\n", repository.display());
    fs::write(&config, text.replace("[PACKAGES]\n", &location)).unwrap();
    packager(&top, &repository, &["upload", "-f", "/bin/true"]);
    assert_eq!(list().0.len(), 3);
    assert_eq!(verify(&at, &list().0, &limits()).unwrap(), []);
    packager(&top, &repository, &["remove", "-d", "ours"]);
    assert_eq!(list().0.len(), 2);
    assert_eq!(verify(&at, &list().0, &limits()).unwrap(), []);
}

#[test]
fn an_unmodified_client_installs_and_refreshes_what_muster_published() {
    let dir = tempfile::tempdir().unwrap();
    let (client, repository) = (release().join("release/client"), dir.path().join("r"));
    let first = published(&repository, "test:x", "1");
    let server = Python::serve(&repository);
    let autodir = dir.path().join("autotest");
    // This release dies where something is listed and it has never had it; one that has had another goes on.
    files(&autodir, &[("packages/test-x.tar.bz2", "another version")]);
    assert_eq!(client_installs(&client, &autodir, "x", &server.url), first.md5.to_string());
    assert_eq!(fs::read_to_string(autodir.join("tests/x/x.py")).unwrap(), "1");
    let second = published(&repository, "test:x", "2");
    assert_eq!(
        client_installs(&client, &autodir, "x", &server.url),
        first.md5.to_string(),
        "its list is old"
    );
    // As whoever starts a job does.
    fs::remove_file(autodir.join("packages.checksum")).unwrap();
    assert_eq!(client_installs(&client, &autodir, "x", &server.url), second.md5.to_string());
    assert_eq!(fs::read_to_string(autodir.join("tests/x/x.py")).unwrap(), "2");
    // What a client has installed, and has the stamp of, is not believed: it is installed again.
    let muster = Autodir::open(&autodir).unwrap();
    let installed =
        muster.install(&package("test:x"), &mut sources([&*server.url]), &Options::default()).unwrap();
    assert_eq!((installed.how, installed.md5, installed.moved_bytes), (How::New, second.md5, 0));
    // And what Muster has installed is nothing to do for the client.
    let marker = autodir.join("tests/x/marker");
    fs::write(&marker, "").unwrap();
    assert_eq!(client_installs(&client, &autodir, "x", &server.url), second.md5.to_string());
    assert!(marker.exists());
}

/// Row 1, seen from the other side: this is what Muster does not do.
#[test]
fn row_1_the_unmodified_client_dies_of_its_first_install() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("r");
    published(&repository, "test:x", "1");
    let autodir = dir.path().join("autotest");
    fs::create_dir(&autodir).unwrap();
    let client = release().join("release/client");
    let repository = repository.to_str().unwrap();
    let died = std::panic::catch_unwind(|| client_installs(&client, &autodir, "x", repository));
    assert!(died.is_err(), "this release was mended: the workaround above can go");
}

/// Everything together: the client is packed and installed by Muster, runs a job, and has the test's package
/// from Muster's repository.
#[test]
fn a_client_that_muster_installed_runs_a_test_that_muster_packed() {
    let dir = tempfile::tempdir().unwrap();
    let (top, repository) = (server(dir.path()), dir.path().join("r"));
    let client = Source {
        extra: vec![top.join("global_config.ini")],
        ..crate::world::source("client:autotest", &top.join("client"))
    };
    let file = dir.path().join("client-autotest.tar.bz2");
    build(&client, &file).unwrap();
    let test = built("test:sleeptest", &top.join("client/tests/sleeptest"), dir.path());
    let both = [file, dir.path().join("test-sleeptest.tar.bz2")];
    upload(&Location::Dir(repository.clone()), &both, 0, &limits()).unwrap();
    let server = Python::serve(&repository);
    let root = dir.path().join("autotest");
    let autodir = Autodir::open(&root).unwrap();
    let mut from = sources([&*server.url]);
    autodir.install(&package("client:autotest"), &mut from, &Options::default()).unwrap();
    assert!(!root.join("tests/sleeptest").exists(), "the test is not the client's");
    // As above: it goes on where it has had another version.
    files(&root, &[("tmp/packages/test-sleeptest.tar.bz2", "another version")]);
    let control = dir.path().join("control");
    fs::write(
        &control,
        format!("job.add_repository(['{}'])\njob.run_test('sleeptest', seconds=0)\n", server.url),
    )
    .unwrap();
    // The third descriptor is where the client speaks to its server.
    let mut run = Command::new("sh");
    run.arg("-c").arg("exec \"$@\" 3> fd3").arg("sh").arg(release().join("python")).arg("-B");
    run.arg(root.join("autotest-local"))
        .args(["-H", "simple", "--tag=t"])
        .arg("--output_dir")
        .arg(dir.path());
    run.arg("run").arg(control).current_dir(dir.path());
    said(&mut run);
    let told = fs::read_to_string(dir.path().join("fd3")).unwrap();
    assert!(told.contains("END GOOD\tsleeptest\tsleeptest\t"), "{told}");
    assert!(told.lines().all(|line| line.starts_with("AUTOTEST_STATUS::")), "{told}");
    let stamp = fs::read_to_string(root.join("tmp/site_tests/sleeptest/.checksum")).unwrap();
    assert_eq!(stamp.trim(), test.md5.to_string(), "the client fetched it when it needed it");
}
