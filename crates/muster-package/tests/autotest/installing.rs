//! What is in an autodir afterwards, whatever went wrong on the way.

use crate::site::Python;
use crate::world::{built, files, limits, package, published, said, sources};
use muster_core::install::Otherwise;
use muster_package::autotest::{Autodir, How, InstallError, Installed, Location, Options, UrlTest, upload};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository and an autodir.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("r")
    }

    fn autodir(&self) -> Autodir {
        Autodir::open(&self.root()).unwrap()
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("autotest")
    }

    fn try_install(&self, name: &str, options: &Options) -> Result<Installed, InstallError> {
        let repository = self.repository();
        self.autodir().install(&package(name), &mut sources([repository.to_str().unwrap()]), options)
    }

    fn install(&self, name: &str) -> Installed {
        self.try_install(name, &Options::default()).unwrap()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }
}

/// Row 1: the first install from a repository with a list ends the usual client.
#[test]
fn row_1_the_first_install_from_a_listed_repository_works() {
    let lab = Lab::new();
    for (name, dir) in [("test:x", "tests/x"), ("dep:x", "deps/x"), ("profiler:x", "profilers/x")] {
        let built = published(&lab.repository(), name, "1");
        let installed = lab.install(name);
        assert_eq!((installed.how, installed.md5, installed.digest), (How::New, built.md5, built.digest));
        assert_eq!(installed.moved_bytes, built.bytes);
        assert_eq!(installed.dir, lab.root().canonicalize().unwrap().join(dir));
        assert_eq!(lab.text(&format!("{dir}/x.py")), "1");
        assert_eq!(
            lab.text(&format!("{dir}/.checksum")),
            format!("{}\n", built.md5),
            "the stamp of Autotest"
        );
        let again = lab.install(name);
        assert_eq!((again.how, again.moved_bytes), (How::Unchanged, 0));
    }
    let left: Vec<_> = fs::read_dir(lab.root().join(".muster/staging")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Row 3: a package that is cut empties the directory, and its sum is recorded as good.
#[test]
fn row_3_a_package_that_is_cut_leaves_the_old_version_and_is_told() {
    let lab = Lab::new();
    let first = published(&lab.repository(), "test:x", "1");
    lab.install("test:x");
    let file = lab.repository().join("test-x.tar.bz2");
    // Published as it is: its sum is right.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    upload(&Location::Dir(lab.repository()), std::slice::from_ref(&file), 0, &limits()).unwrap();
    let kept = lab.install("test:x");
    assert_eq!(kept.md5, first.md5);
    let How::LastGood(why) = kept.how else { panic!("{:?}", kept.how) };
    assert!(why.contains("the package is damaged"), "{why}");
    assert_eq!(lab.text("tests/x/x.py"), "1");
    let strict = Options { otherwise: Otherwise::Fail, ..Options::default() };
    assert!(matches!(lab.try_install("test:x", &strict), Err(InstallError::NotFetched(_))));
    assert_eq!(lab.autodir().cache().measure("test-x.tar.bz2").unwrap(), None, "it is not kept as good");
    // When it is mended, it is installed.
    let second = published(&lab.repository(), "test:x", "2");
    assert_eq!(lab.install("test:x").md5, second.md5);
}

/// Row 3, of several repositories: the next one may have it whole.
#[test]
fn row_3_a_package_that_is_cut_is_had_from_the_next_repository() {
    let lab = Lab::new();
    let bad = lab.dir.path().join("bad");
    let built = published(&lab.repository(), "test:x", "1");
    published(&bad, "test:x", "other");
    let whole = fs::read(bad.join("test-x.tar.bz2")).unwrap();
    fs::write(bad.join("test-x.tar.bz2"), &whole[..50]).unwrap();
    upload(&Location::Dir(bad.clone()), &[bad.join("test-x.tar.bz2")], 0, &limits()).unwrap();
    let repository = lab.repository();
    let mut sources = sources([bad.to_str().unwrap(), repository.to_str().unwrap()]);
    let installed = lab.autodir().install(&package("test:x"), &mut sources, &Options::default()).unwrap();
    assert_eq!((installed.md5, installed.how), (built.md5, How::New));
}

/// Row 15: what was removed is still used from the cache; what was revoked is not.
#[test]
fn row_15_an_installed_version_that_is_revoked_is_no_last_good_one() {
    let lab = Lab::new();
    published(&lab.repository(), "test:x", "1");
    lab.install("test:x");
    let at = Location::Dir(lab.repository());
    muster_package::autotest::remove(&at, "test-x.tar.bz2", true, &limits()).unwrap();
    assert!(matches!(lab.try_install("test:x", &Options::default()), Err(InstallError::NotFetched(_))));
}

/// Row 16: files that somebody edited, or removed, stay so as long as the stamp is right.
#[test]
fn row_16_what_was_edited_is_installed_again_and_what_a_test_built_stays() {
    let lab = Lab::new();
    published(&lab.repository(), "test:x", "1");
    lab.install("test:x");
    let file = lab.root().join("tests/x/x.py");
    fs::write(&file, "edited").unwrap();
    let mended = lab.install("test:x");
    assert_eq!((mended.how, mended.moved_bytes), (How::New, 0), "from the cache");
    assert_eq!(lab.text("tests/x/x.py"), "1");
    fs::remove_file(&file).unwrap();
    assert_eq!(lab.install("test:x").how, How::New);
    said(Command::new("chmod").arg("755").arg(&file));
    assert_eq!(lab.install("test:x").how, How::New);
    files(&lab.root(), &[("tests/x/src/built", "by the test")]);
    assert_eq!(lab.install("test:x").how, How::Unchanged);
    assert_eq!(lab.text("tests/x/src/built"), "by the test");
    // A stamp that somebody copied is not believed.
    fs::remove_file(lab.root().join(".muster/installed/x-test.json")).unwrap();
    assert_eq!(lab.install("test:x").how, How::New);
}

/// Row 17: sources that were edited are ignored where a sum is recorded.
#[test]
fn row_17_an_edited_source_is_another_package() {
    let lab = Lab::new();
    let first = published(&lab.repository(), "test:x", "1");
    lab.install("test:x");
    let second = published(&lab.repository(), "test:x", "2");
    assert_ne!(first.md5, second.md5);
    assert_eq!(lab.install("test:x").how, How::New);
    assert_eq!(lab.text("tests/x/x.py"), "2");
}

/// Row 17b: a copy that was left in another directory is run in place of the one that was installed.
#[test]
fn row_17b_a_copy_that_would_be_taken_instead_is_told() {
    let lab = Lab::new();
    published(&lab.repository(), "test:x", "1");
    assert_eq!(lab.install("test:x").shadows, Vec::<PathBuf>::new());
    files(&lab.root(), &[("site_tests/x/x.py", "old")]);
    let shadow = lab.root().canonicalize().unwrap().join("site_tests/x");
    assert_eq!(lab.install("test:x").shadows, [shadow]);
}

/// Row 18: a full disk ends `tar` in the middle of a directory that was emptied before.
#[test]
fn row_18_what_does_not_fit_leaves_the_old_version() {
    let lab = Lab::new();
    published(&lab.repository(), "test:x", "1");
    lab.install("test:x");
    published(&lab.repository(), "test:x", &"2".repeat(10_000));
    let small = Options { bytes_max: 5_000, ..Options::default() };
    let kept = lab.try_install("test:x", &small).unwrap();
    assert!(matches!(kept.how, How::LastGood(_)), "{kept:?}");
    assert_eq!(lab.text("tests/x/x.py"), "1");
    assert!(!lab.root().join(".muster/staging/x-test").exists(), "what was unpacked of it is gone");
}

/// Row 18: room is made of what nobody needs, the oldest first.
#[test]
fn row_18_room_is_made_of_what_was_fetched_longest_ago() {
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        published(&lab.repository(), &format!("test:{name}"), "1");
        lab.install(&format!("test:{name}"));
        let path = lab.root().join(format!("packages/test-{name}.tar.bz2"));
        said(Command::new("touch").args(["-d", &format!("2020-01-0{}", name.as_bytes()[0] - 96)]).arg(path));
    }
    let autodir = lab.autodir();
    let keep = ["test-a.tar.bz2".to_owned()].into();
    assert!(autodir.cache().evict(1, &keep).unwrap() > 0);
    let there = |name: &str| autodir.cache().measure(&format!("test-{name}.tar.bz2")).unwrap().is_some();
    assert!(there("a") && !there("b") && there("c"));
}

/// Row 19: the clock of a device, and the times of files, decide nothing.
#[test]
fn row_19_times_say_nothing() {
    let lab = Lab::new();
    published(&lab.repository(), "test:x", "1");
    lab.install("test:x");
    for path in ["tests/x/x.py", "tests/x", "packages/test-x.tar.bz2"] {
        said(Command::new("touch").args(["-d", "2040-01-01"]).arg(lab.root().join(path)));
    }
    assert_eq!(lab.install("test:x").how, How::Unchanged);
}

/// Row 20: an autodir on a file system where nothing can be executed.
#[test]
fn row_20_a_place_where_nothing_can_be_executed_is_known() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!Autodir::open(dir.path()).unwrap().forbids_programs().unwrap());
    // Whatever is mounted on this machine, some of it most likely so.
    for line in fs::read_to_string("/proc/self/mounts").unwrap().lines() {
        let mut fields = line.split(' ').skip(1);
        let (place, options) = (fields.next().unwrap(), fields.nth(1).unwrap());
        if let Ok(forbids) = muster_package::autotest::forbids_programs(Path::new(place)) {
            assert_eq!(forbids, options.split(',').any(|o| o == "noexec"), "{line}");
        }
    }
}

