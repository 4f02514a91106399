//! Packages that somebody made to do harm, and any damage of those that nobody did.

use crate::world::testdata;
use bzip2::Compression;
use bzip2::write::BzEncoder;
use muster_package::autotest::{Checksums, UnpackError, tree, unpack};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tar::{EntryType, Header};

/// A member as it is written, whatever it says.
struct Member<'a> {
    name: &'a str,
    kind: EntryType,
    mode: u32,
    link: &'a str,
    content: &'a [u8],
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Member<'a> {
    Member { name, kind: EntryType::Regular, mode: 0o644, link: "", content }
}

fn link<'a>(name: &'a str, kind: EntryType, to: &'a str) -> Member<'a> {
    Member { name, kind, mode: 0o777, link: to, content: b"" }
}

fn dir(name: &str) -> Member<'_> {
    Member { name, kind: EntryType::Directory, mode: 0o755, link: "", content: b"" }
}

fn packed(members: &[Member<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(BzEncoder::new(Vec::new(), Compression::best()));
    for Member { name, kind, mode, link, content } in members {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1);
        header.set_uid(12345);
        header.set_gid(12345);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Unpacks to `in/` of a directory in which nothing else may appear.
fn tried(package: &[u8], bytes_max: u64) -> (Result<(), UnpackError>, tempfile::TempDir) {
    let around = tempfile::tempdir().unwrap();
    fs::create_dir(around.path().join("in")).unwrap();
    fs::write(around.path().join("secret"), "secret").unwrap();
    let done = unpack(package, &around.path().join("in"), bytes_max).map(drop);
    let there: Vec<_> = fs::read_dir(around.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(there.len(), 2, "something got out: {there:?}");
    assert_eq!(fs::read_to_string(around.path().join("secret")).unwrap(), "secret");
    (done, around)
}

/// Row 22: members that lead out, devices, programs that run as another user.
#[test]
fn row_22_what_is_hostile_is_refused_by_its_name() {
    use EntryType::{Block, Char, Fifo, GNUSparse, Link, Symlink};
    let out = "a path that leads out of the package";
    let link_out = "a link that leads out of the package";
    let setuid = |mode| Member { mode, ..file("x", b"") };
    let cases: Vec<(Vec<Member<'_>>, &str, &str)> = vec![
        (vec![file("../secret", b"x")], "../secret", out),
        (vec![file("./a/../../secret", b"x")], "./a/../../secret", out),
        (vec![file("/tmp/muster-out", b"x")], "/tmp/muster-out", out),
        (vec![dir("..")], "..", out),
        (vec![link("l", Symlink, "../secret")], "l", link_out),
        (vec![link("l", Symlink, "/etc/passwd")], "l", link_out),
        (vec![link("l", Symlink, "")], "l", link_out),
        (vec![link("d/l", Symlink, "../../secret")], "d/l", link_out),
        // The second alone would stay inside; behind the first it would not.
        (
            vec![dir("d/e"), link("d/e/up", Symlink, "../.."), link("l", Symlink, "d/e/up/../secret")],
            "l",
            link_out,
        ),
        (vec![link("l", Link, "../secret")], "l", link_out),
        (vec![link("l", Link, "/etc/passwd")], "l", link_out),
        (
            vec![link("l", Link, "later"), file("later", b"")],
            "l",
            "a link to something that is not before it",
        ),
        (vec![link("x", Char, "")], "x", "a device"),
        (vec![link("x", Block, "")], "x", "a device"),
        (vec![link("x", Fifo, "")], "x", "a named pipe"),
        (vec![link("x", GNUSparse, "")], "x", "a sparse file: pack it without `--sparse`"),
        (vec![link("x", EntryType::new(b'Z'), "")], "x", "nothing that a package has"),
        (vec![setuid(0o4755)], "x", "a program that runs as another user (set-user-id)"),
        (vec![setuid(0o2755)], "x", "a program that runs as another user (set-user-id)"),
        (vec![file("x", b"1"), file("./x", b"2")], "./x", "there twice"),
        (vec![file("x", b"1"), file("x/y", b"2")], "x/y", "there twice"),
        (vec![dir("x/y"), file("x", b"2")], "x", "there twice"),
        // Nothing is written through a link: it is not there yet.
        (vec![link("l", Symlink, "."), file("l/x", b"2")], "l", "there twice"),
        (vec![file(".", b"x")], ".", "the package itself, and not a directory"),
    ];
    for (members, name, what) in cases {
        let (done, _) = tried(&packed(&members), 1 << 20);
        let said = done.unwrap_err().to_string();
        assert_eq!(said, format!("holds `{name}`, which is {what}"));
    }
}

/// Row 21: owners that the device does not know are not restored.
#[test]
fn row_21_owners_are_not_restored_and_modes_leave_it_removable() {
    let members = [dir("d"), Member { mode: 0, ..file("d/x", b"x") }];
    let (done, around) = tried(&packed(&members), 1 << 20);
    done.unwrap();
    let meta = fs::metadata(around.path().join("in/d/x")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), rustix::process::geteuid().as_raw());
    assert_eq!(meta.permissions().mode() & 0o777, 0o400);
}

#[test]
fn what_unpacks_to_more_than_is_allowed_is_not_unpacked() {
    let zeros = vec![0; 3 << 20];
    let bomb = packed(&[file("zeros", &zeros)]);
    assert!(bomb.len() < 1000, "it is small on the wire");
    let (done, around) = tried(&bomb, 1 << 20);
    assert!(matches!(done, Err(UnpackError::TooLarge(_))), "{done:?}");
    assert_eq!(
        fs::read_dir(around.path().join("in")).unwrap().count(),
        0,
        "it is known before it is written"
    );
    // Names are read before anything is known of what they name.
    let long = Member { kind: EntryType::GNULongName, ..file("././@LongLink", &zeros) };
    let (done, _) = tried(&packed(&[long, file("x", b"")]), 1 << 30);
    assert!(matches!(done, Err(UnpackError::Damaged(_))), "{done:?}");
}

#[test]
fn what_is_no_package_is_damaged() {
    for junk in [&b""[..], b"<html>404</html>", b"BZh9", &[0; 1024]] {
        let (done, _) = tried(junk, 1 << 20);
        assert!(matches!(done, Err(UnpackError::Damaged(_))), "{done:?}");
    }
    let mut empty = BzEncoder::new(Vec::new(), Compression::best());
    empty.write_all(b"").unwrap();
    let (done, _) = tried(&empty.finish().unwrap(), 1 << 20);
    assert!(matches!(done, Err(UnpackError::Damaged(_))), "an archive says where it ends: {done:?}");
}

/// Numbers that are the same at each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, max: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % max as u64).unwrap()
    }
}

