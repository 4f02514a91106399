//! What Muster packs others unpack, and the other way round; the same folder is the same bytes.

use crate::world::{built, files, said, source, testdata};
use muster_package::autotest::{UnpackError, build, tree, unpack};
use muster_package::exclude::Exclude;
use proptest::prelude::*;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

const MAX: u64 = 1 << 30;

/// A folder with all that a package can have.
fn everything(dir: &Path) {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    files(
        dir,
        &[("a.py", "print 1\n"), ("sub/b", "b"), ("empty", ""), ("odd \u{fc} name", "x"), (&long, "long")],
    );
    fs::create_dir_all(dir.join("nothing")).unwrap();
    fs::set_permissions(dir.join("a.py"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.join("sub/b"), fs::Permissions::from_mode(0o440)).unwrap();
    fs::set_permissions(dir.join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("../a.py", dir.join("sub/link")).unwrap();
    symlink(format!("sub/{}", "t".repeat(150)), dir.join("dangling")).unwrap();
}

#[test]
fn gnu_tar_unpacks_what_muster_packs() {
    let dir = tempfile::tempdir().unwrap();
    let (from, out) = (dir.path().join("from"), dir.path().join("out"));
    everything(&from);
    built("test:x", &from, dir.path());
    fs::create_dir(&out).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["xjf"]).arg(dir.path().join("test-x.tar.bz2")).arg("-C").arg(&out);
    assert_eq!(said(&mut tar), "");
    assert_eq!(tree::listing(&out).unwrap(), tree::listing(&from).unwrap());
    let listed = said(Command::new("tar").arg("tjf").arg(dir.path().join("test-x.tar.bz2")));
    let first: Vec<_> = listed.lines().take(3).collect();
    assert_eq!(first, ["./", "./a.py", "./dangling"], "sorted, as `tar -C DIR .` names them");
}

#[test]
fn muster_unpacks_what_others_pack() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["gnu", "posix", "two-streams", "python"] {
        let out = dir.path().join(name);
        fs::create_dir(&out).unwrap();
        unpack(File::open(testdata(&format!("tarballs/{name}.tar.bz2"))).unwrap(), &out, MAX).unwrap();
        let by_tar = dir.path().join("by-tar");
        fs::create_dir(&by_tar).unwrap();
        let tarball = testdata(&format!("tarballs/{name}.tar.bz2"));
        said(Command::new("tar").arg("xjf").arg(tarball).arg("-C").arg(&by_tar));
        assert_eq!(tree::listing(&out).unwrap(), tree::listing(&by_tar).unwrap(), "{name}");
        fs::remove_dir_all(by_tar).unwrap();
    }
    for name in ["ustar", "v7"] {
        let out = dir.path().join(name);
        fs::create_dir(&out).unwrap();
        unpack(File::open(testdata(&format!("tarballs/{name}.tar.bz2"))).unwrap(), &out, MAX).unwrap();
        assert!(out.join("empty").is_dir() && out.join("sub/numbers").is_file(), "{name}");
    }
}

#[test]
fn the_same_folder_is_the_same_package_whenever_and_by_whomever_it_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    everything(&one);
    files(&two, &[("sub/b", "b"), ("odd \u{fc} name", "x")]);
    everything(&two);
    said(Command::new("touch").args(["-d", "2001-02-03"]).arg(two.join("a.py")));
    let first = built("test:x", &one, &dir.path().join("r1"));
    let second = built("test:x", &two, &dir.path().join("r2"));
    assert_eq!(first, second);
    fs::set_permissions(two.join("a.py"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_ne!(built("test:x", &two, &dir.path().join("r2")).md5, first.md5);
    let md5sum = said(Command::new("md5sum").arg(dir.path().join("r1/test-x.tar.bz2")));
    assert!(md5sum.starts_with(&first.md5.to_string()));
}

/// Row 30: compiled files in the client grew with each run and went stale. And the client's exclusions, which empty
/// every nested directory of these names where `tar` is given them.
#[test]
fn row_30_the_client_leaves_out_compiled_files_and_what_has_packages_of_its_own_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("client");
    files(
        &from,
        &[
            ("job.py", ""),
            ("job.pyc", ""),
            ("lib/deep/er.pyc", ""),
            ("tests/sleeptest/sleeptest.py", ""),
            ("site_tests/x/x.py", ""),
            ("deps/libaio/libaio.py", ""),
            ("profilers/__init__.py", ""),
            ("profilers/iostat/iostat.py", ""),
            ("lib/deps/y", ""),
            ("lib/tests/z", ""),
            ("client-autotest.tar.bz2", "left behind"),
            ("client-autotest.tar.bz2.checksum", "left behind"),
        ],
    );
    files(dir.path(), &[("global_config.ini", "[CLIENT]\n")]);
    let mut source = source("client:autotest", &from);
    source.extra.push(dir.path().join("global_config.ini"));
    let file = dir.path().join("client-autotest.tar.bz2");
    build(&source, &file).unwrap();
    let listed = said(Command::new("tar").arg("tjf").arg(&file));
    let listed: Vec<_> = listed.lines().collect();
    assert_eq!(
        listed,
        [
            "./",
            "./deps/",
            "./job.py",
            "./lib/",
            "./lib/deep/",
            "./lib/deps/",
            "./lib/deps/y",
            "./lib/tests/",
            "./lib/tests/z",
            "./profilers/",
            "./profilers/__init__.py",
            "./site_tests/",
            "./tests/",
            "./global_config.ini",
        ]
    );
}