/// Rows 23 and 24: several at once, of the same package and of others.
#[test]
fn row_23_and_24_installs_at_once_do_not_disturb_each_other() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        published(&lab.repository(), &format!("test:{name}"), name);
    }
    let new: Vec<Installed> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|n| {
                let lab = &lab;
                scope.spawn(move || lab.install(["test:a", "test:b"][n % 2]))
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).filter(|i| i.how == How::New).collect()
    });
    assert_eq!(new.len(), 2, "each was installed once, and the others waited for that");
    assert_eq!(lab.text("tests/a/a.py") + &lab.text("tests/b/b.py"), "ab");
}

/// Row 25: a device that is rebooted in the middle.
#[test]
fn row_25_what_was_left_in_the_middle_is_installed_again() {
    let lab = Lab::new();
    let built = published(&lab.repository(), "test:x", "1");
    lab.install("test:x");
    // Killed while it unpacked.
    files(&lab.root(), &[(".muster/staging/x-test/half", "")]);
    published(&lab.repository(), "test:x", "2");
    assert_eq!(lab.install("test:x").how, How::New);
    // Killed between the swap and its record: the stamp and the record are of different versions.
    fs::write(lab.root().join("tests/x/.checksum"), format!("{}\n", built.md5)).unwrap();
    assert_eq!(lab.install("test:x").how, How::New);
    assert_eq!(lab.text("tests/x/x.py"), "2");
    assert!(!lab.root().join(".muster/staging/x-test").exists());
}

