//! Each reader of what comes from outside, fed with any bytes: it must not panic, hang, or get outside of where
//! it may write, and what it takes must come back as it was when it is written and read again.
//!
//! The fuzzer and the test that replays the corpus (crates/muster-agent/tests/agent/corpus.rs) call these same functions.

use muster_agent::unpack::unpack_at_most;
use muster_core::expr::Facts;
use muster_core::inputs::Packing;
use muster_formats::area::{self, Layer, LayerKind, LoadContext};
use muster_formats::status_log::{Entry, StatusLog};
use muster_package::autotest::Checksums;
use muster_package::autotest::harness::Hearing;
use muster_package::own::{Address, Manifest, Reference, outside};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Feeds one reader.
pub(crate) type Reader = fn(&[u8]);

/// All of them, by the names of their folders in the corpus.
pub(crate) const READERS: [(&str, Reader); 14] = [
    ("manifest", manifest),
    ("names", |bytes| drop(outside::names(bytes))),
    ("index", |bytes| drop(outside::index(bytes))),
    ("frames", |bytes| drop(outside::frames(bytes))),
    ("patch", |bytes| drop(outside::patch(bytes))),
    ("address", address),
    ("checksums", checksums),
    ("autotest-tar", autotest_tar),
    ("autotest-bz2", autotest_bz2),
    ("harness", harness),
    ("status-log", status_log),
    ("muster-toml", muster_toml),
    ("tar", |bytes| unpacked(bytes, Packing::Tar)),
    ("zip", |bytes| unpacked(bytes, Packing::Zip)),
];

fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert!(manifest.encode() == bytes, "there is one way to write it");
    }
}

fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(all) = Address::mirrors(text, Path::new("/area")) {
        for address in all {
            let again = Address::parse(&address.to_string(), Path::new("/")).expect("it was an address");
            // A configuration of `ssh` is a matter of the host at hand, and not told to others.
            if !text.contains("?config=") {
                assert_eq!(again, address);
            }
        }
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().expect("it was one"), reference);
    }
}

fn checksums(bytes: &[u8]) {
    if let Ok((sums, _)) = Checksums::read(bytes) {
        let (again, remarks) = Checksums::read(sums.write().as_bytes()).expect("it was written by us");
        assert!(remarks.is_empty(), "{remarks:?}");
        assert!(again.iter().eq(sums.iter()));
    }
}

/// What a client says to its server is the same however it is cut on its way.
fn harness(bytes: &[u8]) {
    let whole = Hearing::default().hear(bytes);
    let mut hearing = Hearing::default();
    let cut: Vec<_> = bytes.iter().flat_map(|byte| hearing.hear(std::slice::from_ref(byte))).collect();
    assert_eq!(whole, cut);
}

/// A directory in memory, where there is such a place.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a directory can be made")
}

/// Nothing is beside what was to be written to, and no link in it leads out.
fn nothing_got_out(scratch: &Path, into: &Path) {
    for entry in std::fs::read_dir(scratch).expect("it is there") {
        let path = entry.expect("it can be read").path();
        assert!(path == into, "`{}` was written", path.display());
    }
    let mut dirs: Vec<PathBuf> = into.is_dir().then(|| into.to_owned()).into_iter().collect();
    let real = into.canonicalize().unwrap_or_else(|_| into.to_owned());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("it is there"));
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_symlink() {
                if let Ok(leads_to) = path.canonicalize() {
                    assert!(leads_to.starts_with(&real), "`{}` leads out", path.display());
                }
            } else {
                assert!(kind.is_file(), "`{}` is no file", path.display());
            }
        }
    }
}

fn autotest_unpack(packed: &[u8]) {
    let scratch = scratch();
    let into = scratch.path().join("into");
    std::fs::create_dir(&into).expect("it is made");
    drop(muster_package::autotest::unpack(packed, &into, 1 << 20));
    nothing_got_out(scratch.path(), &into);
}

/// What `tar` made, before it is compressed: nobody guesses the sums of bzip2.
fn autotest_tar(bytes: &[u8]) {
    let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packed.write_all(bytes).expect("memory takes all");
    autotest_unpack(&packed.finish().expect("memory takes all"));
}

fn autotest_bz2(bytes: &[u8]) {
    autotest_unpack(bytes);
}

fn status_log(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut log = StatusLog::default();
    for line in text.lines() {
        if let Some(entry) = Entry::read(line) {
            assert_eq!(entry.write(), line);
        }
        log.line(line);
    }
    log.job();
}

fn muster_toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let (mut facts, env) = (Facts::default(), BTreeMap::from([("HOME".to_owned(), "/home/ana".to_owned())]));
    facts.set("os", "linux");
    facts.set("cores", 8);
    for target in [&[][..], &["linux".to_owned(), "debug".to_owned()]] {
        let context =
            LoadContext { area_name: "area", target, process_env: &env, facts: &facts, files: &none };
        match area::load(&[Layer { name: "muster.toml", text, kind: LayerKind::Project }], &context) {
            Ok(loaded) => drop(loaded.show()),
            Err(errors) => assert!(!errors.is_empty(), "who is refused is told why"),
        }
    }
}

/// What a build or an area comes packed in.
fn unpacked(bytes: &[u8], packing: Packing) {
    let scratch = scratch();
    let (packed, into) =
        (tempfile::NamedTempFile::new().expect("a file can be made"), scratch.path().join("into"));
    std::fs::write(packed.path(), bytes).expect("it can be written");
    let done = unpack_at_most(packed.path(), packing, &into, 1 << 20);
    assert!(done.is_ok() || !into.exists(), "of what was refused nothing is left");
    nothing_got_out(scratch.path(), &into);
}