/// Row 32: a tarball that lies in its own source is shipped instead of a new one.
#[test]
fn row_32_a_package_that_was_left_in_its_source_is_no_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    files(&from, &[("x.py", "")]);
    let first = built("test:x", &from, &from);
    fs::write(from.join("test-x.tar.bz2.checksum"), "stale").unwrap();
    let second = built("test:x", &from, dir.path());
    assert_eq!(first, second);
}

#[test]
fn what_a_folder_says_of_itself_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    files(
        &from,
        &[("x.py", ""), ("a.o", ""), ("src/b.o", ""), (".git/HEAD", ""), (".pack_exclude", "**/*.o\n")],
    );
    let mut source = source("test:x", &from);
    source.exclude = Exclude::new(["src/"]).unwrap();
    let file = dir.path().join("test-x.tar.bz2");
    build(&source, &file).unwrap();
    assert_eq!(said(Command::new("tar").arg("tjf").arg(&file)), "./\n./x.py\n");
}

#[test]
fn what_no_reader_would_take_is_told_when_it_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    type Make = fn(&Path);
    let makes: [(&str, Make); 4] = [
        ("a link that leads out", |dir| symlink("/etc/passwd", dir.join("x")).unwrap()),
        ("a link that leads out", |dir| symlink("a/../../x", dir.join("x")).unwrap()),
        ("set-user-id", |dir| {
            fs::write(dir.join("x"), "").unwrap();
            fs::set_permissions(dir.join("x"), fs::Permissions::from_mode(0o4755)).unwrap();
        }),
        ("a named pipe", |dir| drop(said(Command::new("mkfifo").arg(dir.join("x"))))),
    ];
    for (why, make) in makes {
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        make(&from);
        let file = dir.path().join("test-x.tar.bz2");
        let said = build(&source("test:x", &from), &file).unwrap_err().to_string();
        assert!(said.contains(why) && said.contains("from/x"), "{said}");
        assert!(!file.exists());
        fs::remove_dir_all(from).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of what was not built");
}

/// Row 3, the reader's part: a package that is cut is never taken for a whole one, wherever it is cut.
#[test]
fn row_3_a_package_that_is_cut_is_known_to_be() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["gnu", "two-streams"] {
        let whole = fs::read(testdata(&format!("tarballs/{name}.tar.bz2"))).unwrap();
        // Everywhere near the end, where a cut is hardest to see, and often enough elsewhere.
        for cut in (0..whole.len()).filter(|cut| cut % 13 == 0 || whole.len() - cut < 60) {
            let out = dir.path().join("out");
            fs::create_dir(&out).unwrap();
            let done = unpack(&whole[..cut], &out, MAX);
            assert!(matches!(done, Err(UnpackError::Damaged(_))), "{name} cut at {cut}: {done:?}");
            fs::remove_dir_all(out).unwrap();
        }
    }
}

/// What a folder may have in it.
#[derive(Clone, Debug)]
enum Thing {
    Dir(u32),
    File(Vec<u8>, u32),
    Link(String),
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        (0u32..0o1000).prop_map(Thing::Dir),
        (proptest::collection::vec(any::<u8>(), 0..3000), 0u32..0o1000)
            .prop_map(|(bytes, mode)| Thing::File(bytes, mode)),
        // Long runs of one byte, as sparse files have them.
        (any::<u8>(), 0usize..200_000, 0u32..0o1000).prop_map(|(b, n, mode)| Thing::File(vec![b; n], mode)),
        "[a-z.]{1,12}|(\\.\\./){1,2}[a-z]{1,9}|[a-z]{1,120}/[a-z]{1,9}".prop_map(Thing::Link),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_folder_comes_out_as_it_went_in(
        things in proptest::collection::btree_map("[^/\\x00]{1,40}(/[a-c]{1,3}){0,2}", thing(), 0..20)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (from, out) = (dir.path().join("from"), dir.path().join("out"));
        fs::create_dir(&from).unwrap();
        for (name, thing) in &things {
            let path = from.join(name);
            if name.split('/').any(|part| part == "." || part == "..") || path.symlink_metadata().is_ok() {
                continue;
            }
            // Where the parent is a file, or a link to nowhere, there is no such thing.
            if fs::create_dir_all(path.parent().unwrap()).is_err() {
                continue;
            }
            match thing {
                Thing::Dir(mode) => {
                    fs::create_dir(&path).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode | 0o700)).unwrap();
                }
                Thing::File(bytes, mode) => {
                    fs::write(&path, bytes).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode | 0o600)).unwrap();
                }
                Thing::Link(to) => symlink(to, &path).unwrap(),
            }
        }
        let source = source("test:x", &from);
        let file = dir.path().join("test-x.tar.bz2");
        if build(&source, &file).is_ok() {
            fs::create_dir(&out).unwrap();
            unpack(File::open(&file).unwrap(), &out, MAX).unwrap();
            let mut there = tree::listing(&from).unwrap();
            // These are never packed.
            for name in [".checksum", ".muster", ".git", ".pack_exclude"] {
                there.retain(|path, _| path != name && !path.starts_with(&format!("{name}/")));
            }
            prop_assert_eq!(tree::listing(&out).unwrap(), there);
        }
    }
}