/// Row 31 among others: the client is put round what lies beside it, hidden or not, without a shell's globs.
#[test]
fn row_31_the_client_takes_the_place_of_the_old_and_nothing_else() {
    let lab = Lab::new();
    let from = lab.dir.path().join("client");
    files(&from, &[("job.py", "1"), ("tests/__init__.py", ""), (".hidden", "new"), ("..odd", "new")]);
    built("client:autotest", &from, lab.dir.path());
    let file = lab.dir.path().join("client-autotest.tar.bz2");
    upload(&Location::Dir(lab.repository()), std::slice::from_ref(&file), 0, &limits()).unwrap();
    files(
        &lab.root(),
        &[
            ("old.py", ""),
            (".old", ""),
            ("job.py", "0"),
            ("results/1/log", "kept"),
            ("packages/other", "kept"),
        ],
    );
    let installed = lab.install("client:autotest");
    assert_eq!(installed.how, How::New);
    let mut names: Vec<_> = fs::read_dir(lab.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "..odd",
            ".autotest-client-lock",
            ".checksum",
            ".hidden",
            ".muster",
            "job.py",
            "packages",
            "results",
            "tests"
        ]
    );
    assert_eq!(lab.text("job.py") + &lab.text("results/1/log") + &lab.text("packages/other"), "1keptkept");
    // It is put there each time, as Autotest does, and comes from the cache.
    fs::write(lab.root().join("job.py"), "edited").unwrap();
    let again = lab.install("client:autotest");
    assert_eq!((again.how, again.moved_bytes), (How::New, 0));
    assert_eq!(lab.text("job.py"), "1");
}

#[test]
fn a_test_that_is_named_by_its_url_is_installed_and_refreshed() {
    let lab = Lab::new();
    let first = published(&lab.repository(), "test:x", "1");
    fs::rename(lab.repository().join("test-x.tar.bz2"), lab.repository().join("x.1234.tar.bz2")).unwrap();
    fs::remove_file(lab.repository().join("packages.checksum")).unwrap();
    let server = Python::serve(&lab.repository());
    let test = UrlTest::of(&format!("{}/x.1234.tar.bz2", server.url)).unwrap();
    let install =
        || lab.autodir().install_url(&test, &mut sources([&*server.url]), &Options::default()).unwrap();
    let installed = install();
    assert_eq!((installed.md5, installed.how), (first.md5, How::New));
    let port = server.url.rsplit(':').next().unwrap();
    assert!(
        installed.dir.ends_with(format!("tests/download/127_0_0_1_{port}/x")),
        "{}",
        installed.dir.display()
    );
    assert_eq!(fs::read_link(installed.dir.join("__init__.py")).unwrap(), Path::new("x.py"));
    assert_eq!(install().how, How::Unchanged);
    // Where the usual client finds the directory, it never looks again.
    let second = published(&lab.dir.path().join("r2"), "test:x", "2");
    fs::copy(lab.dir.path().join("r2/test-x.tar.bz2"), lab.repository().join("x.1234.tar.bz2")).unwrap();
    said(Command::new("touch").args(["-d", "2040-01-01"]).arg(lab.repository().join("x.1234.tar.bz2")));
    assert_eq!(install().md5, second.md5);
}

#[test]
fn only_the_version_that_is_asked_for_is_installed() {
    let lab = Lab::new();
    let first = published(&lab.repository(), "test:x", "1");
    let only = Options { only: Some(first.md5), ..Options::default() };
    assert_eq!(lab.try_install("test:x", &only).unwrap().how, How::New);
    published(&lab.repository(), "test:x", "2");
    // It is gone from the repository, and still installed.
    assert!(matches!(lab.try_install("test:x", &only).unwrap().how, How::LastGood(_)));
    lab.install("test:x");
    let why = lab.try_install("test:x", &only).unwrap_err().to_string();
    assert!(why.contains("another version"), "{why}");
    assert_eq!(lab.text("tests/x/x.py"), "2");
}