/// Flips, inserts, removes and repeats bytes.
fn spoil(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = [0, b'/', b'.', b'7', 0xff][numbers.below(5)],
            2 => bytes.insert(at, 0),
            3 => drop(bytes.remove(at)),
            _ => {
                let part = bytes[at..(at + 512).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = testdata(name);
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    assert!(!all.is_empty());
    all.into_iter().map(|p| (p.display().to_string(), fs::read(p).unwrap())).collect()
}

/// The archive inside is spoiled, then compressed: so its readers see the damage, not the checks of bzip2.
#[test]
fn no_damage_of_an_archive_gets_anything_out_of_its_directory() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut taken, mut refused) = (0, 0);
    for (name, bytes) in corpus("tarballs") {
        let mut plain = Vec::new();
        std::io::copy(&mut bzip2::read::MultiBzDecoder::new(&bytes[..]), &mut plain).unwrap();
        // What is filled up with zeros behind the archive is not worth being spoiled.
        let used = plain.iter().rposition(|b| *b != 0).unwrap() + 1025;
        plain.truncate(used);
        for _ in 0..80 {
            let mut spoiled = plain.clone();
            // Nine of ten hit a header, where it matters.
            if numbers.below(10) > 0 {
                let header = numbers.below(plain.len() / 512) * 512;
                let mut part: Vec<u8> = spoiled.drain(header..).collect();
                let mut head: Vec<u8> = part.drain(..512.min(part.len())).collect();
                spoil(&mut head, &mut numbers);
                head.resize(512, 0);
                // With the right sum, as somebody who means it would write it.
                let sum: u32 = head
                    .iter()
                    .enumerate()
                    .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) })
                    .sum();
                head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                spoiled.extend(head);
                spoiled.extend(part);
            } else {
                spoil(&mut spoiled, &mut numbers);
            }
            let mut packed = BzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&spoiled).unwrap();
            let (done, around) = tried(&packed.finish().unwrap(), 1 << 20);
            match done {
                Ok(()) => {
                    taken += 1;
                    only_what_belongs_there(&around.path().join("in"), &name);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(taken > 20 && refused > 20, "{taken} taken, {refused} refused: both ways are to be tried");
}

/// What came out could be packed again: nothing in it leads out or runs as another user.
fn only_what_belongs_there(dir: &Path, name: &str) {
    tree::walk(dir, &muster_package::exclude::Exclude::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
}

#[test]
fn no_damage_of_a_compressed_package_is_taken_for_it() {
    let mut numbers = Numbers(42);
    for (name, bytes) in corpus("tarballs") {
        let (_, whole) = tried(&bytes, 1 << 20);
        let whole = tree::listing(&whole.path().join("in")).unwrap();
        for _ in 0..40 {
            let mut spoiled = bytes.clone();
            spoil(&mut spoiled, &mut numbers);
            let (done, around) = tried(&spoiled, 1 << 20);
            if done.is_ok() {
                // What was hit lay behind the archive's end.
                assert_eq!(tree::listing(&around.path().join("in")).unwrap(), whole, "{name}");
            }
        }
    }
}

#[test]
fn no_damage_of_a_list_of_sums_ends_its_reader() {
    let mut numbers = Numbers(7);
    for (name, bytes) in corpus("checksums") {
        for _ in 0..400 {
            let mut spoiled = bytes.clone();
            spoil(&mut spoiled, &mut numbers);
            if let Ok((sums, _)) = Checksums::read(&spoiled) {
                let (again, remarks) = Checksums::read(sums.write().as_bytes()).unwrap();
                assert_eq!((again.len(), remarks), (sums.len(), vec![]), "{name}");
            }
        }
    }
}

#[test]
fn what_has_been_found_under_the_name_of_the_list_is_read_as_far_as_it_can_be() {
    let read = |name: &str| Checksums::read(&fs::read(testdata(&format!("checksums/{name}"))).unwrap());
    let (whole, _) = read("md5sum").unwrap();
    assert_eq!(whole.len(), 6);
    for name in ["packager", "md5sum-b", "crlf-and-blank"] {
        assert_eq!(read(name).unwrap().0, whole, "{name}");
    }
    assert_eq!(read("torn").unwrap().0.len(), 2, "what is torn has a name that is torn");
    assert!(read("emptied").unwrap().0.is_empty());
    assert!(read("error-page").is_err());
}
